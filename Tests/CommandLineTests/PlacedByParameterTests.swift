import Testing

/// Steps whose host a parameter names.
@Suite struct PlacedByParameterTests {
    private func program() throws -> Program {
        let program = try Program()
        try program.write("all:\n  hosts:\n    db1: {}\n  children:\n    nobody: {}\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: placed
            parameters:
              place:
                default: orchestrator
            steps:
              - id: one
                kind: command
                on: ["{{ params.place }}"]
                with:
                  directory: \(program.folder)
                  run: echo ran >> effects.log

            """, to: "plans/placed.yaml")
        return program
    }

    @Test func theStepRunsWhereTheParameterSays() async throws {
        let program = try program()
        #expect(try await program.run("start", "placed").status == 0)
        #expect(program.read("effects.log") == "ran\n")
        #expect(try await program.run("status").output.contains("orchestrator"))
        let shown = try await program.run("start", "placed", "--dry-run", "--param", "place=db1")
        #expect(shown.output.contains("db1"), "\(shown.output)")
    }

    /// It would run nowhere, and pass.
    @Test(arguments: [("db2", "which the inventory does not have"), ("nobody", "a group without hosts"), ("{{ params.place }}", "which the inventory does not have")])
    func aHostThatIsNotThereIsRefusedBeforeAnythingStarts(place: String, why: String) async throws {
        let program = try program()
        let started = try await program.run("start", "placed", "--param", "place=\(place)")
        #expect(started.status == 2, "\(started.output)")
        #expect(started.errors.contains("step one is to run on \(place), \(why)"), "\(started.errors)")
        #expect(program.read("effects.log") == "")
        #expect(try await program.run("status").output.isEmpty)
        if place == "db2" { #expect(started.errors.contains("db1"), "\(started.errors)") }
    }
}
