internal import Glibc
internal import RunCore

/// Finds a command's output and status between markers, whatever a shell's start-up files print around it.
///
/// The wrapper prints a begin marker on both streams, runs the command, and prints an end marker with the status. A stream
/// without its end marker has no status: nothing is concluded from a closed channel.
struct ExecFraming {
    private let begin: [UInt8]
    private let end: [UInt8]
    let command: String

    /// - Parameter nonce: makes the markers unguessable for what the command prints.
    init(command: String, nonce: String) {
        begin = Array("\u{1}reprise-begin-\(nonce)\n".utf8)
        end = Array("\u{1}reprise-end-\(nonce) ".utf8)
        let script = """
            printf '\\001reprise-begin-%s\\n' "$0"; printf '\\001reprise-begin-%s\\n' "$0" >&2
            sh -c "$1"; s=$?
            printf '\\001reprise-end-%s %d\\n' "$0" "$s" >&2; printf '\\001reprise-end-%s %d\\n' "$0" "$s"
            """
        self.command = "exec sh -c \(shellQuoted(script)) \(nonce) \(shellQuoted(command))"
    }

    /// One stream of a framed command.
    struct Stream {
        private let begin: [UInt8]
        private let end: [UInt8]
        private let limit: Int
        private var pending: [UInt8] = []
        private var hasBegun = false
        private(set) var kept: [UInt8] = []
        private(set) var totalBytes = 0
        /// Set once the end marker was seen.
        private(set) var status: Int?

        fileprivate init(begin: [UInt8], end: [UInt8], limit: Int) {
            (self.begin, self.end, self.limit) = (begin, end, limit)
        }

        mutating func append(_ bytes: [UInt8]) {
            guard status == nil else { return }
            pending.append(contentsOf: bytes)
            if !hasBegun {
                guard let position = position(of: begin, in: pending) else {
                    if pending.count > 64 * 1024 { pending.removeFirst(pending.count - begin.count) }
                    return
                }
                pending.removeFirst(position + begin.count)
                hasBegun = true
            }
            if let position = position(of: end, in: pending) {
                guard let newline = pending[position...].firstIndex(of: UInt8(ascii: "\n")) else { return }
                let number = String(decoding: pending[(position + end.count)..<newline], as: UTF8.self)
                keep(pending.prefix(position))
                status = Int(number)
                pending = []
            } else if pending.count > 512 {
                // The last bytes may be the start of the marker.
                let count = pending.count - 256
                keep(pending.prefix(count))
                pending.removeFirst(count)
            }
        }

        private mutating func keep(_ bytes: ArraySlice<UInt8>) {
            totalBytes += bytes.count
            kept.append(contentsOf: bytes.prefix(max(0, limit - kept.count)))
        }

        /// What was seen before the begin marker never came; for messages.
        var noise: [UInt8] { hasBegun ? [] : pending }
    }

    func stream(limit: Int) -> Stream { Stream(begin: begin, end: end, limit: limit) }
}

/// What a login shell's start-up files print before a command begins, kept out of a stream that from then on is all the command's own:
/// a bridge carries somebody else's protocol, in which a line of a .bashrc reads as nonsense.
struct Preamble {
    /// More than this is no greeting any more.
    static let limit = 64 * 1024
    private let marker: [UInt8]
    /// What came before the marker, as long as it has not come.
    private(set) var noise: [UInt8] = []
    private(set) var isOver = false

    /// - Parameter nonce: makes the marker one that no start-up file prints.
    init(nonce: String) { marker = Array("\u{1}reprise-begin-\(nonce)\n".utf8) }

    /// `command` for any login shell; it prints the marker on both of its streams before it takes the shell's place.
    static func marked(_ command: String, nonce: String) -> String {
        let script = #"printf '\001reprise-begin-%s\n' "$0"; printf '\001reprise-begin-%s\n' "$0" >&2; exec sh -c "$1""#
        return "exec sh -c \(shellQuoted(script)) \(nonce) \(shellQuoted(command))"
    }

    var isTooLong: Bool { !isOver && noise.count > Self.limit }

    /// - Returns: what of `bytes` comes after the marker.
    mutating func strip(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        guard !isOver else { return Array(bytes) }
        noise.append(contentsOf: bytes)
        guard let position = position(of: marker, in: noise) else { return [] }
        let rest = Array(noise[(position + marker.count)...])
        noise = []
        isOver = true
        return rest
    }
}

/// The first occurrence of `needle`.
func position(of needle: [UInt8], in haystack: [UInt8]) -> Int? {
    haystack.withUnsafeBytes { haystack in
        needle.withUnsafeBytes { needle in
            guard let base = haystack.baseAddress, let first = needle.first else { return nil }
            var start = 0
            while haystack.count - start >= needle.count,
                let found = memchr(base + start, Int32(first), haystack.count - start - needle.count + 1)
            {
                let position = UnsafeRawPointer(found) - base
                if memcmp(base + position, needle.baseAddress!, needle.count) == 0 { return position }
                start = position + 1
            }
            return nil
        }
    }
}
