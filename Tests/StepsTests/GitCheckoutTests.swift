import Foundation
import Glibc
import TestSupport
import Testing

@testable import SSH
@testable import Steps

/// The script that brings a folder to a revision, run on this machine with real repositories.
@Suite struct GitCheckoutTests {
    private let folder: TestFolder
    private let first: String
    private let second: String

    init() throws {
        folder = try TestFolder()
        let script = """
            cd '\(folder.path)'
            export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x
            git init -q -b main source && cd source
            mkdir -p storage app && printf '*\\n' >storage/.gitignore && printf one >app/code && printf gone >old && printf '#!/bin/sh\\n' >run && chmod +x run
            git add -f . && git commit -q -m first && git tag -a v1 -m v1 && git rev-parse HEAD >../first
            git rm -q old && printf two >app/code && mkdir new && printf n >new/file && git add . && git commit -q -m second && git rev-parse HEAD >../second
            """
        try tool("sh", "-euc", script)
        first = try #require(folder.text("first")).trimmed
        second = try #require(folder.text("second")).trimmed
    }

    private func checkOut(_ revision: String, into: String = "site", _ more: [String: String] = [:]) throws -> ScriptOutcome {
        let environment = [
            "REPOSITORY": folder.file("source"), "REVISION": revision, "KIND": GitCheckoutStep.isHash(revision) ? "hash" : "tag", "INTO": folder.file(into),
            "AS": "", "KNOWN_HOSTS": "", "CA_FILE": "", "DEPTH": "0", "DISCARD": "0", "HAS_KEY": "0",
        ].merging(more) { $1 }
        return try runLocally(GitCheckoutScript.text, environment, in: folder.path)
    }

    private func expect(_ outcome: ScriptOutcome, at revision: String, changes: Bool, location: SourceLocation = #_sourceLocation) {
        #expect(outcome.status == 0 && outcome.changes.isEmpty != changes, "\(outcome)", sourceLocation: location)
        #expect(outcome.said.contains("evidence: revision \(revision)"), "\(outcome)", sourceLocation: location)
        #expect(folder.text("site/app/code") == (revision == first ? "one" : "two"), sourceLocation: location)
        #expect((folder.mode("site/old") != nil) == (revision == first) && (folder.mode("site/new/file") != nil) == (revision == second), sourceLocation: location)
        #expect(folder.mode("site/.git/reprise-checkout") == nil, sourceLocation: location)
    }

    private func expectRefused(_ outcome: ScriptOutcome, _ why: String, location: SourceLocation = #_sourceLocation) {
        #expect(outcome.status == 65 && outcome.complained.split(separator: "\n").last?.contains(why) == true, "\(outcome)", sourceLocation: location)
    }

    @Test func anExactRevisionIsCheckedOutAndASecondRunChangesNothing() throws {
        expect(try checkOut(first), at: first, changes: true)
        let tree = folder.tree("site")
        expect(try checkOut(first), at: first, changes: false)
        #expect(folder.tree("site") == tree)
        #expect(folder.mode("site/run") == S_IFREG | 0o755)
    }

    @Test func anUnchangedFolderNeedsNoRepository() throws {
        expect(try checkOut("v1"), at: first, changes: true)
        try FileManager.default.moveItem(atPath: folder.file("source"), toPath: folder.file("away"))
        expect(try checkOut("v1"), at: first, changes: false)
    }

    @Test func itGoesToANewerRevisionAndBack() throws {
        for revision in [first, second, first] { expect(try checkOut(revision), at: revision, changes: true) }
    }

    @Test func aCommitOnNoBranchAndOneOfAShortHistoryAreFound() throws {
        try tool("git", "-C", folder.file("source"), "reset", "-q", "--hard", first)
        expect(try checkOut(second, ["DEPTH": "1", "REPOSITORY": "file://" + folder.file("source")]), at: second, changes: true)
        #expect(folder.mode("site/.git/shallow") != nil)
        expect(try checkOut(first, ["DEPTH": "1", "REPOSITORY": "file://" + folder.file("source")]), at: first, changes: true)
    }

