package import BlockingIO
internal import Foundation
package import RunCore
package import SSH
internal import Synchronization

/// A command that a step runs on a host as a durable job.
package struct DurableJob: Sendable {
    package var host: String
    /// Tells apart the jobs of one attempt; nil for its only one.
    package var part: String?
    package var script: JobSpec.Script
    package var environment: [String: String] = [:]
    package var stdin: [UInt8]?
    /// The operating-system user; nil for the one who owns the ledger.
    package var runAs: String?
    package var directory: String?
    package var timeout: Duration?
    /// How long it may put things right after it was told to end, before it is killed.
    package var grace: Duration = .seconds(10)
    /// Bytes of each stream that the host keeps.
    package var outputLimit = 1 << 20
    /// Its standard output is what was asked for and no log: rows of a backup do not belong into logs.
    package var answersWithData = false
    /// Called with the whole lines of standard output and standard error as they come, each once in each process.
    package var onLine: (@Sendable (String) -> Void)?

    package init(host: String, part: String? = nil, script: JobSpec.Script) {
        self.host = host
        self.part = part
        self.script = script
    }
}

/// What a durable job left.
package struct DurableJobOutcome: Sendable {
    package let result: JobResult
    package let stdout: [UInt8]
    package let stderr: [UInt8]

    package var stdoutText: String { String(decoding: stdout, as: UTF8.self) }
    package var stderrText: String { String(decoding: stderr, as: UTF8.self) }
    package var succeeded: Bool { result.exitStatus == 0 }

    /// The last lines of what it said that tell something, for messages.
    package func tail(lines count: Int = 5) -> String {
        Gist.lines(of: stderrText.isEmpty ? stdoutText : stderrText, last: count).joined(separator: "\n")
    }

    /// How it ended and the last that it said: `exit status 1: no such file`.
    package var ending: String {
        let how = result.exitStatus.map { "exit status \($0)" } ?? "signal \(result.signal ?? 0)"
        let said = tail(lines: 3)
        return said.isEmpty ? how : "\(how): \(said)"
    }

    /// What is journaled of it.
    package var evidence: JSONValue {
        .object([
            "exit-status": result.exitStatus.map { .integer(Int64($0)) } ?? .null,
            "signal": result.signal.map { .integer(Int64($0)) } ?? .null,
            "stdout-bytes": .integer(Int64(result.stdoutBytes)),
            "stderr-bytes": .integer(Int64(result.stderrBytes)),
            "duration-ms": .integer(Int64(result.durationMilliseconds)),
            "left-behind": .array(result.leftBehind.map { .string($0) }),
            "tail": .string(String(tail(lines: 3).suffix(1000))),
        ])
    }
}

extension StepContext {
    /// What a failpoint of this attempt is about.
    package func place(_ detail: String? = nil) -> String {
        "\(step)#\(attempt)" + (isUndo ? " undo" : "") + (detail.map { " \($0)" } ?? "")
    }

    /// - Parameter part: tells apart the jobs of one attempt; of the form of a step's id.
    package func jobID(part: String?) -> JobID {
        let name = isUndo ? ["undo", part].compactMap { $0 }.joined(separator: "-") : part
        guard let id = JobID(run: run, step: step, attempt: attempt, part: name) else {
            preconditionFailure("\(part ?? "") is no name of a job's part")
        }
        return id
    }

    /// Whether the host knows the job of this part, in whatever state: then it must be asked for and not prepared again.
    package func jobExists(on host: String, part: String?) async throws -> Bool {
        let id = jobID(part: part)
        return try await doubting("\(host) cannot be asked what became of \(id)", id, on: host, mayBeAlive: { isResumed }) {
            try await persistently(on: host) { ledger in
                switch try await ledger.probe(id) {
                case .absent, .neverRan: false
                case .finished, .running, .orphan, .inDoubt: true
                }
            }
        }
    }

