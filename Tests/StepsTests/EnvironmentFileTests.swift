import Foundation
import PlanModel
import PlanYAML
import RunCore
import Testing

@testable import Steps

/// What the plan of a whole server writes for the application to read: its template and its validation, as they are in the plan.
@Suite struct EnvironmentFileTests {
    private let folder: TestFolder
    private let step: PlanStep
    init() throws {
        folder = try TestFolder()
        let inventory = try loadInventory(at: KindTests.root.path + "/inventory/lab.yaml").inventory
        let plan = try loadPlan(at: KindTests.root.path + "/plans/full-server.yaml", kinds: StepRegistry.standard.schemas, inventory: inventory).plan
        step = try #require(plan.steps.first { $0.id.rawValue == "environment" })
    }

    private func text(password: String) throws -> String {
        let values = ["SITE": "chms.example.org", "APP_KEY": "base64:+/a=", "DB_HOST": "127.0.0.1", "DB_DATABASE": "chms", "DB_PASSWORD": password]
        return try TemplateStep.filled(try #require(step.with["template"]?.value.string), values, step: StepID("environment")!)
    }

    private func validated(password: String) throws -> ScriptOutcome {
        try folder.write(try text(password: password), to: "new")
        return try runLocally(step.with["validate"]?.value.string ?? "true", ["FILE": folder.file("new")], in: folder.path)
    }

    /// Without quotes the application would read the first part of it, or nothing at all.
    @Test(arguments: ["plain", "ab#cd", "a b", "a\"b$(id)${HOME}\\", " ", "ä=б"])
    func aSecretStandsInQuotesAsItIs(password: String) throws {
        #expect(try text(password: password).contains("\nDB_PASSWORD='\(password)'\n"))
        #expect(try text(password: password).contains("\nAPP_KEY='base64:+/a='\n"))
        let outcome = try validated(password: password)
        #expect(outcome.status == 0, "\(outcome)")
    }

    @Test(arguments: ["it's-hidden", "'", "first\nhidden", "first\nA=hidden"])
    func oneThatWouldEndItsQuotesIsRefusedByNameAndNotShown(password: String) throws {
        let outcome = try validated(password: password)
        #expect(outcome.status == 1 && outcome.said.contains("DB_PASSWORD"), "\(outcome)")
        #expect(!(outcome.said + outcome.complained).contains("hidden") && !outcome.said.contains("first"), "\(outcome)")
        #expect(try validated(password: "first'\nhidden").status == 1)
    }
}
