import Foundation
import Glibc
import Testing

@testable import Steps

/// The script that brings a path into its wanted state, run on this machine.
@Suite struct HostFileTests {
    private let folder: TestFolder
    init() throws { folder = try TestFolder() }

    private func bring(_ name: String, _ thing: FileWish.Thing, mode: String = "0644", owner: String = "", group: String = "", validate: String = "") throws -> ScriptOutcome {
        let wish = FileWish(path: folder.file(name), thing: thing, mode: mode, owner: owner, group: group, validate: validate)
        return try runLocally(fileScript, wish.environment, stdin: wish.content, in: folder.path)
    }

    private func file(_ text: String, isSecret: Bool = false) -> FileWish.Thing { .file(content: Array(text.utf8), isSecret: isSecret) }

    private func expectRefused(_ outcome: ScriptOutcome, _ why: String, location: SourceLocation = #_sourceLocation) {
        #expect(outcome.status == 65 && outcome.changes.isEmpty, "\(outcome)", sourceLocation: location)
        #expect(outcome.complained.split(separator: "\n").last?.contains(why) == true, "\(outcome)", sourceLocation: location)
    }

    private var inode: ino_t {
        var status = stat()
        return lstat(folder.file("conf"), &status) == 0 ? status.st_ino : 0
    }

    @Test func aFileIsMadeOnceAndThenUnchanged() throws {
        let made = try bring("conf", file("one\n"), mode: "0640")
        #expect(made.status == 0 && made.changes == ["made \(folder.file("conf"))"], "\(made)")
        #expect(folder.text("conf") == "one\n" && folder.mode("conf") == S_IFREG | 0o640)
        let before = inode
        let again = try bring("conf", file("one\n"), mode: "0640")
        #expect(again.status == 0 && again.changes.isEmpty && inode == before, "\(again)")
        #expect(try bring("conf", file("two\n"), mode: "0640").changes == ["wrote \(folder.file("conf")) anew"])
        #expect(folder.text("conf") == "two\n" && inode != before)
    }

    @Test func aModeAloneIsMendedInPlace() throws {
        try folder.write("key", to: "conf", mode: 0o644)
        let before = inode
        let outcome = try bring("conf", file("key", isSecret: true), mode: "0600")
        #expect(outcome.changes == ["\(folder.file("conf")): mode 0644 became 0600"] && inode == before, "\(outcome)")
        #expect(outcome.said.contains("warning: others could read"))
        #expect(folder.mode("conf") == S_IFREG | 0o600)
    }

    @Test func everyByteArrivesAsItIs() throws {
        let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        #expect(try bring("conf", .file(content: bytes, isSecret: false)).status == 0)
        #expect(FileManager.default.contents(atPath: folder.file("conf")).map(Array.init) == bytes)
        #expect(try bring("conf", .file(content: [], isSecret: false)).status == 0)
        #expect(folder.text("conf") == "")
    }

    @Test func namesAreNeverReadAsAnythingElse() throws {
        for name in ["it's $(touch hit) `touch hit`", "-rf", "a\"b;touch hit", "ü %s\\n"] {
            #expect(try bring(name, file("x")).status == 0)
            #expect(folder.text(name) == "x" && folder.mode("hit") == nil, "\(name)")
        }
    }

    @Test func whatValidateRefusesLeavesTheOldFile() throws {
        try folder.write("good", to: "conf")
        let refused = try bring("conf", file("bad"), validate: #"echo "line 1 is bad" >&2; grep -q good "$FILE""#)
        expectRefused(refused, "line 1 is bad")
        // What says why is followed by what says nothing.
        let spaced = try bring("conf", file("bad"), validate: #"printf '[emerg] line 1\n\n\n\n'; exit 1"#)
        expectRefused(spaced, "(exit status 1): [emerg] line 1; what was there before stays")
        #expect(folder.text("conf") == "good" && folder.mode(".conf.reprise-new") == nil)
        #expect(try bring("conf", file("good too"), validate: #"grep -q good "$1""#).status == 0)
        #expect(folder.text("conf") == "good too")
    }

    @Test func killedBeforeTheRenameItLeavesTheOldFileAndTheNextRunItsNewOne() throws {
        try folder.write("old", to: "conf")
        let killed = try bring("conf", file("new"), validate: "kill -KILL $PPID")
        #expect(killed.status != 0 && folder.text("conf") == "old")
        #expect(folder.text(".conf.reprise-new") == "new", "this is what a killed attempt leaves")
        #expect(try bring("conf", file("newer")).status == 0)
        #expect(folder.text("conf") == "newer" && folder.mode(".conf.reprise-new") == nil)
    }

    @Test func aLinkIsReplacedAndNotFollowed() throws {
        try folder.write("precious", to: "target")
        #expect(try bring("conf", .link(target: "target"), mode: "0777").changes == ["\(folder.file("conf")) leads to target"])
        #expect(try bring("conf", .link(target: "target"), mode: "0777").changes.isEmpty)
        let outcome = try bring("conf", file("mine"))
        #expect(outcome.changes == ["wrote \(folder.file("conf")), which was a link"], "\(outcome)")
        #expect(folder.text("target") == "precious" && folder.text("conf") == "mine")
    }

    @Test func aFolderIsMadeWithThoseAboveIt() throws {
        #expect(try bring("a/b/c", .directory, mode: "0750").changes.count == 1)
        #expect(folder.mode("a/b/c") == S_IFDIR | 0o750 && folder.mode("a/b") == S_IFDIR | 0o755)
        #expect(try bring("a/b/c", .directory, mode: "0750").changes.isEmpty)
        #expect(try bring("a/b/c/", .directory, mode: "0700").changes.count == 1)
        #expect(folder.mode("a/b/c") == S_IFDIR | 0o700)
    }

    @Test func onlyWhatIsEmptyIsTakenAway() throws {
        try folder.write("x", to: "a/b")
        expectRefused(try bring("a", .absent), "not empty")
        #expect(try bring("a/b", .absent).changes.count == 1)
        #expect(try bring("a/b", .absent).changes.isEmpty)
        #expect(try bring("a", .absent).status == 0 && folder.mode("a") == nil)
    }

    @Test func whatCannotBecomeSoIsRefusedByName() throws {
        expectRefused(try bring("nowhere/conf", file("x")), "the folder \(folder.path)/nowhere is not there")
        expectRefused(try bring("conf", file("x"), owner: "nobody-of-this-name"), "no account nobody-of-this-name")
        expectRefused(try bring("conf", file("x"), group: "no-such-group"), "no group no-such-group")
        try folder.write("x", to: "a/b")
        expectRefused(try bring("a", file("x")), "is a folder")
        expectRefused(try bring("a/b", .directory), "is no folder")
        #expect(mkfifo(folder.file("pipe"), 0o600) == 0)
        expectRefused(try bring("pipe", file("x")), "neither a file nor a link")
        #expect(folder.mode("conf") == nil)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root")) func anOwnerIsGivenWithoutAMomentInBetween() throws {
        let outcome = try bring("conf", file("x"), mode: "0600", owner: "nobody")
        var status = stat()
        #expect(outcome.status == 0 && lstat(folder.file("conf"), &status) == 0)
        #expect(status.st_uid == 65534 && status.st_mode == S_IFREG | 0o600, "\(outcome)")
        // Nobody asks for an owner: it stays as it is.
        #expect(try bring("conf", file("y"), mode: "0600").status == 0)
        #expect(lstat(folder.file("conf"), &status) == 0 && status.st_uid == 65534 && folder.text("conf") == "y")
    }
}
