import Foundation
import Glibc
import Testing

@testable import Steps

@Suite final class PrivateFolderTests {
    private let root = NSTemporaryDirectory() + "reprise-private-\(UUID().uuidString)"
    private var folder: PrivateFolder { PrivateFolder(path: root + "/folder") }
    private var note: String { folder.path + "/note" }
    init() throws { try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: root) }

    private func makeWithNote(_ path: String) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try "kept".write(toFile: path + "/note", atomically: true, encoding: .utf8)
    }

    private func expectRefusedAndUntouched() {
        #expect(throws: StepRefused.self) { try folder.make() }
        folder.remove()
        #expect((try? String(contentsOfFile: note, encoding: .utf8)) == "kept")
    }

    @Test func oursIsMadeFoundAgainAndRemovedWithItsContent() throws {
        try folder.make()
        try makeWithNote(folder.path)
        try folder.make()
        #expect(FileManager.default.fileExists(atPath: note))
        folder.remove()
        #expect(!FileManager.default.fileExists(atPath: folder.path))
    }

    @Test func oneThatOthersCanEnterIsNeitherUsedNorRemoved() throws {
        try makeWithNote(folder.path)
        chmod(folder.path, 0o750)
        expectRefusedAndUntouched()
    }

    @Test func aLinkIsNeitherUsedNorRemoved() throws {
        try makeWithNote(root + "/elsewhere")
        symlink(root + "/elsewhere", folder.path)
        expectRefusedAndUntouched()
        var status = stat()
        #expect(lstat(folder.path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
    }

    @Test(.enabled(if: geteuid() == 0, "SKIPPED: needs root to give a folder away"))
    func oneOfSomebodyElseIsNeitherUsedNorRemoved() throws {
        try makeWithNote(folder.path)
        chown(folder.path, 65534, 65534)
        expectRefusedAndUntouched()
    }
}
