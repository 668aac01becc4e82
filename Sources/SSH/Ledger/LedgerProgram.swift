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
    /// Takes the shell's ledger although the host has perl; for tests.
    package var avoidsPerl: Bool

    package init(
        become: Bool = false, stateDirectory: String? = nil, programEnvironment: [String: String] = [:], avoidsPerl: Bool = false
    ) {
        self.become = become
        self.stateDirectory = stateDirectory
        self.programEnvironment = programEnvironment
        self.avoidsPerl = avoidsPerl
    }
}

/// Makes "$@" what raises to root.
private let raising = #"if [ "$(id -u)" = 0 ]; then set --; else set -- sudo -n --; fi; "#

/// A command for a host's `sh` that runs as the user who keeps the ledger there, by what sudoers allow for the ledger: `env`.
package func asLedgerUser(_ command: String, become: Bool) -> String {
    become ? "\(raising)exec \"$@\" env sh -c \(shellQuoted(command))" : "sh -c \(shellQuoted(command))"
}

/// The ledger's program, twice over, and the command that receives it: perl runs the first where the host has it, else its
/// shell the second.
struct LedgerProgram: Sendable {
    /// Goes over standard input: arguments are for everybody to read, and bounded.
    let source: [UInt8]
    let nonce: String
    /// For a POSIX shell.
    let command: String
    private let options: LedgerOptions
    private static let perlText = mutated(
        supervisorFilesSource + supervisorJobSource + supervisorServerSource, #"my $l2 = is_held("$dir/L2");"#, "my $l2 = 0;")
    private static let shellText = mutated(
        shellFilesSource + shellJobSource + shellServerSource, #"held "$at/L2" && l2=1"#, ":")

    /// A fault built in on purpose: tests must notice it.
    private static func mutated(_ text: String, _ original: String, _ fault: String) -> String {
        Failpoint.mutant("ledger.ignore-l2") ? text.replacing(original, with: fault, maxReplacements: 1) : text
    }

    init(options: LedgerOptions) {
        nonce = randomName()
        self.options = options
        let (perl, shell) = (Array(Self.perlText.utf8), Array(Self.shellText.utf8))
        source = perl + shell
        let perlLoader = """
            sub part{my($n,$s)=(@_,"");while(length($s)<$n){sysread(STDIN,$s,$n-length($s),length $s) or exit 97}$s}\
            my $s=part(\(perl.count));part(\(shell.count));eval $s or do{print STDERR $@;exit 98};serve(@ARGV)
            """
        let shellLoader = "head -c \(perl.count) >/dev/null && p=$(head -c \(shell.count)) && eval \"$p\" && serve \"$@\""
        let environment = options.programEnvironment.sorted { $0.key < $1.key }.map { shellQuoted("\($0.key)=\($0.value)") }
            .joined(separator: " ")
        let arguments = "\(nonce) \(shellQuoted(options.stateDirectory ?? ""))"
        let raise = options.become ? raising : "set --; "
        let withPerl = "command -v perl >/dev/null 2>&1 && exec \"$@\" env \(environment) perl -e \(shellQuoted(perlLoader)) \(arguments); "
        // What a shell's environment holds would reach its jobs.
        let withShell = "exec \"$@\" env -i PATH=\"$PATH\" HOME=\"$HOME\" XDG_STATE_HOME=\"${XDG_STATE_HOME:-}\" \(environment) "
            + "sh -c \(shellQuoted(shellLoader)) sh \(arguments)"
        command = raise + (options.avoidsPerl ? "" : withPerl) + withShell
    }

    /// Why the program did not start, as far as the host said.
    func startFailure(_ hostName: String, _ channel: any ByteChannel, noise: [UInt8]) async -> LedgerError {
        let said = await channel.diagnostics()
        let detail = [said, printable(noise)].filter { !$0.isEmpty }.joined(separator: "; ")
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
    var error = refusal(code, frame, hostName)
    error.isAnswer = true
    return error
}

private func refusal(_ code: String, _ frame: LedgerFrame, _ hostName: String) -> LedgerError {
    let detail = printable(frame.bytes("message") ?? [])
    let seen = frame.fields("seen.")
    let standing = ticket(seen)
    let person = seen["operator"].map { printable(Array($0.utf8)) } ?? "another operator"
    let who = "\(person) (fence \(seen["fence"] ?? "?"))"
    switch code {
    case "fence-stale", "fence-held", "journal-old", "journal-forked":
        return LedgerError.closed(standing, hostName: hostName) ?? fenceError(code, seen, standing, who, hostName)
    case "claimed":
        return .claimed(printable(Array((seen["resource"] ?? "").utf8)), by: seen["run"] ?? "?", of: person, hostName: hostName, "\(hostName) refused")
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
    case "no-tools":
        return LedgerError(
            code, "\(hostName) has no perl, and for a ledger kept by its shell it lacks: \(detail)",
            hints: ["install perl (on Debian the essential package perl-base), or util-linux and coreutils"], exitStatus: .usage)
    case "lock-busy":
        return LedgerError(
            code, "the ledger's lock on \(hostName) is held too long" + (detail.isEmpty ? "" : " by \(detail)"),
            hints: ["a stopped process may hold it"], exitStatus: .heldByAnother, transient: true)
    case "superseded":
        return LedgerError(
            code, "\(hostName) has a later attempt of this step already, \(detail), and starts no earlier one",
            hints: ["a request that was long under way came too late; nothing was started"])
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
            hints: ["if that process is gone: reprise resume \(seen["run"] ?? "RUN") --take-over --reason …"], exitStatus: .heldByAnother, standing: standing)
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
