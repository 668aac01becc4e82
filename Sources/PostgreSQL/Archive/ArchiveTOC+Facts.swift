/// What a server must have before an archive can be restored into it.
extension ArchiveTOC {
    /// A table's data in the archive.
    package struct DataTable: Sendable, Hashable {
        package let name: QualifiedName
        package let dumpID: Int
        /// False for `--inserts` dumps, whose content cannot be hashed.
        package let isCopy: Bool
        /// Stored (mostly compressed) bytes, where the file tells.
        package let storedBytes: Int?
    }

    /// What `CREATE DATABASE` of the archive says, each where it says so.
    package struct DatabaseLocale: Sendable, Hashable, Codable {
        package var encoding: String?
        /// `libc`, `icu` or `builtin`.
        package var provider: String?
        package var collate: String?
        package var ctype: String?
        package var icuLocale: String?
    }

    /// PostgreSQL's major version that dumped (`pg_dump`'s own), for example 15; of 9.x only the 9.
    package var dumpMajorVersion: Int? { Self.major(dumpVersion) }
    /// The dumped server's major version.
    package var serverMajorVersion: Int? { Self.major(serverVersion) }

    /// Whether pg_restore of that major version knows the archive's format. A newer pg_dump may write one that it does not.
    package func isReadable(byPgRestore major: Int) -> Bool {
        guard let formatVersion, let dumper = dumpMajorVersion, major < dumper else { return true }
        // The headers changed with 12, 16 and 17.
        let newest = FormatVersion(major: 1, minor: major >= 17 ? 16 : major == 16 ? 15 : major >= 12 ? 14 : 13)
        return formatVersion <= newest
    }

    static func major(_ version: String?) -> Int? {
        version.flatMap { Int($0.prefix { $0.isNumber }) }
    }

    /// Names of the roles that own or are granted something, sorted; without PUBLIC.
    package var roles: [String] {
        var names = Set(entries.compactMap(\.owner))
        for entry in entries where ["ACL", "DEFAULT ACL", "POLICY", "DATABASE PROPERTIES"].contains(entry.kind) {
            names.formUnion(SQLWords.roles(in: entry.definition))
        }
        names.remove("")
        return names.sorted()
    }

    /// Names of extensions, sorted.
    package var extensions: [String] { sortedTags("EXTENSION") }

    /// Languages that functions are written in and the archive does not create, sorted.
    package var languages: [String] {
        let used = entries.filter { ["FUNCTION", "PROCEDURE"].contains($0.kind) }.compactMap { entry in
            SQLWords.word(after: "LANGUAGE", in: entry.definition)
        }
        return Set(used).subtracting(["sql", "internal", "c"]).sorted()
    }

