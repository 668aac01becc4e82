import Foundation
import Glibc
import TestSupport
import Testing

@testable import Steps

/// The unpacking program itself, run on this machine against archives that mean harm, or are merely odd.
@Suite struct ArchiveTests {
    private let folder: TestFolder
    init() throws {
        folder = try TestFolder()
        try folder.write("outside", to: "outside/kept")
    }

    private func unpack(
        _ bytes: [UInt8], into: String = "root", only: [String] = [], _ more: [String: String] = [:]
    ) throws -> ScriptOutcome {
        try Data(bytes).write(to: URL(fileURLWithPath: folder.file("archive")))
        let environment = [
            "ARCHIVE": folder.file("archive"), "SHA256": "", "INTO": folder.file(into), "OWNER": "", "GROUP": "", "STRIP": "0",
            "EXISTING": "refuse", "LINKS": "inside", "MOST_BYTES": "1000000", "MOST_ENTRIES": "100",
        ].merging(more) { $1 }
        return try runLocally(ArchiveStep.script, environment, stdin: only.flatMap { Array($0.utf8) + [0] }, in: folder.path)
    }

    private func expectRefused(
        _ bytes: [UInt8], _ why: String, _ more: [String: String] = [:], only: [String] = [], location: SourceLocation = #_sourceLocation
    ) throws {
        let before = folder.tree("root")
        let outcome = try unpack(bytes, only: only, more)
        #expect(outcome.status == 65, "\(outcome)", sourceLocation: location)
        let line = outcome.complained.split(separator: "\n").last ?? ""
        #expect(line.contains(why), "\(line)", sourceLocation: location)
        #expect(folder.tree("root") == before, "something was written", sourceLocation: location)
        #expect(folder.tree("outside") == ["kept 100644 7 \(geteuid()) "], sourceLocation: location)
    }

    // MARK: Hostile

    private typealias Entry = TarBuilder.Entry

    static let hostile: [(name: String, entries: [TarBuilder.Entry], why: String)] = [
        ("an absolute path", [.file("/etc/reprise-test")], "absolute path"),
        ("up", [.file("../outside/new")], ".."),
        ("up on the way", [.file("a/../../outside/new")], ".."),
        ("up inside", [.file("a/../b")], ".."),
        ("up at the end", [.folder("a/..")], ".."),
        ("up by an extended header", [.pax([("path", "../outside/new")]), .file("a")], ".."),
        ("absolute by an extended header", [.pax([("path", "/etc/x")]), .file("a")], "absolute path"),
        ("up by a long name", [Entry(name: Array("././@LongLink".utf8), type: "L", data: Array("../outside/new\u{0}".utf8)), .file("a")], ".."),
        ("all entries one path", [.pax([("path", "b")], type: "g"), .file("a")], "the same path"),
        ("a NUL in a name", [.pax([("path", "a\u{0}b")]), .file("a")], "NUL"),
        ("no name", [.file("")], "empty name"),
        ("the folder itself as a file", [.file("./")], "data"),
        ("a link to an absolute path", [.link("l", to: "/etc")], "absolute path"),
        ("a link that leads out", [.link("l", to: "../outside")], "leads out"),
        ("a link below that leads out", [.folder("a"), .link("a/l", to: "../../outside")], "leads out"),
        ("a link that goes up on its way", [.folder("d"), .link("d/up", to: "../x"), .link("l", to: "d/up/../..")], "up again"),
        ("a link without a target", [.link("l", to: "")], "no target"),
        ("a file through a link", [.link("l", to: "."), .file("l/f")], "symbolic link"),
        ("a file through a link, the other way round", [.file("l/f"), .link("l", to: ".")], "symbolic link"),
        ("a file under a file", [.file("f"), .file("f/g")], "a file"),
        ("a link where a file was", [.file("f"), .link("f", to: "x")], "twice"),
        ("a folder where a link was", [.link("f", to: "x"), .folder("f")], "twice"),
        ("a hard link out", [.hardLink("h", to: "../outside/kept")], ".."),
        ("a hard link to an absolute path", [.hardLink("h", to: "/etc/passwd")], "absolute path"),
        ("a hard link to nothing", [.hardLink("h", to: "missing")], "no file before it"),
        ("a hard link to a link", [.link("l", to: "x"), .hardLink("h", to: "l")], "no file before it"),
        ("a character device", [.special("d", "3")], "a device"),
        ("a block device", [.special("d", "4")], "a device"),
        ("a named pipe", [.special("p", "6")], "a named pipe"),
        ("a file that gives its owner's rights", [.file("su", mode: 0o4755)], "setuid"),
        ("a file that gives its group's rights", [.file("sg", mode: 0o2755)], "setgid"),
        ("an unknown type", [.special("u", "Z")], "unknown type"),
        ("a sparse file", [.special("s", "S")], "sparse"),
        ("a sparse file of pax", [.pax([("GNU.sparse.major", "1")]), .file("s")], "sparse"),
        ("a folder with data", [Entry(name: Array("d".utf8), type: "5", data: [1, 2])], "holds data"),
        ("a link with data", [Entry(name: Array("l".utf8), type: "2", data: [1, 2], target: [120])], "holds data"),
        ("a name that is too long", [.pax([("path", String(repeating: "n", count: 256))]), .file("a")], "longer than 255"),
        ("too deep", [.pax([("path", String(repeating: "d/", count: 201))]), .folder("a")], "200 folders"),
        ("the name that is used while unpacking", [.file("a/.reprise-unpacking")], "while unpacking"),
        ("an extended header that lies about its length", [Entry(name: [97], type: "x", data: Array("99 path=b\n".utf8)), .file("a")], "damaged"),
        ("an extended header without an end", [Entry(name: [97], type: "x", data: Array("9 path=bb".utf8)), .file("a")], "damaged"),
        ("an unknown account", [Entry(name: [97], user: "no-such-user")], "does not have"),
    ]

