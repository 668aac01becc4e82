internal import Engine
internal import PlanModel
package import RunCore

/// What is left to do of a run, as commands for hands: for the day on which the tool itself is in the way.
package struct Runbook: Codable, Sendable {
    package var run: String
    package var plan: String
    package var state: String
    package var done: [String]
    package var remaining: [Remaining]

    package struct Remaining: Codable, Sendable {
        package var step: StepPreview
        package var state: String
        /// What to find out before the commands are run.
        package var before: String?
    }

    package init(_ machine: RunMachine, _ previewer: StepPreviewer) throws {
        run = previewer.run.rawValue
        plan = previewer.frozen.plan.name
        state = machine.state.rawValue
        done = machine.steps.filter { Self.isDone($0.state) }.map { $0.spec.id.rawValue }
        remaining = try previewer.all().compactMap { preview in
            guard let id = StepID(preview.id), let record = machine[id], !Self.isDone(record.state) else { return nil }
            return Remaining(step: preview, state: record.state.rawValue, before: Self.caution(record))
        }
    }

    /// A whole plan, of which no run has begun or is known any more.
    package init(_ previewer: StepPreviewer) throws {
        run = ""
        plan = previewer.frozen.plan.name
        state = ""
        done = []
        remaining = try previewer.all().map { Remaining(step: $0, state: StepState.queued.rawValue, before: nil) }
    }

    private static func isDone(_ state: StepState) -> Bool {
        switch state {
        case .succeeded, .skipped, .failedIgnored: true
        case .queued, .running, .waiting, .inDoubt, .failed, .timedOut, .cancelled, .undone: false
        }
    }

    private static func caution(_ record: StepRecord) -> String? {
        switch record.state {
        case .running: "it was started and may still be running: look on its hosts first, under reprise/jobs in their state directories"
        case .inDoubt: "whether it happened is not known: \(record.doubt?.message ?? ""). Find out before anything is repeated"
        case .failed, .timedOut, .cancelled: record.failure.map { "it failed: \($0.message)" } ?? "it was ended before it was done"
        case .waiting: "a person has to agree: \(record.approval?.message ?? "")"
        case .undone: "it was undone"
        case .queued, .succeeded, .failedIgnored, .skipped: nil
        }
    }

    package var document: Document {
        var blocks: [Document.Block] = run.isEmpty
            ? [.paragraph("All steps of plan \(plan). Reprise knows nothing of what you do by hand: before each step look whether it was done already.")]
            : [
                .paragraph("Stop Reprise before you go on by hand: reprise pause \(run). What you do by hand is not in its journal."),
                .facts([.init("run", run), .init("plan", plan), .init("state", state), .init("done already", done.isEmpty ? "nothing" : done.joined(separator: ", "))]),
            ]
        if remaining.isEmpty { blocks.append(.paragraph("Nothing is left to do.", .good)) }
        for (index, item) in remaining.enumerated() {
            let step = item.step
            blocks.append(.heading("\(index + 1). \(step.id)\(step.title.isEmpty ? "" : ": \(step.title)")"))
            if step.isDestructive { blocks.append(.paragraph("DESTRUCTIVE: overwrites or removes what only a backup brings back.", .bad)) }
            if let before = item.before { blocks.append(.paragraph("First: \(before)", .attention)) }
            if !step.notYetKnown.isEmpty {
                blocks.append(.paragraph("Fill in what earlier steps bring: \(step.notYetKnown.joined(separator: ", ")).", .attention))
            }
            if !step.on.isEmpty { blocks.append(.paragraph("On: \(step.on.joined(separator: ", "))")) }
            blocks.append(.code(step.manualCommands.joined(separator: "\n")))
        }
        return Document(title: run.isEmpty ? "By hand: plan \(plan)" : "By hand: what is left of run \(run)", blocks: blocks)
    }
}
