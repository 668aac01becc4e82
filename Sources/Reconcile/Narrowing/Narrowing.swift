package import BlockingIO
internal import Foundation
package import PostgreSQL
internal import RunCore

/// Streams both sides of a table and keeps the rows that are not on both, in memory that does not grow with the table.
///
/// Texts are compared, by digests. What is the same text under the same settings is the same row as far as a merge goes; what is not
/// is a candidate only, and the server says whether it differs.
package struct Narrowing: Sendable {
    private let columns: [SQLIdentifier]
    private let key: [SQLIdentifier]?
    private let moments: Set<SQLIdentifier>
    private let limits: Limits

    /// What is kept in memory.
    package struct Limits: Sendable, Hashable {
        /// Text of either side, bytes.
        package var heldBytes = 6 << 20
        /// Rows without a partner, of both sides together; more are laid aside into files.
        package var outstanding = 170_000
        package init() {}
    }

    /// - Parameter contents: columns whose large objects' contents are compared with the rows.
    package init(_ pair: TablePair, contents: [SQLIdentifier] = [], _ limits: Limits = Limits()) {
        let moments = pair.columns.filter { $0.type.hasPrefix("timestamp") && $0.type.hasSuffix("with time zone") }
        self.init(columns: pair.columns.map(\.name) + NamedContents.fields(contents), key: pair.key?.columns, moments: Set(moments.map(\.name)), limits)
    }

    /// - Parameter moments: columns of the type timestamptz.
    init(columns: [SQLIdentifier], key: [SQLIdentifier]?, moments: Set<SQLIdentifier>, _ limits: Limits = Limits()) {
        (self.columns, self.key, self.moments, self.limits) = (columns, key, moments, limits)
    }

    /// How far it is.
    package struct Progress: Sendable, Hashable {
        package var backupRows = 0
        package var liveRows = 0
        package var candidates = 0
        /// Contents of an archive's large objects, bytes: they are read before any row is.
        package var objectBytes = 0
    }

    /// The rows that are not on both sides.
    package struct Candidates: Sendable {
        /// All rows that were read.
        package let backupRows: Int
        package let liveRows: Int
        /// The lines of the candidates, with the columns that are compared as their fields.
        package let backup: RowLines
        package let live: RowLines
        /// The key of each of them, and nothing else; empty for a table without a key.
        package let keys: RowLines
    }

    /// - Parameter report: is called now and then, on some thread.
    package func run(
        backup: any RowSource, live: any RowSource, deadline: Deadline, report: @escaping @Sendable (Progress) -> Void = { _ in }
    ) async throws -> Candidates {
        let queues = RowQueues(deadline)
        let matcher = try Matcher(columns, key, moments, Elimination(limits), report)
        let (backupRows, liveRows, found) = try await withTaskCancellationHandler {
            async let backupRows = read(backup, .backup, queues, deadline)
            async let liveRows = read(live, .live, queues, deadline)
            // A thread of its own: whoever reads goes on reading while lines are compared.
            async let found = DedicatedThread(name: "narrowing").run { try matcher.run(queues) }
            return await (backupRows, liveRows, try found)
        } onCancel: {
            queues.giveUp(because: CancellationError())
        }
        return Candidates(backupRows: backupRows, liveRows: liveRows, backup: found.backup, live: found.live, keys: found.keys)
    }

    /// - Returns: how many rows there were; where it failed, the queues know why.
    private func read(_ source: any RowSource, _ side: Side, _ queues: RowQueues, _ deadline: Deadline) async -> Int {
        do {
            let rows = try await source.read(deadline: deadline) { try queues.put(side, $0) }
            queues.end(side)
            return rows
        } catch {
            // The other side may be waiting for this one.
            queues.giveUp(because: error)
            return 0
        }
    }
}

/// Lines of rows, kept in a file.
package final class RowLines: @unchecked Sendable {
    // Written before it is handed out, and read by one at a time afterwards.
    private let file: SpoolFile
    package private(set) var count = 0

    init() throws { file = try SpoolFile() }

    /// - Parameter lines: one, or so many as are said.
    func append(_ lines: some Collection<UInt8>, count: Int = 1) throws {
        try file.append(lines)
        self.count += count
    }

    /// The line that begins at `place`, without its newline.
    func line(at place: Int) throws -> ArraySlice<UInt8> { try file.line(at: place).dropLast() }

    /// Hands all lines on; a portion may end in the middle of one.
    package func forEachPortion(_ body: ([UInt8]) throws -> Void) throws { try file.forEachPortion(body) }

    /// Hands whole lines on, in portions, with the place where each portion begins.
    func forEachBlock(_ body: (_ place: Int, _ lines: [UInt8]) throws -> Void) throws {
        var rest: [UInt8] = [], place = 0
        try forEachPortion { portion in
            rest += portion
            guard let last = portion.withUnsafeBytes({ $0.endOfLastLine }) else { return }
            let end = rest.count - portion.count + last
            try body(place, Array(rest[..<end]))
            place += end
            rest.removeFirst(end)
        }
    }

    /// A function that returns the lines in portions, and then nil: what a COPY into a table takes.
    func portions() -> @Sendable () throws -> [UInt8]? {
        let place = Place()
        return { [self] in
            let bytes = try file.read(at: place.at, count: 256 * 1024)
            place.at += bytes.count
            return bytes.isEmpty ? nil : bytes
        }
    }

    /// Only touched by the one who reads.
    private final class Place: @unchecked Sendable { var at = 0 }
}

