import Foundation
import PlanModel
import PlanYAML
import Testing

@testable import Steps

/// Files that lie beside a plan and become part of the run.
@Suite struct PlanFilesTests {
    private let folder: TestFolder
    init() throws { folder = try TestFolder() }

    private func load(_ step: String) throws -> Plan {
        try folder.write("reprise: 1\nname: x\nparameters:\n  word: {default: good}\nsteps:\n  - id: f\n    on: app1\n\(step)\n", to: "plans/x.yaml")
        let inventory = try loadInventory(at: KindTests.root.path + "/inventory/lab.yaml").inventory
        return try loadPlan(at: folder.file("plans/x.yaml"), kinds: StepRegistry.standard.schemas, inventory: inventory).plan
    }

    /// A field as it is once its templates are filled in.
    private func rendered(_ plan: Plan, _ field: String) throws -> String? {
        let kind = try StepRegistry.standard.type(plan.steps[0].kind).schema
        let binding = try #require(ParameterBinding.bind([], to: plan).binding)
        return try renderFields(plan.steps[0].with, schema: kind, scope: TemplateScope(parameters: binding))[field]?.value.string
    }

    private func expectRefused(_ step: String, _ code: String, location: SourceLocation = #_sourceLocation) {
        do {
            _ = try load(step)
            Issue.record("it was taken", sourceLocation: location)
        } catch let refused as DocumentRefused {
            #expect(refused.code == code && refused.diagnostics.errors.allSatisfy { $0.mark.line > 5 }, "\(refused)", sourceLocation: location)
        } catch {
            Issue.record(error, sourceLocation: location)
        }
    }

    @Test(arguments: ["a {{ params.nothing }} {{ b\n", #"\{{ x }} {{{{ {{{ { {"#, "", "äöü\r\n\t$x `y` %"]) func aFileIsTakenAsItIs(text: String) throws {
        try folder.write(text, to: "plans/files/site.conf")
        let plan = try load("    kind: file\n    with: {path: /etc/x, from-file: files/site.conf}")
        try folder.write("other", to: "plans/files/site.conf")
        #expect(try rendered(plan, "content") == text)
        #expect(plan.steps[0].with["from-file"] == nil)
    }

    @Test func aTemplateIsFilledIn() throws {
        try folder.write("all {{ params.word }} @{name}\n", to: "plans/site.conf")
        let plan = try load("    kind: template\n    with: {path: /etc/x, from-file: site.conf, values: {name: x}}")
        #expect(try rendered(plan, "template") == "all good @{name}\n")
    }

    @Test func whatUndoesAStepMayNameFilesToo() throws {
        try folder.write("back", to: "plans/old.conf")
        let plan = try load("    kind: file\n    with: {path: /etc/x, content: new}\n    undo: {kind: file, with: {path: /etc/x, from-file: old.conf}}")
        guard case .action(let action) = plan.steps[0].undo else { return #expect(Bool(false), "no undo") }
        #expect(action.with["content"]?.value == .string("back"))
    }

    @Test func whatIsNoFileBesideThePlanIsRefusedAtItsPlace() throws {
        try folder.write("secret", to: "outside")
        try Data([0xff, 0xfe]).write(to: URL(fileURLWithPath: folder.file("outside")).deletingLastPathComponent().appendingPathComponent("bytes"))
        expectRefused("    kind: file\n    with: {path: /etc/x, from-file: ../outside}", "plan.bad-path")
        expectRefused("    kind: file\n    with: {path: /etc/x, from-file: \(folder.file("outside"))}", "plan.bad-path")
        expectRefused("    kind: file\n    with: {path: /etc/x, from-file: nowhere}", "plan.no-file")
        try FileManager.default.moveItem(atPath: folder.file("bytes"), toPath: folder.file("plans/bytes"))
        expectRefused("    kind: file\n    with: {path: /etc/x, from-file: bytes}", "plan.not-text")
        try folder.write(String(repeating: "x", count: 300_000), to: "plans/large")
        expectRefused("    kind: file\n    with: {path: /etc/x, from-file: large}", "plan.file-too-large")
        try folder.write("x", to: "plans/fine")
        expectRefused("    kind: file\n    with: {path: /etc/x, from-file: fine, content: y}", "plan.twice")
        expectRefused("    kind: template\n    with: {path: /etc/x}", "plan.missing-field")
        try folder.write("{{ params.wrod }}", to: "plans/misspelt")
        expectRefused("    kind: template\n    with: {path: /etc/x, from-file: misspelt}", "plan.unknown-parameter")
    }
}
