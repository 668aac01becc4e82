import Foundation
import Testing

/// Steps on a host that the plan itself makes wait for the step that makes it.
@Suite struct MadeHostTests {
    private func program(needs: String, on host: String = "fresh") throws -> Program {
        let program = try Program()
        try program.write("all:\n  hosts:\n    fresh:\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: making
            parameters:
              target:
                default: fresh
            steps:
              - id: machine
                kind: provision
                on: orchestrator
                with:
                  host: fresh
                  run: touch made; exit 1
                  directory: \(program.folder)
              - id: between
                kind: command
                on: [orchestrator]
                with: {run: exit 0}
              - id: hasty
                kind: command
                on: "\(host)"
                needs: \(needs)
                with: {run: exit 0}
              - id: after
                kind: command
                on: "\(host)"
                with: {run: exit 0}

            """, to: "plans/making.yaml")
        return program
    }

    @Test func aStepThatDoesNotWaitForItsHostIsFoundBeforeAnythingStarts() async throws {
        let program = try program(needs: "[]")
        for words in [["start", "making", "--yes"], ["check", "making"], ["plan", "validate"]] {
            let ended = try await program.start(words).result()
            #expect(ended.status == 2, "\(words) \(ended.output) \(ended.errors)")
            #expect(ended.errors.contains("plans/making.yaml:18:9: error: step `hasty` runs on `fresh` and does not wait for step `machine`, which makes it [plan.hasty-steps]"), "\(ended.errors)")
            #expect(ended.errors.contains("step `after` runs on `fresh`") && ended.errors.contains("let step `hasty` need `machine`"))
        }
        let status = try await program.run("status")
        #expect(program.read("made") == "" && status.output.isEmpty, "nothing was started")
    }

    /// Where a parameter says where a step runs, the plan alone does not say it.
    @Test func itIsFoundAsSoonAsThePlaceIsKnown() async throws {
        let program = try program(needs: "[]", on: "{{ params.target }}")
        #expect(try await program.run("plan", "validate").status == 0)
        for (ended, status) in [(try await program.run("start", "making", "--yes"), 2), (try await program.run("check", "making"), 1)] {
            #expect(ended.status == status, "\(ended.output) \(ended.errors)")
            #expect((ended.output + ended.errors).contains("step `hasty` runs on `fresh` and does not wait for step `machine`, which makes it"))
            #expect((ended.output + ended.errors).contains("step `after` runs on `fresh`"))
        }
        #expect(program.read("made") == "", "nothing was started")
        let elsewhere = try await program.run("check", "making", "--param", "target=orchestrator")
        #expect(elsewhere.status == 0, "\(elsewhere.output) \(elsewhere.errors)")
    }

    @Test func aDatabaseOnAHostThatIsMadeIsWaitedForToo() async throws {
        let program = try program(needs: "[between]")
        try program.write(program.read("inventory/here.yaml") + "reprise:\n  databases:\n    books: {host: fresh, database: books}\n", to: "inventory/here.yaml")
        try program.write(
            program.read("plans/making.yaml") + "  - id: look\n    kind: sql-check\n    needs: []\n    with: {database: books, checks: [{sql: SELECT 1}]}\n", to: "plans/making.yaml")
        let validated = try await program.run("plan", "validate")
        #expect(validated.status == 2, "\(validated.output)")
        #expect(validated.errors.contains("step `look` runs on `fresh` and does not wait for step `machine`"), "\(validated.errors)")
    }

    @Test func withoutAnInventoryTheNameInThePlanSaysIt() async throws {
        let program = try program(needs: "[]")
        try FileManager.default.removeItem(atPath: program.folder + "/inventory/here.yaml")
        let validated = try await program.run("plan", "validate")
        #expect(validated.status == 2, "\(validated.output)")
        #expect(validated.output.contains("refused, 2 errors"), "\(validated.output)")
    }

    @Test func aStepThatWaitsForItByWayOfOthersIsFine() async throws {
        let program = try program(needs: "[between]")
        let checked = try await program.run("check", "making")
        #expect(checked.status == 0 && checked.output.contains("step machine makes it"), "\(checked.output) \(checked.errors)")
    }
}