    @Test func whatIsNoRevisionIsRefused() throws {
        expectRefused(try checkOut("main"), "no tag main")
        expectRefused(try checkOut(String(repeating: "0", count: 40)), "no commit 0000")
        expectRefused(try checkOut("no..tag"), "neither")
        let unreachable = try checkOut(first, into: "elsewhere", ["REPOSITORY": folder.file("nowhere")])
        #expect(unreachable.status == 1, "\(unreachable): it may be back later")
        let command = try checkOut(first, into: "other", ["REPOSITORY": "ext::touch \(folder.file("pwned"))"])
        expectRefused(command, "not allowed")
        #expect(folder.mode("pwned") == nil)
    }

    @Test func whatSomebodyChangedIsNamedAndLeftAloneUnlessDiscarded() throws {
        _ = try checkOut(first)
        try folder.write("mine", to: "site/app/code")
        try folder.write("kept", to: "site/storage/upload")
        try folder.write("SECRET=1", to: "site/.env")
        for revision in [first, second] { expectRefused(try checkOut(revision), "app/code") }
        #expect(folder.text("site/app/code") == "mine")
        expect(try checkOut(second, ["DISCARD": "1"]), at: second, changes: true)
        #expect(folder.text("site/storage/upload") == "kept" && folder.text("site/.env") == "SECRET=1")
    }

    @Test func aFileThatGitDoesNotKnowIsNotOverwritten() throws {
        _ = try checkOut(first)
        try folder.write("mine", to: "site/new/file")
        expectRefused(try checkOut(second), "new/file")
        #expect(folder.text("site/new/file") == "mine" && folder.text("site/app/code") == "one")
        #expect(try checkOut(first).changes.isEmpty, "it is still where it was")
    }

    @Test func aFolderWithFilesIsTakenOverWhereTheyAreAsTheRevisionHasThem() throws {
        try folder.write("*\n", to: "site/storage/.gitignore")
        try folder.write("upload", to: "site/storage/photo")
        expect(try checkOut(first), at: first, changes: true)
        #expect(folder.text("site/storage/photo") == "upload")
        try folder.write("other", to: "more/app/code")
        expectRefused(try checkOut(first, into: "more"), "app/code")
        #expect(folder.text("more/app/code") == "other")
        #expect(try checkOut(first, into: "more", ["DISCARD": "1"]).status == 0)
        #expect(folder.text("more/app/code") == "one")
    }

    @Test(arguments: [true, false])
    func aCheckoutThatWasCutOffIsFinished(isFirst: Bool) throws {
        _ = try checkOut(first)
        // As a killed git leaves it: a lock, half a file, one that is missing, and the mark.
        try folder.write("", to: "site/.git/index.lock")
        try folder.write("tw", to: "site/app/code")
        try folder.write("", to: "site/.git/reprise-checkout")
        try FileManager.default.removeItem(atPath: folder.file("site/run"))
        if isFirst {
            try FileManager.default.removeItem(atPath: folder.file("site/.git/index"))
            try folder.write("ref: refs/heads/master\n", to: "site/.git/HEAD")
        } else {
            try folder.write("half", to: "site/new/file")
        }
        let outcome = try checkOut(isFirst ? first : second)
        expect(outcome, at: isFirst ? first : second, changes: true)
        #expect(outcome.said.contains("warning: removed what a git that was killed"))
    }

    @Test func aRepositoryThatWasOnlyBegunIsFinished() throws {
        try folder.write("", to: "site/.git/config.lock")
        expect(try checkOut(first), at: first, changes: true)
    }

