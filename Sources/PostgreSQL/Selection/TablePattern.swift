package import RunCore

/// A shell-like pattern for tables: `members` (of schema public), `public.attendance_*`, `app.log_202?`, `*.jobs`, `app.part_[ab]`.
///
/// Names are as stored, without quotes, and case counts. The first point outside of brackets parts schema and name; a point that
/// belongs to a schema's name is written as `?`.
package struct TablePattern: Sendable, Hashable, CustomStringConvertible {
    package let description: String
    private let schema: [Piece]
    private let name: [Piece]

    private enum Piece: Sendable, Hashable {
        case any, one, exactly(Character)
        case among(isNegated: Bool, [ClosedRange<Character>])

        func matches(_ character: Character) -> Bool {
            switch self {
            case .any, .one: true
            case .exactly(let own): own == character
            case .among(let isNegated, let ranges): ranges.contains { $0.contains(character) } != isNegated
            }
        }
    }

    /// - Throws: `SelectionRefused` where either half is empty or a bracket is not closed.
    package init(_ text: String) throws {
        description = text
        var halves: [[Piece]] = [[]], rest = text[...]
        while let character = rest.popFirst() {
            switch character {
            case ".": if halves.count == 1 { halves.append([]) } else { halves[1].append(.exactly(character)) }
            case "*": halves[halves.count - 1].append(.any)
            case "?": halves[halves.count - 1].append(.one)
            case "[": halves[halves.count - 1].append(try Self.bracket(&rest, text))
            default: halves[halves.count - 1].append(.exactly(character))
            }
        }
        guard halves.allSatisfy({ !$0.isEmpty }) else { throw SelectionRefused.badPattern(text, "one half of it is empty") }
        schema = halves.count == 2 ? halves[0] : "public".map { .exactly($0) }
        name = halves[halves.count - 1]
    }

    /// `[abc]`, `[a-z]`, `[!0-9]`; what follows the opening bracket.
    private static func bracket(_ rest: inout Substring, _ text: String) throws -> Piece {
        let isNegated = rest.first == "!"
        if isNegated { rest = rest.dropFirst() }
        var ranges: [ClosedRange<Character>] = []
        while let first = rest.popFirst() {
            if first == "]", !ranges.isEmpty { return .among(isNegated: isNegated, ranges) }
            guard rest.first == "-", let last = rest.dropFirst().first, last != "]" else {
                ranges.append(first...first)
                continue
            }
            guard first <= last else { throw SelectionRefused.badPattern(text, "a range in it runs backwards") }
            ranges.append(first...last)
            rest = rest.dropFirst(2)
        }
        throw SelectionRefused.badPattern(text, "a bracket in it is not closed")
    }

    package func matches(schema: String, name: String) -> Bool {
        Self.matches(self.schema[...], Array(schema)[...]) && Self.matches(self.name[...], Array(name)[...])
    }

    /// Without recursion: only the last star that was passed is ever tried anew, so the work is the product of both lengths at most.
    private static func matches(_ pattern: ArraySlice<Piece>, _ text: ArraySlice<Character>) -> Bool {
        var pieces = pattern, characters = text
        var retry: (pieces: ArraySlice<Piece>, characters: ArraySlice<Character>)?
        while true {
            if case .any? = pieces.first {
                pieces = pieces.dropFirst()
                retry = (pieces, characters)
            } else if let piece = pieces.first, let character = characters.first, piece.matches(character) {
                pieces = pieces.dropFirst()
                characters = characters.dropFirst()
            } else if pieces.isEmpty, characters.isEmpty {
                return true
            } else if let last = retry, !last.characters.isEmpty {
                characters = last.characters.dropFirst()
                pieces = last.pieces
                retry = (pieces, characters)
            } else {
                return false
            }
        }
    }
}

/// Tables cannot be taken out of an archive as they were asked for. Nothing was done.
package struct SelectionRefused: RepriseError, Equatable {
    package let code: String
    package let message: String
    package let hints: [String]
    package var exitStatus: ExitStatus { .usage }

    init(_ code: String, _ message: String, hints: [String]) {
        self.code = "postgresql.selection-\(code)"
        self.message = message
        self.hints = hints
    }

    static func badPattern(_ text: String, _ reason: String) -> Self {
        .init(
            "bad-pattern", "`\(visible(text))` is no pattern of tables: \(reason)",
            hints: ["write name (of schema public) or schema.name, with * for any characters, ? for one, and [a-z] for one of these"])
    }
}
