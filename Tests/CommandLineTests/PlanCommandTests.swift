import Foundation
import Testing

@Suite struct PlanCommandTests {
    @Test func theRepositorysPlansAreValid() async throws {
        let result = try await Program().run("plan", "validate", "--json", in: Program.checkout)
        #expect(result.status == 0)
        let plans = try #require(try result.json() as? [[String: Any]])
        #expect(!plans.isEmpty)
        #expect(plans.allSatisfy { $0["isValid"] as? Bool == true })
        // The repository's inventory was found beside the plans; the example in the same folder is not one to choose from.
        #expect(plans.allSatisfy { ($0["inventory"] as? String)?.hasSuffix("inventory/lab.yaml") == true })
    }

    @Test func plansAreListedAndDrawnAndShown() async throws {
        let program = try Program()
        let list = try await program.run("plan", "list", "--json", in: Program.checkout)
        let names = try #require(try list.json() as? [[String: Any]]).compactMap { $0["name"] as? String }
        #expect(names.contains("db-corruption"))
        #expect(try await program.run("plan", "graph", "db-corruption", "--format", "dot", in: Program.checkout).output.hasPrefix("digraph"))
        #expect(try await program.run("plan", "graph", "db-corruption", "--json", in: Program.checkout).json() is [String: Any])
        let shown = try await program.run("plan", "show", "db-corruption", in: Program.checkout)
        #expect(shown.status == 0)
        #expect(shown.output.contains("DESTRUCTIVE") || shown.output.contains("swap"))
        #expect(try await program.run("plan", "show", "db-corruption", "--json", in: Program.checkout).json() is [String: Any])
    }

    @Test func theSchemaIsJSON() async throws {
        let schema = try #require(try await Program().run("plan", "schema").json() as? [String: Any])
        #expect((schema["$schema"] as? String)?.contains("json-schema.org") == true)
    }

    @Test func anUnknownPlanIsMetWithTheNearestSpelling() async throws {
        let result = try await Program().run("start", "db-coruption", in: Program.checkout)
        #expect(result.status == 2)
        #expect(result.errors.contains("reprise: there is no plan db-coruption"))
        #expect(result.errors.contains("HINT: did you mean `db-corruption`?"))
    }

    @Test func aBadPlanIsRefusedWithItsPlaceAndTheNearestSpelling() async throws {
        let program = try Program()
        try program.write(
            """
            reprise: 1
            name: bad
            steps:
              - id: one
                kind: comand
                on: [orchestrator]
                with: {run: "true"}

            """, to: "bad.yaml")
        let result = try await program.run("plan", "validate", "bad.yaml")
        #expect(result.status == 2)
        #expect(result.errors.contains("bad.yaml:5:11: error:"))
        #expect(result.errors.contains("`command`"))
        let json = try await program.run("plan", "validate", "bad.yaml", "--json")
        #expect(json.status == 2)
        let entries = try #require(try json.json() as? [[String: Any]])
        #expect((entries.first?["diagnostics"] as? [[String: Any]])?.isEmpty == false)
        let start = try await program.run("start", "bad.yaml", "--json")
        #expect(start.status == 2)
    }

    @Test func parametersAreCheckedBeforeAnythingStarts() async throws {
        let program = try Program.withSmallPlan()
        let unknown = try await program.run("start", "small", "--param", "txet=x")
        #expect(unknown.status == 2)
        #expect(unknown.errors.contains("did you mean `text`?"))
        #expect(!FileManager.default.fileExists(atPath: program.folder + "/state/reprise/journal.sqlite"))
    }

    @Test func outputThatIsPipedHasNoColour() async throws {
        let program = try Program.withSmallPlan()
        let outputs = [
            try await program.run("plan", "list"), try await program.run("plan", "show", "small"), try await program.run("plan", "graph", "small"),
            try await program.run("start", "small", "--dry-run"), try await program.run("plan", "validate"),
        ]
        for result in outputs {
            #expect(result.status == 0)
            #expect(!result.output.contains("\u{1B}"))
            #expect(!result.errors.contains("\u{1B}"))
        }
    }

    @Test func severalInventoriesAreNotGuessedAmong() async throws {
        let program = try Program.withSmallPlan()
        try program.write("all:\n  hosts: {}\n", to: "inventory/other.yaml")
        let result = try await program.run("start", "small", "--dry-run")
        #expect(result.status == 2)
        #expect(result.errors.contains("HINT: --inventory"))
        #expect(try await program.run("start", "small", "--dry-run", "--inventory", "inventory/here.yaml").status == 0)
        let environment = ["REPRISE_INVENTORY": "inventory/here.yaml"]
        #expect(try await program.run("start", "small", "--dry-run", environment: environment).status == 0)
    }

    @Test func aDryRunShowsTheStepsAndStartsNothing() async throws {
        let program = try Program.withSmallPlan()
        let preview = try #require(
            try await program.run("start", "small", "--dry-run", "--json", "--param", "text=given").json() as? [String: Any])
        #expect((preview["parameters"] as? [String: String])?["text"] == "given")
        let steps = try #require(preview["steps"] as? [[String: Any]])
        #expect(steps.compactMap { $0["id"] as? String } == ["first", "slow", "ask", "last"])
        #expect(program.read("effects.log").isEmpty)
    }
}
