import Testing

/// Steps on a host that the plan itself makes wait for the step that makes it.
@Suite struct MadeHostTests {
    private func program(needs: String) throws -> Program {
        let program = try Program()
        try program.write("all:\n  hosts:\n    fresh:\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: making
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
                on: fresh
                needs: \(needs)
                with: {run: exit 0}
              - id: after
                kind: command
                on: fresh
                with: {run: exit 0}

            """, to: "plans/making.yaml")
        return program
    }

    @Test func aStepThatDoesNotWaitForItsHostIsFoundBeforeAnythingStarts() async throws {
        let program = try program(needs: "[]")
        for (ended, status) in [(try await program.run("start", "making", "--yes"), 2), (try await program.run("check", "making"), 1)] {
            #expect(ended.status == status, "\(ended.output) \(ended.errors)")
            #expect((ended.output + ended.errors).contains("step hasty runs on fresh and does not wait for step machine, which makes it"))
            #expect((ended.output + ended.errors).contains("step after runs on fresh"))
        }
        let status = try await program.run("status")
        #expect(program.read("made") == "" && status.output.isEmpty, "nothing was started")
    }

    @Test func aStepThatWaitsForItByWayOfOthersIsFine() async throws {
        let program = try program(needs: "[between]")
        let checked = try await program.run("check", "making")
        #expect(checked.status == 0 && checked.output.contains("step machine makes it"), "\(checked.output) \(checked.errors)")
    }
}
