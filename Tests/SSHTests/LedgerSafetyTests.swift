import BlockingIO
import Foundation
import LoopbackSSH
import RunCore
import Testing

@testable import SSH

/// Secrets, full disks, and the order of what is flushed.
@Suite(.serialized) struct LedgerSafetyTests {
    @Test(arguments: Reach.local) func secretsAreInNoProcessListAndNoFile(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        let (first, second) = ("canary-env-\(UUID().uuidString)", "canary-stdin-\(UUID().uuidString)")
        let go = bench.path("go")
        let spec = job(
            "read line; [ \"$SECRET\" != \"$line\" ]; : > \(bench.path("read")); while [ ! -e \(go) ]; do sleep 0.01; done",
            environment: ["SECRET": first], stdin: Array((second + "\n").utf8))
        _ = try await ledger.submit(spec, deadline: bench.soon)
        try await eventually("the job has read its secret") { bench.exists("read") }
        let everyArgument = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }
            .compactMap { FileManager.default.contents(atPath: "/proc/\($0)/cmdline") }
        for canary in [first, second] {
            #expect(!everyArgument.contains { $0.range(of: Data(canary.utf8)) != nil })
            #expect(try filesHolding(canary, under: bench.folder).isEmpty, "while it runs")
        }
        #expect(FileManager.default.createFile(atPath: go, contents: nil))
        #expect(try await ledger.follow(spec.id, onOutput: { _ in }, deadline: bench.soon).result?.exitStatus == 0)
        for canary in [first, second] { #expect(try filesHolding(canary, under: bench.folder).isEmpty, "after its end") }
        let known = try String(contentsOfFile: bench.jobFolder(spec.id) + "/spec", encoding: .utf8)
        #expect(known.contains("environment=SECRET\n"), "names are kept, values are not")
        await ledger.close()
    }