    /// Collations named in definitions, as written (`pg_catalog."de_DE"`), without those that the archive creates.
    package var collations: [String] {
        let own = Set(entries.filter { $0.kind == "COLLATION" }.map(\.tag))
        let named = entries.flatMap { entry in
            entry.definition.matches(of: #/\bCOLLATE ((?:"(?:[^"]|"")+"|[\w$]+)(?:\.(?:"(?:[^"]|"")+"|[\w$]+))?)/#).map { String($0.1) }
        }
        let builtIn = ["pg_catalog.\"C\"", "pg_catalog.\"default\"", "pg_catalog.\"POSIX\"", "\"C\"", "\"POSIX\"", "pg_catalog.\"ucs_basic\""]
        return Set(named).filter { name in
            !builtIn.contains(name) && !own.contains { name == $0 || name.hasSuffix(".\($0)") || name.hasSuffix(".\"\($0)\"") }
        }.sorted()
    }

    /// Tablespaces other than the default, sorted.
    package var tablespaces: [String] {
        Set(entries.compactMap(\.tablespace)).subtracting(["pg_default", "pg_global"]).sorted()
    }

    /// For example `UTF8`.
    package var encoding: String? { quotedValue(ofKind: "ENCODING") }

    package var usesStandardStrings: Bool? { quotedValue(ofKind: "STDSTRINGS").map { $0 == "on" } }

    /// Encoding and locale that the scratch database must be created with.
    package var locale: DatabaseLocale? {
        guard let text = entries.first(where: { $0.kind == "DATABASE" })?.definition else { return nil }
        func option(_ name: String) -> String? {
            let words = SQLWords.tokens(text)
            guard let index = words.firstIndex(where: { $0.isWord(name) }), words.count > index + 2, words[index + 1].text == "=" else { return nil }
            return words[index + 2].text
        }
        let both = option("LOCALE")
        return DatabaseLocale(
            encoding: option("ENCODING"), provider: option("LOCALE_PROVIDER"), collate: option("LC_COLLATE") ?? both,
            ctype: option("LC_CTYPE") ?? both, icuLocale: option("ICU_LOCALE") ?? option("BUILTIN_LOCALE"))
    }

    /// Tables whose data the archive holds, in its order.
    package var dataTables: [DataTable] {
        entries.filter { $0.kind == "TABLE DATA" }.compactMap { entry in
            guard let name = try? QualifiedName(schema: entry.schema ?? "public", name: entry.tag) else { return nil }
            return DataTable(
                name: name, dumpID: entry.dumpID, isCopy: entry.copyStatement.hasPrefix("COPY "), storedBytes: storedBytes[entry.dumpID])
        }
    }

    package var hasLargeObjects: Bool { entries.contains { $0.kind.hasPrefix("BLOB") } }
    package var hasSubscriptions: Bool { entries.contains { $0.kind == "SUBSCRIPTION" } }

    private func sortedTags(_ kind: String) -> [String] { Set(entries.filter { $0.kind == kind }.map(\.tag)).sorted() }

    private func quotedValue(ofKind kind: String) -> String? {
        entries.first { $0.kind == kind }?.definition.firstMatch(of: #/'([^']*)'/#).map { String($0.1) }
    }
}

/// The words of a statement that pg_dump wrote.
enum SQLWords {
    struct Token: Equatable {
        enum Kind { case word, identifier, literal, symbol }
        let kind: Kind
        let text: String
        func isWord(_ name: String) -> Bool { kind == .word && text.uppercased() == name }
        var isName: Bool { kind == .word || kind == .identifier }
    }

    static func tokens(_ statement: String) -> [Token] {
        let pattern = #/"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([\p{L}_][\p{L}\p{N}_$]*)|(\$\w*\$)|--[^\n]*|([^\s\p{L}_"'$]|\$)/#
        return statement.matches(of: pattern).compactMap { match in
            if let name = match.1 { return Token(kind: .identifier, text: String(name).replacing("\"\"", with: "\"")) }
            if let value = match.2 { return Token(kind: .literal, text: String(value).replacing("''", with: "'")) }
            if let word = match.3 { return Token(kind: .word, text: String(word)) }
            if let symbol = match.4 ?? match.5 { return Token(kind: .symbol, text: String(symbol)) }
            return nil
        }
    }

    /// Roles after TO and FROM of GRANT and REVOKE, after FOR ROLE of ALTER DEFAULT PRIVILEGES, after TO of CREATE POLICY, and
    /// after ALTER ROLE. TO and FROM are reserved words: as names they would be quoted.
    static func roles(in statement: String) -> Set<String> {
        let words = tokens(statement)
        var found: Set<String> = []
        var index = 0
        while index < words.count {
            let isList = words[index].isWord("TO") || words[index].isWord("FROM")
            let isRole = words[index].isWord("ROLE") && index > 0 && (words[index - 1].isWord("FOR") || words[index - 1].isWord("ALTER"))
            index += 1
            guard isList || isRole else { continue }
            while index < words.count, words[index].isName {
                if words[index].kind == .identifier || !["PUBLIC", "ROLE", "GROUP", "CURRENT_USER", "SESSION_USER"].contains(words[index].text.uppercased()) {
                    found.insert(words[index].text)
                }
                index += 1
                guard index < words.count, words[index].text == ",", words[index].kind == .symbol else { break }
                index += 1
            }
        }
        return found
    }

    static func word(after keyword: String, in statement: String) -> String? {
        let words = tokens(statement)
        guard let index = words.firstIndex(where: { $0.isWord(keyword) }), index + 1 < words.count, words[index + 1].isName else { return nil }
        return words[index + 1].text
    }
}
