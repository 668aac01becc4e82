package import RunCore

/// A live process holds the run.
package struct HeldByAnother: RepriseError {
    package let code = "journal.held-by-another"
    package let run: RunID
    package let holder: Holder

    package init(run: RunID, holder: Holder) {
        self.run = run
        self.holder = holder
    }

    package var message: String { "run \(run) is held by \(holder.identity.summary), fence \(holder.fence)" }
    package var hints: [String] {
        [
            "watch it with `reprise watch \(run)`",
            "if that process is stuck or out of reach: `reprise resume \(run) --take-over --reason …`",
        ]
    }
    package var exitStatus: ExitStatus { .heldByAnother }
}

/// An append under a fence that is no longer the newest, or after a release. Nothing was written.
package struct StaleHold: RepriseError {
    package let code = "journal.stale-hold"
    package let run: RunID
    package let fence: Fence
    package let newest: Fence
    package let holder: Holder?

    package init(run: RunID, fence: Fence, newest: Fence, holder: Holder?) {
        self.run = run
        self.fence = fence
        self.newest = newest
        self.holder = holder
    }

    package var message: String {
        let now =
            holder.map { "it is now held by \($0.identity.summary) under fence \(newest)" } ?? "the newest fence is \(newest)"
        return "this process no longer holds run \(run) (fence \(fence)): \(now)"
    }
    package var hints: [String] { ["stop here: whoever took the run over goes on with it"] }
    package var exitStatus: ExitStatus { .heldByAnother }
}

/// Another process kept the journal locked until the deadline; usually it was stopped in the middle of a transaction.
package struct WriterBlocked: RepriseError {
    package let code = "journal.writer-blocked"
    package let path: String
    package let writer: OperatorIdentity?
    package let waitedSeconds: Double

    package init(path: String, writer: OperatorIdentity?, waitedSeconds: Double) {
        self.path = path
        self.writer = writer
        self.waitedSeconds = waitedSeconds
    }

    package var message: String {
        let name = writer?.summary ?? "another program"
        return "gave up writing to journal \(path) after \(waitedSeconds.rounded(toPlaces: 1)) s: \(name) keeps it locked"
    }
    package var hints: [String] {
        guard let writer else { return ["close other programs that have the file open, for example sqlite3"] }
        return [
            "on \(writer.host.printable), let process \(writer.pid) go on (kill -CONT) or end it (kill -KILL); then try again"
        ]
    }
    package var exitStatus: ExitStatus { .heldByAnother }
    package var isTransient: Bool { true }
}

package struct RunNotFound: RepriseError {
    package let code = "journal.run-not-found"
    package let wanted: String?
    /// The journal's path; nil where it lies in memory.
    package let journal: String?

    package init(wanted: String?, in journal: String? = nil) {
        self.wanted = wanted
        self.journal = journal
    }

    package var message: String {
        let place = journal.map { "journal \($0.printable)" } ?? "this journal"
        return wanted.map { "no run in \(place) is called or begins with \"\($0.printable)\"" } ?? "\(place) holds no run yet"
    }
    package var hints: [String] {
        (wanted == nil ? [] : ["see all of its runs with `reprise list`"]) + ["another journal is named with --journal"]
    }
    package var exitStatus: ExitStatus { .usage }
}

package struct RunAmbiguous: RepriseError {
    package let code = "journal.run-ambiguous"
    package let prefix: String
    /// The newest candidates, at most five.
    package let candidates: [RunID]

    package init(prefix: String, candidates: [RunID]) {
        self.prefix = prefix
        self.candidates = candidates
    }

    package var message: String { "more than one run begins with \"\(prefix.printable)\"" }
    package var hints: [String] { ["give more of the id: \(candidates.map(\.rawValue).joined(separator: ", "))"] }
    package var exitStatus: ExitStatus { .usage }
}

package struct RunExists: RepriseError {
    package let code = "journal.run-exists"
    package let run: RunID

    package init(run: RunID) {
        self.run = run
    }
    package var message: String { "run \(run) is already in this journal" }
    package var exitStatus: ExitStatus { .usage }
}

/// An entry that no journal stores: a bound of `JournalLimits` was passed. Nothing was written.
package struct EntryRefused: RepriseError {
    package let code = "journal.entry-refused"
    package let message: String

    package init(message: String) {
        self.message = message
    }
}

/// What the journal holds is not what was written to it.
package struct RecordDamaged: RepriseError {
    package let code = "journal.record-damaged"
    package let damage: JournalDamage

    package init(damage: JournalDamage) {
        self.damage = damage
    }

    package var message: String { "\(damage.summary); it was changed or damaged after it was written" }
    package var hints: [String] {
        [
            "copy the journal's folder before anything else touches it",
            "see the whole extent with `reprise journal verify`",
            "what ran on a host can be read from the host itself: `reprise adopt HOST`",
        ]
    }
}

/// There was no room; the transaction was rolled back whole, and the store goes on once there is room.
package struct JournalDiskFull: RepriseError {
    package let code = "journal.disk-full"
    package let path: String

    package init(path: String) {
        self.path = path
    }

    package var message: String { "no room left for journal \(path); nothing new is started" }
    package var hints: [String] { ["free space on that file system, then resume"] }
    /// The run has not failed: jobs on hosts go on, and a resume finds them.
    package var exitStatus: ExitStatus { .interrupted }
    package var isTransient: Bool { true }
}

/// The store failed in a way after which nothing more that it says can be trusted.
package struct JournalPoisoned: RepriseError {
    package let code = "journal.poisoned"
    package let path: String
    package let cause: String

    package init(path: String, cause: String) {
        self.path = path
        self.cause = cause
    }

    package var message: String { "writing to journal \(path) failed: \(cause); this process writes nothing more to it" }
    package var hints: [String] {
        ["check the disk (dmesg, smartctl)", "then `reprise journal verify`, and resume in a new process"]
    }
    package var exitStatus: ExitStatus { .interrupted }
}

/// The store was closed, or was opened for reading only.
package struct JournalNotWritable: RepriseError {
    package let code = "journal.not-writable"
    package let message: String

    package init(message: String) {
        self.message = message
    }
}

/// The journal cannot be used as it is. Nothing was changed.
package struct JournalUnusable: RepriseError {
    package let code: String
    package let message: String
    package let hints: [String]

    init(_ code: String, _ message: String, _ hints: String...) {
        self.code = "journal.\(code)"
        self.message = message
        self.hints = hints
    }

    package var exitStatus: ExitStatus { .usage }
}

extension Double {
    fileprivate func rounded(toPlaces places: Int) -> Double {
        var scale = 1.0
        for _ in 0..<places { scale *= 10 }
        return (self * scale).rounded() / scale
    }
}
