import Glibc
import PlanModel
import PlanYAML
import RunCore
import Testing

@Suite struct ScaleTests {
    /// Generous: this is a debug build; quadratic work would take minutes.
    private let limit = Duration.seconds(60)

    /// The processor's time that `work` takes on this thread: what a busy machine leaves it does not count.
    private func processorTime(_ work: () -> Void) -> Duration {
        func now() -> Duration {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
        }
        let start = now()
        work()
        return now() - start
    }

    private func measure(_ text: String, _ check: (Plan?, [Diagnostic]) -> Void) {
        let time = processorTime {
            let (plan, diagnostics) = readPlan(source(text), kinds: registry, inventory: labInventory)
            check(plan, diagnostics)
        }
        print("\(text.utf8.count) bytes: \(time)")
        #expect(time < limit)
    }

    private func plan(steps: Int, _ step: (Int) -> String) -> String {
        "reprise: 1\nname: big\nsteps:\n" + (0..<steps).map(step).joined()
    }

    @Test func tenThousandStepsInARowValidate() {
        measure(plan(steps: 10_000) { "  - {id: s\($0), kind: command, on: db1, with: {run: echo \($0)}}\n" }) {
            plan, diagnostics in
            #expect(diagnostics.isEmpty)
            #expect(plan?.steps.count == 10_000)
            #expect(plan?.steps.last?.needs.map(\.rawValue) == ["s9998"])
            #expect(plan.flatMap { PlanGraph($0).topologicalOrder() }?.last?.rawValue == "s9999")
        }
    }

    @Test func tenThousandStepsThatUseEachOthersResultsValidate() {
        measure(plan(steps: 10_000) { "  - {id: s\($0), kind: approval, with: {show: [s\(max(0, $0 - 7000))]}}\n" }) {
            plan, diagnostics in
            #expect(
                found(diagnostics) == [
                    "4:44: error: step `s0`, `with`, `show`[1]: step `s0` is not certain to have run before [plan.not-upstream]"
                ])
        }
    }

    @Test func tenThousandWrongStepsAreAllReported() {
        measure(plan(steps: 10_000) { "  - {id: s\($0), kind: comand, needs: [x\($0)], no: 1}\n" }) {
            plan, diagnostics in
            #expect(plan == nil)
            #expect(diagnostics.count == 30_000)
        }
    }

    @Test func oneCycleOfTenThousandStepsIsNamed() {
        measure(plan(steps: 10_000) { "  - {id: s\($0), kind: approval, needs: [s\(($0 + 1) % 10_000)]}\n" }) {
            plan, diagnostics in
            #expect(
                found(diagnostics) == [
                    "4:10: error: steps need each other: s0 → s1 → s2 → s3 → s4 → s5 → … 9992 more … → s9998 → s9999 → s0 [plan.cycle]"
                ])
        }
    }

    @Test func moreThanTwentyThousandStepsAreRefused() {
        measure(plan(steps: 20_001) { "  - {id: s\($0), kind: approval}\n" }) { plan, diagnostics in
            #expect(
                found(diagnostics) == ["3:1: error: `steps`: 20001 steps are more than 20000 [plan.too-many-steps]"])
        }
    }

    @Test func thirtyThousandKeysInOneMapStayQuick() {
        measure("reprise: 1\nname: big\n" + (0..<30_000).map { "k\($0): 1\n" }.joined()) { plan, diagnostics in
            #expect(diagnostics.count == 30_001)
        }
    }

    @Test func tenThousandHostsAreRead() {
        let time = processorTime {
            let (inventory, diagnostics) = readInventory(
                source(
                    "all:\n  vars: {a: 1, b: 2}\n  children:\n    web:\n      hosts:\n        web[0001:9999]: {c: 3}\n")
            )
            #expect(diagnostics.isEmpty)
            #expect(inventory?.hosts.count == 9999)
            #expect(inventory?.hosts.last?.name == "web9999")
        }
        #expect(time < limit)
    }
}
