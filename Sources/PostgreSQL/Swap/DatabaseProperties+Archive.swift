package import BlockingIO
internal import RunCore

/// A server that has no database of production's name knows nothing of what belonged to it; the archive does.
extension DatabaseProperties {
    /// What became of an archive's words about its database.
    package struct Restored: Sendable, Hashable {
        /// For people: `owner chms_user`, `3 settings`, …; read back from the server.
        package var brought: [String] = []
        /// For people: settings that this server does not take, each with the server's code.
        package var refused: [String] = []
    }

    /// Gives the database what the archive says of its own, but for the comment, and reads it back.
    ///
    /// Idempotent: what is the same already is not touched. A setting that the server does not take (a newer version may not know it any
    /// more) costs no recovery and is named; all else is one transaction that happens whole.
    /// - Throws: `DatabaseSwapFailure` (`…-settings-differ`), `PostgresError`.
    package static func restore(_ archived: ArchivedDatabase, to oid: UInt32, catalog: Catalog, deadline: Deadline) async throws -> Restored {
        guard let target = try await catalog.database(oid: oid) else { throw DatabaseSwapFailure.missing("number \(oid)") }
        var result = Restored()
        var archived = archived
        archived.settings = try await taken(archived.settings, of: nil, target, catalog, deadline, &result)
        for (role, entries) in archived.roleSettings {
            let kept = try await taken(entries, of: role, target, catalog, deadline, &result)
            archived.roleSettings[role] = kept.isEmpty ? nil : kept
        }
        let wanted = target.with(archived)
        // What can be set was set; what else is there of settings is reset here.
        let statements = try await catalog.database(oid: oid).map { try changes(from: wanted, to: $0) } ?? []
        if !statements.isEmpty {
            try await catalog.connection.transaction(deadline: deadline) { connection in
                for statement in statements { try await connection.execute(statement, deadline: deadline) }
            }
        }
        guard let after = try await catalog.database(oid: oid) else { throw DatabaseSwapFailure.missing("number \(oid)") }
        let differences = differences(wanted, after)
        guard differences.isEmpty else { throw DatabaseSwapFailure.different(differences) }
        result.brought = archived.text
        return result
    }

    /// Sets each, and returns those that the server took.
    private static func taken(
        _ entries: [String], of role: String?, _ target: DatabaseFacts, _ catalog: Catalog, _ deadline: Deadline, _ result: inout Restored
    ) async throws -> [String] {
        let name = try SQLIdentifier(target.name).sql
        let subject = try role.map { "ALTER ROLE \(try SQLIdentifier($0).sql) IN DATABASE \(name)" } ?? "ALTER DATABASE \(name)"
        var taken: [String] = []
        for entry in entries {
            guard let setting = DatabaseSetting(entry: entry), !DatabaseOrigin.owns(setting.name) else { continue }
            do {
                try await catalog.connection.execute("\(subject) SET \(try setting.nameSQL) TO \(try setting.valueSQL)", deadline: deadline)
                taken.append(entry)
            } catch let error as PostgresError where error.sqlState.hasPrefix("42") || error.sqlState.hasPrefix("22") {
                // Its words may hold the value, and a value may be somebody's secret.
                result.refused.append("\(visible(setting.name))\(role.map { " of role \(visible($0))" } ?? "") (SQLSTATE \(error.sqlState))")
            }
        }
        return taken
    }
}

extension DatabaseFacts {
    /// The same database as the archive wants it.
    func with(_ archived: ArchivedDatabase) -> DatabaseFacts {
        let owner = archived.owner ?? owner
        return DatabaseFacts(
            oid: oid, name: name, owner: owner, encoding: encoding, localeProvider: localeProvider, collate: collate, ctype: ctype, icuLocale: icuLocale,
            connectionLimit: archived.connectionLimit, allowsConnections: allowsConnections, comment: comment,
            acl: (archived.grants ?? DatabaseGrant.builtIn(owner: owner)).map { $0.item(grantor: owner) }, settings: archived.settings,
            roleSettings: archived.roleSettings, tablespace: tablespace, isTemplate: isTemplate, bytes: bytes, collationVersion: collationVersion,
            actualCollationVersion: actualCollationVersion)
    }
}

extension DatabaseGrant {
    /// As the catalog has it: `"grantee"=C*T/"grantor"`.
    func item(grantor: String) -> String {
        func quoted(_ name: String) -> String { name.isEmpty ? "" : "\"" + name.escaping("\"", as: "\"\"") + "\"" }
        let letters = ["CREATE": "C", "TEMPORARY": "T", "CONNECT": "c"]
        let held = plain.compactMap { letters[$0] } + grantable.compactMap { letters[$0].map { $0 + "*" } }
        return "\(quoted(grantee))=\(held.joined())/\(quoted(grantor))"
    }
}

extension ArchivedDatabase {
    /// What it holds, for people, without any value; the comment apart.
    var text: [String] {
        func settings(_ count: Int) -> String? { count == 0 ? nil : counted(count, "setting") }
        let own = self.settings.compactMap(DatabaseSetting.init(entry:)).filter { !DatabaseOrigin.owns($0.name) }.count
        let ofRoles = settings(roleSettings.values.reduce(0) { $0 + $1.count }).map { $0 + " of roles" }
        let limit = connectionLimit < 0 ? nil : "a limit of \(counted(connectionLimit, "connection"))"
        return [owner.map { "owner \(visible($0))" }, grants == nil ? nil : "grants", settings(own), ofRoles, limit].compactMap { $0 }
    }
}
