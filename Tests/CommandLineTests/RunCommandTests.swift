import Foundation
import Glibc
import Testing

@Suite struct RunCommandTests {
    private func status(_ program: Program, _ run: String? = nil) async throws -> [String: Any] {
        let result = try await program.start(["status"] + (run.map { [$0] } ?? []) + ["--json"]).result()
        return try #require(try result.json() as? [String: Any], "\(result.errors)")
    }

    private func states(_ status: [String: Any]) -> [String: String] {
        Dictionary(
            (status["steps"] as? [[String: Any]] ?? []).compactMap { step in
                (step["id"] as? String).flatMap { id in (step["state"] as? String).map { (id, $0) } }
            }, uniquingKeysWith: { first, _ in first })
    }

    @Test func aRunWaitsForItsApprovalAndThenEnds() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        let started = try await program.run("start", "small", "--param", "text=it's $HOME `id`")
        #expect(started.status == 5, "\(started.errors)")
        #expect(started.output.contains("reprise approve "))
        #expect(!started.output.contains("\u{1B}"))
        #expect(program.read("effects.log") == "first\nslow\n")
        let waiting = try await status(program)
        #expect(waiting["state"] as? String == "WAITING")
        #expect(states(waiting)["ask"] == "WAITING")

        let approved = try await program.run("approve", "ask", "--comment", "looked at it")
        #expect(approved.status == 0, "\(approved.errors)")
        #expect(program.read("effects.log") == "first\nslow\nlast\n")
        #expect(try await status(program)["state"] as? String == "SUCCEEDED")
        #expect(try await program.run("logs", "first", "--raw").output == "said it's $HOME `id`\n")
        let logs = try #require(try await program.run("logs", "--json").json() as? [[String: Any]])
        #expect(logs.compactMap { $0["text"] as? String }.contains("begun"))
    }

    @Test func everyViewOfAFinishedRunIsWhole() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        try await program.run("start", "small")
        try await program.run("approve", "ask", "--comment", "<script>alert(1)</script> | `x`")
        #expect(try await program.run("report").output.contains("looked") == false)
        let html = try await program.run("report", "--format", "html").output
        #expect(html.hasPrefix("<!doctype html>"))
        #expect(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"))
        #expect(!html.contains("<script"))
        #expect(!html.contains("http://") && !html.contains("https://"))
        let markdown = try await program.run("report", "--format", "markdown").output
        #expect(markdown.hasPrefix("# "))
        #expect(markdown.contains("&lt;script&gt;alert(1)&lt;/script&gt; \\| \\`x\\`"))
        let report = try #require(try await program.run("report", "--json").json() as? [String: Any])
        let run = try #require((report["run"] as? [String: Any])?["run"] as? String)
        let head = try #require((report["run"] as? [String: Any])?["journalHead"] as? String)
        #expect((report["decisions"] as? [[String: Any]])?.first?["what"] as? String == "approved")
        #expect(try await program.run("report", "--runbook", "--json").json() is [String: Any])

        let list = try #require(try await program.run("list", "--json").json() as? [[String: Any]])
        #expect(list.first?["run"] as? String == run)
        #expect(list.first?["plan"] as? String == "small")
        #expect(try await program.run("journal", "verify").output.hasPrefix("intact"))
        #expect(try await program.run("journal", "verify", run, "--head", head).status == 0)
        #expect(try await program.run("journal", "verify", run, "--head", String(repeating: "0", count: 64)).status == 1)
        let shown = try #require(try await program.run("journal", "show", "--json").json() as? [[String: Any]])
        let exported = try await program.run("journal", "export").jsonLines()
        #expect(shown.count == exported.count)
        #expect(exported.last?["hash"] as? String == head)
        // The chain can be followed from outside.
        for (previous, next) in zip(exported, exported.dropFirst()) { #expect(next["previousHash"] as? String == previous["hash"] as? String) }
        #expect(try await program.run("status", String(run.dropLast(3))).status == 0)
        #expect(try await program.run("status", "2999").status == 2)
    }

    @Test func interruptLetsGoAndResumePicksTheJobUp() async throws {
        let program = try Program.withSmallPlan()
        let running = try program.start(["start", "small"])
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        running.signal(SIGINT)
        let left = try await running.result()
        #expect(left.status == 130)
        #expect(left.output.contains("reprise resume "))
        #expect(try await status(program)["state"] as? String == "INTERRUPTED")
        try program.write("", to: "go")
        let resumed = try await program.run("resume")
        #expect(resumed.status == 5, "\(resumed.errors)")
        #expect(resumed.output.contains("RESUMED"))
        #expect(program.read("effects.log") == "first\nslow\n")
    }

    @Test func aKilledRunIsInterruptedAndDoesNothingTwice() async throws {
        let program = try Program.withSmallPlan()
        let running = try program.start(["start", "small", "--verbose"])
        try await Program.wait(for: "the slow step's output") { running.outputSoFar.contains("| begun") }
        running.signal(SIGKILL)
        #expect(try await running.result().status == 128 + SIGKILL)
        let interrupted = try await status(program)
        #expect(interrupted["state"] as? String == "INTERRUPTED")
        #expect(interrupted["next"] as? [String] == ["reprise resume \(interrupted["run"] as? String ?? "")"])
        try program.write("", to: "go")
        let events = try await program.run("resume", "--json")
        #expect(events.status == 5)
        let lines = try events.jsonLines()
        #expect(lines.contains { $0["type"] as? String == "event" })
        #expect(lines.last?["type"] as? String == "end")
        #expect(lines.last?["exitStatus"] as? Int == 5)
        #expect(program.read("effects.log") == "first\nslow\n")
        // The job sent its whole output again to the second process; the log holds no line twice.
        #expect(try await program.run("logs", "slow", "--raw").output == "begun\nended\n")
    }

    @Test func aJobThatGoesOnKeepsNothingOpenOfTheOneWhoCalled() async throws {
        let program = try Program.withSmallPlan()
        // A descriptor without close-on-exec, as a shell leaves it: `exec 9>lock; flock 9; reprise start …`.
        let running = try Running(
            executable: "/bin/sh", arguments: ["-c", "exec 9>held; exec \"$0\" start small", Program.path], place: program.folder,
            environment: program.ownEnvironment)
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        running.signal(SIGKILL)
        _ = try await running.result()
        let holders = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { Int32($0) != nil }.filter { process in
            let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd")) ?? []
            return descriptors.contains {
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/fd/\($0)")) == program.folder + "/held"
            }
        }
        #expect(holders.isEmpty)
        try program.write("", to: "go")
        #expect(try await program.run("resume").status == 5)
    }

    /// Nobody waits for what a command leaves running, and nobody is left in ignorance of it.
    @Test func aProcessThatACommandLeavesBehindIsAWarningAndIsNamed() async throws {
        let program = try Program()
        try program.write("all:\n  hosts: {}\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: daemon
            steps:
              - id: leave
                kind: command
                on: [orchestrator]
                with:
                  directory: \(program.folder)
                  run: |
                    setsid sh -c 'echo $$ > pid; exec sleep 300' &
                    until [ -s pid ]; do sleep 0.05; done

            """, to: "plans/daemon.yaml")
        let result = try await program.run("start", "daemon")
        let daemon = try #require(pid_t(program.read("pid").trimmingCharacters(in: .whitespacesAndNewlines)), "\(result.errors)")
        defer { kill(daemon, SIGKILL) }
        #expect(result.status == 8, "\(result.output)\(result.errors)")
        let warning = "the command on orchestrator left a process behind: sleep (process \(daemon))"
        #expect(try await program.run("report").output.contains(warning))
        #expect(try await program.run("status").output.contains("warning: leave: \(warning)"))
        #expect(try await status(program)["state"] as? String == "SUCCEEDED_WITH_WARNINGS")
        #expect(kill(daemon, 0) == 0, "it was ended")
    }

    @Test func aRunThatALiveProcessHoldsIsLeftAlone() async throws {
        let program = try Program.withSmallPlan()
        let running = try program.start(["start", "small"])
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        let second = try await program.run("resume")
        #expect(second.status == 7)
        #expect(second.errors.contains("is held by"))
        #expect(second.errors.contains("HINT: "))
        #expect(try await status(program)["holder"] as? String != nil)
        try program.write("", to: "go")
        #expect(try await running.result().status == 5)
    }

    @Test func aHeldRunCanBeTakenOverAndTheStaleProcessStops() async throws {
        let program = try Program.withSmallPlan()
        let running = try program.start(["start", "small"])
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        running.signal(SIGSTOP)
        let taking = try program.start(["resume", "--take-over", "--reason", "the laptop is closed"])
        try await Program.wait(for: "the take-over") { taking.outputSoFar.contains("TAKEN OVER") }
        try program.write("", to: "go")
        #expect(try await taking.result().status == 5)
        running.signal(SIGCONT)
        #expect(try await running.result().status == 7)
        #expect(program.read("effects.log") == "first\nslow\n")
    }

    @Test func peoplesWordsMoveARunOn() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        try await program.run("start", "small")
        let denied = try await program.run("deny", "ask", "--comment", "not yet")
        #expect(denied.status == 1)
        let failed = try await status(program), run = try #require(failed["run"] as? String)
        #expect(failed["state"] as? String == "FAILED")
        // A command that is shown can be taken as it stands.
        let shown = try await program.run("status").output
        #expect(shown.contains("HINT: ask again with: reprise retry \(run) ask"), "\(shown)")
        #expect(try await program.run("retry", "ask").status == 5)
        #expect(try await program.run("approve", "aks", "--comment", "x").errors.contains("did you mean `ask`?"))
        let elsewhere = try await program.run("approve", "last", "--comment", "x")
        #expect(elsewhere.status == 2 && elsewhere.errors == "reprise: nothing waits for a person's word at step last of this run, which is queued\nHINT: ask does\n")
        // A word is given, not gone round.
        let skipped = try await program.run("skip", "ask", "--reason", "asked by phone")
        #expect(skipped.status == 2 && skipped.errors.contains("asks for a person's word, and a word is not skipped"), "\(skipped.status) \(skipped.errors)")
        #expect(program.read("effects.log") == "first\nslow\n")
        for empty in ["", "  "] {
            let wordless = try await program.run("approve", "ask", "--comment", empty)
            #expect(wordless.status == 2 && wordless.errors.contains("--comment says nothing"), "\(wordless.status) \(wordless.errors)")
        }
        #expect(try await program.run("approve", "ask", "--comment", "asked by phone").status == 0)
        #expect(program.read("effects.log") == "first\nslow\nlast\n")
        #expect(try await program.run("approve", "ask", "--comment", "late").status == 2)
    }

    @Test func aWordCanBeNotedWithoutGoingOn() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        try await program.run("start", "small")
        let noted = try await program.run("approve", "ask", "--comment", "x", "--no-drive")
        #expect(noted.status == 0, "\(noted.errors)")
        #expect(program.read("effects.log") == "first\nslow\n")
        #expect(try await program.run("resume").status == 0)
        #expect(program.read("effects.log") == "first\nslow\nlast\n")
    }

    /// Two people at once: one word counts, and who gave the other is told of it.
    @Test func ofTwoWordsAtOnceOneCounts() async throws {
        for round in 0..<10 {
            let program = try Program.withSmallPlan()
            try program.write("", to: "go")
            #expect(try await program.run("start", "small").status == 5)
            let approving = try program.start(["approve", "ask", "--comment", "yes"])
            let denying = try program.start(["deny", "ask", "--comment", "no"])
            let approved = try await approving.result(), denied = try await denying.result()
            let report = try #require(try await program.run("report", "--json").json() as? [String: Any])
            let decisions = (report["decisions"] as? [[String: Any]] ?? []).compactMap { $0["what"] as? String }
            let said = "round \(round): \(decisions)\napprove: \(approved)\ndeny: \(denied)"
            #expect(decisions.count == 1, "\(said)")
            let isApproved = decisions.first == "approved", other = isApproved ? denied : approved
            #expect(approved.status == (isApproved ? 0 : 2), "\(said)")
            #expect(denied.status == (isApproved ? 2 : 1), "\(said)")
            let first = isApproved ? approving.id : denying.id
            #expect(other.errors.contains("step ask was \(isApproved ? "approved" : "denied") by "), "\(said)")
            #expect(other.errors.contains("(process \(first)) already"), "\(said)")
            #expect(program.read("effects.log") == (isApproved ? "first\nslow\nlast\n" : "first\nslow\n"), "\(said)")
        }
    }

    /// A word that its owner was told does not count is not obeyed when the holder wakes up, nor for the question after.
    @Test func aWordThatAStoppedHolderDidNotTakeIsTakenBack() async throws {
        let program = try Program.withAskingPlan()
        let running = try program.start(["start", "asking"])
        try await Program.wait(for: "the question") { running.outputSoFar.contains("ask waits for approval") }
        running.signal(SIGSTOP)
        let approved = try await program.run("approve", "ask", "--comment", "yes")
        #expect(approved.status == 7, "\(approved.errors)")
        #expect(approved.errors.contains("the word was taken back and changes nothing"))
        running.signal(SIGCONT)
        let denied = try await program.run("deny", "ask", "--comment", "no")
        #expect(denied.status == 0, "\(denied.errors)")
        #expect(try await program.run("retry", "ask").status == 0)
        try await Program.wait(for: "the next question") { running.outputSoFar.components(separatedBy: "ask waits for approval").count > 2 }
        try program.write("", to: "go")
        #expect(try await running.result().status == 5)
        #expect(states(try await status(program))["ask"] == "WAITING")
        #expect(program.read("effects.log") == "")
    }

    @Test func undoingHasToBeConfirmed() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        try await program.run("start", "small")
        let refused = try await program.run("undo")
        #expect(refused.status == 2)
        #expect(refused.errors.contains("HINT: then say so: --yes"))
        #expect(try await status(program)["state"] as? String == "WAITING")
        let undone = try await program.run("undo", "--yes", "--reason", "a test")
        #expect(undone.status == 1)
        #expect(try await status(program)["state"] as? String == "UNDONE")
    }

    @Test func watchShowsTheRunOfAnotherProcessToItsEnd() async throws {
        let program = try Program.withSmallPlan()
        let running = try program.start(["start", "small"])
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        let watching = try program.start(["watch", "--json"])
        try await Program.wait(for: "the watcher") { !watching.outputSoFar.isEmpty }
        try program.write("", to: "go")
        #expect(try await running.result().status == 5)
        let watched = try await watching.result()
        #expect(watched.status == 5)
        #expect(try watched.jsonLines().contains { $0["kind"] as? String == "approval-requested" })
    }

    @Test func aSecretIsInNoOutputAndInNoFile() async throws {
        let program = try Program()
        let canary = "c4n4ry'$\"%\\ value"
        try program.write("all:\n  hosts: {}\nreprise:\n  secrets:\n    canary: env:CANARY\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: leaky
            steps:
              - id: leak
                kind: command
                on: [orchestrator]
                with:
                  environment:
                    TOKEN: {secret: canary}
                  run: |
                    echo "token: $TOKEN"
                    echo "token: $TOKEN" >&2
                    exit 3

            """, to: "plans/leaky.yaml")
        let result = try await program.run("start", "leaky", "--verbose", environment: ["CANARY": canary])
        #expect(result.status == 1, "\(result.errors)")
        #expect(result.output.contains("[redacted]"))
        #expect(!result.output.contains("c4n4ry") && !result.errors.contains("c4n4ry"))
        for arguments in [["report", "--json"], ["status"], ["logs"], ["journal", "export"]] {
            #expect(try await !program.start(arguments).result().output.contains("c4n4ry"))
        }
        let state = FileManager.default.enumerator(atPath: program.folder + "/state")?.compactMap { $0 as? String } ?? []
        #expect(!state.isEmpty)
        for file in state {
            guard let data = FileManager.default.contents(atPath: program.folder + "/state/" + file) else { continue }
            #expect(data.range(of: Data("c4n4ry".utf8)) == nil, "found in \(file)")
        }
    }

    @Test func logsAreForTheirOwnerOnly() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        try await program.run("start", "small")
        let folder = program.folder + "/state/reprise/runs"
        let files = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        #expect(files.contains { $0.hasSuffix("first.1.orchestrator.log") })
        for file in files {
            let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(file)")[.posixPermissions] as? Int
            #expect(mode == (file.hasSuffix(".log") ? 0o600 : 0o700), "\(file)")
        }
    }
}
