import Foundation
import Glibc
import Journal
import RunCore
import Testing

/// Promise P2, and faults 7 and 8.
@Suite struct DurabilityTests {
    private let scratch = Scratch()

    /// For each acknowledgement: was the log flushed after its last write and before the answer went out?
    private func flushesBeforeAnswers(_ environment: [String: String] = [:]) async throws -> [Bool] {
        let strace = Strace(["-e", "trace=pwrite64,fdatasync,fsync,write"], output: scratch.folder + "/trace")
        _ = try await strace.run(scratch.journal, environment: environment)
        var written = false
        var flushed = false
        var flushing = false
        var answers: [Bool] = []
        for call in try strace.lines() {
            let isLog = call.contains("journal.db-wal>")
            if isLog && call.contains("pwrite64(") { (written, flushed) = (true, false) }
            if isLog && (call.contains("fdatasync(") || call.contains("fsync(")) {
                flushed = call.hasSuffix("= 0")
                flushing = !flushed
            }
            // Another thread's call came in between; the flush counts from its end.
            if flushing && call.contains("sync resumed>") && call.hasSuffix("= 0") { (flushed, flushing) = (true, false) }
            if call.contains("write(1<") && (call.contains("\"ack") || call.contains("\"held")) {
                answers.append(written && flushed)
                (written, flushed) = (false, false)
            }
        }
        return answers
    }

    @Test(.enabled(if: Strace.isUsable, "needs strace and the right to trace"))
    func everyRecordIsFlushedBeforeItIsAcknowledged() async throws {
        #expect(try await flushesBeforeAnswers() == [true, true, true, true])
    }

    /// The mutation that shows that the test above can fail.
    @Test(.enabled(if: Strace.isUsable, "needs strace and the right to trace"))
    func withSynchronousNormalTheFlushIsSeenToBeMissing() async throws {
        #expect(
            try await flushesBeforeAnswers(["REPRISE_MUTANT": "journal.synchronous-normal"]).suffix(3) == [false, false, false])
    }

    /// Whichever flush fails, from then on nothing is acknowledged; what was acknowledged before is there after reopening.
    @Test(.enabled(if: Strace.isUsable, "needs strace and the right to trace"))
    func aFailedFlushStopsTheProcess() async throws {
        let trace = scratch.folder + "/trace"
        let all = try await Strace(["-e", "trace=fdatasync"], output: trace).calls(scratch.journal)
        // The last four flushes of the log are those of the four commits.
        let flushes = all.indices.filter { all[$0].contains("journal.db-wal>") }.suffix(4)
        #expect(flushes.count == 4)
        for (commits, index) in flushes.enumerated() {
            let number = index + 1
            try FileManager.default.removeItem(atPath: scratch.folder + "/state")
            let arguments = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=\(number)"]
            let lines = try await Strace(arguments, output: trace).run(scratch.journal).dropFirst()
            let acknowledged = lines.prefix { !$0.hasPrefix("error") }
            #expect(acknowledged.count == commits, "\(lines)")
            #expect(lines.dropFirst(acknowledged.count).first?.hasPrefix("error journal.poisoned 6") == true, "\(lines)")
            #expect(!lines.dropFirst(acknowledged.count).contains { $0.hasPrefix("ack") || $0.hasPrefix("held") })
            let journal = try await scratch.open()
            let report = try await journal.verify(run: nil)
            #expect(report.isIntact && report.recordsChecked >= acknowledged.count, "\(report)")
            try await journal.close()
        }
    }

    /// The same for a write that fails, at any of the log's writes.
    @Test(.enabled(if: Strace.isUsable, "needs strace and the right to trace"), arguments: ["EIO", "ENOSPC"])
    func aFailedWriteIsNeverAcknowledged(error: String) async throws {
        let trace = scratch.folder + "/trace"
        let all = try await Strace(["-e", "trace=pwrite64"], output: trace).calls(scratch.journal)
        let first = try #require(all.firstIndex { $0.contains("journal.db-wal>") }) + 1
        for number in first...all.count {
            try FileManager.default.removeItem(atPath: scratch.folder + "/state")
            let arguments = ["-e", "trace=pwrite64", "-e", "inject=pwrite64:error=\(error):when=\(number)"]
            let lines = try await Strace(arguments, output: trace).run(scratch.journal).dropFirst()
            let acknowledged = lines.filter { $0.hasPrefix("ack") || $0.hasPrefix("held") }
            let journal = try await scratch.open()
            let report = try await journal.verify(run: nil)
            #expect(report.isIntact, "write \(number): \(report.damage)")
            #expect(report.recordsChecked >= acknowledged.count, "write \(number): \(lines)")
            if report.recordsChecked > acknowledged.count {
                // Not acknowledged and yet there is only what the last, refused call wrote.
                #expect(report.recordsChecked == acknowledged.count + 1 && lines.contains { $0.hasPrefix("error") })
            }
            try await journal.close()
        }
    }

    @Test(.enabled(if: geteuid() == 0, "SKIPPED WITHOUT ROOT: a full disk needs a tmpfs of its own"))
    func aFullDiskRefusesAndGoesOnWhenThereIsRoom() async throws {
        mkdir(scratch.folder + "/state", 0o700)
        let mount = try Mount(scratch.folder + "/state", options: "size=1m,mode=0700")
        defer { mount.unmount() }
        let journal = try await scratch.open()
        let hold = try await journal.create(run: Scratch.run, first: Conformance.entry(1), operator: .current, label: "")
        let big = JournalEntry(kind: "big", payload: [UInt8](repeating: 1, count: 50_000))
        var written: Int64 = 1
        let full = await #expect(throws: JournalDiskFull.self) {
            while written < 100 {
                _ = try await journal.append([big], hold: hold)
                written += 1
            }
        }
        #expect(full?.isTransient == true && written > 3 && written < 30)
        await #expect(throws: JournalDiskFull.self) { _ = try await journal.append([big], hold: hold) }
        #expect(try await journal.load(run: Scratch.run).head.sequence == written)
        try mount.remount("size=20m")
        #expect(try await journal.append([big], hold: hold)[0].sequence == written + 1)
        #expect(try await journal.verify(run: nil).isIntact)
        try await journal.close()
        #expect(try await scratch.open().load(run: Scratch.run).head.sequence == written + 1)
    }

    @Test(.enabled(if: geteuid() == 0, "SKIPPED WITHOUT ROOT: a full disk needs a tmpfs of its own"))
    func aFullDiskRefusesANewJournalWithoutLeavingAHalfOne() async throws {
        mkdir(scratch.folder + "/state", 0o700)
        for kilobytes in stride(from: 4, through: 96, by: 4) {
            let mount = try Mount(scratch.folder + "/state", options: "size=\(kilobytes)k,mode=0700")
            defer { mount.unmount() }
            do {
                let journal = try await scratch.open()
                try await journal.close()
            } catch let error as any RepriseError {
                #expect(!error.message.isEmpty)
            }
            try mount.remount("size=8m")
            let journal = try await scratch.open()
            _ = try await journal.create(run: Scratch.run, first: Conformance.entry(1), operator: .current, label: "")
            #expect(try await journal.verify(run: nil).recordsChecked == 1)
            try await journal.close()
        }
    }
}