    private func filesHolding(_ text: String, under folder: String) throws -> [String] {
        let all = try FileManager.default.subpathsOfDirectory(atPath: folder)
        return all.filter { path in
            var status = stat()
            guard stat("\(folder)/\(path)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return false }
            return FileManager.default.contents(atPath: "\(folder)/\(path)")?.range(of: Data(text.utf8)) != nil
        }
    }

    @Test(arguments: Reach.local) func theLedgerIsForItsOwnerOnlyAndNoLinkIsFollowed(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        _ = try await ledger.run(job("true"), deadline: bench.soon)
        await ledger.close()
        var status = stat()
        #expect(stat(bench.state, &status) == 0 && status.st_mode & 0o777 == 0o700)
        #expect(stat(bench.jobFolder(jobID()), &status) == 0 && status.st_mode & 0o777 == 0o700)
        let link = bench.path("link")
        #expect(symlink(bench.state, link) == 0)
        await #expect { try await bench.open(state: link) } throws: { ($0 as? LedgerError)?.code == "ledger.state-unsafe" }
        chmod(bench.state, 0o755)
        await #expect { try await bench.open() } throws: { ($0 as? LedgerError)?.code == "ledger.state-unsafe" }
    }

    static let canMount = geteuid() == 0

    @Test(.enabled(if: canMount, "needs root to mount a small tmpfs"), arguments: Reach.local)
    func aFullDiskStillRecordsTheResultAndRefusesNewJobsBeforeTheirStart(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        try FileManager.default.createDirectory(atPath: bench.path("disk"), withIntermediateDirectories: false)
        try execute(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", bench.path("disk")])
        defer { try? execute(["umount", "-l", bench.path("disk")]) }
        let state = bench.path("disk/state")
        let ledger = try await bench.open(state: state)
        let go = bench.path("go")
        let running = job("while [ ! -e \(go) ]; do sleep 0.01; done; head -c 100000 /dev/zero; exit 5")
        #expect(try await ledger.submit(running, deadline: bench.soon) == .running)
        // First the disk is full to the last byte, then the job ends and another is submitted.
        try? execute(["sh", "-c", "cat /dev/zero > \(bench.path("disk/filler")) 2>/dev/null"])
        #expect(FileManager.default.createFile(atPath: go, contents: nil))
        let result = try #require(try await ledger.follow(running.id, onOutput: { _ in }, deadline: bench.soon).result)
        #expect(result.exitStatus == 5 && result.stdoutBytes == 100_000)
        #expect(result.outputLostBytes == 100_000 - result.stdoutKeptBytes && result.outputLostBytes > 0)
        var codes: [String] = []
        for number in 1...40 {
            do { _ = try await ledger.run(job("echo effect >> \(bench.path("effects"))", jobID("new", attempt: number)), deadline: bench.soon) } catch let error as LedgerError {
                codes.append(error.code)
                break
            }
        }
        #expect(codes == ["ledger.no-space"])
        let started = bench.text("effects").split(separator: "\n").count
        let listed = try await ledger.jobs(of: runID()).filter { $0.id.step.rawValue == "new" }
        #expect(listed.filter { $0.verdict.result?.exitStatus == 0 }.count == started, "what was accepted ran and is recorded; what was refused did not start")
        #expect(listed.allSatisfy { $0.verdict.result != nil || $0.verdict == .neverRan })
        try FileManager.default.removeItem(atPath: bench.path("disk/filler"))
        #expect(try await ledger.run(job("true", jobID("after")), deadline: bench.soon).result?.exitStatus == 0)
        await ledger.close()
    }

    static let canTrace: Bool = {
        let found = access("/usr/bin/strace", X_OK) == 0
        if !found { print("SKIPPED: strace is missing (apt-get install strace); the order of the ledger's fsyncs is not checked") }
        return found
    }()

    @Test(.enabled(if: canTrace, "needs strace"), arguments: Reach.local)
    func everythingIsFlushedInTheOrderThatThePromisesNeed(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let spec = job("echo said")
        var calls = try await Calls(bench) { ledger in
            let verdict = try await ledger.run(spec, deadline: bench.soon)
            #expect(verdict.result?.exitStatus == 0)
        }
        let folder = bench.jobFolder(spec.id)
        calls.next("writing the spec") { $0.contains("write(") && $0.contains("/spec>, \"job=\(spec.id)") }
        calls.next("flushing the spec") { $0.contains("fsync(") && $0.contains("/spec>") }
        calls.next("renaming the job into place") { $0.contains("rename") && $0.contains("\"\(folder)\"") }
        calls.next("flushing the parent", Calls.flushed("\(bench.state)/jobs"))
        calls.next("taking L1") { $0.contains("flock(") && $0.contains("<\(folder)/L1>, LOCK_EX") }
        calls.next("taking L2") { $0.contains("flock(") && $0.contains("<\(folder)/L2>, LOCK_EX") }
        calls.next("recording the start") { $0.contains("write(") && $0.contains("<\(folder)/started>") }
        calls.next("flushing the start", Calls.flushed("\(folder)/started"))
        calls.next("exec") { $0.contains("execve(\"/bin/sh\"") && $0.contains("\(folder)/script") }
        calls.next("flushing the output", Calls.flushed("\(folder)/stdout"))
        calls.next("writing the result in place") { $0.contains("write(") && $0.contains("<\(folder)/result.pre>") }
        calls.next("flushing the result", Calls.flushed("\(folder)/result.pre"))
        calls.next("renaming the result") { $0.contains("rename") && $0.contains("\"\(folder)/result\"") }
        calls.next("flushing the folder", Calls.flushed(folder))
        let before = calls.lines[..<(calls.lines.firstIndex { $0.contains("write(") && $0.contains("/spec>, \"job=") } ?? 0)]
        #expect(before.contains { $0.contains("fsync(") && $0.contains("/result.pre>") }, "the result is preallocated and flushed before")
    }

    /// After a power cut the ledger knows the cancellation wholly or not at all.
    @Test(.enabled(if: canTrace, "needs strace"), arguments: Reach.local)
    func whatIsCancelledBeforeItComesIsFlushedBeforeItIsPutInPlace(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        var calls = try await Calls(bench) { ledger in
            let verdict = try await ledger.cancel(jobID(), ticket: ticket(), grace: .zero)
            #expect(verdict.result?.cancelled == true)
        }
        let folder = bench.jobFolder(jobID())
        let written = calls.next("writing the spec") { $0.contains("write(") && $0.contains("/spec>, \"job=\(jobID())") }
        let slot = try #require(written?.firstMatch(of: /<([^>]*)\/spec>/)).output.1
        calls.next("flushing the spec", Calls.flushed("\(slot)/spec"))
        calls.next("writing the result") { $0.contains("write(") && $0.contains("<\(slot)/result.pre>") && $0.contains("cancelled=1") }
        calls.next("flushing the result", Calls.flushed("\(slot)/result.pre"))
        calls.next("renaming the result") { $0.contains("rename") && $0.contains("\"\(slot)/result\"") }
        calls.next("flushing its folder", Calls.flushed("\(slot)"))
        calls.next("renaming the job into place") { $0.contains("rename") && $0.contains("\"\(folder)\"") }
        calls.next("flushing the parent", Calls.flushed("\(bench.state)/jobs"))
    }

    /// The calls of the kernel that a ledger made for what was asked of it.
    private struct Calls {
        let lines: [String]
        private var position = 0

        init(_ bench: LedgerBench, _ body: (LocalJobLedger) async throws -> Void) async throws {
            let program = LedgerProgram(options: bench.options())
            let trace = bench.path("trace")
            let calls = "trace=fsync,fdatasync,rename,renameat,renameat2,execve,openat,flock,write"
            let channel = try LocalProcessChannel(
                shellCommand: "exec strace -f -y -s 300 -e \(calls) -o \(trace) sh -c \(shellQuoted(program.command))")
            let ledger = LocalJobLedger(
                connection: try await .open(channel: channel, hostName: "traced", program: program, deadline: bench.soon))
            try await body(ledger)
            await ledger.close()
            lines = try String(contentsOfFile: trace, encoding: .utf8).split(separator: "\n").map(String.init)
        }

        /// What matches comes, and after what was looked for before.
        @discardableResult
        mutating func next(_ what: String, _ matches: (String) -> Bool) -> String? {
            guard let found = lines[position...].firstIndex(where: matches) else {
                Issue.record("\(what) does not come where it must")
                return nil
            }
            position = found + 1
            return lines[found]
        }

        static func flushed(_ path: String) -> (String) -> Bool {
            { ($0.contains("fsync(") || $0.contains("fdatasync(")) && $0.contains("<\(path)>") }
        }
    }

    /// The tools that the shell's ledger needs, in a folder that is the whole PATH.
    private func ledger(_ bench: LedgerBench, without missing: Set<String>) async throws -> LocalJobLedger {
        let tools = bench.path("tools-\(missing.count)")
        try FileManager.default.createDirectory(atPath: tools, withIntermediateDirectories: false)
        for folder in ["/bin", "/usr/bin"] {
            for name in try FileManager.default.contentsOfDirectory(atPath: folder) where !missing.contains(name) && !name.hasPrefix("perl") {
                _ = symlink("\(folder)/\(name)", "\(tools)/\(name)")
            }
        }
        let program = LedgerProgram(options: LedgerOptions(stateDirectory: bench.state))
        let channel = try LocalProcessChannel(shellCommand: "PATH=\(tools); export PATH; \(program.command)")
        return LocalJobLedger(connection: try await .open(channel: channel, hostName: "bare", program: program, deadline: bench.soon))
    }

    @Test func aHostWithoutPerlHasItsShellKeepTheLedger() async throws {
        let bench = try LedgerBench(.child)
        let bare = try await ledger(bench, without: [])
        #expect(try await bare.hostFacts().perlVersion.isEmpty)
        #expect(try await bare.run(job("exit 4"), deadline: bench.soon).result?.exitStatus == 4)
        await bare.close()
        // With perl, that goes on with the same ledger.
        let full = try await bench.open()
        #expect(try await full.hostFacts().perlVersion.hasPrefix("5."))
        #expect(try await full.submit(job("exit 4"), deadline: bench.soon).result?.exitStatus == 4)
        #expect(try await full.jobs(of: runID()).map(\.specHash) == ["hash of exit 4"])
        await full.close()
    }

    @Test func aShellWithoutTheToolsIsRefusedByName() async throws {
        let bench = try LedgerBench(.child)
        await #expect { try await ledger(bench, without: ["flock", "setsid"]) } throws: { error in
            let error = error as? LedgerError
            return error?.code == "ledger.no-tools" && error?.message.contains("flock setsid") == true
                && error?.hints.contains { $0.contains("util-linux") } == true
        }
        #expect(!bench.exists("state"))
    }
}
