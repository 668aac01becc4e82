import TestSupport
import Testing

@testable import Steps

/// Whether loads that share a disk are held against its room together.
@Suite struct DiskRoomTests {
    private func load(_ step: String, at folder: String, kept: Int64 = 8, peak: Int64 = 8) -> DiskLoad {
        DiskLoad(step: step, folder: folder, kept: kept << 10, peak: peak << 10, usual: 2 * kept << 10)
    }

    /// Each alone would find its room.
    @Test func loadsOfOneDiskAreAddedUp() {
        let loads = [load("fetch", at: "/var/backups/reprise", kept: 1, peak: 2), load("restore", at: "/var/lib/postgresql"), load("files", at: "/srv/files")]
        let one = DiskRoom.disks(of: loads, answer: "/dev/sda1 10\n/dev/sda1 10\n/dev/sda1 10\n")
        #expect(one.count == 1 && one[0].least == 17 << 10 && one[0].usual == 34 << 10 && one[0].free == 10 << 10)
        #expect(one[0].steps == ["fetch", "restore", "files"] && one[0].folders == loads.map(\.folder))
        let three = DiskRoom.disks(of: loads, answer: "/dev/sda1 10\n/dev/sda2 20\n37 30\n")
        #expect(three.map(\.least) == [2 << 10, 8 << 10, 8 << 10] && three.map(\.free) == [10 << 10, 20 << 10, 30 << 10])
    }

    @Test func whatTheHostCouldNotTellIsLeftOut() {
        let loads = [load("a", at: "/a"), load("b", at: "/b"), load("c", at: "/c")]
        #expect(DiskRoom.disks(of: loads, answer: "-\n/dev/sda1 x\n9 5\n").map(\.steps) == [["c"]])
        #expect(DiskRoom.disks(of: loads, answer: "").isEmpty)
    }

    /// Folders that are there, and such that are not there yet.
    @Test(.enabled(if: SmallDisk.isPossible, "SKIPPED: two disks need root to mount small file systems"))
    func theHostSaysWhichFoldersShareADisk() throws {
        let folder = try TestFolder(), one = try SmallDisk(bytes: 4 << 20), other = try SmallDisk(bytes: 8 << 20)
        let loads = [load("a", at: one.path), load("b", at: other.file("it's/new")), load("c", at: one.file("not/yet/there")), load("d", at: folder.path)]
        let outcome = try runLocally(DiskRoom.question(loads), [:], in: folder.path)
        let disks = DiskRoom.disks(of: loads, answer: outcome.said)
        #expect(disks.map(\.steps) == [["a", "c"], ["b"], ["d"]], "\(outcome)")
        #expect(disks.prefix(2).map(\.free) == [4 << 20, 8 << 20] && disks[0].least == 16 << 10)
    }

    @Test(arguments: [nil, "@{x}", "/srv/in/files.tar", "/files.tar"])
    func aDownloadLiesWhereItsStepSays(path: String?) {
        #expect(FetchBackupStep.folder(to: path) == ["/srv/in/files.tar": "/srv/in", "/files.tar": "/"][path, default: "/var/backups/reprise"])
    }
}