    /// Calls `body`. Where the job may be alive, an error that leaves open what becomes of it is a doubt and no failure: a failed
    /// attempt may be followed by another. That a host lets us in no more, or has no room, says as little of its jobs as that it is
    /// out of reach.
    ///
    /// - Parameter what: the doubt as a sentence, to which the error is added.
    fileprivate func doubting<Value: Sendable>(
        _ what: String, _ id: JobID, on host: String, mayBeAlive: () -> Bool, _ body: () async throws -> Value
    ) async throws -> Value {
        do {
            return try await body()
        } catch let error as any RepriseError where mayBeAlive() && !saysThatAnotherHasTheRun(error) {
            throw StepInDoubt(
                "\(what): \(error.message)",
                evidence: ["host": .string(host), "job": .string("\(id)"), "ledger": "unreachable", "because": .string(error.code)])
        }
    }

    /// Then the jobs are that one's, and what became of them is for it to say.
    private func saysThatAnotherHasTheRun(_ error: any RepriseError) -> Bool {
        // A host also has other reasons to name another: that our reservation is another run's now says nothing of our jobs.
        if let refusal = error as? LedgerError { return refusal.standing != nil }
        return error.exitStatus == .heldByAnother
    }

    /// Runs the job to its end, through any number of lost connections. Where the host already knows the job it is never started
    /// again: its end is waited for, or its result is taken.
    ///
    /// - Throws: `StepInDoubt` where the host cannot tell; `StepEnded` once a cancelled or timed-out job has ended for certain.
    package func run(_ job: DurableJob) async throws -> DurableJobOutcome {
        let id = jobID(part: job.part)
        let runner = JobRunner(context: self, job: job, id: id)
        do {
            let outcome = try await runner.runToEnd()
            if outcome.result.timedOut { throw StepEnded(.timedOut, "its time was up after \(outcome.result.durationMilliseconds / 1000) s") }
            if outcome.result.cancelled { throw StepEnded(.cancelled, "the job on \(job.host) was ended") }
            return outcome
        } catch is CancellationError {
            guard let cause = await services.ending else { throw CancellationError() }
            // The surrounding task is cancelled; ending the job needs one that is not.
            return try await Task { try await runner.end(cause) }.value
        }
    }

    /// Calls `body` with the host's ledger, again on a new connection where one was lost.
    ///
    /// - Parameter end: when to give up; without it when the step's time is up, or the services' patience.
    package func persistently<Value: Sendable>(
        on host: String, until end: Deadline? = nil, _ body: (any JobLedger) async throws -> Value
    ) async throws -> Value {
        var delay = Duration.milliseconds(200)
        let patience = Deadline(after: services.patience)
        let end = end ?? deadline.map { $0.earlier(of: patience) } ?? patience
        while true {
            var used: (any JobLedger)?
            do {
                let ledger = try await services.ledger(host)
                used = ledger
                return try await body(ledger)
            } catch let error as any RepriseError where error.isTransient {
                if let used { await services.forgetConnection(host, used) }
                if end.hasPassed { throw error }
                services.report(StepProgress("connection to \(host) lost, trying again"))
                try await Task.sleep(for: delay)
                delay = min(delay * 2, .seconds(10))
            }
        }
    }
}

private struct JobRunner: Sendable {
    let context: StepContext
    let job: DurableJob
    let id: JobID
    let collector = OutputCollector()
    let submission = Submission()

    func runToEnd() async throws -> DurableJobOutcome {
        try await context.doubting("\(job.host) cannot be asked what became of \(id)", id, on: job.host, mayBeAlive: { mayBeAlive }) {
            try await endEarlierAttempts()
            return try await submitAndFollow()
        }
    }

    /// False only where nothing was sent that could have started the job, or the host refused all of it.
    private var mayBeAlive: Bool { context.isResumed || submission.mayHaveArrived }

    /// Nothing of an earlier attempt runs beside this one, whoever called that attempt failed or not done, and why.
    private func endEarlierAttempts() async throws {
        guard let before = JobID(run: id.run, step: id.step, attempt: id.attempt - 1, part: id.part) else { return }
        let known = try await context.persistently(on: job.host) { try await $0.jobs(of: context.run) }
        // A request to start what the host does not know may still be under way to it, and is then to find that it was cancelled.
        let unknown = known.contains { $0.id == before } ? [] : [before]
        for earlier in known.filter(isAliveAndEarlier).map(\.id) + unknown {
            context.services.report(StepProgress("ending what is left of attempt \(earlier.attempt) on \(job.host)"))
            let verdict = try await context.persistently(on: job.host) {
                try await $0.cancel(earlier, ticket: context.services.ticket, grace: job.grace)
            }
            switch verdict {
            case .finished, .neverRan, .absent, .inDoubt: break
            case .running, .orphan:
                throw StepInDoubt(
                    "\(job.host) does not confirm that \(earlier), of an earlier attempt, has ended", evidence: ["host": .string(job.host)])
            }
        }
    }

