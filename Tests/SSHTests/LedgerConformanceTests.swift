import BlockingIO
import Foundation
import Glibc
import LoopbackSSH
import RunCore
import Testing

@testable import SSH

/// What every ledger must do, whichever way it is reached.
@Suite(.serialized) struct LedgerConformanceTests {
    @Test(arguments: Reach.available) func aJobsResultAndOutputAreRecorded(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let seen = Collector()
        let verdict = try await ledger.run(
            job("echo out; echo err >&2; cat; exit 3", stdin: Array("typed".utf8)), onOutput: seen.add, deadline: bench.soon)
        let result = try #require(verdict.result)
        #expect(result.exitStatus == 3 && result.signal == nil && !result.timedOut && !result.cancelled)
        #expect(seen.text(.stdout) == "out\ntyped" && seen.text(.stderr) == "err\n")
        #expect(result.stdoutBytes == 9 && result.stderrBytes == 4 && result.leftBehind.isEmpty)
        #expect(result.endedAtMilliseconds >= result.startedAtMilliseconds && !result.bootID.isEmpty)
        #expect(try await ledger.probe(jobID()) == verdict)
        #expect(try await ledger.output(jobID(), stream: .stdout, offset: 4, limit: 3) == Array("typ".utf8))
        // A later submission of the same job is the earlier one's result.
        #expect(try await ledger.submit(job("echo out; echo err >&2; cat; exit 3"), deadline: bench.soon) == verdict)
        await ledger.close()
    }

    @Test(arguments: Reach.available) func arrayArgumentsAndNamesPassLiterally(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let words = ["", "-n", "a b", "quo'te", "\"", "$(touch pwned)", "new\nline", "*", "%41\\", "ü", "=end", "end"]
        var spec = job("unused")
        spec.script = .argv(["/usr/bin/printf", "<%s>\\0"] + words)
        spec.environment = ["HARD": "a'b\n$(x)\"=c", "EMPTY": ""]
        let seen = Collector()
        #expect(try await ledger.run(spec, onOutput: seen.add, deadline: bench.soon).result?.exitStatus == 0)
        #expect(seen.text(.stdout) == words.map { "<\($0)>\0" }.joined())
        let environment = Collector()
        var second = job("printf '%s|%s|%s' \"$HARD\" \"$EMPTY\" \"${SSH_CONNECTION-none}\"", jobID("second", part: "p_1"))
        second.environment = spec.environment
        #expect(try await ledger.run(second, onOutput: environment.add, deadline: bench.soon).result?.exitStatus == 0)
        #expect(environment.text(.stdout) == "a'b\n$(x)\"=c||none")
        await ledger.close()
    }

