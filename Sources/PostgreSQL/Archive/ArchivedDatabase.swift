/// What an archive says of the database as such: what `pg_restore --create` would give it, and a restore into a database of another
/// name leaves out.
///
/// pg_dump writes it as a few statements of its own: `ALTER DATABASE`, `ALTER ROLE … IN DATABASE`, `GRANT`, `REVOKE` and `COMMENT`, each
/// with the database's name. They are read into values, from which statements for any name are made; no text of the archive is ever
/// run. What is not understood is left out and named.
package struct ArchivedDatabase: Sendable, Hashable {
    /// Nil where the archive names none.
    package internal(set) var owner: String?
    package internal(set) var comment: String?
    /// -1 for none.
    package internal(set) var connectionLimit = -1
    /// Nil where they are the built-in ones; of whoever granted them nothing is kept.
    var grants: [DatabaseGrant]?
    /// `name=value`, as the server's catalog has them; for everybody in this database.
    package internal(set) var settings: [String] = []
    /// The same by role.
    package internal(set) var roleSettings: [String: [String]] = [:]
    /// For people: what the archive holds and a restore under another name does not bring.
    package internal(set) var leftOut: [String] = []
}

extension ArchiveTOC {
    /// Nil where the archive says nothing of its database: plain SQL that was written without `--create`.
    package var database: ArchivedDatabase? {
        guard let made = entries.first(where: { $0.kind == "DATABASE" }) else { return nil }
        var database = ArchivedDatabase(owner: made.owner)
        if let tablespace = Self.tablespace(of: made) { database.leftOut.append("its place in tablespace \(visible(tablespace))") }
        // pg_dump of 10 and older left settings and grants of the database to pg_dumpall.
        if let version = dumpMajorVersion, version < 11 { database.leftOut.append("settings and grants: pg_dump \(version) does not write them down") }
        for entry in entries {
            switch entry.kind {
            case "DATABASE PROPERTIES": database.read(entry.definition)
            case "COMMENT" where entry.tag.hasPrefix("DATABASE "): database.read(entry.definition)
            case "ACL" where entry.tag.hasPrefix("DATABASE "): database.read(entry.definition)
            case "SECURITY LABEL" where entry.tag.hasPrefix("DATABASE "): database.leftOut.append("a security label")
            default: break
            }
        }
        return database
    }

    private static func tablespace(of entry: ArchiveEntry) -> String? {
        let words = SQLWords.tokens(entry.definition)
        guard let index = words.firstIndex(where: { $0.isWord("TABLESPACE") }), words.count > index + 2, words[index + 2].isName else { return nil }
        return words[index + 2].text
    }
}

extension ArchivedDatabase {
    /// Reads pg_dump's statements about the database.
    mutating func read(_ statements: String) {
        var words = StatementWords(statements)
        while let statement = words.nextStatement() { read(statement, whole: statements) }
    }

    private mutating func read(_ statement: StatementWords, whole: String) {
        var words = statement
        let isRead: Bool
        if words.take("ALTER", "DATABASE"), words.takeName() != nil {
            isRead = readProperty(&words)
        } else if words.take("ALTER", "ROLE"), let role = words.takeName() {
            isRead = words.take("IN", "DATABASE") && words.takeName() != nil && readSetting(&words, of: role)
        } else if words.take("COMMENT", "ON", "DATABASE"), words.takeName() != nil {
            isRead = words.take("IS") && readComment(&words)
        } else if words.take("GRANT") || words.take("REVOKE") {
            isRead = readGrant(statement)
        } else {
            // Who granted is not kept.
            isRead = words.take("SET", "SESSION", "AUTHORIZATION") || words.take("RESET", "SESSION", "AUTHORIZATION")
        }
        if !isRead { leftOut.append(visible(statement.beginning)) }
    }

    private mutating func readProperty(_ words: inout StatementWords) -> Bool {
        if words.take("CONNECTION", "LIMIT"), words.take("="), let limit = words.takeInteger(), words.isAtEnd {
            connectionLimit = limit
            return true
        }
        return readSetting(&words, of: nil)
    }

    private mutating func readSetting(_ words: inout StatementWords, of role: String?) -> Bool {
        guard words.take("SET"), let name = words.takeDottedName(), words.take("TO") || words.take("="), let values = words.takeLiterals(), words.isAtEnd
        else { return false }
        guard let entry = DatabaseSetting(name: name, values: values)?.entry else { return false }
        if let role { roleSettings[role, default: []].append(entry) } else { settings.append(entry) }
        return true
    }

    private mutating func readComment(_ words: inout StatementWords) -> Bool {
        guard let values = words.takeLiterals(), values.count == 1, words.isAtEnd else { return false }
        comment = values[0]
        return true
    }

