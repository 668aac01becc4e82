internal import BlockingIO
internal import Crypto
internal import Glibc
internal import RunCore
internal import Synchronization

/// The large objects of an archive on this machine, by pg_restore. Of their contents no more than one piece is held at a time.
struct ArchiveObjects: Sendable {
    private let path: String
    private let entries: [Int]
    private let pgRestore: String

    /// - Parameter entries: the archive's entries that hold contents.
    init(at path: String, _ entries: [Int], pgRestore: String = "pg_restore") {
        (self.path, self.entries, self.pgRestore) = (path, entries, pgRestore)
    }

    /// What tells the contents of all objects apart, as `ObjectSQL.digest` works it out on a server.
    func digests(_ reading: ObjectReading, deadline: Deadline) async throws -> ObjectDigests {
        let digests = try ObjectDigests()
        try await read(deadline, "large objects out of the archive") { [digests] in
            let hashing = Hashing(into: digests)
            return { part in
                if case .data(let hex) = part { reading.add(hex.count / 2) }
                try hashing.take(part)
            }
        }
        reading.tell()
        return digests
    }

    /// Lines `number`, `place`, `data` as COPY takes them, of the objects that are asked for.
    func pieces(of wanted: Set<UInt32>, deadline: Deadline) async throws -> RowLines {
        let lines = try RowLines()
        try await read(deadline, "contents of large objects out of the archive") {
            let cutting = Cutting(wanted, into: lines)
            return { try cutting.take($0) }
        }
        return lines
    }

    private func read(
        _ deadline: Deadline, _ operation: String, _ taking: @escaping @Sendable () -> (ObjectParser.Part) throws -> Void
    ) async throws {
        try await withInterrupt { interrupt in
            try await DedicatedThread(name: "pg_restore").run {
                let errors = try SpoolFile(), take = taking()
                let program = try ArchiveRows.start(pgRestore, path, entries, errors)
                var parser = ObjectParser()
                try program.read(interrupt, until: deadline, operation: operation) { try parser.take($0, take) }
                let status = program.waitForEnd()
                guard status == 0, parser.number == nil else { throw try ArchiveRows.unreadable(path, errors, status) }
            }
        }
    }
}

/// How much of large objects' contents was read, of all archives that are read at a time.
final class ObjectReading: Sendable {
    private let state = Mutex((bytes: 0, told: ContinuousClock.now))
    private let report: @Sendable (Narrowing.Progress) -> Void

    init(_ report: @escaping @Sendable (Narrowing.Progress) -> Void) { self.report = report }

    func add(_ bytes: Int) {
        let isTime = state.withLock { state in
            state.bytes += bytes
            return state.told.duration(to: .now) > .milliseconds(500)
        }
        if isTime { tell() }
    }

    func tell() {
        let bytes = state.withLock { state in
            state.told = .now
            return state.bytes
        }
        report(Narrowing.Progress(objectBytes: bytes))
    }
}

/// Digests of large objects' contents: the numbers in memory, and the digests, which are four times as long, in a file.
///
/// `@unchecked Sendable`: filled by one thread before it is handed out, and asked by one at a time.
final class ObjectDigests: @unchecked Sendable {
    private let file: SpoolFile
    /// The number above, the place in the file below; sorted when it is first asked.
    private var places: [UInt64] = []
    private var isSorted = false
    static let bytes = 32

    init() throws { file = try SpoolFile() }

    fileprivate func append(_ number: UInt32, _ digest: some Collection<UInt8>) throws {
        places.append(UInt64(number) << 32 | UInt64(places.count))
        try file.append(digest)
    }

    /// - Returns: nil where there is no such object.
    func digest(of number: UInt32) throws -> [UInt8]? {
        if !isSorted { (places, isSorted) = (places.sorted(), true) }
        var low = 0, high = places.count
        while low < high {
            let middle = (low + high) / 2
            if places[middle] < UInt64(number) << 32 { low = middle + 1 } else { high = middle }
        }
        guard low < places.count, places[low] >> 32 == UInt64(number) else { return nil }
        return try file.read(at: Int(places[low] & 0xFFFF_FFFF) * Self.bytes, count: Self.bytes)
    }
}

/// Cuts contents into pieces as servers do, and hashes these. Used by one thread.
private final class Hashing {
    private let digests: ObjectDigests
    private var number: UInt32 = 0
    private var ofPieces = SHA256()
    private var piece = SHA256()
    private var pieceBytes = 0

    init(into digests: ObjectDigests) { self.digests = digests }