    @Test(arguments: hostile.indices)
    func whatMeansHarmIsRefusedBeforeAnythingIsWritten(index: Int) throws {
        let (name, entries, why) = Self.hostile[index]
        // Behind a good file, which must not be there afterwards either.
        try expectRefused(TarBuilder.archive([.file("good")] + entries), why)
        #expect(folder.mode("root") == nil, "\(name): the folder was made")
    }

    @Test func whatIsCutOffOrDamagedIsRefused() throws {
        let whole = TarBuilder.archive([.file("a", String(repeating: "a", count: 700)), .file("b")])
        for length in [0, 1, 511, 512, 1024, 1535, 1536, 2047, 2048, whole.count - 1024] {
            try expectRefused(Array(whole.prefix(length)), "cut off")
        }
        try expectRefused(Array(whole.prefix(600)), "cut off")
        var flipped = whole
        flipped[0] ^= 1
        try expectRefused(flipped, "checksum")
        try expectRefused(whole + whole, "goes on")
        try expectRefused(Array("no archive at all, but long enough to be a header".utf8) + [UInt8](repeating: 32, count: 1024), "no")
        try expectRefused(TarBuilder.archive([Entry(name: [97], size: 1 << 33)]), "cut off", ["MOST_BYTES": "\(1 << 40)"])
        let digits: [UInt8] = Array(whole[..<124]) + [0xff] + Array(whole[125...])
        try expectRefused(digits, "checksum")
    }

    @Test func whatIsLargerThanItsQuotaIsRefused() throws {
        try expectRefused(TarBuilder.archive([.file("a", "12345"), .file("b", "12345")]), "most-bytes", ["MOST_BYTES": "9"])
        try expectRefused(TarBuilder.archive([.file("a", "123456"), .hardLink("h", to: "a")]), "most-bytes", ["MOST_BYTES": "9"])
        try expectRefused(TarBuilder.archive((0..<4).map { .file("f\($0)") }), "most-entries", ["MOST_ENTRIES": "3"])
        try expectRefused(TarBuilder.archive((0..<9).map { _ in .pax([("comment", "x")]) } + [.file("a")]), "most-entries", ["MOST_ENTRIES": "3"])
    }

