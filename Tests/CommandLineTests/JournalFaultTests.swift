import Foundation
import Glibc
import TestSupport
import Testing

/// Faults of the machine that drives a run, with the program itself: its journal's disk, its clock, its rivals.
@Suite struct JournalFaultTests {
    private static let isRoot = geteuid() == 0
    private static let canTrace = FileManager.default.isExecutableFile(atPath: "/usr/bin/strace")
    private static let fakeClock = try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib").lazy
        .map { "/usr/lib/\($0)/faketime/libfaketime.so.1" }.first { FileManager.default.fileExists(atPath: $0) }

    private func state(_ program: Program) async throws -> String? {
        let result = try await program.run("status", "--json")
        return (try result.json() as? [String: Any])?["state"] as? String
    }

    private func isStopped(_ running: Running) -> Bool {
        let stat = (try? String(contentsOfFile: "/proc/\(running.id)/stat", encoding: .utf8)) ?? ""
        return stat.split(separator: ")").last?.hasPrefix(" T") == true
    }

    /// The files of a journal as they are now, under another name.
    private func copyState(_ program: Program, to name: String) throws {
        try FileManager.default.copyItem(atPath: program.folder + "/state", toPath: program.folder + "/" + name)
    }

    // MARK: Disks

    @Test(.enabled(if: isRoot, "SKIPPED WITHOUT ROOT: a full disk needs a tmpfs of its own"))
    func aFullDiskUnderTheJournalStopsTheRunBeforeTheNextEffectAndRoomLetsItGoOn() async throws {
        let program = try Program.withSmallPlan()
        let state = program.folder + "/state"
        mkdir(state, 0o700)
        try tool("mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", state)
        defer { try? tool("umount", "-l", state) }
        let running = try program.start(["start", "small"])
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        // To the last byte; `dd` ends with 1 then, as it should.
        try? tool("dd", "if=/dev/zero", "of=\(state)/ballast", "bs=4k", "status=none")
        try program.write("", to: "go")
        let full = try await running.result()
        #expect(full.status == 6)
        #expect(full.errors.contains("no room left for journal") && full.errors.contains("HINT: free space"))
        // The job on the host ended as it would have; nothing new was begun.
        try await Program.wait(for: "the job's end") { program.read("effects.log") == "first\nslow\n" }
        #expect(try await program.run("resume").status == 6)
        #expect(program.read("effects.log") == "first\nslow\n")

        unlink(state + "/ballast")
        #expect(try await program.run("resume").status == 5)
        #expect(try await program.run("approve", "ask", "--comment", "x").status == 0)
        #expect(program.read("effects.log") == "first\nslow\nlast\n")
        #expect(program.read("begun") == "begun\n")
        #expect(try await program.run("journal", "verify").output.hasPrefix("intact"))
    }

    /// The kernel says that a flush failed: the process acknowledges nothing more, and a new one finds the truth.
    @Test(.enabled(if: canTrace, "needs strace"), arguments: [1, 3, 5, 7, 9])
    func aFailedFlushEndsTheProgramAndTheNextOneFindsAWholeJournal(number: Int) async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        let journal = program.folder + "/state/reprise/journal.sqlite"
        let traced = try Running(
            executable: "/usr/bin/strace",
            arguments: [
                "-f", "-qq", "-o", program.folder + "/trace", "-P", journal + "-wal", "-e", "trace=fdatasync,fsync", "-e",
                "inject=fdatasync,fsync:error=EIO:when=\(number)", Program.path, "start", "small",
            ], place: program.folder, environment: program.ownEnvironment)
        let failed = try await traced.result()
        #expect(program.read("trace").contains("(INJECTED)"), "fewer than \(number) flushes: \(failed.output)")
        #expect(failed.status == 6)
        #expect(failed.errors.contains("this process writes nothing more to it"))
        let before = program.read("effects.log")
        #expect(try await program.run("journal", "verify").output.hasPrefix("intact"))
        let resumed = try await program.run("resume")
        // The flush of the very first record: then there is no run.
        if number == 1, resumed.status == 2 { return #expect(before.isEmpty) }
        #expect(resumed.status == 5, "\(resumed.errors)")
        #expect(program.read("effects.log") == "first\nslow\n")
        #expect(program.read("begun") == "begun\n")
    }

    // MARK: Rivals

