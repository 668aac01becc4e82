package import PlanModel
internal import RunCore

/// Waits until a person agrees. The machine does the waiting; once it starts, the step has nothing left to do.
package struct ApprovalStep: StepKind {
    package static let schema = StepKindSchema(
        name: "approval", summary: "waits until a person agrees, with what they need to know in front of them",
        fields: [
            FieldSchema("message", .string, isRequired: true, help: "what the person is asked"),
            FieldSchema("show", .list(.stepRef), help: "steps whose outputs are shown with the question"),
            FieldSchema("approver-not-starter", .boolean, default: .boolean(false), help: "the one who started the run may not approve"),
            FieldSchema("required", .boolean, default: .boolean(true), help: "false: nobody is asked, and the run says so"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        guard context.boolean("required", default: true) else {
            return StepOutcome(evidence: ["asked": false], outputs: ["approved-by": "nobody: the plan was started without this approval"], changed: false)
        }
        return StepOutcome(evidence: ["asked": true], changed: false)
    }

    package func approvalRequest(_ context: StepContext) async throws -> String {
        let shown = context.strings("show").compactMap(StepID.init).flatMap { step in
            (context.outputs[step] ?? [:]).filter { $0.key.hasPrefix("summary") }.sorted { $0.key < $1.key }.map(\.value.plainText)
        }
        return ([try context.string("message")] + shown.filter { !$0.isEmpty }).joined(separator: "\n")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["# decide: \(context.optionalString("message") ?? "")"]
    }
}
