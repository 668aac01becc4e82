import Foundation
import Glibc
import Testing

/// `unless`: a check that shows that a step is already done.
@Suite struct UnlessTests {
    private func program(_ unless: String, run: String = "echo done >> effects.log", more: String = "") throws -> Program {
        let program = try Program()
        try program.write("all:\n  hosts: {}\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: careful
            parameters:
              mark:
                default: there
            steps:
              - id: work
                kind: command
                on: [orchestrator]
                unless: \(unless)
            \(more)    with:
                  directory: \(program.folder)
                  environment: {WORD: word}
                  run: \(run)
                undo:
                  kind: command
                  with:
                    directory: \(program.folder)
                    run: echo undone >> effects.log

            """, to: "plans/careful.yaml")
        return program
    }

    private func step(_ program: Program) async throws -> [String: Any] {
        let status = try #require(try await program.run("status", "--json").json() as? [String: Any])
        return try #require((status["steps"] as? [[String: Any]])?.first)
    }

    @Test func aStepThatIsDoneAlreadyIsUnchangedAndRunsNothing() async throws {
        let program = try program(#"test -e "$PARAM_MARK" && test "$WORD" = word"#)
        try program.write("", to: "there")
        let started = try await program.run("start", "careful")
        #expect(started.status == 0, "\(started.errors)")
        #expect(program.read("effects.log") == "")
        let step = try await step(program)
        #expect(step["state"] as? String == "SUCCEEDED")
        #expect(step["changed"] as? Bool == false)
        #expect(try await program.run("status").output.contains("unchanged"))
        #expect(try await program.run("report").output.contains("unchanged"))
        // The answer is in the journal before the outcome, and nothing is put back of what was not done.
        let records = try #require(try await program.run("journal", "show", "--json").json() as? [[String: Any]])
        let kinds = records.compactMap { $0["kind"] as? String }
        let asked = try #require(kinds.firstIndex(of: "observed")), ended = try #require(kinds.firstIndex(of: "attempt-succeeded"))
        #expect(asked < ended)
        try await program.run("undo", "--yes", "--reason", "a test")
        #expect(program.read("effects.log") == "")
    }

    @Test func aStepThatIsNotDoneRuns() async throws {
        let program = try program("test -e there")
        #expect(try await program.run("start", "careful").status == 0)
        #expect(program.read("effects.log") == "done\n")
        #expect(try await step(program)["changed"] as? Bool == true)
        try await program.run("undo", "--yes", "--reason", "a test")
        #expect(program.read("effects.log") == "done\nundone\n")
    }

    @Test(arguments: ["exit 2", "no-such-program", "kill -9 $$"])
    func aCheckThatCannotTellFailsTheAttemptAndIsNotTakenForDone(check: String) async throws {
        let program = try program(check)
        let started = try await program.run("start", "careful")
        #expect(started.status == 1)
        #expect((started.output + started.errors).contains("cannot tell whether the step is already done"), "\(started.output)\(started.errors)")
        #expect(program.read("effects.log") == "")
        #expect(try await step(program)["state"] as? String == "FAILED")
    }

    @Test func anAttemptIsAskedAgainAndALaterOneAsksAnew() async throws {
        // The first attempt's check cannot tell; the second one's can.
        let program = try program("test -e asked || { touch asked; exit 9; }", more: "    retry: {attempts: 2, initial: 10ms}\n")
        #expect(try await program.run("start", "careful").status == 0)
        #expect(program.read("effects.log") == "")
        let step = try await step(program)
        #expect(step["attempt"] as? Int == 2)
        // An earlier attempt may have done it, so it counts as changed and can be undone.
        #expect(step["changed"] as? Bool == true)
    }

    /// The answer decides, whatever the world looks like when the run goes on.
    @Test(arguments: [true, false])
    func aKillAfterTheAnswerGoesTheWayOfTheAnswer(isDone: Bool) async throws {
        let program = try program("test -e there")
        if isDone { try program.write("", to: "there") }
        let killed = try await program.run("start", "careful", environment: ["REPRISE_FAILPOINT": "unless.answered:1:kill"])
        #expect(killed.status == 128 + SIGKILL)
        if isDone { try FileManager.default.removeItem(atPath: program.folder + "/there") } else { try program.write("", to: "there") }
        #expect(try await program.run("resume").status == 0)
        #expect(program.read("effects.log") == (isDone ? "" : "done\n"))
        #expect(try await step(program)["changed"] as? Bool == !isDone)
    }

    @Test func aKillBeforeTheAnswerAsksAgain() async throws {
        let program = try program("test -e there")
        let killed = try await program.run("start", "careful", environment: ["REPRISE_FAILPOINT": "job.before-submit:1:kill"])
        #expect(killed.status == 128 + SIGKILL)
        try program.write("", to: "there")
        #expect(try await program.run("resume").status == 0)
        #expect(program.read("effects.log") == "")
        #expect(try await step(program)["changed"] as? Bool == false)
    }
}
