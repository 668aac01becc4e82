/// A value as a plan or inventory writes it, with the place of every part.
package indirect enum PlanValue: Hashable, Sendable {
    case string(String)
    case integer(Int)
    case double(Double)
    case boolean(Bool)
    case null
    case list([Located])
    /// In the order written; keys are unique.
    case map([MapEntry])
    /// A value that only another program can read, such as `!vault`; the tag is kept and the content is not.
    case opaque(tag: String)

    /// What it is, for the sentence "expected …, found …".
    package var typeName: String {
        switch self {
        case .string: "text"
        case .integer: "a whole number"
        case .double: "a number"
        case .boolean: "true or false"
        case .null: "nothing"
        case .list: "a list"
        case .map: "a map"
        case .opaque(let tag): "a \(printable(tag)) value"
        }
    }

    package var string: String? {
        if case .string(let text) = self { text } else { nil }
    }
    package var integer: Int? {
        if case .integer(let number) = self { number } else { nil }
    }
    package var boolean: Bool? {
        if case .boolean(let flag) = self { flag } else { nil }
    }
    package var list: [Located]? {
        if case .list(let items) = self { items } else { nil }
    }
    package var map: [MapEntry]? {
        if case .map(let entries) = self { entries } else { nil }
    }

    /// The value of `key` in a map; nil where there is none. Linear: for small maps.
    package subscript(key: String) -> Located? {
        map?.first { $0.key == key }?.value
    }

    /// Builds a map without places, for generated documents.
    package static func object(_ pairs: KeyValuePairs<String, PlanValue?>) -> PlanValue {
        .map(pairs.compactMap { key, value in value.map { MapEntry(key: key, value: Located($0)) } })
    }

    /// Builds a list without places, for generated documents.
    package static func array(_ items: [PlanValue]) -> PlanValue { .list(items.map { Located($0) }) }
}

/// A value and where it stands. Two are equal where their values are, wherever they stand.
package struct Located: Hashable, Sendable {
    package var value: PlanValue
    @Unhashed package var mark: SourceMark
    /// True for a scalar written without quotes; some hints depend on it.
    @Unhashed package var isPlain: Bool

    package init(_ value: PlanValue, at mark: SourceMark = .generated, isPlain: Bool = false) {
        self.value = value
        self.mark = mark
        self.isPlain = isPlain
    }
}

/// One key of a map with its value.
package struct MapEntry: Hashable, Sendable, Codable {
    package var key: String
    @Unhashed package var keyMark: SourceMark
    package var value: Located

    package init(key: String, at keyMark: SourceMark = .generated, value: Located) {
        self.key = key
        self.keyMark = keyMark
        self.value = value
    }
}

extension SourceMark {
    /// The place of values that no person wrote.
    package static let generated = SourceMark(file: "generated", line: 1, column: 1)
}
