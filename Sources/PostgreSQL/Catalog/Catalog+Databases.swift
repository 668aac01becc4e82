/// What the server knows about a database, apart from what is in it.
package struct DatabaseFacts: Sendable, Hashable, Codable {
    /// Names move when databases are swapped; this number stays.
    package let oid: UInt32
    package let name: String
    package let owner: String
    package let encoding: String
    /// `libc`, `icu` or `builtin`.
    package let localeProvider: String
    package let collate: String
    package let ctype: String
    package let icuLocale: String?
    /// -1 for none.
    package let connectionLimit: Int
    package let allowsConnections: Bool
    package let comment: String?
    /// `grantee=privileges/grantor`; nil where nothing was ever granted or revoked.
    package let acl: [String]?
    /// `name=value`, for everybody in this database.
    package let settings: [String]
    /// `name=value` by role, for that role in this database.
    package let roleSettings: [String: [String]]
    package let tablespace: String
    package let isTemplate: Bool
    package let bytes: Int64?
    package let collationVersion: String?
    package let actualCollationVersion: String?
}

extension Catalog {
    package func database(named name: String) async throws -> DatabaseFacts? {
        try await databases(where: "d.datname = $1", [.text(name)]).first
    }

    package func database(oid: UInt32) async throws -> DatabaseFacts? {
        try await databases(where: "d.oid = $1::pg_catalog.oid", [.integer(oid)]).first
    }

    /// All databases but template0 and template1.
    package func databases() async throws -> [DatabaseFacts] {
        try await databases(where: "d.datname NOT IN ('template0', 'template1')", [])
    }

    /// A database that is dropped while its size or collation is looked up makes the whole query fail: then it is asked again,
    /// and the dropped one is no longer in the answer.
    private func askWhileDatabasesGo(_ sql: String, _ parameters: [PostgresParameter]) async throws -> [PostgresRow] {
        for _ in 0..<10 {
            do {
                return try await ask(sql, parameters)
            } catch let error as PostgresError where ["42704", "3D000", "58P01"].contains(error.sqlState) {
                continue
            }
        }
        return try await ask(sql, parameters)
    }

    private func databases(where condition: String, _ parameters: [PostgresParameter]) async throws -> [DatabaseFacts] {
        let version = await connection.serverVersion
        let provider = version >= 150_000 ? "d.datlocprovider::text" : "'c'"
        let icu = version >= 170_000 ? "d.datlocale" : version >= 150_000 ? "d.daticulocale" : "NULL"
        let collationVersion = version >= 150_000 ? "d.datcollversion" : "NULL"
        let actual = version >= 150_000 ? "pg_catalog.pg_database_collation_actual_version(d.oid)" : "NULL"
        let rows = try await askWhileDatabasesGo(
            """
            SELECT d.oid, d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
                   \(provider) AS provider, d.datcollate AS collate, d.datctype AS ctype, \(icu) AS icu, d.datconnlimit AS connlimit,
                   d.datallowconn AS allow, pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
                   d.datacl::pg_catalog.text[] AS acl, t.spcname AS tablespace, d.datistemplate AS template,
                   CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) END AS bytes,
                   \(collationVersion) AS collversion, \(actual) AS actualversion
            FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace WHERE \(condition) ORDER BY d.datname
            """, parameters)
        let settings = try await settingsByDatabase()
        return try rows.map { row in
            let oid = try row.integer("oid", as: UInt32.self)
            let providers = ["c": "libc", "i": "icu", "b": "builtin"]
            return try DatabaseFacts(
                oid: oid, name: row.string("name"), owner: row.string("owner"), encoding: row.string("encoding"),
                localeProvider: providers[row.string("provider")] ?? row.string("provider"), collate: row.string("collate"),
                ctype: row.string("ctype"), icuLocale: row.optionalString("icu"), connectionLimit: row.integer("connlimit"),
                allowsConnections: row.bool("allow"), comment: row.optionalString("comment"),
                acl: row.optionalString("acl").map(TextArray.parse), settings: settings[oid]?[""] ?? [],
                roleSettings: (settings[oid] ?? [:]).filter { $0.key != "" }, tablespace: row.string("tablespace"),
                isTemplate: row.bool("template"), bytes: row.optionalInteger("bytes", as: Int64.self),
                collationVersion: row.optionalString("collversion"), actualCollationVersion: row.optionalString("actualversion"))
        }
    }

    /// The time zone in which a dump of that database was most likely written: its owner's there, the database's, or the server's.
    package func likelyTimeZone(ofDumpsOf database: DatabaseFacts?) async throws -> String {
        let settings = (database.map { $0.roleSettings[$0.owner] ?? [] } ?? []) + (database?.settings ?? [])
        for setting in settings {
            let parts = setting.split(separator: "=", maxSplits: 1)
            if parts.count == 2, parts[0].lowercased() == "timezone" { return String(parts[1]) }
        }
        return try await only("SELECT reset_val AS zone FROM pg_catalog.pg_settings WHERE name = 'TimeZone'").string("zone")
    }

