internal import BlockingIO
internal import RunCore

/// How the ledger's program is started on a host.
package struct LedgerOptions: Sendable {
    /// Raise to root with `sudo -n`, where the login is not root already.
    package var become: Bool
    /// Nil: `/var/lib/reprise` for root, else `$XDG_STATE_HOME/reprise` or `~/.local/state/reprise`.
    package var stateDirectory: String?
    /// Set for the program itself, not for jobs; for tests.
    package var programEnvironment: [String: String]

    package init(become: Bool = false, stateDirectory: String? = nil, programEnvironment: [String: String] = [:]) {
        self.become = become
        self.stateDirectory = stateDirectory
        self.programEnvironment = programEnvironment
    }
}

/// The ledger's program and the command that receives it.
struct LedgerProgram: Sendable {
    /// Goes over standard input: arguments are for everybody to read, and bounded.
    let source: [UInt8]
    let marker: String
    /// For a POSIX shell.
    let command: String
    private let options: LedgerOptions
    private static let text = supervisorFilesSource.replacing(
        #"my $l2 = is_held("$dir/L2");"#,
        // A fault built in on purpose: tests must notice it.
        with: Failpoint.mutant("ledger.ignore-l2") ? "my $l2 = 0;" : #"my $l2 = is_held("$dir/L2");"#, maxReplacements: 1)
        + supervisorJobSource + supervisorServerSource

    init(options: LedgerOptions) {
        let nonce = randomName()
        self.options = options
        source = Array(Self.text.utf8)
        marker = "\u{1}reprise-ledger-\(nonce)\n"
        let loader = """
            $n=\(source.count);$s="";while(length($s)<$n){sysread(STDIN,$s,$n-length($s),length $s) or exit 97}\
            eval $s or do{print STDERR $@;exit 98};serve(@ARGV)
            """
        let environment = options.programEnvironment.sorted { $0.key < $1.key }.map { shellQuoted("\($0.key)=\($0.value)") }
        let raise = options.become ? "if [ \"$(id -u)\" = 0 ]; then set --; else set -- sudo -n --; fi; " : "set --; "
        command =
            "command -v perl >/dev/null 2>&1 || { echo 'perl: not found' >&2; exit 127; }; \(raise)"
            + "exec \"$@\" env \(environment.joined(separator: " ")) perl -e \(shellQuoted(loader)) \(nonce) \(shellQuoted(options.stateDirectory ?? ""))"
    }

    /// Why the program did not start, as far as the host said.
    func startFailure(_ hostName: String, _ channel: any ByteChannel, noise: [UInt8]) async -> LedgerError {
        let said = await channel.diagnostics()
        let detail = [said, printable(noise)].filter { !$0.isEmpty }.joined(separator: "; ")
        if said.contains("perl: not found") {
            return LedgerError(
                "no-perl", "\(hostName) has no perl, which the job ledger needs",
                hints: ["install Debian's essential package perl-base (apt-get install perl-base)"])
        }
        if options.become, said.contains("sudo") {
            return LedgerError(
                "sudo-refused", "sudo on \(hostName) does not work without a person: \(detail)",
                hints: ["allow it in sudoers: the login's name, then ALL=(root) NOPASSWD: /usr/bin/env", "or log in as root"])
        }
        return LedgerError(
            "program-not-started", "the ledger's program did not start on \(hostName)" + (detail.isEmpty ? "" : ": \(detail)"),
            hints: ["try a plain command over ssh: a login shell that ends at once or a forced command would explain it"], transient: true)
    }
}

/// The error in an answer, if it is one.
func ledgerError(_ frame: LedgerFrame, hostName: String) -> LedgerError? {
    guard let code = frame.text("error") else { return nil }
    let detail = printable(frame.bytes("message") ?? [])
    let seen = frame.fields("seen.")
    let standing = ticket(seen)
    let who = "\(seen["operator"].map { printable(Array($0.utf8)) } ?? "another operator") (fence \(seen["fence"] ?? "?"))"
    switch code {
    case "fence-stale", "fence-held", "journal-old", "journal-forked":
        return LedgerError.closed(standing, hostName: hostName) ?? fenceError(code, seen, standing, who, hostName)
    case "claimed":
        let run = seen["run"].flatMap { RunID($0) }
        return LedgerError(
            code, "\(hostName) refused: \(printable(Array((seen["resource"] ?? "").utf8))) is claimed by run \(seen["run"] ?? "?") of \(who)",
            hints: ["reprise claims list; if that run is over: reprise claims release"], exitStatus: .heldByAnother, holdingRun: run)
    case "spec-differs":
        return LedgerError(
            code, "\(hostName) knows this job with another content (\(frame.text("stored") ?? "?"))",
            hints: ["a changed step needs a new attempt"])
    case "no-space":
        return LedgerError(code, "no space left on \(hostName) for the ledger: \(detail)", hints: ["free some; nothing was started"])
    case "no-user": return LedgerError(code, "\(hostName) has no user \(detail)", hints: ["check run-as in the plan"], exitStatus: .usage)
    case "not-root":
        return LedgerError(
            code, "the login on \(hostName) is not root and cannot run a job as \(detail)", hints: ["set ansible_become for the host"],
            exitStatus: .usage)
    case "lock-busy":
        return LedgerError(
            code, "the ledger's lock on \(hostName) is held too long" + (detail.isEmpty ? "" : " by \(detail)"),
            hints: ["a stopped process may hold it"], exitStatus: .heldByAnother, transient: true)
    case "job-alive": return LedgerError(code, "job \(detail) on \(hostName) has not ended", hints: ["cancel it first"])
    case "bad-name": return LedgerError(code, "the ledger on \(hostName) refused a name: \(detail)", exitStatus: .usage)
    case "state-unsafe":
        return LedgerError(code, "the ledger's folder on \(hostName) is not safe: \(detail)", hints: ["chmod 700 and chown it, after a look at who changed it"])
    default: return LedgerError(code, "the ledger on \(hostName) failed: \(detail.isEmpty ? code : detail)")
    }
}

/// A ticket was refused: another one stands.
private func fenceError(_ code: String, _ seen: [String: String], _ standing: FenceTicket?, _ who: String, _ hostName: String) -> LedgerError {
    switch code {
    case "journal-old", "journal-forked":
        return LedgerError(
            code,
            code == "journal-old"
                ? "this journal is older than what \(hostName) has seen of the run: event \(seen["sequence"] ?? "?"), from \(who)"
                : "this journal and what \(hostName) has seen of the run differ at event \(seen["sequence"] ?? "?"), from \(who)",
            hints: ["use the journal that the run was last driven from; a copy that was put back must not drive it"],
            exitStatus: .heldByAnother, standing: standing)
    default:
        return LedgerError(
            code, "\(hostName) refused: run \(seen["run"] ?? "?") is held by \(who)",
            hints: ["if that process is gone: reprise resume RUN --take-over --reason …"], exitStatus: .heldByAnother, standing: standing)
    }
}

/// A ticket from the fields of a record.
func ticket(_ fields: [String: String]) -> FenceTicket? {
    guard let fence = fields["fence"].flatMap({ Fence($0) }), let sequence = fields["sequence"].flatMap({ Int64($0) }) else { return nil }
    guard let run = RunID(fields["run"] ?? "") else { return nil }
    return FenceTicket(
        run: run, fence: fence, holder: fields["holder"] ?? "", operator: fields["operator"] ?? "", journalSequence: sequence,
        journalHead: fields["head"] ?? "")
}
