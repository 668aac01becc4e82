import Foundation
import Glibc
import Journal
import RunCore
import Testing

/// Promise P5 between processes, and faults 5, 15 and 17.
@Suite struct HoldTests {
    private let scratch = Scratch()

    @Test func ofTwoResumesAtOnceOneWinsAndTheOtherNamesIt() async throws {
        try await scratch.fill(3)
        for _ in 0..<5 {
            let first = try await Child.probe(scratch.journal)
            let second = try await Child.probe(scratch.journal)
            await first.say("acquire r")
            await second.say("acquire r")
            let answers = try await [first.line() ?? "", second.line() ?? ""]
            let winner = answers[0].hasPrefix("held") ? first : second
            let refusal = answers.first { $0.hasPrefix("error") }
            #expect(answers.filter { $0.hasPrefix("held") }.count == 1, "\(answers)")
            #expect(refusal?.hasPrefix("error journal.held-by-another 7") == true)
            #expect(refusal?.contains("process \(winner.pid)") == true)
            _ = await (first.end(), second.end())
        }
    }

    @Test func processesThatCreateTheJournalAtOnceShareIt() async throws {
        for round in 0..<5 {
            let path = scratch.folder + "/fresh-\(round)/journal.db"
            let probes = try (0..<4).map { _ in try Child(probePath(), ["serve", path]) }
            for (number, probe) in probes.enumerated() {
                #expect(try await probe.line()?.hasPrefix("ready") == true)
                #expect(try await probe.ask("create r-\(number)") == "held 1")
            }
            #expect(try await SQLiteJournal.open(path: path, readOnly: true).verify(run: nil).recordsChecked == 4)
        }
    }

    @Test func aKilledHolderFreesTheRunAtOnce() async throws {
        let probe = try await Child.probe(scratch.journal)
        #expect(try await probe.ask("create r") == "held 1")
        let journal = try await scratch.open()
        #expect(try await journal.summary(run: Scratch.run).holder?.isAlive == true)
        _ = await probe.end()
        #expect(try await journal.summary(run: Scratch.run).holder?.isAlive == false)
        let hold = try await journal.acquire(run: Scratch.run, operator: Conformance.bob)
        #expect(hold.fence == 2 && hold.replaced?.pid == probe.pid)
    }

    /// Whoever lets go is at work no more, whether or not that could be written down.
    @Test(.enabled(if: geteuid() == 0, "SKIPPED WITHOUT ROOT: a full disk needs a tmpfs of its own"))
    func aReleaseThatCannotBeWrittenFreesTheRunAllTheSame() async throws {
        mkdir(scratch.folder + "/state", 0o700)
        let mount = try Mount(scratch.folder + "/state", options: "size=1m,mode=0700")
        defer { mount.unmount() }
        let journal = try await scratch.open()
        let hold = try await journal.create(run: Scratch.run, first: Conformance.entry(1), operator: .current, label: "")
        let ballast = open(scratch.folder + "/state/ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        let page = [UInt8](repeating: 1, count: 4096)
        while write(ballast, page, page.count) > 0 {}
        close(ballast)
        await #expect(throws: JournalDiskFull.self) { try await journal.release(hold) }
        #expect(try await journal.summary(run: Scratch.run).holder?.isAlive == false)
        // Some other test may have started a process meanwhile that inherited it: its room comes back when nothing is in it.
        truncate(scratch.folder + "/state/ballast", 0)
        let next = try await journal.acquire(run: Scratch.run, operator: .current)
        #expect(next.fence == hold.fence + 1)
        await #expect(throws: StaleHold.self) { _ = try await journal.append([Conformance.entry(2)], hold: hold) }
        #expect(try await journal.append([Conformance.entry(2)], hold: next)[0].sequence == 2)
        try await journal.close()
    }

    @Test func aStoppedHolderKeepsTheRunUntilTakenOverAndIsThenRefused() async throws {
        let stopped = try await Child.probe(scratch.journal)
        #expect(try await stopped.ask("create r") == "held 1")
        stopped.signal(SIGSTOP)
        try await stopped.waitUntilStopped()
        let other = try await Child.probe(scratch.journal)
        #expect(try await other.ask("acquire r").hasPrefix("error journal.held-by-another 7"))
        #expect(try await other.ask("holder r") == "holder \(stopped.pid) alive")
        #expect(try await other.ask("take-over r") == "held 2")
        #expect(try await other.ask("append") == "ack 2")
        stopped.signal(SIGCONT)
        let refusal = try await stopped.ask("append")
        #expect(refusal.hasPrefix("error journal.stale-hold 7") && refusal.contains("process \(other.pid)"))
        #expect(try await stopped.ask("release") == "ok")
        #expect(try await other.ask("append") == "ack 3")
    }

    /// The mutation that shows that the test above can fail.
    @Test func withoutTheFenceCheckTheStaleHolderIsSeenToWrite() async throws {
        let stale = try await Child.probe(scratch.journal, environment: ["REPRISE_MUTANT": "journal.no-fence-check"])
        #expect(try await stale.ask("create r") == "held 1")
        let other = try await Child.probe(scratch.journal)
        #expect(try await other.ask("take-over r") == "held 2")
        #expect(try await stale.ask("append") == "ack 2")
    }

    @Test func aHolderStoppedInsideATransactionIsNamedAtTheDeadline() async throws {
        let stopped = try await Child.probe(scratch.journal, environment: ["REPRISE_FAILPOINT": "journal.before-commit:2:stop"])
        #expect(try await stopped.ask("create r") == "held 1")
        let journal = try await scratch.open(
            {
                var options = JournalOptions()
                options.lockTimeout = .milliseconds(300)
                return options
            }())
        await stopped.say("append")
        try await stopped.waitUntilStopped()
        let error = await #expect(throws: WriterBlocked.self) {
            _ = try await journal.acquire(run: Scratch.run, operator: Conformance.bob, takeOver: "stuck", atLeast: 0)
        }
        #expect(error?.exitStatus == .heldByAnother && error?.writer?.pid == stopped.pid)
        // Readers are not in the way of a writer, nor it in theirs.
        #expect(try await scratch.open(JournalOptions(readOnly: true)).load(run: Scratch.run).head.sequence == 1)
        stopped.signal(SIGCONT)
        #expect(try await stopped.line() == "ack 2")
        _ = try await journal.acquire(run: Scratch.run, operator: Conformance.bob, takeOver: "stuck", atLeast: 0)
    }

