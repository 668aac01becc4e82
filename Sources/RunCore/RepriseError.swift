/// How a failure ends the program. The raw values are the documented exit codes; they never change meaning.
package enum ExitStatus: Int32, Sendable, Hashable, Codable {
    case done = 0
    case failed = 1
    /// Bad usage, or a plan or inventory that was refused.
    case usage = 2
    /// What came back is not what was backed up.
    case verificationMismatch = 3
    case unreachable = 4
    /// The run waits for a person: an approval, or a step in doubt.
    case waitingForPerson = 5
    case interrupted = 6
    case heldByAnother = 7
    case doneWithWarnings = 8
    /// Stopped by Ctrl-C or SIGTERM; jobs on hosts go on and `resume` picks them up.
    case detached = 130
}

/// Every error that reaches a person.
///
/// `message` is one lowercase sentence without a full stop that says what happened and where;
/// each of `hints` says what to do next. Neither ever holds a secret, a stack trace or the dump of a value.
package protocol RepriseError: Error, CustomStringConvertible, Sendable {
    /// Stable and machine-readable, for example `ssh.host-key-changed`. Codes are never reused.
    var code: String { get }
    var message: String { get }
    var hints: [String] { get }
    var exitStatus: ExitStatus { get }
    /// True where the same attempt may succeed later without anybody changing anything (a lost connection, a busy store).
    var isTransient: Bool { get }
    /// True where the cause stands in what a run goes by, its copies of plan, inventory and parameters: no retry in that run can help.
    var needsNewRun: Bool { get }
}

extension RepriseError {
    package var hints: [String] { [] }
    package var exitStatus: ExitStatus { .failed }
    package var isTransient: Bool { false }
    package var needsNewRun: Bool { false }
    /// The message, then one `HINT:` line for each hint.
    package var description: String {
        ([message] + hints.map { "HINT: \($0)" }).joined(separator: "\n")
    }
}