    /// A copy of the journal from before, put back and used. The host was told of more than it holds, however long it has become.
    @Test(arguments: [0, 1, 3]) func anOldCopyOfTheJournalIsRefusedByWhatTheHostHasSeen(resumes: Int) async throws {
        let program = try Program.withApprovalBetween()
        #expect(try await program.run("start", "between").status == 5)
        try copyState(program, to: "copy")
        let running = try program.start(["approve", "ask", "--comment", "x"])
        try await Program.wait(for: "the second step") { program.read("effects.log") == "first\nsecond\n" }
        running.signal(SIGKILL)
        _ = try await running.result()
        try copyState(program, to: "newest")

        try FileManager.default.removeItem(atPath: program.folder + "/state")
        try FileManager.default.moveItem(atPath: program.folder + "/copy", toPath: program.folder + "/state")
        // Each of these makes the copy longer, without a word to the host.
        for _ in 0..<resumes { #expect(try await program.run("resume").status == 5) }
        let refused = try await program.run("approve", "ask", "--comment", "again")
        #expect(refused.status == 7, "\(refused.output)\(refused.errors)")
        #expect((refused.output + refused.errors).contains("this journal is"), "\(refused.output)")
        #expect(program.read("effects.log") == "first\nsecond\n")

        // The right one goes on as if nothing had been.
        try FileManager.default.removeItem(atPath: program.folder + "/state")
        try FileManager.default.moveItem(atPath: program.folder + "/newest", toPath: program.folder + "/state")
        try program.write("", to: "go")
        let resumed = try await program.run("resume")
        #expect(resumed.status == 0, "\(resumed.output)\(resumed.errors)")
        #expect(program.read("effects.log") == "first\nsecond\nthird\n")
    }

    /// Stopped between its intent and its effect while another takes over, a stale process is refused by the journal; and where its
    /// journal is blind, by the host.
    @Test(arguments: [("", "this process no longer holds run"), ("journal.no-fence-check", "refused: run")])
    func aStaleProcessIsRefusedByJournalAndHost(mutant: String, words: String) async throws {
        let program = try Program.withSmallPlan()
        let stale = try program.start(
            ["start", "small"], environment: ["REPRISE_MUTANT": mutant, "REPRISE_FAILPOINT": "job.before-submit:2:stop"])
        try await Program.wait(for: "the process to stop itself") { isStopped(stale) }
        #expect(program.read("effects.log") == "first\n")
        let taking = try program.start(["resume", "--take-over", "--reason", "the laptop sleeps"])
        try await Program.wait(for: "the job of the new holder") { program.read("begun") == "begun\n" }
        stale.signal(SIGCONT)
        let result = try await stale.result()
        #expect(result.status == 7, "\(result.output)\(result.errors)")
        #expect((result.output + result.errors).contains(words), "\(result.output)\(result.errors)")
        try program.write("", to: "go")
        let ended = try await taking.result()
        // A blind journal lets the stale process write, which is what the fence is for: the new holder then finds a strange event.
        if mutant.isEmpty { #expect(ended.status == 5, "\(ended.errors)") }
        #expect(program.read("begun") == "begun\n")
        #expect(program.read("effects.log") == "first\nslow\n")
    }

    /// Each way of asking the program to end lets go of the job, and two at once do no more than one.
    @Test(arguments: [[SIGTERM], [SIGHUP], [SIGINT, SIGINT], [SIGTERM, SIGINT]])
    func aSignalLetsGoOfTheJobHoweverOftenItComes(signals: [Int32]) async throws {
        let program = try Program.withSmallPlan()
        let running = try program.start(["start", "small"])
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        for number in signals { running.signal(number) }
        let left = try await running.result()
        #expect(left.status == 130)
        #expect(try await state(program) == "INTERRUPTED")
        try program.write("", to: "go")
        #expect(try await program.run("resume").status == 5)
        #expect(program.read("begun") == "begun\n")
        #expect(program.read("effects.log") == "first\nslow\n")
    }

    // MARK: The clock

    /// An hour forward and two back while a step runs: its time is not up, its holder keeps it, nobody gets in.
    @Test(.enabled(if: fakeClock != nil, "SKIPPED: needs libfaketime (apt-get install faketime)"))
    func aClockThatJumpsStealsNoHoldAndEndsNoTime() async throws {
        let program = try Program.withSmallPlan()
        let plan = program.read("plans/small.yaml").replacingOccurrences(
            of: "  - id: slow\n    kind: command\n", with: "  - id: slow\n    kind: command\n    timeout: 5m\n")
        #expect(plan.contains("timeout: 5m"))
        try program.write(plan, to: "plans/small.yaml")
        try program.write("+0\n", to: "offset.txt")
        let clock = [
            "LD_PRELOAD": Self.fakeClock ?? "", "FAKETIME_TIMESTAMP_FILE": program.folder + "/offset.txt", "FAKETIME_CACHE_DURATION": "1",
            // Clocks that count from the start of the machine do not jump.
            "DONT_FAKE_MONOTONIC": "1",
        ]
        func underThatClock(_ arguments: String...) throws -> Running {
            // The library moves the environment as it is first loaded, and with it what Swift takes the arguments from: so by `env`.
            try Running(
                executable: "/usr/bin/env", arguments: [Program.path] + arguments, place: program.folder,
                environment: program.ownEnvironment.merging(clock) { $1 })
        }
        let running = try underThatClock("start", "small")
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        for offset in ["+1h\n", "-1h\n"] {
            try program.write(offset, to: "offset.txt")
            let second = try await underThatClock("resume").result()
            #expect(second.status == 7 && second.errors.contains("is held by"), "\(second.errors)")
            #expect(try await program.run("resume").status == 7, "with the true time")
        }
        // Longer than the program keeps a time that it has read.
        let end = ContinuousClock.now.advanced(by: .milliseconds(2500))
        try await Program.wait(for: "the new time to be read") { ContinuousClock.now > end }
        try program.write("", to: "go")
        let ended = try await running.result()
        #expect(ended.status == 5, "\(ended.output)\(ended.errors)")
        #expect(program.read("effects.log") == "first\nslow\n")
        #expect(try await program.run("approve", "ask", "--comment", "x").status == 0)
        #expect(try await program.run("journal", "verify").output.hasPrefix("intact"))
        // It did jump: what is journaled later is older.
        let times = try await program.run("journal", "export").jsonLines().compactMap { ($0["timeMilliseconds"] as? NSNumber)?.int64Value }
        #expect(times.count > 5 && times != times.sorted(), "the clock did not jump: \(times)")
    }

    // MARK: The host's memory

    /// A host without room for the record of a job starts none, says so, and is no obstacle once there is room.
    ///
    /// - Parameter pages: those that are left: none for anything, or enough for the run to be announced and not for a job.
    @Test(.enabled(if: isRoot, "SKIPPED WITHOUT ROOT: a full disk needs a tmpfs of its own"), arguments: [0, 3])
    func aLedgerWithoutRoomStartsNothingAndRoomLetsTheRunGoOn(pages: Int) async throws {
        let program = try Program.withSmallPlan()
        let ledger = program.folder + "/ledger"
        mkdir(ledger, 0o700)
        try tool("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", ledger)
        defer { try? tool("umount", "-l", ledger) }
        // `dd` fails at the last byte, as it should.
        try? tool("dd", "if=/dev/zero", "of=\(ledger)/ballast", "bs=4k", "status=none")
        truncate("\(ledger)/ballast", (1 << 20) - 4096 * pages)
        let refused = try await program.run("start", "small")
        #expect(refused.status == 1, "\(refused.output)\(refused.errors)")
        #expect((refused.output + refused.errors).contains("no space left on"), "\(refused.output)\(refused.errors)")
        #expect((refused.output + refused.errors).contains("nothing was started"), "\(refused.output)\(refused.errors)")
        #expect(try await state(program) == "FAILED")
        #expect(program.read("effects.log").isEmpty)

        unlink(ledger + "/ballast")
        try program.write("", to: "go")
        let retried = try await program.run("retry", "first")
        #expect(retried.status == 5, "\(retried.output)\(retried.errors)")
        #expect(program.read("effects.log") == "first\nslow\n")
    }

    /// Deleted while a job runs, the ledger can say nothing more of it: that is a doubt, and no reason to run it again.
    @Test(arguments: ["/ledger", "/ledger/jobs"])
    func aLedgerThatIsDeletedWhileAJobRunsLeavesItInDoubt(place: String) async throws {
        let program = try Program.withSmallPlan()
        let running = try program.start(["start", "small"])
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        try await Program.wait(for: "its event in the journal") {
            try FileManager.default.contentsOfDirectory(atPath: program.folder + "/ledger/jobs").contains { $0.contains(".slow.") }
        }
        for _ in 0..<20 { try? FileManager.default.removeItem(atPath: program.folder + place) }
        mkdir(program.folder + place, 0o700)
        try program.write("", to: "go")
        let result = try await running.result()
        #expect(result.status == 5, "\(result.output)\(result.errors)")
        #expect(result.output.contains("in doubt") || result.output.contains("IN_DOUBT") || result.output.contains("its ledger was deleted"))
        #expect(try await state(program) == "WAITING")
        #expect(program.read("begun") == "begun\n")
        #expect(program.read("effects.log") == "first\nslow\n")
    }
}

extension Program {
    /// A step, an approval, a step that works until `go` is there, and a last one.
    fileprivate static func withApprovalBetween() throws -> Program {
        let program = try Program()
        try program.write("all:\n  hosts: {}\n", to: "inventory/here.yaml")
        func command(_ id: String, _ script: String) -> String {
            "  - id: \(id)\n    kind: command\n    on: [orchestrator]\n    with:\n      directory: \(program.folder)\n      run: |\n        \(script)\n"
        }
        try program.write(
            "reprise: 1\nname: between\nsteps:\n" + command("first", "echo first >> effects.log")
                + "  - id: ask\n    kind: approval\n    with:\n      message: shall we?\n"
                + command("second", "echo second >> effects.log; until [ -e go ]; do [ -e effects.log ] || exit 1; sleep 0.05; done")
                + command("third", "echo third >> effects.log"), to: "plans/between.yaml")
        return program
    }
}