    private func isAliveAndEarlier(_ other: HostJob) -> Bool {
        switch other.verdict {
        case .running, .orphan: break
        case .finished, .neverRan, .absent, .inDoubt: return false
        }
        return other.id.step == id.step && other.id.attempt < id.attempt && (other.id.part ?? "").hasPrefix("undo") == context.isUndo
    }

    private func submitAndFollow() async throws -> DurableJobOutcome {
        let spec = JobSpec(
            id: id, script: job.script, environment: job.environment, stdin: job.stdin, runAs: job.runAs,
            workingDirectory: job.directory, timeout: job.timeout ?? context.deadline?.remaining, killGrace: job.grace, outputLimit: job.outputLimit,
            specHash: context.specHash, fence: await context.services.ticket)
        while true {
            let verdict = try await context.persistently(on: job.host) { ledger in
                Failpoint.hit("job.before-submit", context.place(job.part))
                try await refuseIfLost(ledger)
                let verdict = try await submit(spec, to: ledger)
                Failpoint.hit("job.after-submit", context.place(job.part))
                return try await follow(verdict, ledger)
            }
            if let outcome = try await outcome(of: verdict) { return outcome }
        }
    }

    private func submit(_ spec: JobSpec, to ledger: any JobLedger) async throws -> JobVerdict {
        submission.note()
        do {
            return try await ledger.submit(spec, deadline: Deadline(after: .seconds(60)))
        } catch let refusal as LedgerError where refusal.isAnswer {
            // The host itself says that this request has started nothing. Of earlier ones that it did not answer it says nothing.
            submission.noteRefusal()
            throw refusal
        }
    }

    /// A job that was seen to run and that the host no longer knows has run: its ledger was deleted.
    private func refuseIfLost(_ ledger: any JobLedger) async throws {
        guard await context.services.observed(submittedKey) != nil else { return }
        guard case .absent = try await ledger.probe(id) else { return }
        throw StepInDoubt(
            "\(job.host) no longer knows the job \(id) that was started on it: its ledger was deleted",
            evidence: ["host": .string(job.host), "job": .string("\(id)"), "ledger": "absent"])
    }

    private var submittedKey: String { "submitted:\(job.host):\(job.part ?? "")" }

    private func follow(_ verdict: JobVerdict, _ ledger: any JobLedger) async throws -> JobVerdict {
        switch verdict {
        case .running, .orphan:
            // Journaled while the job runs, and durable before its outcome is.
            async let noted: Void = noteSubmission()
            let offsets = collector.offsets
            let end = try await ledger.follow(
                id, stdoutOffset: offsets.stdout, stderrOffset: offsets.stderr, onOutput: take, deadline: nil)
            try await noted
            return end
        case .finished(let result):
            try await fetchRest(result, ledger)
            return verdict
        case .neverRan, .absent, .inDoubt:
            return verdict
        }
    }

    private func noteSubmission() async throws {
        guard await context.services.observed(submittedKey) == nil else { return }
        try await context.services.observe(submittedKey, true)
    }

    @Sendable private func take(_ output: JobOutput) {
        for line in collector.add(output) { job.onLine?(line) }
        if job.answersWithData, output.stream == .stdout { return }
        context.services.output(host: job.host, part: job.part, output)
    }

    /// Output of a job that had already ended when it was asked for.
    private func fetchRest(_ result: JobResult, _ ledger: any JobLedger) async throws {
        for stream in [JobStream.stdout, .stderr] {
            let total = stream == .stdout ? result.stdoutKeptBytes : result.stderrKeptBytes
            while collector.offset(stream) < total {
                let offset = collector.offset(stream)
                let bytes = try await ledger.output(id, stream: stream, offset: offset, limit: 1 << 20)
                if bytes.isEmpty { break }
                take(JobOutput(stream: stream, offset: offset, bytes: bytes))
            }
        }
    }

