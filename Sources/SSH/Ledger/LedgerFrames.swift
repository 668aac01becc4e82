/// What is said between here and the ledger's program on a host: pairs of keys and values.
struct LedgerFrame: Sendable {
    /// In order; keys may repeat.
    private(set) var pairs: [(key: String, value: [UInt8])] = []

    init() {}

    mutating func add(_ key: String, _ value: [UInt8]) { pairs.append((key, value)) }
    mutating func add(_ key: String, _ value: String) { pairs.append((key, Array(value.utf8))) }
    mutating func add(_ key: String, _ value: some BinaryInteger) { add(key, String(value)) }

    func bytes(_ key: String) -> [UInt8]? { pairs.first { $0.key == key }?.value }
    func text(_ key: String) -> String? { bytes(key).map { String(decoding: $0, as: UTF8.self) } }
    func integer<Number: FixedWidthInteger>(_ key: String) -> Number? { text(key).flatMap { Number($0) } }
    func all(_ key: String) -> [[UInt8]] { pairs.filter { $0.key == key }.map(\.value) }

    /// The fields whose keys begin with `prefix`, without it.
    func fields(_ prefix: String) -> [String: String] {
        var result: [String: String] = [:]
        for (key, value) in pairs where key.hasPrefix(prefix) {
            result[String(key.dropFirst(prefix.count))] = String(decoding: value, as: UTF8.self)
        }
        return result
    }

    /// As perl's ledger reads it: with its length in front.
    var encoded: [UInt8] {
        var body: [UInt8] = []
        for (key, value) in pairs {
            withUnsafeBytes(of: UInt16(key.utf8.count).bigEndian) { body.append(contentsOf: $0) }
            body.append(contentsOf: key.utf8)
            withUnsafeBytes(of: UInt32(value.count).bigEndian) { body.append(contentsOf: $0) }
            body.append(contentsOf: value)
        }
        return withUnsafeBytes(of: UInt32(body.count).bigEndian, Array.init) + body
    }

    /// - Returns: nil where the lengths do not add up.
    init?(body: some RandomAccessCollection<UInt8>) {
        var position = body.startIndex
        func take(_ count: Int) -> ArraySlice<UInt8>? {
            guard body.distance(from: position, to: body.endIndex) >= count else { return nil }
            let end = body.index(position, offsetBy: count)
            defer { position = end }
            return ArraySlice(body[position..<end])
        }
        func number(_ count: Int) -> Int? { take(count)?.reduce(0) { $0 << 8 | Int($1) } }
        while position < body.endIndex {
            guard let keyLength = number(2), let key = take(keyLength), let length = number(4), let value = take(length) else { return nil }
            add(String(decoding: key, as: UTF8.self), Array(value))
        }
    }
}

/// How frames are written: perl's with lengths in front, the shell's as records.
enum LedgerWire: Sendable {
    case binary
    case records

    func encode(_ frame: LedgerFrame) -> [UInt8] {
        switch self {
        case .binary: frame.encoded
        case .records: frame.record
        }
    }

    /// The line that the program says first.
    func marker(_ nonce: String) -> [UInt8] {
        switch self {
        case .binary: Array("\u{1}reprise-ledger-\(nonce)\n".utf8)
        case .records: Array("\u{1}reprise-ledger-sh-\(nonce)\n".utf8)
        }
    }
}

/// Cuts a stream into frames, after skipping whatever a shell's start-up files printed before the marker, which also says
/// which program speaks.
struct LedgerFrameReader {
    private let nonce: String
    private var buffer: [UInt8] = []
    /// Nil while the marker has not come.
    private(set) var wire: LedgerWire?
    /// More than the host ever sends in one frame.
    private static let frameLimit = 96 << 20

    init(nonce: String) { self.nonce = nonce }

    /// What came before the marker, while it has not come.
    var noise: [UInt8] { wire == nil ? buffer : [] }

    /// - Returns: the frames that are complete now; nil where the stream is not of this format.
    mutating func append(_ bytes: [UInt8]) -> [LedgerFrame]? {
        buffer.append(contentsOf: bytes)
        if wire == nil { skipNoise() }
        guard let wire else { return [] }
        var frames: [LedgerFrame] = []
        var start = 0
        loop: while true {
            switch wire == .binary ? nextFrame(from: start) : nextRecord(from: start) {
            case .frame(let frame, let end):
                frames.append(frame)
                start = end
            case .incomplete: break loop
            case .garbled: return nil
            }
        }
        if start > 0 { buffer.removeFirst(start) }
        return frames
    }

    private mutating func skipNoise() {
        for candidate in [LedgerWire.binary, .records] {
            let marker = candidate.marker(nonce)
            guard let position = position(of: marker, in: buffer) else { continue }
            buffer.removeFirst(position + marker.count)
            wire = candidate
            return
        }
        if buffer.count > 256 * 1024 { buffer.removeFirst(buffer.count - 64 * 1024) }
    }

    private enum Next {
        case frame(LedgerFrame, end: Int)
        case incomplete
        case garbled
    }

    private func nextFrame(from start: Int) -> Next {
        guard buffer.count - start >= 4 else { return .incomplete }
        let length = buffer[start..<(start + 4)].reduce(0) { $0 << 8 | Int($1) }
        guard length <= Self.frameLimit else { return .garbled }
        guard buffer.count - start - 4 >= length else { return .incomplete }
        guard let frame = LedgerFrame(body: buffer[(start + 4)..<(start + 4 + length)]) else { return .garbled }
        return .frame(frame, end: start + 4 + length)
    }

    private func nextRecord(from start: Int) -> Next {
        var lines: [ArraySlice<UInt8>] = []
        var position = start
        while let end = buffer[position...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = buffer[position..<end]
            position = end + 1
            guard !line.elementsEqual("end".utf8) else {
                guard let (frame, count) = LedgerFrame.parse(record: lines) else { return .garbled }
                guard let count else { return .frame(frame, end: position) }
                guard (0...Self.frameLimit).contains(count) else { return .garbled }
                guard buffer.count - position >= count else { return .incomplete }
                var whole = frame
                whole.add("data", Array(buffer[position..<(position + count)]))
                return .frame(whole, end: position + count)
            }
            lines.append(line)
        }
        return buffer.count - start > Self.frameLimit ? .garbled : .incomplete
    }
}