    @Test(arguments: Reach.available) func twentyConcurrentStartersHaveOneEffect(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledgers = try await withThrowingTaskGroup(of: (any ConnectedLedger).self) { group in
            for _ in 0..<5 { group.addTask { try await bench.open() } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let spec = job("echo effect >> \(bench.path("effects")); sleep 0.2; echo done")
        let verdicts = try await withThrowingTaskGroup(of: JobVerdict.self) { group in
            for number in 0..<20 {
                group.addTask {
                    let ledger = ledgers[number % ledgers.count]
                    _ = try await ledger.submit(spec, deadline: bench.soon)
                    return try await ledger.follow(spec.id, onOutput: { _ in }, deadline: bench.soon)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(verdicts.count == 20 && verdicts.allSatisfy { $0.result?.exitStatus == 0 })
        #expect(bench.text("effects") == "effect\n")
        for ledger in ledgers { await ledger.close() }
    }

    @Test(arguments: Reach.available) func aKilledSupervisorLeavesAnOrphanThatIsNotRunAgain(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let go = bench.path("go")
        // Output after the supervisor's death must not end the job by SIGPIPE in the middle of its work.
        let spec = job("echo effect >> \(bench.path("effects")); while [ ! -e \(go) ]; do sleep 0.01; done; echo late; echo whole >> \(bench.path("effects"))")
        #expect(try await ledger.submit(spec, deadline: bench.soon) == .running)
        try await eventually("the effect") { bench.text("effects") == "effect\n" }
        let process: pid_t = try #require(supervisor(of: bench.jobFolder(spec.id)))
        kill(process, SIGKILL)
        try await eventually("an orphan") { try await ledger.probe(spec.id).holders?.isEmpty == false }
        let again = try await ledger.submit(spec, deadline: bench.soon)
        #expect(again.holders?.contains { $0.hasPrefix("sh (process ") } == true, "\(again)")
        #expect(FileManager.default.createFile(atPath: go, contents: nil))
        let end = try await ledger.follow(spec.id, onOutput: { _ in }, deadline: bench.soon)
        #expect(end.evidence?["rebooted"] == "no", "\(end)")
        #expect(bench.text("effects") == "effect\nwhole\n")
        #expect(try await ledger.submit(spec, deadline: bench.soon).evidence != nil)
        #expect(bench.text("effects") == "effect\nwhole\n")
        await ledger.close()
    }

    @Test(arguments: Reach.available) func killedBeforeTheStartIsSafeAndAfterItIsInDoubt(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let spec = job("echo effect >> \(bench.path("effects"))")
        let early = try await bench.open(failpoint: "before-started")
        #expect(try await early.submit(spec, deadline: bench.soon) == .neverRan)
        await early.close()
        let late = try await bench.open(failpoint: "after-started")
        let verdict = try await late.submit(spec, deadline: bench.soon)
        #expect(verdict.evidence?["started-fence"] == "1", "\(verdict)")
        await late.close()
        let ledger = try await bench.open()
        #expect(try await ledger.submit(spec, deadline: bench.soon).evidence != nil)
        #expect(try await ledger.follow(spec.id, onOutput: { _ in }, deadline: bench.soon).evidence != nil)
        #expect(!bench.exists("effects"))
        let other = job("echo effect >> \(bench.path("effects"))", jobID("other"))
        let unlucky = try await bench.open(failpoint: "before-started")
        #expect(try await unlucky.submit(other, deadline: bench.soon) == .neverRan)
        #expect(try await ledger.run(other, deadline: bench.soon).result?.exitStatus == 0)
        #expect(bench.text("effects") == "effect\n")
        await unlucky.close()
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aKillBeforeTheResultIsInDoubtAlthoughTheEffectHappened(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open(failpoint: "before-result")
        let spec = job("echo effect >> \(bench.path("effects"))")
        #expect(try await ledger.run(spec, deadline: bench.soon).evidence != nil)
        #expect(bench.text("effects") == "effect\n")
        await ledger.close()
    }

    @Test(arguments: Reach.available) func staleAndRivalTicketsAreRefusedAndNameTheOther(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        #expect(try await ledger.announce(ticket(fence: 3, sequence: 20, head: "bb")) == nil)
        #expect(try await ledger.announce(ticket(fence: 3, sequence: 20, head: "bb"))?.fence == 3)
        func refusal(_ ticket: FenceTicket) async -> String? {
            do {
                _ = try await ledger.submit(job("touch \(bench.path("effect"))", ticket: ticket), deadline: bench.soon)
                return nil
            } catch {
                let error = error as? LedgerError
                #expect(error?.standing?.fence == 3 && error?.standing?.holder == "holder-a" && error?.exitStatus == .heldByAnother)
                return error?.code
            }
        }
        #expect(await refusal(ticket(fence: 2, sequence: 30, head: "cc")) == "ledger.fence-stale")
        #expect(await refusal(ticket(fence: 3, holder: "holder-b", sequence: 30, head: "cc")) == "ledger.fence-held")
        #expect(await refusal(ticket(fence: 4, holder: "holder-b", sequence: 19, head: "aa")) == "ledger.journal-old")
        #expect(await refusal(ticket(fence: 4, holder: "holder-b", sequence: 20, head: "other")) == "ledger.journal-forked")
        #expect(!bench.exists("effect"))
        #expect(try await ledger.announce(ticket(fence: 4, holder: "holder-b", sequence: 20, head: "bb"))?.holder == "holder-a")
        await #expect(throws: LedgerError.self) { try await ledger.announce(ticket(fence: 3, sequence: 20, head: "bb")) }
        #expect(try await ledger.runs().map(\.ticket.fence) == [4])
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aJournalOlderThanAJobsIsRefused(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        _ = try await ledger.run(job("true", ticket: ticket(fence: 1, sequence: 10, head: "aa")), deadline: bench.soon)
        _ = try await ledger.run(job("true", jobID("later"), ticket: ticket(fence: 1, sequence: 50, head: "ff")), deadline: bench.soon)
        do {
            try await ledger.announce(ticket(fence: 2, holder: "holder-b", sequence: 40, head: "ee"))
            Issue.record("an old copy of the journal was accepted")
        } catch let error as LedgerError {
            #expect(error.code == "ledger.journal-old" && error.standing?.journalSequence == 50)
        }
        try await ledger.announce(ticket(fence: 2, holder: "holder-b", sequence: 51, head: "gg"))
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aDeletedLedgerShowsAsAbsentAndAnotherContentIsRefused(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        _ = try await ledger.run(job("true"), deadline: bench.soon)
        await #expect(throws: LedgerError.self) { try await ledger.submit(job("false"), deadline: bench.soon) }
        try FileManager.default.removeItem(atPath: bench.jobFolder(jobID()))
        #expect(try await ledger.probe(jobID()) == .absent)
        #expect(try await ledger.follow(jobID(), onOutput: { _ in }, deadline: bench.soon) == .absent)
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aRebootShowsAsAnotherBootID(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let file = bench.path("boot-id")
        try "first\n".write(toFile: file, atomically: true, encoding: .utf8)
        let before = try await bench.open(failpoint: "after-started", bootIDFile: file)
        #expect(try await before.submit(job("true"), deadline: bench.soon).evidence?["rebooted"] == "no")
        await before.close()
        try "second\n".write(toFile: file, atomically: true, encoding: .utf8)
        let after = try await bench.open(bootIDFile: file)
        let evidence = try #require(try await after.probe(jobID()).evidence)
        #expect(evidence["rebooted"] == "yes" && evidence["started-boot"] == "first" && evidence["boot-id-now"] == "second")
        await after.close()
    }

    @Test(arguments: Reach.available) func aDaemonLeftBehindIsNamed(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let script = "setsid sh -c 'echo $$ > \(bench.path("pid")); exec sleep 300' & while [ ! -s \(bench.path("pid")) ]; do sleep 0.01; done"
        let result = try #require(try await ledger.run(job(script), deadline: bench.soon).result)
        let process: pid_t = try #require(Int32(bench.text("pid").trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(result.exitStatus == 0)
        #expect(result.leftBehind == ["sleep (process \(process))"])
        kill(process, SIGKILL)
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aLotOfOutputIsBoundedCountedAndHashed(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let seen = Collector()
        let spec = job("head -c 300000000 /dev/zero; echo end >&2", limit: 100_000)
        let result = try #require(try await ledger.run(spec, onOutput: seen.add, deadline: bench.soon).result)
        #expect(result.stdoutBytes == 300_000_000 && result.stdoutKeptBytes == 100_000 && result.stdoutIsTruncated)
        #expect(seen.bytes(.stdout).count == 100_000 && seen.text(.stderr) == "end\n")
        #expect(try FileManager.default.attributesOfItem(atPath: bench.jobFolder(spec.id) + "/stdout")[.size] as? Int == 100_000)
        // sha256sum of 300,000,000 zero bytes.
        if let hash = result.stdoutSHA256 { #expect(hash == (try sha256OfZeros(300_000_000))) }
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aTimeoutEndsTheWholeGroup(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let script = "trap '' TERM; sleep 300 & echo $! > \(bench.path("pid")); wait; sleep 300"
        let spec = job(script, timeout: .milliseconds(1500), grace: .milliseconds(200))
        let result = try #require(try await ledger.run(spec, deadline: bench.soon).result)
        #expect(result.timedOut && result.exitStatus == nil && result.signal == Int(SIGKILL) && result.leftBehind.isEmpty)
        let process: pid_t = try #require(Int32(bench.text("pid").trimmingCharacters(in: .whitespacesAndNewlines)))
        try await eventually("the group is gone") { kill(process, 0) != 0 || isZombie(process) }
        await ledger.close()
    }

    @Test(arguments: Reach.available) func cancellingCountsOnceTheLedgerHasIt(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        // Until it runs, a signal may find the shell that is about to become it; then it is ended by KILL, after the grace.
        let spec = job("touch \(bench.path("begun")); sleep 300")
        _ = try await ledger.submit(spec, deadline: bench.soon)
        try await eventually("the job runs") { FileManager.default.fileExists(atPath: bench.path("begun")) }
        let result = try #require(try await ledger.cancel(spec.id, ticket: ticket(), grace: .seconds(2)).result)
        #expect(result.cancelled && result.signal == Int(SIGTERM))
        let stubborn = job("trap '' TERM; touch \(bench.path("stubborn")); while :; do sleep 0.05; done", jobID("stubborn"))
        _ = try await ledger.submit(stubborn, deadline: bench.soon)
        try await eventually("the stubborn job runs") { FileManager.default.fileExists(atPath: bench.path("stubborn")) }
        let other = try await bench.open()
        #expect(try await other.cancel(stubborn.id, ticket: ticket(), grace: .milliseconds(100)).result?.signal == Int(SIGKILL))
        let unstarted = job("touch \(bench.path("effect"))", jobID("unstarted"))
        let unlucky = try await bench.open(failpoint: "before-started")
        _ = try await unlucky.submit(unstarted, deadline: bench.soon)
        #expect(try await ledger.cancel(unstarted.id, ticket: ticket(), grace: .zero).result?.cancelled == true)
        #expect(try await ledger.submit(unstarted, deadline: bench.soon).result?.cancelled == true)
        #expect(!bench.exists("effect"))
        for each in [ledger, other, unlucky] { await each.close() }
    }

    /// A request to start a job can be under way for long. Whoever has cancelled the job meanwhile can rely on it.
    @Test(arguments: Reach.available) func aJobThatIsCancelledBeforeItComesNeverStarts(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let spec = job("touch \(bench.path("effect"))")
        let cancelled = try await ledger.cancel(spec.id, ticket: ticket(), grace: .zero)
        let result = try #require(cancelled.result, "\(cancelled)")
        #expect(result.cancelled && !result.timedOut && result.exitStatus == nil && result.signal == nil && !result.bootID.isEmpty)
        let other = try await bench.open()
        for late in [ledger, other] {
            #expect(try await late.submit(spec, deadline: bench.soon) == cancelled)
            #expect(try await late.cancel(spec.id, ticket: ticket(), grace: .zero) == cancelled)
            #expect(try await late.probe(spec.id) == cancelled)
        }
        let listed = try await ledger.jobs(of: runID())
        #expect(listed.map(\.id) == [spec.id] && listed.map(\.fence) == [1] && listed.map(\.journalSequence) == [10])
        // Who may not cancel leaves nothing behind.
        try await ledger.announce(ticket(fence: 2, holder: "holder-b", sequence: 20, head: "bb"))
        await #expect(throws: LedgerError.self) { try await ledger.cancel(jobID("other"), ticket: ticket(), grace: .zero) }
        #expect(try await ledger.probe(jobID("other")) == .absent)
        #expect(!bench.exists("effect"))
        for each in [ledger, other] { await each.close() }
    }

    @Test(arguments: Reach.available) func anEarlierAttemptDoesNotJoinALaterOne(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        func submitted(_ id: JobID) async throws -> JobVerdict {
            try await ledger.submit(job("echo \(id) >> \(bench.path("effects"))", id), deadline: bench.soon)
        }
        func isRefused(_ id: JobID, for later: JobID) async -> Bool {
            do {
                _ = try await submitted(id)
                return false
            } catch {
                let error = error as? LedgerError
                return error?.code == "ledger.superseded" && error?.isAnswer == true && error?.message.contains("\(later)") == true
            }
        }
        let second = job("while [ ! -e \(bench.path("go")) ]; do sleep 0.01; done", jobID(attempt: 2))
        let late = jobID("late", attempt: 9)
        let unlucky = try await bench.open(failpoint: "before-started")
        #expect(try await unlucky.submit(job("echo \(late) >> \(bench.path("effects"))", late), deadline: bench.soon) == .neverRan)
        #expect(try await ledger.submit(second, deadline: bench.soon) == .running)
        #expect(await isRefused(jobID(), for: second.id))
        #expect(await isRefused(jobID(part: "other"), for: second.id))
        #expect(try await ledger.probe(jobID()) == .absent)
        // Another step's attempts, and those in which a step is undone, are counted by themselves.
        let others = [jobID("other"), jobID(part: "undo"), jobID("late", attempt: 10)]
        for id in others {
            _ = try await submitted(id)
            #expect(try await ledger.follow(id, onOutput: { _ in }, deadline: bench.soon).result?.exitStatus == 0)
        }
        // It came in time, and was not started in time.
        #expect(await isRefused(late, for: jobID("late", attempt: 10)))
        #expect(FileManager.default.createFile(atPath: bench.path("go"), contents: nil))
        #expect(try await ledger.follow(second.id, onOutput: { _ in }, deadline: bench.soon).result?.exitStatus == 0)
        #expect(await isRefused(jobID(), for: second.id))
        #expect(bench.text("effects") == others.map { "\($0)\n" }.joined())
        for each in [ledger, unlucky] { await each.close() }
    }

    /// Whichever of the two the host takes up first.
    @Test(arguments: Reach.available) func aCancellationRightBehindTheSubmissionEndsTheJob(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        for attempt in 1...8 {
            let spec = job("sleep 300", jobID(attempt: attempt))
            async let submission = ledger.submit(spec, deadline: bench.soon)
            let cancelled = try await ledger.cancel(spec.id, ticket: ticket(), grace: .milliseconds(100))
            #expect(cancelled.result?.cancelled == true, "\(cancelled)")
            let submitted = try await submission
            #expect(submitted == .running || submitted == cancelled, "\(submitted)")
            #expect(try await ledger.probe(spec.id) == cancelled)
        }
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aStaleOperatorCancelsNothing(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let go = bench.path("go")
        let spec = job("while [ ! -e \(go) ]; do sleep 0.01; done", ticket: ticket(fence: 2, holder: "holder-b", sequence: 20, head: "bb"))
        #expect(try await ledger.submit(spec, deadline: bench.soon) == .running)
        for stale in [ticket(fence: 1, sequence: 30, head: "cc"), ticket(fence: 2, holder: "holder-a", sequence: 30, head: "cc")] {
            await #expect { try await ledger.cancel(spec.id, ticket: stale, grace: .zero) } throws: { error in
                let error = error as? LedgerError
                return error?.exitStatus == .heldByAnother && error?.standing?.holder == "holder-b"
            }
        }
        let rival = ticket(fence: 9, run: runID("20261123-030000-rival"))
        await #expect { try await ledger.cancel(spec.id, ticket: rival, grace: .zero) } throws: { ($0 as? LedgerError)?.code == "ledger.bad-name" }
        #expect(FileManager.default.createFile(atPath: go, contents: nil))
        let end = try await ledger.follow(spec.id, onOutput: { _ in }, deadline: bench.soon)
        #expect(end.result?.exitStatus == 0 && end.result?.cancelled == false, "\(end)")
        // Whoever took over may, also where nothing was announced before.
        let long = job("sleep 300", jobID("long"), ticket: spec.fence)
        _ = try await ledger.submit(long, deadline: bench.soon)
        #expect(try await ledger.cancel(long.id, ticket: ticket(fence: 3, holder: "holder-c", sequence: 21, head: "dd"), grace: .zero).result?.cancelled == true)
        #expect(try await ledger.runs().map(\.ticket.fence) == [3])
        await ledger.close()
    }

    @Test(arguments: Reach.available) func cancellingAnOrphanEndsItsProcesses(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let spec = job("echo begun > \(bench.path("begun")); sleep 300")
        _ = try await ledger.submit(spec, deadline: bench.soon)
        try await eventually("it runs") { bench.exists("begun") }
        let watcher: pid_t = try #require(supervisor(of: bench.jobFolder(spec.id)))
        kill(watcher, SIGKILL)
        try await eventually("an orphan") { try await ledger.probe(spec.id).holders != nil }
        #expect(try await ledger.cancel(spec.id, ticket: ticket(), grace: .milliseconds(200)).evidence != nil)
        #expect(holders(of: bench.jobFolder(spec.id) + "/L2").isEmpty)
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aReattachedFollowerGetsNoByteTwice(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let first = try await bench.open()
        let spec = job("for i in $(seq 1 2000); do echo line $i; done; while [ ! -e \(bench.path("go")) ]; do sleep 0.01; done; for i in $(seq 2001 4000); do echo line $i; done")
        let early = Collector()
        _ = try await first.submit(spec, deadline: bench.soon)
        await #expect(throws: DeadlineExceeded.self) {
            try await first.follow(spec.id, onOutput: early.add, deadline: Deadline(after: .milliseconds(500)))
        }
        await first.close()
        let second = try await bench.open()
        let offset = early.bytes(.stdout).count
        #expect(offset > 0)
        let late = Collector(base: offset)
        let following = Task { try await second.follow(spec.id, stdoutOffset: offset, stderrOffset: 0, onOutput: late.add, deadline: bench.soon) }
        #expect(FileManager.default.createFile(atPath: bench.path("go"), contents: nil))
        #expect(try await following.value.result?.exitStatus == 0)
        #expect(early.text(.stdout) + late.text(.stdout) == (1...4000).map { "line \($0)\n" }.joined())
        await second.close()
    }

    @Test(arguments: Reach.available) func aClaimRefusesAnotherRunUntilItIsReleased(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let (mine, rival) = (ticket(), ticket(holder: "holder-b", run: runID("20261123-030000-rival")))
        try await ledger.claim(resource: "postgresql:5432/app's \"db\"", ticket: mine)
        try await ledger.claim(resource: "postgresql:5432/app's \"db\"", ticket: mine)
        do {
            try await ledger.claim(resource: "postgresql:5432/app's \"db\"", ticket: rival)
            Issue.record("two runs hold one claim")
        } catch let error as LedgerError {
            #expect(error.code == "ledger.claimed" && error.holdingRun == mine.run)
        }
        #expect(try await ledger.claims().map(\.resource) == ["postgresql:5432/app's \"db\""])
        await #expect(throws: LedgerError.self) { try await ledger.releaseClaim(resource: "postgresql:5432/app's \"db\"", ticket: rival) }
        #expect(try await ledger.releaseClaim(resource: "postgresql:5432/app's \"db\"", ticket: mine))
        #expect(try await !ledger.releaseClaim(resource: "postgresql:5432/app's \"db\"", ticket: mine))
        try await ledger.claim(resource: "postgresql:5432/app's \"db\"", ticket: rival)
        await ledger.close()
    }

    @Test(arguments: Reach.available) func aStaleOperatorReleasesNoClaimAndAPersonOnlyThatOfTheRunThatIsNamed(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let mine = ticket(fence: 2, holder: "holder-b", sequence: 20, head: "bb")
        try await ledger.claim(resource: "db", ticket: mine)
        let stale = [
            (ticket(fence: 1, sequence: 30, head: "cc"), "ledger.fence-stale"),
            (ticket(fence: 2, holder: "holder-a", sequence: 30, head: "cc"), "ledger.fence-held"),
            (ticket(fence: 3, holder: "holder-c", sequence: 19, head: "aa"), "ledger.journal-old"),
        ]
        for (ticket, code) in stale {
            await #expect { try await ledger.releaseClaim(resource: "db", ticket: ticket) } throws: { error in
                let error = error as? LedgerError
                return error?.code == code && error?.standing?.holder == "holder-b"
            }
        }
        await #expect { try await ledger.releaseClaim(resource: "db", ofLostRun: runID("20261123-030000-rival")) } throws: { error in
            let error = error as? LedgerError
            return error?.code == "ledger.claimed" && error?.holdingRun == mine.run
        }
        #expect(try await ledger.claims().map(\.run) == [mine.run])
        #expect(try await ledger.releaseClaim(resource: "db", ofLostRun: mine.run))
        #expect(try await !ledger.releaseClaim(resource: "db", ofLostRun: mine.run))
        #expect(try await ledger.claims().isEmpty)
        // What was taken over is released by whoever took over, and the one before can do no more.
        let newer = ticket(fence: 3, holder: "holder-c", sequence: 21, head: "dd")
        try await ledger.claim(resource: "db", ticket: mine)
        #expect(try await ledger.releaseClaim(resource: "db", ticket: newer))
        await #expect(throws: LedgerError.self) { try await ledger.claim(resource: "db", ticket: mine) }
        await ledger.close()
    }

    @Test(arguments: Reach.available) func runsJobsAndFactsAreListed(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        _ = try await ledger.run(job("true"), deadline: bench.soon)
        let long = job("sleep 300", jobID("long", attempt: 12))
        _ = try await ledger.submit(long, deadline: bench.soon)
        let jobs = try await ledger.jobs(of: runID())
        #expect(jobs.map(\.id) == [long.id, jobID()] && jobs[0].verdict == .running && jobs[1].verdict.result?.exitStatus == 0)
        #expect(jobs[1].specHash == "hash of true" && jobs[1].journalSequence == 10)
        #expect(try await ledger.runs().map(\.jobCount) == [2])
        _ = try await ledger.cancel(long.id, ticket: ticket(), grace: .zero)
        let facts = try await ledger.hostFacts()
        #expect(!facts.bootID.isEmpty && facts.perlVersion.hasPrefix("5.") == !reach.isShell && facts.userID == Int(geteuid()) && facts.tools.contains("sh"))
        #expect(facts.stateDirectory == bench.state && (facts.stateFreeBytes ?? 0) > 0)
        await ledger.close()
    }

    @Test(arguments: Reach.available) func whatCannotBeExecutedSaysSo(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        var spec = job("unused")
        spec.script = .argv(["/no/such/program"])
        let result = try #require(try await ledger.run(spec, deadline: bench.soon).result)
        #expect(result.exitStatus == 127 && result.execError?.contains("/no/such/program") == true, "\(result)")
        var nowhere = job("true", jobID("nowhere"))
        nowhere.workingDirectory = "/no/such/folder"
        #expect(try await ledger.run(nowhere, deadline: bench.soon).result?.execError?.contains("/no/such/folder") == true)
        var nobody = job("true", jobID("nobody"))
        nobody.runAs = "no-such-user"
        await #expect(throws: LedgerError.self) { try await ledger.run(nobody, deadline: bench.soon) }
        let verdict = try await ledger.probe(nobody.id)
        #expect(verdict == .neverRan)
        await ledger.close()
    }

    @Test(.enabled(if: geteuid() == 0, "needs root"), arguments: Reach.available) func aJobRunsAsAnotherUserWithThatUsersGroups(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        var spec = job("id -un; id -G; printf '%s %s\\n' \"$HOME\" \"$USER\"; cat", stdin: Array("in".utf8))
        spec.runAs = "nobody"
        let seen = Collector()
        #expect(try await ledger.run(spec, onOutput: seen.add, deadline: bench.soon).result?.exitStatus == 0, "\(seen.text(.stderr))")
        #expect(seen.text(.stdout) == "nobody\n65534\n/nonexistent nobody\nin")
        await ledger.close()
    }
}

func isZombie(_ process: pid_t) -> Bool {
    (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8))?.contains(") Z ") ?? true
}
