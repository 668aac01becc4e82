import Foundation
import Glibc
import ObjectStorage
import RunCore
import TestSupport
import Testing

@testable import Steps

/// The script that checks and unwraps what was carried to a host, run here by sh.
@Suite final class CarryArrivalTests {
    private let folder = NSTemporaryDirectory() + "reprise-arrival-\(UUID().uuidString)"
    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func sh(_ script: String, path: String? = nil) throws -> (status: Int32, output: String) {
        let process = Process(), pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", script]
        if let path { process.environment = ["PATH": path + ":/usr/bin:/bin"] }
        process.standardOutput = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }

    /// Two megabytes that do not get smaller, wrapped, as `folder`/up; the SHA-256 of both.
    private func upload(to folder: String) throws -> (wrapped: String, plain: String) {
        var generator = SeededGenerator(41)
        let plain = Data((0..<250_000).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } })
        try plain.write(to: URL(fileURLWithPath: self.folder + "/plain"))
        let sums = try sh("cd \(folder) && gzip -c \(self.folder)/plain > up && cat up | sha256sum && sha256sum < \(self.folder)/plain").output
            .split(whereSeparator: \.isWhitespace).filter { $0 != "-" }.map(String.init)
        return (try #require(sums.first), try #require(sums.last))
    }

    private func arrive(_ sha256: String, in folder: String, quotaBytes: Int64 = 1 << 30, path: String? = nil) throws -> HostFetchResult {
        let script = CarryArrival.script(upload: folder + "/up", target: folder + "/it's here", sha256: sha256, quotaBytes: quotaBytes)
        let ended = try sh(script, path: path)
        guard case .fetched(let result) = try HostFetchScript.outcome(exitStatus: ended.status, output: ended.output, name: "files.tar.gz") else {
            throw POSIXError(.EIO)
        }
        return result
    }

    private struct Ending: Equatable {
        let code: String
        let left: [String]
    }

    private func failure(_ sha256: String, in folder: String, quotaBytes: Int64 = 1 << 30, path: String? = nil) throws -> Ending {
        let error = #expect(throws: HostFetchFailed.self) { _ = try arrive(sha256, in: folder, quotaBytes: quotaBytes, path: path) }
        let left = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0 != "plain" && $0 != "bin" }.sorted()
        return Ending(code: error?.code ?? "", left: left)
    }

    /// `to: /tmp/db.dump` must not shut /tmp to everybody.
    @Test func aFolderThatIsThereStaysAsItIs() throws {
        let modes = """
            cd '\(folder)' && mkdir -m 1777 there
            \(FetchBackupStep.making(folder + "/there")) && \(FetchBackupStep.making(folder + "/it's/new")) && stat -c %a there "it's/new"
            """
        #expect(try sh(modes).output == "1777\n711\n")
    }

    @Test func whatArrivedIsUnwrapped() throws {
        let sums = try upload(to: folder)
        let result = try arrive(sums.wrapped, in: folder)
        #expect(result.sha256 == sums.wrapped && result.wrapper == .gzip)
        #expect(result.unwrappedSHA256 == sums.plain && result.unwrappedBytes == 2_000_000)
        #expect(!FileManager.default.fileExists(atPath: folder + "/up"))
    }

    private static let needsRoot: Comment = "SKIPPED: a full disk needs root to mount a small file system"

    /// There is room for what was carried, and half of the rest is too little for what comes out of it.
    @Test(.enabled(if: SmallDisk.isPossible, needsRoot)) func nothingTakesMoreThanHalfOfTheDisk() throws {
        let small = try SmallDisk(bytes: 5 << 20)
        let sums = try upload(to: small.path)
        let unlimited = HostFetchScript.unlimitedBytes
        #expect(try failure(sums.wrapped, in: small.path, quotaBytes: unlimited) == Ending(code: "host-fetch.no-room", left: ["up"]))
        try small.grow(toBytes: 8 << 20)
        #expect(try arrive(sums.wrapped, in: small.path, quotaBytes: unlimited).unwrappedSHA256 == sums.plain)
    }

    /// Who says how much may come out of it has thought of the disk.
    @Test(.enabled(if: SmallDisk.isPossible, needsRoot)) func wherePlanSaysHowMuchMayComeOutItMayTakeAllThatIsFree() throws {
        let small = try SmallDisk(bytes: 5 << 20)
        let sums = try upload(to: small.path)
        #expect(try arrive(sums.wrapped, in: small.path, quotaBytes: 2_000_000).unwrappedSHA256 == sums.plain)
    }

    /// Others fill it while the backup is unwrapped.
    @Test(.enabled(if: SmallDisk.isPossible, needsRoot)) func aFullDiskDoesNotMakeTheBackupADamagedOne() throws {
        let small = try SmallDisk(bytes: 8 << 20)
        let sums = try upload(to: small.path)
        try program("gzip", "head -c 9000000 /dev/zero >\(small.path)/ballast 2>/dev/null; exec /usr/bin/gzip \"$@\"")
        #expect(try failure(sums.wrapped, in: small.path, path: folder + "/bin") == Ending(code: "host-fetch.disk-full", left: ["ballast", "up"]))
        truncate(small.file("ballast"), 0)
        #expect(try arrive(sums.wrapped, in: small.path).unwrappedSHA256 == sums.plain)
    }

    private func program(_ name: String, _ body: String) throws {
        try FileManager.default.createDirectory(atPath: folder + "/bin", withIntermediateDirectories: true)
        try "#!/bin/sh\n\(body)\n".write(toFile: folder + "/bin/" + name, atomically: true, encoding: .utf8)
        chmod(folder + "/bin/" + name, 0o755)
    }

    @Test func aDamagedOneIsNamedAndNothingOfItStays() throws {
        _ = try upload(to: folder)
        let cut = try sh("cd \(folder) && truncate -s 1000000 up && sha256sum < up").output.prefix(64)
        #expect(try failure(String(cut), in: folder) == Ending(code: "host-fetch.damaged", left: []))
    }

    @Test func whatChangedOnTheWayIsNamedAndNothingOfItStays() throws {
        _ = try upload(to: folder)
        #expect(try failure(String(repeating: "0", count: 64), in: folder) == Ending(code: "host-fetch.content-mismatch", left: []))
    }

    @Test func aBombIsStoppedAtTheQuota() throws {
        let sums = try upload(to: folder)
        #expect(try failure(sums.wrapped, in: folder, quotaBytes: 1_999_999) == Ending(code: "host-fetch.quota", left: []))
        // One that is not wrapped at all as well.
        let plain = try sh("cd \(folder) && cp plain up && sha256sum < up").output.prefix(64)
        #expect(try failure(String(plain), in: folder, quotaBytes: 1_999_999) == Ending(code: "host-fetch.quota", left: []))
    }

    /// As where memory runs out: that says nothing about the backup.
    @Test func aProgramThatIsKilledDoesNotMakeTheBackupADamagedOne() throws {
        let sums = try upload(to: folder)
        try program("gzip", "kill -KILL $$")
        #expect(try failure(sums.wrapped, in: folder, path: folder + "/bin") == Ending(code: "host-fetch.unexpected", left: ["up"]))
    }
}
