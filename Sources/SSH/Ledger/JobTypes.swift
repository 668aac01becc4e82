package import RunCore

/// One attempt of a step on one host; at most one process ever runs for it there.
package struct JobID: Hashable, Sendable, CustomStringConvertible {
    package let run: RunID
    package let step: StepID
    /// From 1.
    package let attempt: AttemptNumber
    /// Where a step has several jobs on one host: 1 to 60 characters as in a step's name.
    package let part: String?

    /// - Returns: nil where `part` is not a plain name or `attempt` is not positive.
    package init?(run: RunID, step: StepID, attempt: AttemptNumber, part: String? = nil) {
        guard attempt > 0, attempt < 1_000_000_000, part.map({ StepID($0) != nil }) ?? true else { return nil }
        self.run = run
        self.step = step
        self.attempt = attempt
        self.part = part
    }

    /// Parses a directory's name.
    package init?(directoryName: String) {
        let words = directoryName.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard words.count == 3 || words.count == 4, let run = RunID(words[0]), let step = StepID(words[1]), let attempt = Int(words[2])
        else { return nil }
        self.init(run: run, step: step, attempt: attempt, part: words.count == 4 ? words[3] : nil)
    }

    /// `<run>.<step>.<attempt>[.<part>]`
    package var description: String { "\(run).\(step).\(attempt)" + (part.map { ".\($0)" } ?? "") }
}

/// By what right an operator process starts jobs: compared with the highest one that the host has seen for the run.
package struct FenceTicket: Hashable, Sendable {
    package var run: RunID
    package var fence: Fence
    /// Random, one for each operator process.
    package var holder: String
    /// Who and from where, for messages.
    package var `operator`: String
    /// The last event of the run in the journal.
    package var journalSequence: Int64
    /// Its hash.
    package var journalHead: String

    package init(run: RunID, fence: Fence, holder: String, operator: String, journalSequence: Int64, journalHead: String) {
        self.run = run
        self.fence = fence
        self.holder = holder
        self.operator = `operator`
        self.journalSequence = journalSequence
        self.journalHead = journalHead
    }
}

/// What to run, and within which bounds.
package struct JobSpec: Sendable {
    package enum Script: Hashable, Sendable {
        /// Run by `sh -eu`, from a file in the job's directory.
        case shell(String)
        /// The program and its arguments, passed literally.
        case argv([String])
    }

    package var id: JobID
    package var script: Script
    /// Added to a clean environment (PATH, HOME, USER, LOGNAME, SHELL, LANG). Only the names reach the host's disk.
    package var environment: [String: String]
    /// Never written to the host's disk. Nil is `/dev/null`.
    package var stdin: [UInt8]?
    /// Another user than the ledger's, which then has to be root.
    package var runAs: String?
    /// Default: the user's home, else `/`.
    package var workingDirectory: String?
    /// Enforced on the host, from the start on: TERM to the process group, then KILL after `killGrace`.
    package var timeout: Duration?
    package var killGrace: Duration
    /// Bytes kept of each stream, from its beginning; the rest is counted and hashed.
    package var outputLimit: Int
    /// Identifies what is run: one id with another hash is refused.
    package var specHash: String
    package var fence: FenceTicket
    /// How long, after the main process has ended, others of its tree are waited for before they are named as left behind.
    package var leftBehindWait: Duration

    package init(
        id: JobID, script: Script, environment: [String: String] = [:], stdin: [UInt8]? = nil, runAs: String? = nil,
        workingDirectory: String? = nil, timeout: Duration? = nil, killGrace: Duration = .seconds(5), outputLimit: Int = 1 << 20,
        specHash: String, fence: FenceTicket, leftBehindWait: Duration = .milliseconds(500)
    ) {
        self.id = id
        self.script = script
        self.environment = environment
        self.stdin = stdin
        self.runAs = runAs
        self.workingDirectory = workingDirectory
        self.timeout = timeout
        self.killGrace = killGrace
        self.outputLimit = outputLimit
        self.specHash = specHash
        self.fence = fence
        self.leftBehindWait = leftBehindWait
    }
}

