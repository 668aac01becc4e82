internal import BlockingIO
internal import RunCore
internal import Synchronization

/// One conversation with the ledger's program on a host: requests, answers, and the output of the jobs that are followed.
///
/// Requests may be made from any number of tasks at once; they share one channel.
final class LedgerConnection: Sendable {
    /// What happens to a followed job.
    enum Event: Sendable {
        case output(JobOutput)
        case end(LedgerFrame)
        case failure(any Error)
        case deadline
    }

    /// Events of one job, gathered from the moment at which it was submitted, so that its end needs no further round trip.
    struct Subscription: Sendable {
        let job: String
        let events: AsyncStream<Event>
        let continuation: AsyncStream<Event>.Continuation

        init(job: String) {
            self.job = job
            (events, continuation) = AsyncStream.makeStream()
        }
    }

    private struct State {
        var nextRequest = 1
        var waiting: [Int: CheckedContinuation<LedgerFrame, any Error>] = [:]
        /// By the number of the request that began them.
        var subscriptions: [Int: Subscription] = [:]
        /// Those of jobs that were submitted and that nobody follows yet.
        var gathered: [String: Int] = [:]
        var failure: (any Error)?
        var wire = LedgerWire.binary
    }

    let hostName: String
    private let channel: any ByteChannel
    private let state = Mutex(State())
    /// Frames in the order in which they were asked for, which is the order in which they go out: a cancellation must not overtake the
    /// request to start what it cancels.
    private let outbox = AsyncStream<(request: Int, frame: [UInt8])>.makeStream()
    /// The number of requests that are not answered.
    private static let unanswered = -1
    /// Longer than any request takes that is not a job's own time.
    private static let answerTimeout = Duration.seconds(60)

    private init(hostName: String, channel: any ByteChannel) {
        self.hostName = hostName
        self.channel = channel
    }

    /// Sends the program, waits for its first frame, and leaves the rest to a task that reads until the end.
    static func open(
        channel: any ByteChannel, hostName: String, program: LedgerProgram, deadline: Deadline
    ) async throws -> LedgerConnection {
        let connection = LedgerConnection(hostName: hostName, channel: channel)
        do {
            try await channel.write(program.source, deadline: deadline)
            var reader = LedgerFrameReader(nonce: program.nonce)
            var first: LedgerFrame?
            var rest: [LedgerFrame] = []
            while first == nil {
                let bytes = try await channel.read(upTo: 1 << 18, deadline: deadline)
                guard !bytes.isEmpty else { throw await program.startFailure(hostName, channel, noise: reader.noise) }
                guard let frames = reader.append(bytes) else { throw connection.garbled() }
                first = frames.first
                rest = Array(frames.dropFirst())
            }
            if let error = first.flatMap({ ledgerError($0, hostName: hostName) }) { throw error }
            if let wire = reader.wire { connection.state.withLock { $0.wire = wire } }
            for frame in rest { connection.receive(frame) }
            Task { [reader] in await connection.readFrames(reader) }
            Task { await connection.writeFrames() }
            return connection
        } catch {
            await channel.close()
            throw error
        }
    }

    private func garbled() -> LedgerError {
        LedgerError(
            "garbled", "the ledger's program on \(hostName) answered something else than its protocol",
            hints: ["something on the host writes into the session's output after start-up"], transient: true)
    }

    private func readFrames(_ initial: LedgerFrameReader) async {
        var reader = initial
        do {
            while true {
                let bytes = try await channel.read(upTo: 1 << 20, deadline: nil)
                if bytes.isEmpty {
                    let said = await channel.diagnostics()
                    throw LedgerError(
                        "program-ended", "the ledger's program on \(hostName) ended" + (said.isEmpty ? "" : ": \(said)"),
                        hints: ["jobs go on without it: open the ledger again"], transient: true)
                }
                guard let frames = reader.append(bytes) else { throw garbled() }
                for frame in frames { receive(frame) }
            }
        } catch {
            fail(error)
            await channel.close()
        }
    }

    private func writeFrames() async {
        for await (request, frame) in outbox.stream {
            do { try await channel.write(frame, deadline: nil) } catch { answer(request, error) }
        }
    }

    private func receive(_ frame: LedgerFrame) {
        if let sid: Int = frame.integer("sid") {
            let isEnd = frame.bytes("end") != nil
            guard let subscription = subscription(sid) else { return }
            // An ended one stays, complete, for whoever follows the job.
            if isEnd {
                subscription.continuation.yield(.end(frame))
            } else if let stream = frame.text("stream").flatMap(JobStream.init), let offset: Int = frame.integer("offset"),
                let data = frame.bytes("data")
            {
                subscription.continuation.yield(.output(JobOutput(stream: stream, offset: offset, bytes: data)))
            }
        } else if let id: Int = frame.integer("id") {
            let continuation = state.withLock { $0.waiting.removeValue(forKey: id) }
            guard let continuation else { return }
            if let error = ledgerError(frame, hostName: hostName) {
                continuation.resume(throwing: error)
            } else {
                continuation.resume(returning: frame)
            }
        }
    }