/// What both streams have brought and nobody has compared yet.
///
/// `@unchecked Sendable`: what changes is only touched while `condition` is locked.
private final class RowQueues: @unchecked Sendable {
    private let condition = NSCondition()
    private let deadline: Deadline
    private var queues: [Side: Queue] = [.backup: Queue(), .live: Queue()]
    /// Why it was given up: what went wrong first.
    private var failure: (any Error)?

    private struct Queue {
        var chunks: [RowChunk] = []
        var bytes = 0
        var hasEnded = false

        mutating func empty() -> [RowChunk] {
            defer { (chunks, bytes) = ([], 0) }
            return chunks
        }
    }

    /// What is taken out at once.
    struct Portion {
        /// Of sides that have any.
        var chunks: [Side: [RowChunk]] = [:]
        /// After these chunks there are no more.
        var ends: Set<Side> = []
    }

    /// Bytes of one side that may wait to be compared: enough for a server to go on sending while the other side is looked at.
    private static let mostBytes = 2 << 20

    init(_ deadline: Deadline) { self.deadline = deadline }

    private func locked<Value>(_ body: () throws -> Value) rethrows -> Value {
        condition.lock()
        defer {
            condition.broadcast()
            condition.unlock()
        }
        return try body()
    }

    private func wait(for what: String) throws {
        guard !deadline.hasPassed else { throw DeadlineExceeded(what) }
        _ = condition.wait(until: Date(timeIntervalSinceNow: 0.5))
    }

    func giveUp(because error: any Error) { locked { failure = failure ?? error } }

    func end(_ side: Side) { locked { queues[side]?.hasEnded = true } }

    func put(_ side: Side, _ chunk: RowChunk) throws {
        try locked {
            while let bytes = queues[side]?.bytes, bytes > Self.mostBytes, failure == nil { try wait(for: "the other side of a comparison") }
            guard failure == nil else { throw CancellationError() }
            queues[side]?.chunks.append(chunk)
            queues[side]?.bytes += chunk.bytes.count
        }
    }

    /// - Parameter sides: of which more is of use at present.
    /// - Returns: nil once both have ended and all was taken.
    /// - Throws: what went wrong first on either side.
    func take(of sides: Set<Side>, ended: Set<Side>) throws -> Portion? {
        try locked {
            while true {
                if let failure { throw failure }
                var portion = Portion()
                for side in sides {
                    if let chunks = queues[side]?.empty(), !chunks.isEmpty { portion.chunks[side] = chunks }
                }
                portion.ends = Set(queues.filter { $1.hasEnded && $1.chunks.isEmpty }.keys)
                if !portion.chunks.isEmpty || portion.ends != ended { return portion }
                if ended.count == queues.count { return nil }
                try wait(for: "rows to compare")
            }
        }
    }
}

/// Lets the two streams meet. Used by one thread.
///
/// `@unchecked Sendable`: handed to that thread and touched by no other.
private final class Matcher: @unchecked Sendable {
    private let columns: [SQLIdentifier]
    private let key: [SQLIdentifier]?
    /// Of lines that hold the columns that are compared and nothing else.
    private let reader: RowReader
    private let report: @Sendable (Narrowing.Progress) -> Void
    private var alignment = Alignment()
    private var elimination: Elimination
    private var rows = Narrowing.Progress()
    private var told = ContinuousClock.now

    /// Lines of one side that may wait for the other.
    private static let mostPendingBytes = 1 << 20

    init(
        _ columns: [SQLIdentifier], _ key: [SQLIdentifier]?, _ moments: Set<SQLIdentifier>, _ elimination: Elimination,
        _ report: @escaping @Sendable (Narrowing.Progress) -> Void
    ) throws {
        reader = try RowReader(columns: columns, compared: columns, key: key, moments: moments)
        (self.columns, self.key, self.elimination, self.report) = (columns, key, elimination, report)
    }

    func run(_ queues: RowQueues) throws -> (backup: RowLines, live: RowLines, keys: RowLines) {
        do {
            var ended: Set<Side> = []
            while let portion = try queues.take(of: wanted, ended: ended) {
                for side in Side.allCases {
                    for chunk in portion.chunks[side] ?? [] { try take(side, chunk) }
                }
                for side in portion.ends.subtracting(ended) { alignment.end(side) }
                ended = portion.ends
                try advance()
                tell()
            }
            return try finish()
        } catch {
            // Whoever reads is not to wait for this thread any more.
            queues.giveUp(because: error)
            throw error
        }
    }

    private var wanted: Set<Side> { Set(Side.allCases.filter { !alignment.hasEnough($0, bytes: Self.mostPendingBytes) }) }

    private func take(_ side: Side, _ chunk: RowChunk) throws {
        let lines = try RowReader(columns: chunk.columns, compared: columns, key: nil).projected(chunk.bytes)
        let count = lines.withUnsafeBytes { bytes in
            var count = 0, at = 0
            while let end = bytes.endOfLine(at) { (count, at) = (count + 1, end) }
            return count
        }
        if side == .backup { rows.backupRows += count } else { rows.liveRows += count }
        alignment.take(side, lines)
    }

    private func advance() throws {
        try alignment.advance { try elimination.take($0, reader) }
    }

    private func tell() {
        guard told.duration(to: .now) > .milliseconds(500) else { return }
        told = .now
        rows.candidates = elimination.outstanding
        report(rows)
    }

    private func finish() throws -> (backup: RowLines, live: RowLines, keys: RowLines) {
        let (backup, live, keys) = (try RowLines(), try RowLines(), try RowLines())
        let keyOf = try key.map { try RowReader(columns: columns, compared: $0, key: nil) }
        try elimination.finish { side, line in
            try (side == .backup ? backup : live).append(line)
            if let keyOf { try keys.append(keyOf.projected(line)) }
        }
        return (backup, live, keys)
    }
}
