import Foundation
import Glibc
import Journal
import RunCore
import Testing

/// Faults 1 to 4 as far as the journal goes: a process of its own is killed at every place that a commit passes.
@Suite struct CrashTests {
    private let scratch = Scratch()

    /// The probe's whole life, from an empty folder: create, five appends, release, close.
    private func live(_ environment: [String: String]) async throws -> (acknowledged: Int, status: Int32) {
        let probe = try Child(probePath(), ["serve", scratch.journal], environment: environment)
        for command in ["create r", "append 5", "release", "close", "exit 0"] { await probe.say(command) }
        var acknowledged = 0
        for line in try await probe.rest() {
            if line.hasPrefix("held") { acknowledged += 1 }
            if line.hasPrefix("ack") {
                acknowledged += 1
                #expect(line == "ack \(acknowledged)")
            }
            #expect(!line.hasPrefix("error"), "\(line)")
        }
        return (acknowledged, await probe.wait())
    }

    @Test func aKillAnywhereLosesNothingAcknowledgedAndInventsNothing() async throws {
        let log = scratch.folder + "/failpoints"
        #expect(try await live(["REPRISE_FAILPOINT_LOG": log]) == (6, 0))
        let places = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
        #expect(places.count == 7 * 3, "create, five appends and a release pass three places each")
        for number in 1...places.count {
            try FileManager.default.removeItem(atPath: scratch.folder + "/state")
            let place = "\(places[number - 1]) (\(number) of \(places.count))"
            let (acknowledged, status) = try await live(["REPRISE_FAILPOINT": "*:\(number):kill"])
            #expect(status == -SIGKILL, "\(place)")
            let journal = try await scratch.open()
            let notices = try await journal.notices
            // Killed after a commit and before the answer, the record is there though nobody was told.
            let committed = places[number - 1].hasPrefix("journal.before-commit ") ? acknowledged : min(6, acknowledged + 1)
            #expect(try await journal.verify(run: nil).isIntact, "\(place)")
            if committed == 0 {
                await #expect(throws: RunNotFound.self, "\(place)") { _ = try await journal.load(run: Scratch.run) }
            } else {
                #expect(try await journal.load(run: Scratch.run).head.sequence == Int64(committed), "\(place)")
                let behind = places[number - 1].hasPrefix("journal.after-commit ") && number <= 18
                #expect(notices == (behind ? [.headFileBehind(records: 1)] : []), "\(place)")
                // The dead holder is in nobody's way.
                let hold = try await journal.acquire(run: Scratch.run, operator: Conformance.bob)
                #expect(hold.fence == 2)
                #expect(try await journal.append([Conformance.entry(1)], hold: hold)[0].sequence == Int64(committed) + 1)
            }
            try await journal.close()
        }
    }

    /// Killed by `strace` at system calls, where no failpoint is: while files are made, written, flushed and renamed.
    @Test(
        .enabled(if: Strace.isUsable, "needs strace and the right to trace"),
        arguments: ["pwrite64", "fdatasync", "fsync", "rename,link,unlink"])
    func aKillAtAnySystemCallLeavesAWholeJournal(call: String) async throws {
        let trace = scratch.folder + "/trace"
        let count = try await Strace(["-e", "trace=\(call)"], output: trace).calls(scratch.journal).count
        #expect(count > 1)
        for number in stride(from: 1, through: count, by: max(1, count / 12)) {
            try? FileManager.default.removeItem(atPath: scratch.folder + "/state")
            let arguments = ["-e", "trace=\(call)", "-e", "inject=\(call):signal=KILL:when=\(number)"]
            let lines = try await Strace(arguments, output: trace).run(scratch.journal)
            let acknowledged = lines.filter { $0.hasPrefix("ack") || $0.hasPrefix("held") }.count
            let journal = try await scratch.open()
            let report = try await journal.verify(run: nil)
            #expect(report.isIntact, "\(call) \(number): \(report.damage)")
            #expect(!FileManager.default.fileExists(atPath: scratch.journal + "-new"), "\(call) \(number)")
            #expect(report.recordsChecked >= acknowledged && report.recordsChecked <= acknowledged + 1, "\(call) \(number)")
            try await journal.close()
        }
    }
}
