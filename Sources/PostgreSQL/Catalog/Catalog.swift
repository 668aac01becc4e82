internal import BlockingIO

/// Questions to a server's catalogs. Each reads only; every name that comes back is as stored, unquoted.
package struct Catalog: Sendable {
    package let connection: PostgresConnection
    /// For each question.
    package let timeout: Duration

    package init(_ connection: PostgresConnection, timeout: Duration = .seconds(60)) {
        self.connection = connection
        self.timeout = timeout
    }

    func ask(_ sql: String, _ parameters: [PostgresParameter] = []) async throws -> [PostgresRow] {
        try await connection.query(sql, parameters, deadline: Deadline(after: timeout)).rows
    }

    // MARK: The server

    package struct Server: Sendable, Hashable, Codable {
        /// For example `150020`.
        package let version: Int
        package let versionText: String
        /// Made by initdb, copied by physical replication: the same for a cluster and its standbys. nil without the right to ask.
        package let systemIdentifier: String?
        package let hasDataChecksums: Bool
        package let isInRecovery: Bool
        /// False: a crash of the machine corrupts everything. Never acceptable in production.
        package let fsync: Bool
        package let fullPageWrites: Bool
        package let dataFolder: String?
        package let startTime: String
    }

    package func server() async throws -> Server {
        let row = try await only(
            """
            SELECT pg_catalog.current_setting('server_version_num') AS number, pg_catalog.version() AS text,
                   pg_catalog.current_setting('data_checksums') = 'on' AS checksums, pg_catalog.pg_is_in_recovery() AS recovery,
                   pg_catalog.current_setting('fsync') = 'on' AS fsync, pg_catalog.current_setting('full_page_writes') = 'on' AS fpw,
                   pg_catalog.pg_postmaster_start_time() AS started,
                   (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory') AS folder
            """)
        let identifier = try? await ask("SELECT system_identifier AS id FROM pg_catalog.pg_control_system()").first?.string("id")
        return try Server(
            version: row.integer("number"), versionText: row.string("text"), systemIdentifier: identifier,
            hasDataChecksums: row.bool("checksums"), isInRecovery: row.bool("recovery"), fsync: row.bool("fsync"),
            fullPageWrites: row.bool("fpw"), dataFolder: row.optionalString("folder"), startTime: row.string("started"))
    }

    package struct Tablespace: Sendable, Hashable, Codable {
        package let name: String
        /// On the database's host; empty for those inside the data folder.
        package let folder: String
        package let bytes: Int64
    }

    /// Where data lies and how much it is; the free room is asked of the host.
    package func tablespaces() async throws -> [Tablespace] {
        try await ask(
            """
            SELECT spcname AS name, pg_catalog.pg_tablespace_location(oid) AS folder,
                   coalesce(pg_catalog.pg_tablespace_size(oid), 0) AS bytes FROM pg_catalog.pg_tablespace ORDER BY 1
            """
        ).map { try Tablespace(name: $0.string("name"), folder: $0.string("folder"), bytes: $0.integer("bytes")) }
    }

    package struct Role: Sendable, Hashable, Codable {
        package let name: String
        package let isSuperuser: Bool
        package let canLogIn: Bool
        package let canCreateDatabases: Bool
        package let memberOf: [String]
    }

    /// All roles but the predefined ones.
    package func roles() async throws -> [Role] {
        try await ask(
            """
            SELECT r.rolname AS name, r.rolsuper AS super, r.rolcanlogin AS login, r.rolcreatedb AS createdb,
                   ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
                         WHERE m.member = r.oid ORDER BY 1) AS groups
            FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1
            """
        ).map {
            try Role(
                name: $0.string("name"), isSuperuser: $0.bool("super"), canLogIn: $0.bool("login"),
                canCreateDatabases: $0.bool("createdb"), memberOf: $0.strings("groups"))
        }
    }

    package struct Extension: Sendable, Hashable, Codable {
        package let name: String
        package let availableVersion: String?
        /// In the connected database.
        package let installedVersion: String?
    }

    package func extensions() async throws -> [Extension] {
        try await ask("SELECT name, default_version AS available, installed_version AS installed FROM pg_catalog.pg_available_extensions ORDER BY 1")
            .map {
                try Extension(
                    name: $0.string("name"), availableVersion: $0.optionalString("available"), installedVersion: $0.optionalString("installed"))
            }
    }

    func only(_ sql: String, _ parameters: [PostgresParameter] = []) async throws -> PostgresRow {
        let rows = try await ask(sql, parameters)
        guard rows.count == 1 else { throw PostgresUnexpectedResult("expected one row from the catalog, got \(rows.count)") }
        return rows[0]
    }
}
