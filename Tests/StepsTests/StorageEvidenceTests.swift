import Foundation
import PlanModel
import RunCore
import Testing

@testable import Steps

/// What a host's storage says for and against a restore beside a damaged database.
@Suite struct StorageEvidenceTests {
    private func evidence(_ lines: String...) -> StorageEvidence { StorageEvidence(lines.joined(separator: "\n") + "\n") }

    @Test func soundStorageWithRoomHasNothingAgainstIt() {
        let sound = evidence("free 3000000000", "device sda1", "device sda", "kernel [1.0] I/O error, dev sdb, sector 7")
        #expect(sound.reasonsAgainst(copyBytes: 1_000_000_000).isEmpty)
        #expect(sound.remarks(copyBytes: 1_000_000_000).warnings.isEmpty)
        #expect(sound.remarks(copyBytes: 1_000_000_000).notes.isEmpty)
    }

    @Test(arguments: [
        "[9.1] blk_update_request: I/O error, dev sda, sector 51234 op 0x0:(READ)", "[9.2] Buffer I/O error on dev sda1, logical block 3, async page read",
        "[9.3] EXT4-fs error (device sda1): ext4_find_entry:1658",
    ])
    func anErrorOfTheDiskUnderTheDataSpeaksAgainstIt(line: String) {
        let reasons = evidence("free 3000000000", "device sda1", "device sda", "kernel \(line)").reasonsAgainst(copyBytes: 1)
        #expect(reasons.count == 1 && reasons[0].contains(line))
    }

    @Test func theNameOfAnotherDiskThatBeginsTheSameIsAnotherDisk() {
        #expect(evidence("device sda", "kernel I/O error, dev sdaa, sector 7", "kernel I/O error, dev dm-10").errorsOfDevices.isEmpty)
        #expect(evidence("device dm-1", "kernel I/O error, dev dm-10", "kernel I/O error, dev dm-1, sector 7").errorsOfDevices.count == 1)
    }

    @Test func whatIsFullOrReadOnlySpeaksAgainstIt() {
        #expect(evidence("free 999").reasonsAgainst(copyBytes: 1000).count == 1)
        #expect(evidence("free 9999", "read-only").reasonsAgainst(copyBytes: 1000).count == 1)
        #expect(evidence("free 1500").reasonsAgainst(copyBytes: 1000).isEmpty)
        #expect(evidence("free 1500").remarks(copyBytes: 1000).warnings.count == 1)
        #expect(evidence("free 1500").reasonsAgainst(copyBytes: nil).isEmpty)
    }

    @Test func aLogThatCannotBeReadIsSaidAndNotTakenForSilence() {
        let blind = evidence("free 5000", "device sda", "kernel-log-unreadable")
        #expect(blind.kernelErrors == nil)
        #expect(blind.remarks(copyBytes: 1).notes.count == 1)
        #expect(evidence("free 5000", "kernel I/O error, dev sdb").remarks(copyBytes: 1).warnings.count == 1, "whose disk it is is not known")
    }

    /// The script against this machine, whatever it is.
    @Test func theScriptDescribesAFolderOfThisMachine() throws {
        let folder = NSTemporaryDirectory() + "reprise it's \(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let process = Process(), pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-euc", StorageEvidence.script(folder: folder)]
        process.standardOutput = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(output)")
        let evidence = StorageEvidence(output)
        #expect(evidence.freeBytes ?? 0 > 0)
        #expect(!evidence.isReadOnly)
    }
}

@Suite struct DrillGuardTests {
    private let database = DatabaseRef(name: "production", host: "db1", database: "chms_production")

    @Test func aDrillStaysAwayFromTheClustersOfProduction() throws {
        let drillGuard = DrillGuard(production: ["7312345678901234567"], allowsSameCluster: false)
        try drillGuard.require("7399999999999999999", of: database)
        let error = #expect(throws: StepRefused.self) { try drillGuard.require("7312345678901234567", of: database) }
        #expect(error?.message.contains("7312345678901234567") == true)
        #expect(error?.hints.contains { $0.contains("allow: [same-cluster]") } == true)
        #expect(throws: StepRefused.self, "a server that does not tell may be production's") { try drillGuard.require(nil, of: database) }
    }

    @Test func thePlanMayAllowItAndWithoutAListNothingIsKnown() throws {
        try DrillGuard(production: ["7"], allowsSameCluster: true).require("7", of: database)
        try DrillGuard(production: [], allowsSameCluster: false).require(nil, of: database)
    }
}

@Suite struct AlreadyDoneTests {
    @Test func aStepIsDoneOnlyWhereEveryHostSaysSo() {
        let both = AlreadyDone(["hosts": ["app1": true, "app2": true]])
        #expect(both.isDone && both.doneHosts == ["app1", "app2"])
        let one = AlreadyDone(["hosts": ["app1": true, "app2": false]])
        #expect(!one.isDone && one.doneHosts == ["app1"])
        #expect(!AlreadyDone(["hosts": ["app1": false]]).isDone)
        #expect(AlreadyDone(["done": true]).isDone)
        #expect(!AlreadyDone(["done": false]).isDone)
        #expect(!AlreadyDone(.null).isDone)
    }
}
