/// The ledger's wire format: frames of key and value pairs, as the program on the host reads and writes them.
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

    /// With its length in front.
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

/// Cuts a stream into frames, after skipping whatever a shell's start-up files printed before the marker.
struct LedgerFrameReader {
    private let marker: [UInt8]
    private var buffer: [UInt8] = []
    private var hasBegun = false
    /// More than the host ever sends in one frame.
    private static let frameLimit = 96 << 20

    init(marker: String) { self.marker = Array(marker.utf8) }

    /// What came before the marker, while it has not come.
    var noise: [UInt8] { hasBegun ? [] : buffer }

    /// - Returns: the frames that are complete now; nil where the stream is not of this format.
    mutating func append(_ bytes: [UInt8]) -> [LedgerFrame]? {
        buffer.append(contentsOf: bytes)
        if !hasBegun {
            guard let position = position(of: marker, in: buffer) else {
                if buffer.count > 256 * 1024 { buffer.removeFirst(buffer.count - 64 * 1024) }
                return []
            }
            buffer.removeFirst(position + marker.count)
            hasBegun = true
        }
        var frames: [LedgerFrame] = []
        var start = 0
        while buffer.count - start >= 4 {
            let length = buffer[start..<(start + 4)].reduce(0) { $0 << 8 | Int($1) }
            guard length <= Self.frameLimit else { return nil }
            guard buffer.count - start - 4 >= length else { break }
            guard let frame = LedgerFrame(body: buffer[(start + 4)..<(start + 4 + length)]) else { return nil }
            frames.append(frame)
            start += 4 + length
        }
        if start > 0 { buffer.removeFirst(start) }
        return frames
    }
}