    /// By database, then by role ("" for everybody).
    private func settingsByDatabase() async throws -> [UInt32: [String: [String]]] {
        var result: [UInt32: [String: [String]]] = [:]
        for row in try await ask(
            """
            SELECT s.setdatabase AS oid, coalesce(r.rolname, '') AS role, s.setconfig AS config FROM pg_catalog.pg_db_role_setting s
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase <> 0
            """
        ) {
            result[try row.integer("oid"), default: [:]][try row.string("role")] = try row.strings("config")
        }
        return result
    }

    // MARK: What hangs on a database

    package struct Session: Sendable, Hashable, Codable {
        package let pid: Int32
        package let user: String?
        package let applicationName: String
        package let clientAddress: String?
        package let state: String?
        package let started: String
    }

    /// Sessions of clients in a database, this one excepted.
    package func sessions(inDatabase oid: UInt32) async throws -> [Session] {
        try await ask(
            """
            SELECT pid, usename AS user, application_name AS app, client_addr AS address, state, backend_start AS started
            FROM pg_catalog.pg_stat_activity WHERE datid = $1::pg_catalog.oid AND pid <> pg_catalog.pg_backend_pid()
              AND backend_type = 'client backend' ORDER BY pid
            """, [.integer(oid)]
        ).map {
            try Session(
                pid: $0.integer("pid"), user: $0.optionalString("user"), applicationName: $0.string("app"),
                clientAddress: $0.optionalString("address"), state: $0.optionalString("state"), started: $0.string("started"))
        }
    }

    /// Ends the sessions whose application name begins with `prefix`, for example those of an earlier attempt of a step.
    ///
    /// Idempotent. A terminated backend ends a moment later: wait until `sessions` no longer shows it.
    /// - Returns: how many were signalled.
    package func terminateSessions(inDatabase oid: UInt32, applicationNamePrefix prefix: String = "") async throws -> Int {
        try await only(
            """
            SELECT pg_catalog.count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(pid)) AS count FROM pg_catalog.pg_stat_activity
            WHERE datid = $1::pg_catalog.oid AND pid <> pg_catalog.pg_backend_pid() AND pg_catalog.starts_with(application_name, $2)
            """, [.integer(oid), .text(prefix)]
        ).integer("count")
    }

    /// Global identifiers of prepared transactions in a database: RENAME refuses while there are any.
    package func preparedTransactions(inDatabase name: String) async throws -> [String] {
        try await ask("SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY 1", [.text(name)]).map { try $0.string("gid") }
    }

    /// Names of logical replication slots on a database: they stay with it when its name moves, and retain WAL.
    package func logicalSlots(inDatabase name: String) async throws -> [String] {
        try await ask("SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = $1 ORDER BY 1", [.text(name)])
            .map { try $0.string("slot_name") }
    }

    /// Names of subscriptions of a database. Needs a superuser; nil without that right.
    package func subscriptions(inDatabase oid: UInt32) async throws -> [String]? {
        do {
            return try await ask("SELECT subname FROM pg_catalog.pg_subscription WHERE subdbid = $1::pg_catalog.oid ORDER BY 1", [.integer(oid)])
                .map { try $0.string("subname") }
        } catch let error as PostgresError where error.sqlState == "42501" {
            return nil
        }
    }

    package struct Standby: Sendable, Hashable, Codable {
        package let applicationName: String
        package let state: String?
        package let syncState: String?
        /// Written here and not yet replayed there, bytes.
        package let replayLagBytes: Int64?
    }

    /// None on a standby itself.
    package func standbys() async throws -> [Standby] {
        try await ask(
            """
            SELECT application_name AS app, state, sync_state AS sync,
                   CASE WHEN NOT pg_catalog.pg_is_in_recovery()
                        THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn)::pg_catalog.int8 END AS lag
            FROM pg_catalog.pg_stat_replication ORDER BY 1
            """
        ).map {
            try Standby(
                applicationName: $0.string("app"), state: $0.optionalString("state"), syncState: $0.optionalString("sync"),
                replayLagBytes: $0.optionalInteger("lag", as: Int64.self))
        }
    }

    /// True where pg_cron is loaded into the server or installed in the connected database: its jobs name databases.
    package func hasCronJobs() async throws -> Bool {
        try await only(
            """
            SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron')
                OR pg_catalog.current_setting('shared_preload_libraries') LIKE '%pg_cron%' AS cron
            """
        ).bool("cron")
    }
}