/// What the host's ledger shows of a job.
package enum JobVerdict: Sendable, Hashable {
    /// There is a result; also where the job was cancelled before it came.
    case finished(JobResult)
    /// Its supervisor is alive.
    case running
    /// Its supervisor is gone, processes of its tree are alive (`name (process n)`): wait for them.
    case orphan(holders: [String])
    /// Its directory is there, it was not started and nothing is left that could start it: safe to submit again.
    case neverRan
    /// There is no directory. Where the caller knows that the job was accepted, that is doubt, not absence.
    case absent
    /// It was started, nothing of it is alive, and there is no result.
    case inDoubt(evidence: [String: String])
}

/// How a job ended.
package struct JobResult: Sendable, Hashable {
    /// Nil where a signal ended it, or it was cancelled before it started.
    package var exitStatus: Int?
    package var signal: Int?
    package var timedOut: Bool
    package var cancelled: Bool
    /// All that was written, kept or not.
    package var stdoutBytes: Int
    package var stderrBytes: Int
    package var stdoutKeptBytes: Int
    package var stderrKeptBytes: Int
    /// Within the limit, but not written because the host's disk was full.
    package var outputLostBytes: Int
    /// Of all that was written, in hexadecimal; nil where the host's perl has no Digest::SHA.
    package var stdoutSHA256: String?
    package var stderrSHA256: String?
    /// Milliseconds since 1970 by the host's clock.
    package var startedAtMilliseconds: Int64
    package var endedAtMilliseconds: Int64
    /// By the host's monotonic clock.
    package var durationMilliseconds: Int64
    package var bootID: String
    /// Why the program could not be executed at all.
    package var execError: String?
    /// Processes that outlived the main one: `name (process n)`.
    package var leftBehind: [String]

    package var stdoutIsTruncated: Bool { stdoutKeptBytes < stdoutBytes }
    package var stderrIsTruncated: Bool { stderrKeptBytes < stderrBytes }
    /// Exit status 0, neither by a timeout nor a cancellation.
    package var isClean: Bool { exitStatus == 0 && !timedOut && !cancelled }
}

package enum JobStream: String, Sendable, Hashable { case stdout, stderr }

/// A piece of a job's output.
package struct JobOutput: Sendable, Hashable {
    package var stream: JobStream
    /// Of the first byte, within its stream.
    package var offset: Int
    package var bytes: [UInt8]

    package init(stream: JobStream, offset: Int, bytes: [UInt8]) {
        self.stream = stream
        self.offset = offset
        self.bytes = bytes
    }
}

/// A resource that a run has reserved on a host, across journals.
package struct Claim: Sendable, Hashable {
    package var resource: String
    package var run: RunID
    package var holder: String
    package var `operator`: String
    /// Milliseconds since 1970 by the host's clock.
    package var claimedAtMilliseconds: Int64
}

/// A run as a host knows it.
package struct HostRun: Sendable, Hashable {
    package var ticket: FenceTicket
    package var announcedAtMilliseconds: Int64
    package var jobCount: Int
}

/// A job as a host knows it.
package struct HostJob: Sendable, Hashable {
    package var id: JobID
    package var verdict: JobVerdict
    package var specHash: String
    package var fence: Fence
    package var journalSequence: Int64
    package var journalHead: String
    package var submittedAtMilliseconds: Int64
}

package struct HostFacts: Sendable, Hashable {
    package var machineID: String
    package var bootID: String
    /// PRETTY_NAME, ID and VERSION_ID of os-release.
    package var operatingSystem: String
    package var operatingSystemID: String
    package var operatingSystemVersion: String
    package var kernel: String
    package var architecture: String
    /// Empty where the host's shell keeps the ledger.
    package var perlVersion: String
    /// The user as which the ledger works, and its number.
    package var user: String
    package var userID: Int
    package var stateDirectory: String
    /// Free on the ledger's file system; nil where `df` did not say.
    package var stateFreeBytes: Int?
    package var tools: Set<String>
    /// Milliseconds since 1970 by the host's clock.
    package var clockMilliseconds: Int64
}