    @Test func clockJumpsNeitherStealNorLoseAHold() async throws {
        let clock = Clock()
        var options = JournalOptions()
        options.now = { clock.milliseconds }
        let holder = try await scratch.open(options)
        let other = try await scratch.open(options)
        let hold = try await holder.create(run: Scratch.run, first: Conformance.entry(1), operator: Conformance.alice, label: "")
        for jump: Int64 in [3_600_000, -7_200_000, 86_400_000 * 3650] {
            clock.milliseconds += jump
            await #expect(throws: HeldByAnother.self) { _ = try await other.acquire(run: Scratch.run, operator: Conformance.bob) }
            let record = try await holder.append([Conformance.entry(2)], hold: hold)[0]
            #expect(record.timeMilliseconds == clock.milliseconds)
        }
        #expect(try await other.verify(run: nil).isIntact)
    }

    @Test func aProcessUnderAShiftedClockIsRefusedLikeAnyOther() async throws {
        guard access("/usr/bin/faketime", X_OK) == 0 else {
            print("SKIPPED: faketime is not installed")
            return
        }
        let holder = try await Child.probe(scratch.journal)
        #expect(try await holder.ask("create r") == "held 1")
        let shifted = try Child("/usr/bin/faketime", ["-f", "+1h", probePath(), "serve", scratch.journal])
        #expect(try await shifted.line()?.hasPrefix("ready") == true)
        #expect(try await shifted.ask("acquire r").hasPrefix("error journal.held-by-another 7"))
        #expect(try await holder.ask("append") == "ack 2")
    }

    @Test func processesThatWriteSideBySideKeepBothChainsWhole() async throws {
        let first = try await Child.probe(scratch.journal)
        let second = try await Child.probe(scratch.journal)
        #expect(try await first.ask("create r-1") == "held 1")
        #expect(try await second.ask("create r-2") == "held 1")
        // Enough for checkpoints, and for the log to be begun anew, in both processes.
        await first.say("append 400")
        await second.say("append 400")
        for sequence in 2...401 {
            #expect(try await first.line() == "ack \(sequence)")
            #expect(try await second.line() == "ack \(sequence)")
        }
        let report = try await scratch.open(JournalOptions(readOnly: true)).verify(run: nil)
        #expect(report.isIntact && report.runsChecked == 2 && report.recordsChecked == 802 && report.head?.position == 802)
    }

    private final class Clock: @unchecked Sendable {
        private let lock = NSLock()
        private var value: Int64 = 1_700_000_000_000
        var milliseconds: Int64 {
            get { lock.withLock { value } }
            set { lock.withLock { value = newValue } }
        }
    }
}
