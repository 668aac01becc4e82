import TestSupport
import RunCore

extension RunAccepted {
    /// A plan of up to 30 steps without a cycle, in both phases and under all policies, in an order of no meaning.
    static func random(_ dice: inout SeededGenerator) -> RunAccepted {
        let count = 1 + dice.below(dice.chance(50) ? 6 : 30)
        let finallyFrom = dice.chance(60) ? count - dice.below(min(count, 4) + 1) : count
        let troubled = dice.chance(50)
        var steps: [StepSpec] = []
        for number in 0..<count {
            var spec = StepSpec(id: StepID("s\(number)")!)
            spec.phase = number >= finallyFrom ? .finally : .main
            for _ in 0..<dice.below(3) where number > 0 {
                let need = steps[dice.below(number)].id
                if !spec.needs.contains(need) || dice.chance(10) { spec.needs.append(need) }
            }
            for host in ["app", "db", "edge"] where dice.chance(30) { spec.hosts.append(host) }
            spec.retry = RetryPolicy(attempts: 1 + dice.below(3), initialMilliseconds: 100, maximumMilliseconds: 300)
            spec.onError = dice.chance(troubled ? 30 : 70) ? .continue : dice.pick([.stop, .stop, .undo])
            spec.hasUndo = dice.chance(60)
            spec.needsApproval = dice.chance(15)
            spec.approverIsNotStarter = dice.chance(50)
            steps.append(spec)
        }
        steps.shuffle(using: &dice)
        return .plan(steps, limits: .init(perHost: 1 + dice.below(3), total: 1 + dice.below(6)), startedBy: "ada")
    }
}
