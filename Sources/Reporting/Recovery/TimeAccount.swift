internal import Engine
internal import PlanModel
internal import RunCore

/// Where a run's time went: by phase, and on the chain of steps that made it take so long.
struct TimeAccount {
    private(set) var phases: [RecoveryReport.Phase] = []
    private(set) var links: [RecoveryReport.Link] = []
    private(set) var idle = RecoveryReport.Idle(waitingSeconds: 0, interruptedSeconds: 0, betweenSeconds: 0)

    /// - Parameters: start, end: of the run, milliseconds.
    init(_ loaded: ResumableRun, _ times: AttemptTimes, start: Int64, end: Int64) {
        let steps = loaded.machine.steps.map { record in
            let step = loaded.frozen.plan.step(record.spec.id)
            // The time of an approval is that of the person, which is counted apart.
            let isApproval = step?.kind == "approval"
            return Step(
                id: record.spec.id.rawValue, phase: isApproval ? nil : step?.phase ?? Self.phase(ofKind: step?.kind ?? ""),
                needs: record.spec.needs.map(\.rawValue), attempts: times.all[record.spec.id] ?? [],
                wait: times.all[record.spec.id] == nil ? times.last[record.spec.id] : nil)
        }
        let undos = times.undos.enumerated().map { Step(id: "undo \($0.offset + 1)", phase: "undo", needs: [], attempts: [$0.element], wait: nil) }
        let idle = Idle(waits: times.waits, gaps: times.gaps, end: end)
        addPhases(steps + undos, idle)
        addPath(steps + undos, start: start, idle)
    }

    private struct Step {
        let id: String
        /// Nil where its time is a person's.
        let phase: String?
        let needs: [String]
        let attempts: [AttemptTimes.Span]
        /// For a person's word, where nothing was attempted.
        let wait: AttemptTimes.Span?
        var spans: [AttemptTimes.Span] { wait.map { [$0] } ?? attempts }
    }

    /// When nobody worked although steps were under way.
    private struct Idle {
        let waits: [AttemptTimes.Span]
        let gaps: [AttemptTimes.Span]
        let end: Int64

        func worked(_ spans: [AttemptTimes.Span]) -> Int64 { AttemptTimes.union(spans, without: waits + gaps, now: end) }
        func driven(_ spans: [AttemptTimes.Span]) -> Int64 { AttemptTimes.union(spans, without: gaps, now: end) }
    }

    /// In the order in which they began.
    private mutating func addPhases(_ steps: [Step], _ idle: Idle) {
        var names: [String] = []
        var members: [String: [Step]] = [:]
        for step in steps.filter({ !$0.attempts.isEmpty }).sorted(by: { $0.attempts[0].start < $1.attempts[0].start }) {
            guard let phase = step.phase else { continue }
            if members[phase] == nil { names.append(phase) }
            members[phase, default: []].append(step)
        }
        phases = names.map { name in
            let own = members[name] ?? []
            return .init(
                name: name, seconds: seconds(idle.worked(own.flatMap(\.attempts))), steps: name == "undo" ? [] : own.map(\.id), criticalSeconds: 0,
                workSeconds: seconds(own.reduce(0) { $0 + idle.worked($1.attempts) }))
        }
    }

    private mutating func addPath(_ steps: [Step], start: Int64, _ idle: Idle) {
        let nodes = steps.compactMap { step -> CriticalPath.Node? in
            guard let first = step.spans.first, let last = step.spans.last else { return nil }
            return .init(id: step.id, phase: step.phase ?? "", needs: step.needs, start: first.start, end: max(first.start, last.end ?? idle.end))
        }
        let needs = Dictionary(steps.map { ($0.id, $0.needs) }, uniquingKeysWith: { first, _ in first })
        let path = CriticalPath(nodes, needs: needs, from: start, to: idle.end)
        var byPhase: [String: Int64] = [:]
        var (waiting, interrupted, between): (Int64, Int64, Int64) = (0, 0, 0)
        for part in path.parts {
            let span = [AttemptTimes.Span(start: part.start, end: part.end)]
            let (driven, worked) = (idle.driven(span), idle.worked(span))
            interrupted += part.end - part.start - driven
            waiting += driven - worked
            guard let node = part.node.map({ path.nodes[$0] }), !node.phase.isEmpty else {
                between += worked
                continue
            }
            byPhase[node.phase, default: 0] += worked
            links.append(.init(step: node.id, phase: node.phase, seconds: seconds(worked)))
        }
        self.idle = .init(waitingSeconds: seconds(waiting), interruptedSeconds: seconds(interrupted), betweenSeconds: seconds(between))
        for index in phases.indices { phases[index].criticalSeconds = seconds(byPhase[phases[index].name] ?? 0) }
    }

    /// What steps of a kind usually belong to; a plan says it otherwise with `phase`.
    private static func phase(ofKind kind: String) -> String {
        switch kind {
        case "fetch-backup": "fetch"
        case "database-origin", "postgres-cluster", "postgres-roles": "cluster"
        case "postgres-restore", "postgres-restore-tables": "restore"
        case "postgres-verify": "verify"
        case "postgres-settle", "postgres-swap": "cutover"
        case "git-checkout": "application"
        case "archive": "files"
        case "file", "template", "secret-file": "configuration"
        case "certificate", "firewall", "schedule", "service": "services"
        case "site-check", "port-check": "proof"
        case "files-check", "http-check", "postgres-check", "sql-check": "check"
        case "provision": "machine"
        case "command": "commands"
        default: kind
        }
    }
}

private func seconds(_ milliseconds: Int64) -> Double { Double(milliseconds) / 1000 }