    /// The grants that stand after all statements so far. pg_dump begins with what a new database of that owner has.
    private mutating func readGrant(_ statement: StatementWords) -> Bool {
        var words = statement
        let isGrant = words.take("GRANT")
        if !isGrant { _ = words.take("REVOKE") }
        let isOptionOnly = !isGrant && words.take("GRANT", "OPTION", "FOR")
        guard let privileges = words.takePrivileges(), words.take("ON", "DATABASE"), words.takeName() != nil, words.take(isGrant ? "TO" : "FROM"),
            let grantee = words.takeGrantee(), let owner
        else { return false }
        let isGrantable = isGrant && words.take("WITH", "GRANT", "OPTION")
        if !isGrant { _ = words.take("CASCADE") }
        guard words.isAtEnd else { return false }
        var all = Dictionary((grants ?? DatabaseGrant.builtIn(owner: owner)).map { ($0.grantee, $0) }, uniquingKeysWith: { first, _ in first })
        var one = all[grantee] ?? DatabaseGrant(grantee: grantee, plain: [], grantable: [])
        one.change(privileges, isGrant: isGrant, isGrantable: isGrantable, isOptionOnly: isOptionOnly)
        all[grantee] = one
        grants = all.values.filter { !$0.plain.isEmpty || !$0.grantable.isEmpty }.sorted { $0.grantee < $1.grantee }
        return true
    }
}

extension DatabaseGrant {
    static let privileges = ["CONNECT", "CREATE", "TEMPORARY"]

    /// What holds where nothing was ever granted or revoked.
    static func builtIn(owner: String) -> [DatabaseGrant] {
        [DatabaseGrant(grantee: "", plain: ["CONNECT", "TEMPORARY"], grantable: []), DatabaseGrant(grantee: owner, plain: privileges, grantable: [])]
    }

    fileprivate mutating func change(_ privileges: [String], isGrant: Bool, isGrantable: Bool, isOptionOnly: Bool) {
        let named = Set(privileges)
        var (plain, grantable) = (Set(plain), Set(grantable))
        if isGrant {
            if isGrantable { grantable.formUnion(named) } else { plain.formUnion(named) }
        } else {
            if isOptionOnly { plain.formUnion(grantable.intersection(named)) } else { plain.subtract(named) }
            grantable.subtract(named)
        }
        (self.plain, self.grantable) = (plain.subtracting(grantable).sorted(), grantable.sorted())
    }
}

/// The words of one statement of pg_dump's, taken from its beginning.
struct StatementWords {
    private var words: ArraySlice<SQLWords.Token>
    private let all: ArraySlice<SQLWords.Token>

    init(_ text: String) { self.init(SQLWords.tokens(text)[...]) }

    private init(_ words: ArraySlice<SQLWords.Token>) { (self.words, all) = (words, words) }

    var isAtEnd: Bool { words.isEmpty }

    /// For people: its first words without any value.
    var beginning: String { all.prefix(6).map { $0.kind == .literal ? "…" : $0.text }.joined(separator: " ") }

    /// The words up to the next semicolon; nil at the end.
    mutating func nextStatement() -> StatementWords? {
        while words.first?.isSymbol(";") == true { words = words.dropFirst() }
        guard !words.isEmpty else { return nil }
        let statement = words.prefix { !$0.isSymbol(";") }
        words = words.dropFirst(statement.count)
        return StatementWords(statement)
    }

    /// Takes these keywords or symbols, or nothing.
    mutating func take(_ expected: String...) -> Bool {
        guard words.count >= expected.count, zip(words, expected).allSatisfy({ $0.isWord($1) || $0.isSymbol($1) }) else { return false }
        words = words.dropFirst(expected.count)
        return true
    }

    mutating func takeName() -> String? {
        guard let first = words.first, first.isName else { return nil }
        words = words.dropFirst()
        return first.text
    }

    mutating func takeDottedName() -> String? {
        guard var name = takeName() else { return nil }
        while take(".") {
            guard let part = takeName() else { return nil }
            name += "." + part
        }
        return name
    }

    mutating func takeInteger() -> Int? {
        let digits = words.prefix { $0.kind == .symbol && $0.text.count == 1 && "-0123456789".contains($0.text) }
        words = words.dropFirst(digits.count)
        return Int(digits.map(\.text).joined())
    }

    /// One literal, or several with commas between them.
    mutating func takeLiterals() -> [String]? {
        var values: [String] = []
        repeat {
            guard let value = takeLiteral() else { return nil }
            values.append(value)
        } while take(",")
        return values
    }

    /// pg_dump writes values with backslashes as `E'…'`, each of them twice and quotes as usual; no other escape is ever in one.
    private mutating func takeLiteral() -> String? {
        let isEscaped = take("E")
        guard let first = words.first, first.kind == .literal else { return nil }
        words = words.dropFirst()
        guard isEscaped else { return first.text }
        let parts = first.text.replacing("\\\\", with: "\0")
        return parts.contains("\\") || first.text.contains("\0") ? nil : parts.replacing("\0", with: "\\")
    }

    mutating func takePrivileges() -> [String]? {
        if take("ALL") {
            _ = take("PRIVILEGES")
            return DatabaseGrant.privileges
        }
        var found: [String] = []
        repeat {
            guard let first = words.first, first.kind == .word else { return nil }
            let name = first.text.uppercased() == "TEMP" ? "TEMPORARY" : first.text.uppercased()
            guard DatabaseGrant.privileges.contains(name) else { return nil }
            words = words.dropFirst()
            found.append(name)
        } while take(",")
        return found
    }

    /// Empty for PUBLIC. A role of that name would be in quotes.
    mutating func takeGrantee() -> String? { take("PUBLIC") ? "" : takeName() }
}

extension SQLWords.Token {
    func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }
}