    @Test func aBombIsStoppedWhileItIsUnwrapped() throws {
        try tool("sh", "-c", "head -c 300000000 /dev/zero | gzip -1 >'\(folder.file("bomb"))'")
        let bomb = try #require(FileManager.default.contents(atPath: folder.file("bomb")))
        try expectRefused(Array(bomb), "unwraps to more than")
    }

    @Test func whatIsWrappedIsUnwrappedByItsFirstBytes() throws {
        try Data(TarBuilder.archive([.file("a", "in gzip")])).write(to: URL(fileURLWithPath: folder.file("plain")))
        try tool("gzip", folder.file("plain"))
        let wrapped = Array(try #require(FileManager.default.contents(atPath: folder.file("plain.gz"))))
        let outcome = try unpack(wrapped)
        #expect(outcome.status == 0 && folder.text("root/a") == "in gzip", "\(outcome)")
        try expectRefused(wrapped.dropLast(9), "gzip ended")
        #expect(folder.tree("root").map { $0.split(separator: " ")[0] } == ["a"])
    }

    @Test(.enabled(if: SmallDisk.isPossible, "SKIPPED: needs root and mounts"))
    func whatDoesNotFitIsRefusedBeforeTheDiskIsFull() throws {
        let disk = try SmallDisk(bytes: 1 << 20)
        let archive = TarBuilder.archive([.file("a"), .file("b", String(repeating: "b", count: 1_200_000))])
        let outcome = try unpack(archive, ["INTO": disk.file("root"), "MOST_BYTES": "9000000"])
        #expect(outcome.status == 65 && outcome.complained.contains("has room for"), "\(outcome)")
        #expect(disk.names.isEmpty)
    }

    // MARK: What is there already

    @Test func aSecondRunChangesNothing() throws {
        let archive = TarBuilder.archive([
            .folder("./"), .folder("a", mode: 0o750), .file("a/b", "text", mode: 0o640), .link("a/l", to: "../c/d"), .file("c/d", ""), .hardLink("h", to: "a/b"),
        ])
        let first = try unpack(archive)
        #expect(first.status == 0 && first.changes.count == 2, "\(first)")
        #expect(folder.text("root/a/b") == "text" && folder.text("root/h") == "text")
        #expect(folder.mode("root/a") == S_IFDIR | 0o750 && folder.mode("root/a/b") == S_IFREG | 0o640 && folder.mode("root/c") == S_IFDIR | 0o755)
        let tree = folder.tree("root")
        let second = try unpack(archive)
        #expect(second.status == 0 && second.changes.isEmpty, "\(second)")
        #expect(folder.tree("root") == tree)
    }

    @Test func anAttemptThatWasCutOffIsFinished() throws {
        let archive = TarBuilder.archive([.file("a/one", "1"), .file("a/two", "2"), .file("b", "3")])
        _ = try unpack(archive)
        try FileManager.default.removeItem(atPath: folder.file("root/b"))
        try FileManager.default.removeItem(atPath: folder.file("root/a/two"))
        try folder.write("half a fi", to: "root/a/.reprise-unpacking")
        let outcome = try unpack(archive)
        #expect(outcome.status == 0 && outcome.changes == ["unpacked 2 entries"], "\(outcome)")
        #expect(folder.text("root/a/two") == "2" && folder.text("root/b") == "3" && folder.mode("root/a/.reprise-unpacking") == nil)
    }

    @Test func otherContentIsRefusedReplacedOrKeptAsThePlanSays() throws {
        let archive = TarBuilder.archive([.file("a", "backup"), .file("new", "n")])
        try folder.write("live", to: "root/a")
        try expectRefused(archive, "other content: \"a\"")
        let kept = try unpack(archive, ["EXISTING": "keep"])
        #expect(kept.status == 0 && folder.text("root/a") == "live" && folder.text("root/new") == "n", "\(kept)")
        let replaced = try unpack(archive, ["EXISTING": "replace"])
        #expect(replaced.status == 0 && folder.text("root/a") == "backup" && replaced.changes == ["replaced 1 file: \"a\""], "\(replaced)")
    }

    @Test func ownerAndModeAreSetRightWithoutWritingTheFileAnew() throws {
        let archive = TarBuilder.archive([.folder("d", mode: 0o750), .file("d/a", "same", mode: 0o600)])
        try folder.write("same", to: "root/d/a", mode: 0o777)
        chmod(folder.file("root/d"), 0o2777)
        var before = stat(), after = stat()
        lstat(folder.file("root/d/a"), &before)
        let outcome = try unpack(archive)
        lstat(folder.file("root/d/a"), &after)
        #expect(outcome.status == 0 && outcome.changes == ["owner or mode of 2 entries"], "\(outcome)")
        #expect(before.st_ino == after.st_ino && folder.mode("root/d/a") == S_IFREG | 0o600 && folder.mode("root/d") == S_IFDIR | 0o2750)
    }

    @Test func aFileWithTwoNamesIsWrittenAnewInsteadOfBeingGivenAway() throws {
        try folder.write("same", to: "outside/two", mode: 0o600)
        try folder.write("", to: "root/other")
        #expect(link(folder.file("outside/two"), folder.file("root/a")) == 0)
        let outcome = try unpack(TarBuilder.archive([.file("a", "same", mode: 0o666)]))
        #expect(outcome.status == 0 && folder.mode("root/a") == S_IFREG | 0o666, "\(outcome)")
        #expect(folder.mode("outside/two") == S_IFREG | 0o600)
    }

    @Test(arguments: ["refuse", "replace", "keep"])
    func aLinkThatIsThereIsNeverFollowed(existing: String) throws {
        try FileManager.default.createDirectory(atPath: folder.file("root"), withIntermediateDirectories: true)
        symlink(folder.file("outside"), folder.file("root/d"))
        try expectRefused(TarBuilder.archive([.file("d/kept", "evil")]), "is a symbolic link", ["EXISTING": existing])
        try expectRefused(TarBuilder.archive([.folder("d")]), "the other way round", ["EXISTING": existing])
    }

    @Test func aLinkInThePlaceOfAFileIsReplacedAndNotWrittenThrough() throws {
        try FileManager.default.createDirectory(atPath: folder.file("root"), withIntermediateDirectories: true)
        symlink(folder.file("outside/kept"), folder.file("root/f"))
        try expectRefused(TarBuilder.archive([.file("f", "outside")]), "other content")
        let outcome = try unpack(TarBuilder.archive([.file("f", "new")]), ["EXISTING": "replace"])
        #expect(outcome.status == 0 && folder.mode("root/f") == S_IFREG | 0o644 && folder.text("outside/kept") == "outside", "\(outcome)")
    }

    @Test func aPipeInThePlaceOfAFileIsReplacedAndNotWaitedFor() throws {
        try FileManager.default.createDirectory(atPath: folder.file("root"), withIntermediateDirectories: true)
        mkfifo(folder.file("root/f"), 0o644)
        let outcome = try unpack(TarBuilder.archive([.file("f", "new")]), ["EXISTING": "replace"])
        #expect(outcome.status == 0 && folder.text("root/f") == "new", "\(outcome)")
    }

    @Test(arguments: ["refuse", "replace", "keep"])
    func aFolderIsNeverExchangedForAFileNorTheOtherWay(existing: String) throws {
        try folder.write("x", to: "root/d/inner")
        try folder.write("x", to: "root/f")
        try expectRefused(TarBuilder.archive([.file("d")]), "the other way round", ["EXISTING": existing])
        try expectRefused(TarBuilder.archive([.folder("f")]), "the other way round", ["EXISTING": existing])
    }

    // MARK: Names, rights, choices

    @Test func oddNamesAreTakenLiterally() throws {
        let names = ["-rf", "--checkpoint-action=exec=touch pwned", "a\nb", " lead", "trail ", "$(touch pwned)", "'\"\\", "*", "tab\there", "ü\u{308}"]
        let outcome = try unpack(TarBuilder.archive(names.map { .file($0, $0) }))
        #expect(outcome.status == 0, "\(outcome)")
        for name in names { #expect(folder.text("root/\(name)") == name) }
        #expect(folder.tree("root").count == names.count)
        let invalid = try unpack(TarBuilder.archive([Entry(name: [0xff, 0xfe, 0x2f, 0x80], data: [1])]), into: "raw")
        #expect(invalid.status == 0, "\(invalid)")
    }

    @Test func aNameIsShownOnOneLine() throws {
        try expectRefused(TarBuilder.archive([.special("a\nchanged: all\u{1b}[2J", "6")]), #""a\x0achanged: all\x1b[2J" is a named pipe"#)
    }

    @Test func bitsOfFoldersAndStickyOnesAreDropped() throws {
        let outcome = try unpack(TarBuilder.archive([.file("s", mode: 0o1755), .folder("t", mode: 0o7777)]))
        #expect(outcome.status == 0 && folder.mode("root/s") == S_IFREG | 0o755 && folder.mode("root/t") == S_IFDIR | 0o777, "\(outcome)")
    }

    @Test(.enabled(if: geteuid() == 0, "SKIPPED: needs root to give files away"))
    func filesBelongToWhomThePlanNamesElseToTheNamesInTheArchive() throws {
        // The number in the archive is root's; the name counts.
        var entry = Entry.file("named", "x")
        entry.user = "daemon"
        var numbered = Entry.file("numbered", "x")
        numbered.userNumber = 4242
        let archive = TarBuilder.archive([entry, numbered, .file("deep/file")])
        #expect(try unpack(archive).status == 0)
        func owner(_ name: String) -> uid_t {
            var status = stat()
            lstat(folder.file(name), &status)
            return status.st_uid
        }
        #expect(owner("root/named") == getpwnam("daemon").pointee.pw_uid && owner("root/numbered") == 4242)
        #expect(try unpack(archive, into: "given", ["OWNER": "daemon"]).status == 0)
        for name in ["given", "given/deep", "given/deep/file", "given/numbered"] { #expect(owner(name) == getpwnam("daemon").pointee.pw_uid, "\(name)") }
        var status = stat()
        lstat(folder.file("given/deep/file"), &status)
        #expect(status.st_gid == getpwnam("daemon").pointee.pw_gid, "the owner's own group")
        #expect(try unpack(archive, into: "given", ["OWNER": "daemon", "GROUP": "mail"]).status == 0)
        lstat(folder.file("given/deep/file"), &status)
        #expect(status.st_gid == getgrnam("mail").pointee.gr_gid)
    }

    /// Somebody who may write in the tree exchanges a folder for a link that leads out of it, as fast as they can.
    @Test func aFolderThatIsExchangedForALinkMeanwhileLeadsNowhere() throws {
        _ = try unpack(TarBuilder.archive([.file("d/kept", "0")]))
        let attacker = Process()
        attacker.executableURL = URL(fileURLWithPath: "/usr/bin/perl")
        attacker.arguments = ["-e", "chdir shift; while (1) { rename 'd', 'e'; symlink '../outside', 'd'; unlink 'd'; rename 'e', 'd' }", folder.file("root")]
        try attacker.run()
        defer { kill(attacker.processIdentifier, SIGKILL) }
        var written = 0
        for round in 1...25 {
            let outcome = try unpack(TarBuilder.archive([.file("d/kept", "evil \(round)"), .file("d/new \(round)")]), ["EXISTING": "replace"])
            #expect([0, 1, 65].contains(outcome.status), "\(outcome)")
            if outcome.status == 0 { written += 1 }
            #expect(folder.tree("outside") == ["kept 100644 7 \(geteuid()) "], "round \(round)")
        }
        print("written \(written) times of 25 under attack")
    }

    @Test func onlyWhatIsChosenComesWithoutItsLeadingFolders() throws {
        let archive = TarBuilder.archive([
            .file("./storage/app/public/a.jpg"), .file("storage/app/public/deep/b.jpg"), .file("storage/logs/x"), .special("dev/null", "3"),
        ])
        let outcome = try unpack(archive, only: ["storage/app/*"], ["STRIP": "2"])
        #expect(outcome.status == 0 && folder.tree("root").map { $0.split(separator: " ")[0] } == ["public", "public/a.jpg", "public/deep", "public/deep/b.jpg"], "\(outcome)")
        try expectRefused(archive, "nothing in the archive is called \"nowhere\"", only: ["nowhere", "storage"])
        try expectRefused(archive, "a device", only: ["dev"])
    }

    @Test func linksAreJudgedAfterTheLeadingFoldersAreGone() throws {
        let archive = TarBuilder.archive([.link("a/b/l", to: "../x")])
        #expect(try unpack(archive).status == 0)
        try expectRefused(archive, "leads out", ["STRIP": "2"])
        try expectRefused(archive, "is a symbolic link", ["LINKS": "refuse"])
    }

    @Test func anArchiveThatIsNotTheOneThatWasFetchedIsRefused() throws {
        try expectRefused(TarBuilder.archive([.file("a")]), "SHA-256", ["SHA256": String(repeating: "0", count: 64)])
    }

    @Test(arguments: ["gnu", "pax", "ustar", "v7"])
    func whatTarWritesComesBackAsItWas(format: String) throws {
        try folder.write("one", to: "source/storage/app/one", mode: 0o640)
        try folder.write(String(repeating: "two", count: 100_000), to: "source/storage/app/two words")
        if format == "gnu" || format == "pax" { try folder.write("", to: "source/\(String(repeating: "d", count: 140))/\(String(repeating: "é", count: 70))") }
        symlink("app/one", folder.file("source/storage/link"))
        try tool("tar", "--format=\(format)", "-cf", folder.file("made.tar"), "-C", folder.file("source"), ".")
        let outcome = try unpack(Array(try #require(FileManager.default.contents(atPath: folder.file("made.tar")))))
        #expect(outcome.status == 0, "\(outcome)")
        #expect(folder.tree("root") == folder.tree("source"))
        try tool("diff", "-r", folder.file("root/storage"), folder.file("source/storage"))
    }

    // MARK: Anything

    /// Random archives, half of them of hostile parts: whatever comes of it, nothing outside of the folder is touched, and what was
    /// taken once is taken again without a change.
    @Test func noRandomArchiveReachesOutOfItsFolder() throws {
        let seed = seed(#function)
        var generator = SeededGenerator(seed)
        let parts = ["a", "b", "c", "..", ".", "", "l"]
        var taken = 0
        for round in 0..<60 {
            func name() -> String { (0...generator.below(2)).map { _ in generator.chance(85) ? ["a", "b", "c", "l"].randomElement(using: &generator)! : generator.pick(parts) }.joined(separator: "/") }
            let entries = (0...generator.below(4)).map { _ -> Entry in
                switch generator.below(10) {
                case 0: .link(name(), to: name())
                case 1: .hardLink(name(), to: name())
                case 2, 3: .folder(name())
                default: .file(name(), "text \(generator.below(2))")
                }
            }
            let root = "root\(generator.below(8))"
            let first = try unpack(TarBuilder.archive(entries), into: root, ["EXISTING": "replace"])
            #expect(first.status == 0 || first.status == 65, "seed \(seed), round \(round): \(first)")
            #expect(folder.tree("outside") == ["kept 100644 7 \(geteuid()) "], "seed \(seed), round \(round)")
            guard first.status == 0 else { continue }
            taken += 1
            let second = try unpack(TarBuilder.archive(entries), into: root, ["EXISTING": "replace"])
            #expect(second.status == 0 && second.changes.isEmpty, "seed \(seed), round \(round): \(second)")
        }
        #expect(taken > 5, "seed \(seed)")
    }
}