    func take(_ part: ObjectParser.Part) throws {
        switch part {
        case .begin(let number): (self.number, ofPieces, piece, pieceBytes) = (number, SHA256(), SHA256(), 0)
        case .data(let hex):
            var rest = try Hex.bytes(hex)[...]
            while !rest.isEmpty {
                let next = rest.prefix(ObjectSQL.pieceBytes - pieceBytes)
                next.withUnsafeBytes { piece.update(bufferPointer: $0) }
                pieceBytes += next.count
                rest = rest.dropFirst(next.count)
                if pieceBytes == ObjectSQL.pieceBytes { endPiece() }
            }
        case .end:
            // The last one, which may be empty.
            endPiece()
            try digests.append(number, Array(ofPieces.finalize()))
        }
    }

    private func endPiece() {
        piece.finalize().withUnsafeBytes { ofPieces.update(bufferPointer: $0) }
        (piece, pieceBytes) = (SHA256(), 0)
    }
}

/// Makes lines of pieces. Used by one thread.
private final class Cutting {
    private let wanted: Set<UInt32>
    private let lines: RowLines
    private var number: UInt32?
    private var place = 0
    private var held: [UInt8] = []
    private static let digits = ObjectSQL.pieceBytes * 2

    init(_ wanted: Set<UInt32>, into lines: RowLines) { (self.wanted, self.lines) = (wanted, lines) }

    func take(_ part: ObjectParser.Part) throws {
        switch part {
        case .begin(let number): (self.number, place, held) = (wanted.contains(number) ? number : nil, 0, [])
        case .data(let hex):
            guard number != nil else { return }
            held += hex
            while held.count >= Self.digits {
                try write(held.prefix(Self.digits))
                held.removeFirst(Self.digits)
            }
        case .end: try write(held[...])
        }
    }

    private func write(_ hex: ArraySlice<UInt8>) throws {
        guard let number else { return }
        try lines.append(Array("\(number)\t\(place)\t\\\\x".utf8) + hex + [UInt8(ascii: "\n")])
        place += 1
    }
}

private enum Hex {
    static func bytes(_ hex: ArraySlice<UInt8>) throws -> [UInt8] {
        guard hex.count % 2 == 0 else { throw ObjectParser.odd("is written with half a byte") }
        return try [UInt8](unsafeUninitializedCapacity: hex.count / 2) { result, count in
            try hex.withUnsafeBytes { hex in
                for at in 0..<hex.count / 2 {
                    guard let high = digit(hex[2 * at]), let low = digit(hex[2 * at + 1]) else {
                        throw ObjectParser.odd("is not written in hexadecimal digits")
                    }
                    result[at] = high << 4 | low
                    count = at + 1
                }
            }
        }
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 97...102: byte - 87
        case 65...70: byte - 55
        default: nil
        }
    }
}

/// Finds large objects in the script that pg_restore writes.
struct ObjectParser {
    enum Part { case begin(UInt32), data(ArraySlice<UInt8>), end }

    /// The object whose contents come at present.
    private(set) var number: UInt32?
    /// The beginning of a line whose end has not come.
    private var rest: [UInt8] = []

    private static let open = Array("SELECT pg_catalog.lo_open('".utf8), close = Array("SELECT pg_catalog.lo_close(0);".utf8)
    private static let write = Array("SELECT pg_catalog.lowrite(0, '".utf8), any = Array("SELECT pg_catalog.lo".utf8)
    private static let quote = UInt8(ascii: "'"), newline = UInt8(ascii: "\n")

    static func odd(_ how: String) -> ReconcileRefused {
        ReconcileRefused(
            "reconcile.odd-object", "a large object of the archive \(how)", hints: ["the archive may be damaged: reprise backup verify"], exitStatus: .failed)
    }

    mutating func take(_ portion: ArraySlice<UInt8>, _ body: (Part) throws -> Void) throws {
        rest += portion
        var at = 0
        while let end = rest.withUnsafeBytes({ $0.endOfLine(at) }) {
            try line(rest[at..<end - 1], body)
            at = end
        }
        rest.removeFirst(at)
    }

    private mutating func line(_ line: ArraySlice<UInt8>, _ body: (Part) throws -> Void) throws {
        guard line.starts(with: Self.any) else {
            guard number == nil else { throw Self.odd("is written in a way that is not understood") }
            return
        }
        if line.starts(with: Self.write), number != nil {
            let text = line.dropFirst(Self.write.count).drop { $0 == UInt8(ascii: "\\") }
            guard text.first == UInt8(ascii: "x"), line.suffix(3).elementsEqual("');".utf8) else {
                throw Self.odd("is written in a way that is not understood")
            }
            try body(.data(text.dropFirst().dropLast(3)))
        } else if line.starts(with: Self.open), number == nil {
            let digits = line.dropFirst(Self.open.count).prefix { $0 != Self.quote }
            guard let number = UInt32(String(decoding: digits, as: UTF8.self)) else { throw Self.odd("has no number") }
            self.number = number
            try body(.begin(number))
        } else if line.elementsEqual(Self.close), number != nil {
            number = nil
            try body(.end)
        } else {
            throw Self.odd("begins or ends in a way that is not understood")
        }
    }
}
