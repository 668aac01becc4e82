internal import Engine
internal import PlanModel
internal import RunCore

/// What `reprise start --dry-run` shows: the steps in the order in which they can run, and nothing of it has run.
/// Its fields only ever grow.
package struct PlanPreview: Codable, Sendable {
    package var plan: String
    package var title: String
    package var mode: String
    package var parameters: [String: String]
    package var steps: [StepPreview]

    package init(_ previewer: StepPreviewer) throws {
        plan = previewer.frozen.plan.name
        title = previewer.frozen.plan.title
        mode = previewer.frozen.mode.rawValue
        parameters = previewer.frozen.parameters.values.mapValues(\.text)
        steps = try previewer.all()
    }

    package var document: Document {
        var blocks: [Document.Block] = [
            .facts([.init("plan", "\(plan) (\(mode))")] + parameters.sorted { $0.key < $1.key }.map { .init("parameter \($0.key)", $0.value) })
        ]
        for (index, step) in steps.enumerated() {
            blocks.append(.heading("\(index + 1). \(step.id)\(step.title.isEmpty ? "" : ": \(step.title)")"))
            var facts: [Document.Fact] = [.init("kind", step.kind)]
            if !step.on.isEmpty { facts.append(.init("on", step.on.joined(separator: ", "))) }
            if !step.needs.isEmpty { facts.append(.init("after", step.needs.joined(separator: ", "))) }
            if step.phase == StepSpec.Phase.finally.rawValue { facts.append(.init("when", "at the end, whatever happened")) }
            if step.isDestructive { facts.append(.init("DESTRUCTIVE", "overwrites or removes what only a backup brings back", .bad)) }
            if step.needsApproval { facts.append(.init("approval", "a person has to agree first", .attention)) }
            facts += step.with.sorted { $0.key < $1.key }.filter { !isScript($0.value) }.map {
                .init($0.key, shortText($0.value, limit: 400) + (step.notYetKnown.contains($0.key) ? "  (known once earlier steps have run)" : ""))
            }
            blocks.append(.facts(facts))
            for (name, value) in step.with.sorted(by: { $0.key < $1.key }) where isScript(value) {
                blocks += [.paragraph("\(name):"), .code(value.stringValue ?? "")]
            }
        }
        return Document(title: "Dry run: \(title.isEmpty ? plan : title)", blocks: blocks)
    }

    private func isScript(_ value: JSONValue) -> Bool {
        value.stringValue?.contains("\n") ?? false
    }
}