    /// Nil where the job has to be submitted again, which is safe: it never ran.
    private func outcome(of verdict: JobVerdict) async throws -> DurableJobOutcome? {
        switch verdict {
        case .finished(let result):
            Failpoint.hit("job.after-result", context.place(job.part))
            return collector.outcome(result)
        case .running, .neverRan, .absent:
            return nil
        case .orphan(let holders):
            throw StepInDoubt(
                "on \(job.host) the supervisor of \(id) is gone and its processes are still running",
                evidence: ["host": .string(job.host), "holders": .array(holders.map { .string($0) })])
        case .inDoubt(let evidence):
            throw StepInDoubt(
                "\(job.host) shows that \(id) was started and not how it ended",
                evidence: .object(evidence.mapValues { .string($0) }))
        }
    }

    /// Ends the job on its host and waits until the ledger confirms it.
    func end(_ cause: StepEnded.Cause) async throws -> DurableJobOutcome {
        guard mayBeAlive else { throw StepEnded(cause, cause == .cancelled ? "nothing was started on \(job.host)" : "its time was up") }
        let verdict = try await context.doubting(
            "\(job.host) cannot be asked to end \(id)", id, on: job.host, mayBeAlive: { true }
        ) {
            // The step's own time may be up already; a host that is only just out of reach is given a minute of its own.
            try await context.persistently(on: job.host, until: Deadline(after: job.grace + .seconds(60))) {
                try await $0.cancel(id, ticket: context.services.ticket, grace: job.grace)
            }
        }
        switch verdict {
        case .finished(let result) where !result.cancelled:
            return collector.outcome(result)
        case .finished, .neverRan, .absent:
            throw StepEnded(cause, cause == .cancelled ? "the job on \(job.host) was ended" : "its time was up")
        case .running, .orphan, .inDoubt:
            throw StepInDoubt("\(job.host) does not confirm that \(id) has ended", evidence: ["host": .string(job.host)])
        }
    }
}

/// Whether a request to start the job may have reached its host and been obeyed.
private final class Submission: Sendable {
    /// Those that were sent and that the host did not refuse.
    private let requests = Mutex(0)
    var mayHaveArrived: Bool { requests.withLock { $0 > 0 } }
    func note() { requests.withLock { $0 += 1 } }
    func noteRefusal() { requests.withLock { $0 -= 1 } }
}

/// Puts a job's output together from pieces that may overlap after a lost connection.
private final class OutputCollector: Sendable {
    private struct Streams {
        var stdout: [UInt8] = []
        var stderr: [UInt8] = []
        var lineStarts: [JobStream: Int] = [:]
    }
    private let streams = Mutex(Streams())

    var offsets: (stdout: Int, stderr: Int) { streams.withLock { ($0.stdout.count, $0.stderr.count) } }

    func offset(_ stream: JobStream) -> Int { stream == .stdout ? offsets.stdout : offsets.stderr }

    /// - Returns: the lines of that stream that are whole now and were not before.
    func add(_ output: JobOutput) -> [String] {
        streams.withLock { streams in
            let start = streams.lineStarts[output.stream] ?? 0
            let (lines, next) = output.stream == .stdout
                ? Self.lines(&streams.stdout, output, from: start) : Self.lines(&streams.stderr, output, from: start)
            streams.lineStarts[output.stream] = next
            return lines
        }
    }

    private static func lines(_ buffer: inout [UInt8], _ output: JobOutput, from start: Int) -> ([String], Int) {
        append(output, to: &buffer)
        guard let end = buffer[start...].lastIndex(of: UInt8(ascii: "\n")) else { return ([], start) }
        let lines = buffer[start..<end].split(separator: UInt8(ascii: "\n"))
        return (lines.map { String(decoding: $0, as: UTF8.self) }, end + 1)
    }

    private static func append(_ output: JobOutput, to buffer: inout [UInt8]) {
        let known = buffer.count - output.offset
        guard known >= 0, known < output.bytes.count else { return }
        buffer += output.bytes[known...]
    }

    func outcome(_ result: JobResult) -> DurableJobOutcome {
        streams.withLock { DurableJobOutcome(result: result, stdout: $0.stdout, stderr: $0.stderr) }
    }
}

/// Counts from 1, from whatever thread.
final class Counter: Sendable {
    private let count = Mutex<Int64>(0)
    func next() -> Int64 {
        count.withLock { count in
            count += 1
            return count
        }
    }
}