    @Test func hooksAreNotRun() throws {
        _ = try checkOut(first)
        try folder.write("#!/bin/sh\ntouch '\(folder.file("pwned"))'\n", to: "site/.git/hooks/post-checkout", mode: 0o755)
        expect(try checkOut(second), at: second, changes: true)
        #expect(folder.mode("pwned") == nil)
    }

    @Test(.enabled(if: geteuid() == 0, "SKIPPED: needs root"))
    func gitRunsAsTheOneToWhomTheFolderBelongs() throws {
        try tool("chown", "-R", "daemon", folder.file("source"))
        #expect(try checkOut(first, ["AS": "daemon"]).status == 0)
        var status = stat()
        lstat(folder.file("site/app/code"), &status)
        #expect(status.st_uid == getpwnam("daemon").pointee.pw_uid)
        // Root does not obey what is configured in somebody else's repository.
        expectRefused(try checkOut(first), "belongs to daemon")
        try tool("rm", "-rf", folder.file("site/.git"))
        expectRefused(try checkOut(first), "site belongs to daemon")
        expectRefused(try checkOut(first, ["AS": "no-such-account"]), "no account no-such-account")
    }

    @Test func aKeyThatIsNoneIsNamed() throws {
        let environment = [
            "REPOSITORY": "ssh://git@127.0.0.1:9/x", "REVISION": first, "KIND": "hash", "INTO": folder.file("site"), "AS": "", "KNOWN_HOSTS": "",
            "CA_FILE": "", "DEPTH": "0", "DISCARD": "0", "HAS_KEY": "1",
        ]
        expectRefused(try runLocally(GitCheckoutScript.text, environment, stdin: Array("no key".utf8), in: folder.path), "deploy key cannot be used")
    }

    /// After each failure git says the same two lines, which tell nothing.
    @Test func whatTheRepositorysHostSaidIsToldAndNotWhatGitAlwaysSays() throws {
        try folder.write("#!/bin/sh\necho 'Warning: Permanently added nothing.' >&2\necho 'git@code: Permission denied (publickey).' >&2\nexit 255\n", to: "bin/ssh", mode: 0o755)
        let path = ["PATH": folder.file("bin") + ":/usr/local/bin:/usr/bin:/bin", "REPOSITORY": "ssh://git@code/x"]
        let refused = try checkOut(first, path.merging(["KEY_NAME": "deploy-key"]) { $1 })
        expectRefused(refused, "lets us in no further: ")
        expectRefused(refused, "git@code: Permission denied (publickey).; fatal: Could not read from remote repository.")
        expectRefused(refused, "the key is the secret deploy-key")
        #expect(refused.complained.split(separator: "\n").last?.contains("and the repository exists") == false, "\(refused)")
        try folder.write("#!/bin/sh\necho 'ERROR: Repository not found.' >&2\nexit 1\n", to: "bin/ssh", mode: 0o755)
        let failed = try checkOut(first, into: "other", path)
        #expect(failed.status == 1, "\(failed)")
        let outcome = DurableJobOutcome(result: .ended(1), stdout: [], stderr: Array(failed.complained.utf8))
        #expect(outcome.ending == "exit status 1: ERROR: Repository not found.\nfatal: Could not read from remote repository.", "\(outcome.ending)")
    }

    @Test(arguments: ["", "-oProxyCommand=x", "a\nb", "https://user:word@host/x", "https://token@host/x"])
    func addressesThatAreNoneOrHoldALoginAreRefused(address: String) {
        #expect(GitCheckoutStep.problem(repository: address, revision: "v1") != nil)
    }

    @Test(arguments: ["git@github.com:a/b.git", "ssh://git@host/x", "https://host/x.git", "/srv/git/x"])
    func addressesAreTaken(address: String) {
        #expect(GitCheckoutStep.problem(repository: address, revision: "v1") == nil)
        for revision in ["", "-f", "a b", "a\nb"] { #expect(GitCheckoutStep.problem(repository: address, revision: revision) != nil) }
    }
}
