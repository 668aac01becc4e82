import BlockingIO
import Crypto
import Foundation
import Glibc
import LoopbackSSH
import RunCore
import Synchronization
import Testing

@testable import SSH

/// Which way a ledger is reached and who keeps it; the conformance tests run over each.
enum Reach: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case child, ssh
    case childShell = "child, kept by the shell"
    case sshShell = "ssh, kept by the shell"

    static let local: [Reach] = [.child, .childShell]
    static let available: [Reach] = LoopbackServer.isAvailable ? allCases : local
    var testDescription: String { rawValue }
    var isRemote: Bool { self == .ssh || self == .sshShell }
    /// Without perl.
    var isShell: Bool { self == .childShell || self == .sshShell }
}

/// A ledger with a state folder of its own, and a folder for what its jobs do.
final class LedgerBench: Sendable {
    let reach: Reach
    let folder: String
    let state: String
    private let server: LoopbackServer?
    private let sessions = Mutex<[SSHSession]>([])

    init(_ reach: Reach) throws {
        self.reach = reach
        var template = Array("/var/tmp/reprise-bench-XXXXXX".utf8CString)
        #expect(mkdtemp(&template) != nil)
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(folder, 0o755)
        state = folder + "/state"
        server = reach.isRemote ? try LoopbackServer() : nil
    }

    deinit {
        // A program that is just ending may still add a spare slot.
        for _ in 0..<100 where FileManager.default.fileExists(atPath: folder) {
            try? FileManager.default.removeItem(atPath: folder)
            usleep(5000)
        }
    }

    func open(failpoint: String? = nil, bootIDFile: String? = nil, state other: String? = nil) async throws -> any ConnectedLedger {
        var environment: [String: String] = [:]
        if let failpoint { environment["REPRISE_FAILPOINT"] = failpoint }
        if let bootIDFile { environment["REPRISE_BOOT_ID_FILE"] = bootIDFile }
        let options = options(state: other, environment)
        guard let server else { return try await LocalJobLedger.open(options: options, deadline: soon) }
        let session = try await SSHSession.connect(to: server.target(), deadline: soon)
        sessions.withLock { $0.append(session) }
        return try await RemoteJobLedger.open(on: session, options: options, deadline: soon)
    }

    func options(state other: String? = nil, _ environment: [String: String] = [:]) -> LedgerOptions {
        LedgerOptions(stateDirectory: other ?? state, programEnvironment: environment, avoidsPerl: reach.isShell)
    }

    var soon: Deadline { Deadline(after: .seconds(120)) }

    func jobFolder(_ id: JobID) -> String { "\(state)/jobs/\(id)" }
    func path(_ name: String) -> String { "\(folder)/\(name)" }
    func text(_ name: String) -> String { (try? String(contentsOfFile: path(name), encoding: .utf8)) ?? "" }
    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }
}

func runID(_ text: String = "20261123-020000-test") -> RunID { RunID(text)! }

func jobID(_ step: String = "step", attempt: Int = 1, part: String? = nil, run: RunID = runID()) -> JobID {
    JobID(run: run, step: StepID(step)!, attempt: attempt, part: part)!
}

func ticket(fence: Fence = 1, holder: String = "holder-a", sequence: Int64 = 10, head: String = "aa", run: RunID = runID()) -> FenceTicket {
    FenceTicket(run: run, fence: fence, holder: holder, operator: "tester@here", journalSequence: sequence, journalHead: head)
}

func job(
    _ script: String, _ id: JobID = jobID(), ticket: FenceTicket? = nil, timeout: Duration? = nil, limit: Int = 1 << 20,
    grace: Duration = .seconds(2), linger: Duration = .milliseconds(300), environment: [String: String] = [:], stdin: [UInt8]? = nil,
    hash: String? = nil
) -> JobSpec {
    JobSpec(
        id: id, script: .shell(script), environment: environment, stdin: stdin, timeout: timeout, killGrace: grace, outputLimit: limit,
        specHash: hash ?? "hash of \(script)", fence: ticket ?? SSHTests.ticket(run: id.run), leftBehindWait: linger)
}

extension JobVerdict {
    var result: JobResult? { if case .finished(let result) = self { result } else { nil } }
    var evidence: [String: String]? { if case .inDoubt(let evidence) = self { evidence } else { nil } }
    var holders: [String]? { if case .orphan(let holders) = self { holders } else { nil } }
}

/// Collects a followed job's output, and checks that no byte comes twice or is missing.
final class Collector: Sendable {
    private let streams = Mutex<[JobStream: [UInt8]]>([:])
    private let base: Int
    init(base: Int = 0) { self.base = base }

    func add(_ output: JobOutput) {
        streams.withLock { streams in
            let known = streams[output.stream, default: []].count
            #expect(output.offset == base + known)
            streams[output.stream, default: []] += output.bytes
        }
    }

    func bytes(_ stream: JobStream) -> [UInt8] { streams.withLock { $0[stream, default: []] } }
    func text(_ stream: JobStream) -> String { String(decoding: bytes(stream), as: UTF8.self) }
}

/// The process that holds a job's L1: its supervisor.
func supervisor(of folder: String) -> pid_t? {
    holders(of: folder + "/L1").first
}

func holders(of path: String) -> [pid_t] {
    var wanted = stat()
    guard stat(path, &wanted) == 0 else { return [] }
    let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return processes.compactMap { pid_t($0) }.filter { process in
        let folder = "/proc/\(process)/fd"
        return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).contains { name in
            var found = stat()
            return stat("\(folder)/\(name)", &found) == 0 && found.st_ino == wanted.st_ino && found.st_dev == wanted.st_dev
        }
    }
}

func sha256OfZeros(_ count: Int) throws -> String {
    var hash = SHA256()
    let block = Data(count: 1 << 20)
    for _ in 0..<(count >> 20) { hash.update(data: block) }
    hash.update(data: block.prefix(count % (1 << 20)))
    return hash.finalize().map { String(format: "%02x", $0) }.joined()
}
