internal import RunCore

/// A setting that is kept with a database, or with a role in it.
struct DatabaseSetting: Hashable {
    let name: String
    /// Of a list setting its elements; of any other one value.
    let values: [String]

    /// Their values are lists of names, of which each is quoted by itself: quoted as a whole they would be one name.
    private static let lists: Set<String> = [
        "search_path", "datestyle", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries", "shared_preload_libraries",
    ]
    /// Lists whose elements are no names: the server keeps them as they were written, with commas in one value.
    private static let plainLists: Set<String> = ["datestyle"]

    /// `name=value`, as `pg_db_role_setting` has it; nil where it has no value.
    init?(entry: String) {
        guard let equals = entry.firstIndex(of: "="), equals > entry.startIndex else { return nil }
        name = String(entry[..<equals])
        let value = String(entry[entry.index(after: equals)...])
        values = Self.lists.contains(name.lowercased()) ? Self.elements(value) : [value]
    }

    /// - Parameter values: the literals of a `SET … TO`. Nil where there are several and the setting is no list.
    init?(name: String, values: [String]) {
        let key = name.lowercased()
        guard !name.isEmpty, values.count == 1 || Self.lists.contains(key) else { return nil }
        self.name = name
        self.values = Self.plainLists.contains(key) ? values.flatMap(Self.elements) : values
    }

    /// As the catalog would have it, but that every name in a list is quoted.
    var entry: String {
        let key = name.lowercased()
        guard Self.lists.contains(key) else { return "\(name)=\(values.joined())" }
        if Self.plainLists.contains(key) { return "\(name)=\(values.joined(separator: ", "))" }
        return "\(name)=" + values.map { "\"" + $0.escaping("\"", as: "\"\"") + "\"" }.joined(separator: ", ")
    }

    /// The setting's name as SQL text.
    var nameSQL: String {
        get throws { try name.split(separator: ".").map { try SQLIdentifier(String($0)).sql }.joined(separator: ".") }
    }

    /// The value as SQL text, for `SET … TO`.
    var valueSQL: String {
        get throws { values.isEmpty ? "''" : try values.map { try SQLLiteral($0).sql }.joined(separator: ", ") }
    }

    /// The elements of a list setting as the catalog holds it: `"$user", public`.
    static func elements(_ text: String) -> [String] {
        text.matches(of: #/\s*(?:"((?:[^"]|"")*)"|([^,"]+))\s*(?:,|$)/#).compactMap { match in
            if let quoted = match.1 { return String(quoted).replacing("\"\"", with: "\"") }
            return match.2.map { element in
                String(element.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
            }
        }
    }
}