    private func fail(_ error: any Error) {
        let (waiting, subscriptions) = state.withLock { state in
            if state.failure == nil { state.failure = error }
            defer { (state.waiting, state.subscriptions) = ([:], [:]) }
            return (state.waiting, state.subscriptions)
        }
        outbox.continuation.finish()
        for continuation in waiting.values { continuation.resume(throwing: error) }
        for subscription in subscriptions.values { subscription.continuation.yield(.failure(error)) }
    }

    private func answer(_ id: Int, _ error: any Error) {
        let continuation = state.withLock { state in
            state.subscriptions[id] = nil
            return state.waiting.removeValue(forKey: id)
        }
        continuation?.resume(throwing: error)
    }

    /// - Parameter subscribing: the job whose events are gathered from the answer on, under the request's number.
    /// - Parameter timeout: nil for a request that waits for a job's end.
    func request(
        _ verb: String, subscribing job: String? = nil, timeout: Duration? = LedgerConnection.answerTimeout,
        _ fill: (inout LedgerFrame) -> Void = { _ in }
    ) async throws -> (id: Int, frame: LedgerFrame) {
        let id = try state.withLock { state in
            if let failure = state.failure { throw failure }
            defer { state.nextRequest += 1 }
            if let job { state.subscriptions[state.nextRequest] = Subscription(job: job) }
            return state.nextRequest
        }
        var frame = LedgerFrame()
        frame.add("id", id)
        frame.add("verb", verb)
        fill(&frame)
        let encoded = encode(frame)
        let timer = timeout.map { timeout in
            Task { [weak self] in
                try await Task.sleep(for: timeout)
                guard let self else { return }
                answer(id, DeadlineExceeded("the ledger on \(hostName) to answer (\(verb))"))
            }
        }
        defer { timer?.cancel() }
        var hasAnswer = false
        defer { if !hasAnswer { forget(id) } }
        let answered = try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<LedgerFrame, any Error>) in
                let failure = state.withLock { state -> (any Error)? in
                    if let failure = state.failure { return failure }
                    state.waiting[id] = continuation
                    return Task.isCancelled ? CancellationError() : nil
                }
                if let failure {
                    if state.withLock({ $0.waiting.removeValue(forKey: id) }) != nil || !(failure is CancellationError) {
                        continuation.resume(throwing: failure)
                    }
                    return
                }
                outbox.continuation.yield((id, encoded))
            }
        } onCancel: {
            answer(id, CancellationError())
        }
        hasAnswer = true
        return (id, answered)
    }

    private func encode(_ frame: LedgerFrame) -> [UInt8] { state.withLock { $0.wire }.encode(frame) }

    /// Sends a request that is not answered.
    private func tell(_ verb: String, sid: Int) {
        var frame = LedgerFrame()
        frame.add("id", Self.unanswered)
        frame.add("verb", verb)
        frame.add("sid", sid)
        outbox.continuation.yield((Self.unanswered, encode(frame)))
    }

    func forget(_ sid: Int) {
        state.withLock { $0.subscriptions[sid] = nil }
    }

    /// Leaves a subscription to whoever follows the job first; one that was left before is dropped.
    func leave(_ sid: Int, of job: String) {
        let old = state.withLock { state in
            defer { state.gathered[job] = sid }
            return state.gathered[job]
        }
        if let old { drop(old) }
    }

    /// Takes over the events that have been gathered for `job`, if any; only one caller gets them.
    func adoptSubscription(of job: String) -> (sid: Int, subscription: Subscription)? {
        state.withLock { state in
            guard let sid = state.gathered.removeValue(forKey: job), let subscription = state.subscriptions[sid] else { return nil }
            return (sid, subscription)
        }
    }

    func subscription(_ sid: Int) -> Subscription? { state.withLock { $0.subscriptions[sid] } }

    /// Passes events on until the job's end.
    func follow(
        _ sid: Int, _ subscription: Subscription, isGathered: Bool, deadline: Deadline?, onOutput: @Sendable (JobOutput) -> Void
    ) async throws -> LedgerFrame {
        // Up to here the host has sent a bounded amount on its own.
        if isGathered { tell("more", sid: sid) }
        let timer = deadline.map { deadline in
            Task {
                try await Task.sleep(for: deadline.remaining)
                subscription.continuation.yield(.deadline)
            }
        }
        defer {
            timer?.cancel()
            forget(sid)
        }
        for await event in subscription.events {
            switch event {
            case .output(let output): onOutput(output)
            case .end(let frame): return frame
            case .failure(let error): throw error
            case .deadline:
                tell("unfollow", sid: sid)
                throw DeadlineExceeded("job \(subscription.job) on \(hostName)")
            }
        }
        tell("unfollow", sid: sid)
        throw CancellationError()
    }

    func drop(_ sid: Int) {
        forget(sid)
        tell("unfollow", sid: sid)
    }

    func close() async {
        // Transient: whoever still waits on it was using a connection that another step gave up, and can have a new one.
        fail(LedgerError("closed", "the ledger of \(hostName) was closed here", transient: true))
        await channel.close()
    }
}
