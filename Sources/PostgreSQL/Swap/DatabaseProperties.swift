package import BlockingIO

/// Carries over what belongs to a database as such and follows its OID, not its name: owner, grants, comment, connection limit,
/// settings for everybody and for roles in it.
///
/// What Reprise itself noted on a database (`DatabaseOrigin`) belongs to its content: it is neither carried over nor touched.
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
        return differences(source, target)
    }

    static func differences(_ source: DatabaseFacts, _ target: DatabaseFacts) -> [String] {
        var lines: [String] = []
        func compare<Value: Equatable>(_ what: String, _ left: Value, _ right: Value) {
            if left != right { lines.append("\(what) is not carried over") }
        }
        compare("the owner", source.owner, target.owner)
        compare("the comment", source.comment, target.comment)
        compare("the connection limit", source.connectionLimit, target.connectionLimit)
        compare("the grants", source.effectiveACL, target.effectiveACL)
        compare("the settings", carried(source.settings), carried(target.settings))
        compare("the roles' settings", source.roleSettings.mapValues(carried), target.roleSettings.mapValues(carried))
        compare("the encoding", source.encoding, target.encoding)
        compare("the collation", [source.localeProvider, source.collate, source.ctype, source.icuLocale], [target.localeProvider, target.collate, target.ctype, target.icuLocale])
        return lines
    }

    /// Settings but for Reprise's own, comparable however their lists are quoted and whatever their order.
    private static func carried(_ entries: [String]) -> Set<DatabaseSetting> {
        Set(entries.compactMap(DatabaseSetting.init(entry:)).filter { !DatabaseOrigin.owns($0.name) })
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
        statements += try settings(source.settings, target.settings, "ALTER DATABASE \(name)")
        for role in Set(source.roleSettings.keys).union(target.roleSettings.keys).sorted() {
            let (wanted, present) = (source.roleSettings[role] ?? [], target.roleSettings[role] ?? [])
            statements += try settings(wanted, present, "ALTER ROLE \(try SQLIdentifier(role).sql) IN DATABASE \(name)")
        }
        // Owner and grants hang together: OWNER TO rewrites the owner's entries, so grants come after it and are always whole.
        if source.effectiveACL != target.effectiveACL || source.owner != target.owner {
            statements += try grants(source, target, name)
        }
        return statements
    }

    private static func settings(_ wanted: [String], _ present: [String], _ subject: String) throws -> [String] {
        let (wanted, present) = (carried(wanted), carried(present))
        let names = Set(wanted.map { $0.name.lowercased() })
        let gone = present.filter { !names.contains($0.name.lowercased()) }.sorted { $0.name < $1.name }
        return try gone.map { "\(subject) RESET \(try $0.nameSQL)" }
            + wanted.subtracting(present).sorted { $0.name < $1.name }.map { "\(subject) SET \(try $0.nameSQL) TO \(try $0.valueSQL)" }
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
struct DatabaseGrant: Hashable {
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
