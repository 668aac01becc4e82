import Foundation
import Testing

@Suite struct UsageTests {
    private static let commands: [[String]] = [
        [], ["plan"], ["plan", "list"], ["plan", "show"], ["plan", "validate"], ["plan", "graph"], ["plan", "schema"], ["check"], ["start"],
        ["resume"], ["status"], ["list"], ["watch"], ["logs"], ["pause"], ["cancel"], ["undo"], ["retry"], ["skip"], ["resolve"], ["approve"],
        ["deny"], ["report"], ["journal"], ["journal", "verify"], ["journal", "show"], ["journal", "export"], ["backup"], ["backup", "list"],
        ["backup", "show"], ["backup", "verify"], ["diff"], ["merge"], ["claims"], ["claims", "list"], ["claims", "release"], ["adopt"], ["completions"], ["version"],
    ]

    @Test(arguments: commands)
    func everyHelpTextSaysWhatTheExitStatusesMean(command: [String]) async throws {
        let result = try await Program().start(command + ["--help"]).result()
        #expect(result.status == 0)
        #expect(result.output.contains("EXIT STATUS"))
        #expect(result.output.contains("130"))
        #expect(result.errors.isEmpty)
    }

    @Test(arguments: [
        ["nonsense"], ["start"], ["start", "x", "--nonsense"], ["skip", "step"], ["resolve", "step", "--as", "maybe", "--reason", "x"],
        ["approve", "step"], ["resume", "--take-over"], ["status", "a", "b"], ["start", "x", "--mode", "y"], ["list", "--quiet", "--verbose"],
        ["report", "--format", "pdf"], ["retry", "Not A Step"],
    ])
    func badUsageEndsWithStatusTwoAndSaysWhyOnStandardError(arguments: [String]) async throws {
        let result = try await Program().start(arguments).result()
        #expect(result.status == 2)
        #expect(result.output.isEmpty)
        #expect(result.errors.hasPrefix("reprise: "))
    }

    @Test func badUsageIsAnObjectWhereJSONIsAskedFor() async throws {
        let result = try await Program().run("start", "x", "--nonsense", "--json")
        #expect(result.status == 2)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(result.errors.utf8)) as? [String: [String: Any]])
        #expect(object["error"]?["code"] as? String == "usage")
        let message = try #require(object["error"]?["message"] as? String)
        #expect(!message.isEmpty)
    }

    @Test func theVersionIsShownInEveryUsualWay() async throws {
        #expect(try await Program().run("version").output.hasPrefix("reprise "))
        #expect(try await Program().run("--version").status == 0)
        let answer = try #require(try await Program().run("version", "--json").json() as? [String: Any])
        #expect(answer["version"] != nil)
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func completionScriptsKnowTheCommands(shell: String) async throws {
        for arguments in [["completions", shell], ["--generate-completion-script", shell]] {
            let result = try await Program().start(arguments).result()
            #expect(result.status == 0)
            #expect(result.output.contains("resume"))
        }
    }

    @Test func anEmptyJournalHoldsNoRunsAndIsNotMadeByLooking() async throws {
        let program = try Program()
        let list = try await program.run("list")
        #expect(list.status == 0)
        #expect(list.output == "no runs yet\n")
        #expect(try await program.run("list", "--json").output == "[]\n")
        #expect(!FileManager.default.fileExists(atPath: program.folder + "/state"))
        let status = try await program.run("status", "--json")
        #expect(status.status == 2)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(status.errors.utf8)) as? [String: [String: Any]])
        #expect(object["error"]?["code"] as? String == "journal.missing")
        #expect((object["error"]?["hints"] as? [String])?.isEmpty == false)
        // Neither by what is asked of a run that there is not.
        for arguments in [["resume"], ["cancel"], ["undo"], ["pause"], ["retry", "first", "--reason", "x"]] {
            let asked = try await program.start(arguments).result()
            #expect(asked.status == 2 && asked.errors.contains("there is no journal at \(program.folder)/state"), "\(arguments): \(asked.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: program.folder + "/state"))
    }

    @Test(arguments: [
        (["resum"], "did you mean `resume`?"), (["journal", "verfy"], "did you mean `verify`?"), (["xyzzy"], "commands: plan, check, start"),
        (["plan", "show", "plans/smal.yaml"], "did you mean `plans/small.yaml`?"), (["start", "smal"], "did you mean `small`?"),
        (["retry"], "Usage: reprise retry [<run>] <step>"), (["status"], "start a run first, or name the journal with --journal"),
    ])
    func whatIsMisspeltOrMissingIsNamedWithWhatToDo(arguments: [String], says: String) async throws {
        let program = try Program.withSmallPlan()
        let result = try await program.start(arguments).result()
        #expect(result.status == 2)
        #expect(result.output.isEmpty)
        #expect(result.errors.contains(says), "in \(program.folder): \(result.errors)")
    }

    @Test func runsAndStepsThatThereAreNotAreNamedWithThoseThatThereAre() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        for _ in 0..<2 {
            let begun = try await program.run("start", "small")
            #expect(begun.status == 5)
            #expect(begun.output.contains("plan plans/small.yaml, inventory inventory/here.yaml, journal \(program.folder)/state"), "\(begun.output)")
        }
        let step = try await program.run("retry", "frist")
        #expect(step.status == 2 && step.errors.contains("the run has no step frist") && step.errors.contains("did you mean `first`?"))
        let ambiguous = try await program.run("status", "2")
        #expect(ambiguous.status == 2 && ambiguous.errors.contains("more than one run begins with") && ambiguous.errors.contains("give more of the id: 2"))
        let unknown = try await program.run("retry", "1999", "first")
        #expect(unknown.status == 2 && unknown.errors.contains("begins with \"1999\"") && unknown.errors.contains("reprise list"))
        #expect(unknown.errors.contains("no run in journal \(program.folder)/state") && unknown.errors.contains("another journal is named with --journal"))
        let logs = try await program.run("logs", "ask")
        #expect(logs.status == 0 && logs.output.isEmpty && logs.errors.contains("no job of step ask of run"), "\(logs.errors)")
    }

    @Test func theCompletionsForBashLoadAndComplete() async throws {
        let script = try await Program().run("completions", "bash").output
        let program = try Program()
        try program.write(script, to: "reprise.bash")
        let shell = try Running(
            executable: "/bin/bash",
            arguments: ["-c", "set -e; . ./reprise.bash; complete -p reprise; COMP_WORDS=(reprise resu) COMP_CWORD=1; _reprise reprise resu reprise; echo \"${COMPREPLY[@]}\""],
            place: program.folder, environment: program.ownEnvironment)
        let result = try await shell.result()
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("resume"))
    }
}
