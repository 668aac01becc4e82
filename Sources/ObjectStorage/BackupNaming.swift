package import Foundation
package import RunCore

/// How backups are named: a key pattern with the time in it, for example `database/db_{time}.dump*`.
///
/// `{time}` stands for `YYYYMMDD_HHMMSS`, also with `-` or `T` between, with separators inside (`2026-11-23_02-14-07`), and
/// with a `Z` at its end. `*` stands for any characters but a slash, `?` for one of them. Without a zone the time is UTC.
package struct BackupNaming: Sendable {
    package let pattern: String
    private let zone: TimeZone
    private let pieces: [Piece]

    private enum Piece: Hashable { case literal(UInt8), anyRun, anyOne, time }

    /// - Parameter zone: a name such as `Asia/Manila`; nil for UTC. The runbook's `date` writes the server's local time.
    /// - Throws: `BackupPatternRefused` unless there is exactly one `{time}` and the zone is known.
    package init(pattern: String, zone zoneName: String? = nil) throws {
        let parts = pattern.components(separatedBy: "{time}")
        guard parts.count == 2 else {
            throw BackupPatternRefused("the backup pattern \(quoted(pattern)) does not say, once, where the time stands")
        }
        guard let zone = zoneName.map({ TimeZone(identifier: $0) }) ?? TimeZone(secondsFromGMT: 0) else {
            throw BackupPatternRefused("there is no time zone \(quoted(zoneName ?? ""))")
        }
        self.pattern = pattern
        self.zone = zone
        func pieces(_ text: String) -> [Piece] {
            text.utf8.map { $0 == UInt8(ascii: "*") ? .anyRun : $0 == UInt8(ascii: "?") ? .anyOne : .literal($0) }
        }
        self.pieces = pieces(parts[0]) + [.time] + pieces(parts[1])
    }

    /// The runbook's database dumps.
    package static let runbookDatabase = known("database/db_{time}.dump*")
    /// The runbook's archives of uploaded files.
    package static let runbookFiles = known("files/files_{time}.tar*")

    private static func known(_ pattern: String) -> BackupNaming {
        guard let naming = try? BackupNaming(pattern: pattern) else { preconditionFailure("\(pattern) is a pattern") }
        return naming
    }

    /// What can be listed with: the pattern up to its first variable character.
    package var listingPrefix: String {
        String(decoding: pieces.prefix { if case .literal = $0 { true } else { false } }.compactMap { piece -> UInt8? in
            if case .literal(let byte) = piece { byte } else { nil }
        }, as: UTF8.self)
    }

    package struct Backup: Hashable, Sendable {
        package let object: ObjectSummary
        package let time: Date
    }

    /// The backups among `objects`, newest first; equal times by key, the last one first.
    package func backups(among objects: [ObjectSummary]) -> [Backup] {
        objects.compactMap { object in time(of: object.key).map { Backup(object: object, time: $0) } }
            .sorted { $0.time == $1.time ? $0.object.key > $1.object.key : $0.time > $1.time }
    }

    /// Lists, recognises and sorts: newest first.
    package func backups(in store: any ObjectStore) async throws -> [Backup] {
        backups(among: try await store.list(prefix: listingPrefix))
    }

    /// The time that a key states; nil where it does not match, or where there is no such date.
    package func time(of key: String) -> Date? {
        let bytes = Array(key.utf8)
        // Keys are at most 1,024 bytes in S3; a longer one would only make matching slow.
        guard bytes.count <= 4096 else { return nil }
        return match(bytes[...], pieces[...], time: nil)
    }

    /// - Parameter time: what was found on the way; a whole match has one, because a pattern does.
    private func match(_ text: ArraySlice<UInt8>, _ rest: ArraySlice<Piece>, time: Date?) -> Date? {
        guard let piece = rest.first else { return text.isEmpty ? time : nil }
        let following = rest.dropFirst()
        switch piece {
        case .literal(let byte): return text.first == byte ? match(text.dropFirst(), following, time: time) : nil
        case .anyOne:
            guard let first = text.first, first != UInt8(ascii: "/") else { return nil }
            return match(text.dropFirst(), following, time: time)
        case .anyRun:
            var end = text.startIndex
            while true {
                if let found = match(text[end...], following, time: time) { return found }
                guard end < text.endIndex, text[end] != UInt8(ascii: "/") else { return nil }
                end += 1
            }
        case .time:
            guard let (found, end) = parse(text) else { return nil }
            return match(text[end...], following, time: found)
        }
    }

    private func parse(_ text: ArraySlice<UInt8>) -> (Date, Int)? {
        var position = text.startIndex
        func number(_ digits: Int) -> Int? {
            guard text.endIndex - position >= digits else { return nil }
            var value = 0
            for byte in text[position..<position + digits] {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                value = value * 10 + Int(byte - UInt8(ascii: "0"))
            }
            position += digits
            return value
        }
        func separator(_ allowed: String) -> Bool {
            guard position < text.endIndex, allowed.utf8.contains(text[position]) else { return false }
            position += 1
            return true
        }
        guard let year = number(4) else { return nil }
        _ = separator("-")
        guard let month = number(2) else { return nil }
        _ = separator("-")
        guard let day = number(2), separator("_-T"), let hour = number(2) else { return nil }
        _ = separator("-:")
        guard let minute = number(2) else { return nil }
        _ = separator("-:")
        guard let second = number(2) else { return nil }
        let isUTC = separator("Z")
        let time = CivilTime(year: year, month: month, day: day, hour: hour, minute: minute, second: second)
        guard let utc = time.date else { return nil }
        return (isUTC ? utc : shifted(utc), position)
    }

    /// The moment at which clocks in the zone showed what `utc` shows in UTC.
    private func shifted(_ utc: Date) -> Date {
        let guess = utc.addingTimeInterval(-Double(zone.secondsFromGMT(for: utc)))
        return utc.addingTimeInterval(-Double(zone.secondsFromGMT(for: guess)))
    }
}

/// A backup pattern or its time zone makes no sense.
package struct BackupPatternRefused: RepriseError {
    package let code = "backup.pattern-refused"
    package let message: String
    package let hints = ["write YYYYMMDD_HHMISS there (minutes are MI, seconds SS), as in database/db_YYYYMMDD_HHMISS.dump.gz"]
    package var exitStatus: ExitStatus { .usage }

    init(_ message: String) { self.message = message }
}
