import Testing

/// What a failed run says can be done about it.
@Suite struct WayOnTests {
    /// What the plan or a parameter says stays so in this run, however often the step is tried.
    @Test func aFailureOfThePlansOwnLeadsToANewRunAndNotToARetry() async throws {
        let program = try Program()
        try program.write("all:\n  hosts:\n    spare: {}\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: code
            parameters:
              repository:
                required: true
              token:
                secret: true
              depth:
                type: integer
                default: 5
            steps:
              - id: code
                kind: git-checkout
                on: orchestrator
                with:
                  repository: "{{ params.repository }}"
                  revision: v1
                  into: \(program.folder)/site

            """, to: "plans/code.yaml")
        let started = try await program.run("start", "code", "--param", "repository=-o it's", "--param", "token=env:TOKEN", "--json")
        #expect(started.status == 2, "\(started.output)\(started.errors)")
        let end = try #require(try started.jsonLines().last), run = try #require(end["run"] as? String)
        let anew = "reprise start plans/code.yaml --inventory inventory/here.yaml --param 'repository=-o it'\\''s' --param token=env:TOKEN"
        #expect(end["next"] as? [String] == [
            "reprise cancel \(run)", anew, "reprise logs \(run) code", "reprise skip \(run) code --reason …", "reprise undo \(run)", "reprise report \(run) --runbook",
        ])
        let choices = try #require(end["choices"] as? [[String: Any]])
        #expect(choices.first?["when"] as? String == "the plan, the inventory or a parameter has to be another one, and this run goes by its own copies: a retry would find the same")
        #expect(choices.first?["commands"] as? [String] == ["reprise cancel \(run)", anew])
        let text = try await program.run("status").output
        #expect(text.contains("a retry would find the same:\n    reprise cancel \(run)\n    \(anew)\n"), "\(text)")
        #expect(!text.contains("reprise retry"))
        // And once it is cancelled.
        try await program.run("cancel")
        let cancelled = try #require(try await program.run("status", "--json").json() as? [String: Any])
        #expect(cancelled["state"] as? String == "CANCELLED")
        #expect(cancelled["next"] as? [String] == [anew, "reprise undo \(run)"])
    }
}
