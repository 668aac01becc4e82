package import BlockingIO

/// Carries over what belongs to a database as such and follows its OID, not its name: owner, grants, comment, connection limit,
/// settings for everybody and for roles in it.
package struct DatabaseProperties: Sendable {
    /// Makes `restored` like `damaged` in all of these and compares afterwards.
    ///
    /// Idempotent: what is the same already is not touched. All changes are one transaction.
    /// - Returns: the statements that were run.
    /// - Throws: `DatabaseSwapFailure` (`…-settings-differ`), `PostgresError`.
    package static func copy(from damagedOID: UInt32, to restoredOID: UInt32, catalog: Catalog, deadline: Deadline) async throws -> [String] {
        let (source, target) = try await both(damagedOID, restoredOID, catalog)
        let statements = try changes(from: source, to: target)
        if !statements.isEmpty {
            try await catalog.connection.transaction(deadline: deadline) { connection in
                for statement in statements { try await connection.execute(statement, deadline: deadline) }
            }
        }
        let differences = try await differences(between: damagedOID, and: restoredOID, catalog: catalog)
        guard differences.isEmpty else { throw DatabaseSwapFailure.different(differences) }
        return statements
    }

    /// A line for each property that differs; none where a swap changes nothing but content.
    package static func differences(between damagedOID: UInt32, and restoredOID: UInt32, catalog: Catalog) async throws -> [String] {
        let (source, target) = try await both(damagedOID, restoredOID, catalog)
        var lines: [String] = []
        func compare<Value: Equatable>(_ what: String, _ left: Value, _ right: Value) {
            if left != right { lines.append("\(what) is not carried over") }
        }
        compare("the owner", source.owner, target.owner)
        compare("the comment", source.comment, target.comment)
        compare("the connection limit", source.connectionLimit, target.connectionLimit)
        compare("the grants", source.effectiveACL, target.effectiveACL)
        compare("the settings", source.settings.sorted(), target.settings.sorted())
        compare("the roles' settings", source.roleSettings.mapValues { $0.sorted() }, target.roleSettings.mapValues { $0.sorted() })
        compare("the encoding", source.encoding, target.encoding)
        compare("the collation", [source.localeProvider, source.collate, source.ctype, source.icuLocale], [target.localeProvider, target.collate, target.ctype, target.icuLocale])
        return lines
    }

    private static func both(_ damaged: UInt32, _ restored: UInt32, _ catalog: Catalog) async throws -> (DatabaseFacts, DatabaseFacts) {
        guard let source = try await catalog.database(oid: damaged) else { throw DatabaseSwapFailure.missing("number \(damaged)") }
        guard let target = try await catalog.database(oid: restored) else { throw DatabaseSwapFailure.missing("number \(restored)") }
        return (source, target)
    }

    static func changes(from source: DatabaseFacts, to target: DatabaseFacts) throws -> [String] {
        let name = try SQLIdentifier(target.name).sql
        var statements: [String] = []
        if source.owner != target.owner { statements.append("ALTER DATABASE \(name) OWNER TO \(try SQLIdentifier(source.owner).sql)") }
        if source.connectionLimit != target.connectionLimit {
            statements.append("ALTER DATABASE \(name) CONNECTION LIMIT \(source.connectionLimit)")
        }
        if source.comment != target.comment {
            statements.append("COMMENT ON DATABASE \(name) IS \(try source.comment.map { try SQLLiteral($0).sql } ?? "NULL")")
        }
        if source.settings.sorted() != target.settings.sorted() {
            statements += try settings(source.settings, target.settings, "ALTER DATABASE \(name)")
        }
        for role in Set(source.roleSettings.keys).union(target.roleSettings.keys).sorted() {
            let (wanted, present) = (source.roleSettings[role] ?? [], target.roleSettings[role] ?? [])
            guard wanted.sorted() != present.sorted() else { continue }
            statements += try settings(wanted, present, "ALTER ROLE \(try SQLIdentifier(role).sql) IN DATABASE \(name)")
        }
        // Owner and grants hang together: OWNER TO rewrites the owner's entries, so grants come after it and are always whole.
        if source.effectiveACL != target.effectiveACL || source.owner != target.owner {
            statements += try grants(source, target, name)
        }
        return statements
    }

    private static func settings(_ wanted: [String], _ present: [String], _ subject: String) throws -> [String] {
        (present.isEmpty ? [] : ["\(subject) RESET ALL"]) + (try wanted.map { try setting($0, subject) })
    }

    private static func setting(_ entry: String, _ subject: String) throws -> String {
        guard let equals = entry.firstIndex(of: "=") else { throw PostgresUnexpectedResult("a setting has no value") }
        let name = String(entry[..<equals])
        let value = String(entry[entry.index(after: equals)...])
        let quotedName = try name.split(separator: ".").map { try SQLIdentifier(String($0)).sql }.joined(separator: ".")
        // Lists are stored as they are written: each element is quoted by itself, or the whole would become one element.
        let listSettings: Set<String> = [
            "search_path", "datestyle", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries", "shared_preload_libraries",
        ]
        guard listSettings.contains(name.lowercased()) else { return "\(subject) SET \(quotedName) TO \(try SQLLiteral(value).sql)" }
        let elements = try listElements(value).map { try SQLLiteral($0).sql }
        return "\(subject) SET \(quotedName) TO \(elements.isEmpty ? "''" : elements.joined(separator: ", "))"
    }

    /// The elements of a list setting as `pg_db_role_setting` holds it: `"$user", public`.
    static func listElements(_ text: String) -> [String] {
        text.matches(of: #/\s*(?:"((?:[^"]|"")*)"|([^,"]+))\s*(?:,|$)/#).compactMap { match in
            if let quoted = match.1 { return String(quoted).replacing("\"\"", with: "\"") }
            return match.2.map { element in
                String(element.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
            }
        }
    }

    private static func grants(_ source: DatabaseFacts, _ target: DatabaseFacts, _ name: String) throws -> [String] {
        var statements: [String] = []
        let present = Set(target.effectiveACL.map(\.grantee)).union(source.effectiveACL.map(\.grantee)).union([source.owner, target.owner, ""])
        for grantee in present.sorted() {
            statements.append("REVOKE ALL ON DATABASE \(name) FROM \(try role(grantee)) CASCADE")
        }
        for entry in source.effectiveACL {
            for (privileges, option) in [(entry.plain, ""), (entry.grantable, " WITH GRANT OPTION")] where !privileges.isEmpty {
                statements.append("GRANT \(privileges.joined(separator: ", ")) ON DATABASE \(name) TO \(try role(entry.grantee))\(option)")
            }
        }
        return statements
    }

    private static func role(_ name: String) throws -> String { name.isEmpty ? "PUBLIC" : try SQLIdentifier(name).sql }
}

/// Who may do what with a database. Who granted it is not kept: a superuser's grants are recorded as the owner's.
struct DatabaseGrant: Equatable {
    /// Empty for PUBLIC.
    let grantee: String
    var plain: [String]
    var grantable: [String]
}

extension DatabaseFacts {
    /// The grants in force, also where the catalog holds none because they are the built-in ones; sorted, one for each grantee.
    var effectiveACL: [DatabaseGrant] {
        let items = acl ?? ["=Tc/\(owner)", "\(owner)=CTc/\(owner)"]
        var byGrantee: [String: DatabaseGrant] = [:]
        for item in items {
            guard let (grantee, letters) = Self.split(item) else { continue }
            var grant = byGrantee[grantee] ?? DatabaseGrant(grantee: grantee, plain: [], grantable: [])
            let names: [Character: String] = ["C": "CREATE", "T": "TEMPORARY", "c": "CONNECT"]
            for (index, letter) in letters.enumerated() {
                guard let name = names[letter] else { continue }
                let isGrantable = index + 1 < letters.count && letters[index + 1] == "*"
                if isGrantable { grant.grantable.append(name) } else { grant.plain.append(name) }
            }
            grant.grantable = Set(grant.grantable).sorted()
            grant.plain = Set(grant.plain).subtracting(grant.grantable).sorted()
            byGrantee[grantee] = grant
        }
        return byGrantee.values.filter { !$0.plain.isEmpty || !$0.grantable.isEmpty }.sorted { $0.grantee < $1.grantee }
    }

    /// `grantee=letters/grantor`; names that need it are in double quotes.
    private static func split(_ item: String) -> (String, [Character])? {
        guard let match = item.wholeMatch(of: #/(?:"((?:[^"]|"")*)"|([^"=]*))=([a-zA-Z*]*)\/.*/#) else { return nil }
        let grantee = match.1.map { String($0).replacing("\"\"", with: "\"") } ?? match.2.map(String.init) ?? ""
        return (grantee, Array(match.3))
    }
}
