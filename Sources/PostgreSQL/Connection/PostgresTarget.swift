package import RunCore

/// A password that a person typed or a secret store returned.
///
/// Neither printing, interpolating, reflecting nor dumping it shows the value; only the connection reads it.
package struct PostgresPassword: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    let value: String

    package init(_ value: String) { self.value = value }

    package var description: String { "[redacted]" }
    package var debugDescription: String { "[redacted]" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Where a server is, as whom to log in, and to which database.
package struct PostgresTarget: Sendable, Hashable {
    package enum Address: Sendable, Hashable {
        /// A folder that holds `.s.PGSQL.<port>`: a local server, or our end of an SSH tunnel.
        case socketFolder(String, port: Int)
        case tcp(host: String, port: Int, tls: TLS)
        /// An entry of `pg_service.conf`.
        case service(String)
    }

    package enum TLS: Sendable, Hashable {
        case off
        /// Encrypted, and the server's certificate and name are checked. libpq's `prefer` and `require` check nothing.
        case verified(rootCertificate: String?)
    }

    package var address: Address
    package var database: String
    package var user: String?
    package var password: PostgresPassword?

    package init(_ address: Address, database: String, user: String? = nil, password: PostgresPassword? = nil) {
        self.address = address
        self.database = database
        self.user = user
        self.password = password
    }

    /// The same server and login, another database.
    package func database(_ name: String) -> PostgresTarget {
        var copy = self
        copy.database = name
        return copy
    }

    /// For messages: never a secret.
    package var place: String {
        switch address {
        case .socketFolder(let folder, let port): "database \"\(database)\" at \(folder), port \(port)"
        case .tcp(let host, let port, _): "database \"\(database)\" at \(host):\(port)"
        case .service(let name): "database \"\(database)\" of service \(name)"
        }
    }

    /// libpq's connection parameters. `dbname` is passed without expansion, so that a name never becomes a connection string.
    func parameters(applicationName: String, connectSeconds: Int) -> [(String, String)] {
        var list: [(String, String)] = [
            ("dbname", database), ("application_name", applicationName), ("client_encoding", "UTF8"),
            ("connect_timeout", "\(max(2, connectSeconds))"), ("fallback_application_name", "reprise"),
        ]
        switch address {
        case .socketFolder(let folder, let port):
            list += [("host", folder), ("port", "\(port)"), ("sslmode", "disable"), ("gssencmode", "disable")]
        case .tcp(let host, let port, let tls):
            list += [("host", host), ("port", "\(port)"), ("keepalives_idle", "15"), ("keepalives_interval", "5")]
            list += [("keepalives_count", "3"), ("gssencmode", "disable")]
            switch tls {
            case .off: list.append(("sslmode", "disable"))
            case .verified(let root):
                list.append(("sslmode", "verify-full"))
                if let root { list.append(("sslrootcert", root)) }
            }
        case .service(let name): list.append(("service", name))
        }
        if let user { list.append(("user", user)) }
        if let password { list.append(("password", password.value)) }
        return list
    }
}

/// What a session is pinned to, so that text means the same in every one of ours.
package struct PostgresSession: Sendable, Hashable {
    /// Shown in `pg_stat_activity`; how orphans of an earlier attempt are recognised.
    package var applicationName: String
    /// The server's own limit for each statement; nil for none.
    package var statementTimeout: Duration?
    /// How long a statement may wait for a lock; nil for ever.
    package var lockTimeout: Duration?
    /// `pg_catalog` alone by default, so that nobody's function shadows a built-in one; nil keeps the database's own setting,
    /// for statements that people wrote.
    package var searchPath: String? = pinnedSearchPath
    static let pinnedSearchPath = "pg_catalog"

    package init(applicationName: String, statementTimeout: Duration? = nil, lockTimeout: Duration? = nil) {
        self.applicationName = applicationName
        self.statementTimeout = statementTimeout
        self.lockTimeout = lockTimeout
    }

    /// A session of one attempt of a step: `reprise/<run>.<step>.<attempt>`.
    package init(run: RunID, step: StepID, attempt: AttemptNumber, statementTimeout: Duration? = nil, lockTimeout: Duration? = nil) {
        self.init(
            applicationName: Self.applicationName(run: run, step: step, attempt: attempt), statementTimeout: statementTimeout,
            lockTimeout: lockTimeout)
    }

    /// The server keeps 63 bytes. A longer name loses the middle of the run and step, never the attempt.
    package static func applicationName(run: RunID, step: StepID, attempt: AttemptNumber) -> String {
        let tail = ".\(attempt)"
        let head = String("reprise/\(run).\(step)".prefix(63 - tail.utf8.count))
        return head + tail
    }

    /// The settings in the order in which they are applied. Every name is settable by every role.
    func settings(serverVersion: Int) -> [(String, String)] {
        func milliseconds(_ duration: Duration?) -> String {
            guard let duration else { return "0" }
            let parts = duration.components
            return "\(max(1, parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000))"
        }
        var list: [(String, String)] = [
            ("TimeZone", "UTC"), ("DateStyle", "ISO, MDY"), ("IntervalStyle", "postgres"), ("extra_float_digits", "3"),
            ("bytea_output", "hex"), ("standard_conforming_strings", "on"), ("row_security", "off"),
            // How money is written and read, and what is read as xml and as an array.
            ("lc_monetary", "C"), ("xmloption", "content"), ("array_nulls", "on"),
            ("statement_timeout", milliseconds(statementTimeout)), ("lock_timeout", milliseconds(lockTimeout)),
            ("idle_in_transaction_session_timeout", "0"), ("synchronize_seqscans", "off"),
        ]
        if let searchPath { list.append(("search_path", searchPath)) }
        // Compiling expressions as long as ours, which are run once, took a third of a comparison of 2,000,000 rows.
        if serverVersion >= 110_000 { list.append(("jit", "off")) }
        // Ends an orphaned backend's work half a second after its client went (PostgreSQL 14 and later).
        if serverVersion >= 140_000 {
            list.append(("client_connection_check_interval", "500"))
            // It waits for downloads and for people.
            list.append(("idle_session_timeout", "0"))
        }
        return list
    }
}
