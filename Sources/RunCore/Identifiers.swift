/// One execution of a plan, for example `20261123-021407-k3f9`: UTC start time, then four random characters.
///
/// Sorts by start time. Safe as a file name, an argument and a SQL literal by construction.
package struct RunID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let rawValue: String

    /// - Returns: nil unless `rawValue` is 1 to 40 characters of `a–z`, `0–9` and `-`, not starting with `-`.
    package init?(_ rawValue: String) {
        guard Self.isPlain(rawValue, limit: 40, extra: "-") else { return nil }
        self.rawValue = rawValue
    }

    package var description: String { rawValue }
    package static func < (left: RunID, right: RunID) -> Bool { left.rawValue < right.rawValue }

    fileprivate static func isPlain(_ text: String, limit: Int, extra: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= limit else { return false }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        return isAlphanumeric(first) && text.utf8.allSatisfy { isAlphanumeric($0) || extra.utf8.contains($0) }
    }
}

extension RunID {
    /// Hints with commands that were written where the run's id is not known, such as `reprise retry RUN step`: the same with this run's.
    package func named(in hints: [String]) -> [String] {
        hints.map { $0.replacing(#/(reprise [a-z]+) RUN\b/#) { "\($0.1) \(rawValue)" } }
    }
}

/// A step's name within its plan: 1 to 60 characters of `a–z`, `0–9`, `-` and `_`, starting with a letter or digit.
///
/// It holds no dot, so `<run>.<step>.<attempt>` names one job on a host unambiguously.
package struct StepID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let rawValue: String

    package init?(_ rawValue: String) {
        guard RunID.isPlain(rawValue, limit: 60, extra: "-_") else { return nil }
        self.rawValue = rawValue
    }

    package var description: String { rawValue }
    package static func < (left: StepID, right: StepID) -> Bool { left.rawValue < right.rawValue }
}

/// The how-manieth try of a step, from 1.
package typealias AttemptNumber = Int

/// The number under which one operator process holds a run. It only ever grows; a smaller one is stale.
package typealias Fence = Int64

extension RunID: Codable {
    package init(from decoder: any Decoder) throws {
        self = try decodePlain(decoder, RunID.init, "a run id")
    }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

extension StepID: Codable {
    package init(from decoder: any Decoder) throws {
        self = try decodePlain(decoder, StepID.init, "a step id")
    }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

private func decodePlain<ID>(_ decoder: any Decoder, _ make: (String) -> ID?, _ what: String) throws -> ID {
    let container = try decoder.singleValueContainer()
    guard let id = make(try container.decode(String.self)) else {
        throw DecodingError.dataCorruptedError(in: container, debugDescription: "not \(what)")
    }
    return id
}
