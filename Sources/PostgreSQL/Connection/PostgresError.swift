package import RunCore

/// The server refused or failed a statement.
package struct PostgresError: RepriseError, Equatable {
    /// `postgresql.<SQLSTATE>`.
    package let code: String
    /// Five characters, PostgreSQL's appendix A.
    package let sqlState: String
    /// `ERROR`, `FATAL` or `PANIC`, untranslated.
    package let severity: String
    package let primary: String
    /// May quote values of rows: not part of `message` where the class of the error says that it does.
    package let detail: String?
    package let hints: [String]
    package let schema: String?
    package let table: String?
    package let constraint: String?
    /// The function of the database in which it happened, and its line; nil: in none that the server names.
    package let function: String?
    /// Where it happened, for example `database "chms" at /run/x, port 5432`.
    package let place: String

    init(
        sqlState: String, severity: String, primary: String, detail: String? = nil, hint: String? = nil, schema: String? = nil,
        table: String? = nil, constraint: String? = nil, context: String? = nil, place: String
    ) {
        code = "postgresql.\(sqlState)"
        self.sqlState = sqlState
        self.severity = severity
        self.primary = Redaction.withoutPasswords(primary)
        self.detail = detail.map(Redaction.withoutPasswords)
        function = context.flatMap(Self.function)
        self.hints = (hint.map { [Redaction.withoutPasswords($0)] } ?? []) + Self.advice(sqlState, isInFunction: function != nil)
        self.schema = schema
        self.table = table
        self.constraint = constraint
        self.place = place
    }

    package var message: String {
        // Classes 22 and 23 quote what the rows hold ("Key (email)=(…) already exists").
        let quotesRows = sqlState.hasPrefix("22") || sqlState.hasPrefix("23")
        let more = quotesRows ? "" : detail.map { " (\($0))" } ?? ""
        return "\(place): \(severity.lowercased()) \(sqlState): \(primary)\(more)\(function.map { ", in \($0)" } ?? "")"
    }

    package var exitStatus: ExitStatus { sqlState.hasPrefix("08") ? .unreachable : .failed }

    package var isTransient: Bool {
        sqlState.hasPrefix("08") || Self.transient.contains(sqlState)
    }

    /// Serialization failure, deadlock, too many connections, shutting down, crashed, starting, busy object, lock not granted.
    private static let transient: Set<String> = [
        "40001", "40P01", "53300", "57P01", "57P02", "57P03", "55006", "55P03",
    ]

    /// The innermost one. Other lines of a context quote what rows hold: statements with their values, lines of a COPY.
    private static func function(_ context: String) -> String? {
        context.split(whereSeparator: \.isNewline).first { $0.wholeMatch(of: #/PL\/pgSQL function .+ line \d+ at [A-Za-z ]+|SQL function ".+" (statement \d+|during inlining|during startup)/#) != nil }
            .map(String.init)
    }

    private static func advice(_ sqlState: String, isInFunction: Bool) -> [String] {
        switch sqlState {
        case "42P01" where isInFunction, "42883" where isInFunction, "42704" where isInFunction:
            [
                "the function names it without its schema, and no session of this database and role finds it so: ALTER FUNCTION … SET search_path TO …, "
                    + "or ALTER DATABASE … SET search_path TO …"
            ]
        case "57P03": [PostgresConnectionError.startingAdvice]
        case "53300": ["raise max_connections, or end sessions that nobody needs"]
        case "28P01", "28000": ["look at the login's password reference and at pg_hba.conf on the server"]
        case "3D000": ["list the databases with: psql -l"]
        case "42501": ["log in as a role that may do this; recovery is written for the cluster's superuser"]
        default: []
        }
    }
}

/// The connection could not be made, or was lost, or answered nonsense.
package struct PostgresConnectionError: RepriseError, Equatable {
    package let code: String
    package let message: String
    package let hints: [String]
    package let exitStatus: ExitStatus
    package let isTransient: Bool

    init(_ code: String, _ message: String, hints: [String] = [], exitStatus: ExitStatus = .unreachable, isTransient: Bool = true) {
        self.code = code
        self.message = Redaction.withoutPasswords(message)
        self.hints = hints
        self.exitStatus = exitStatus
        self.isTransient = isTransient
    }

    static func lost(_ place: String, _ reason: String) -> Self {
        .init("postgresql.connection-lost", "\(place): the connection was lost: \(Redaction.oneLine(reason))")
    }

    /// Refusals carry no code through libpq while connecting: what they are is read from its own English words.
    static func refused(_ place: String, _ reason: String) -> Self {
        let message = "cannot connect to \(place): \(Redaction.oneLine(reason))"
        for known in knownRefusals where known.words.contains(where: { reason.contains($0) }) {
            // The server was reached, and said no.
            return .init(known.code, message, hints: known.hints, exitStatus: .failed, isTransient: false)
        }
        if ServerGone.isStarting(in: reason) { return .init(starting, message, hints: [startingAdvice]) }
        return .init(
            "postgresql.connection-refused", message,
            hints: ["see that the server runs and that this address, login and password are right"])
    }

    /// The server is there, and answers when it has recovered.
    package static let starting = "postgresql.starting"
    fileprivate static let startingAdvice = "the server is starting up or recovering; its log says how far it is"

    /// What another attempt cannot mend.
    private static let knownRefusals: [(code: String, words: [String], hints: [String])] = [
        (
            "postgresql.certificate-name", ["does not match host name"],
            [
                "connect to a name that the certificate bears: `address` of the database in the inventory",
                "if that name should be the right one, another machine may be answering in its place",
            ]
        ),
        (
            "postgresql.certificate-untrusted", ["certificate verify failed"],
            [
                "`sslrootcert` must hold the certificate of the authority that signed the server's; the server's own is in ssl_cert_file there",
                "if it does, another machine may be answering in the server's place",
            ]
        ),
        ("postgresql.no-root-certificate", ["root certificate file"], ["check the path in `sslrootcert`: the file is read on this machine"]),
        ("postgresql.no-tls", ["server does not support SSL"], ["switch TLS on (ssl = on in postgresql.conf), or use `via: tunnel`"]),
        (
            "postgresql.password-refused", ["password authentication failed", "no password supplied"],
            ["check the database's `password` reference, and that the role has a password: \\password in psql"]
        ),
        (
            "postgresql.no-entry", ["no pg_hba.conf entry"],
            ["add a line to pg_hba.conf for this role, database and address, or use another `via`"]
        ),
    ]

    static func closed(_ place: String) -> Self {
        .init("postgresql.connection-closed", "\(place): the connection is closed")
    }

    static func misuse(_ message: String) -> Self {
        .init("postgresql.misuse", message, exitStatus: .failed, isTransient: false)
    }
}

/// COMMIT was sent and no answer came: the transaction may or may not have happened.
package struct PostgresCommitUnknown: RepriseError {
    package let code = "postgresql.commit-unknown"
    package let place: String
    package let reason: String
    package var message: String { "\(place): COMMIT was sent, but its outcome is unknown: \(reason)" }
    package let hints = ["ask the catalog or the marker row whether it happened; do not repeat it blindly"]
}

/// An answer had another shape than the caller's query promises.
package struct PostgresUnexpectedResult: RepriseError {
    package let code = "postgresql.unexpected-result"
    package let message: String
    init(_ message: String) { self.message = message }
}

enum Redaction {
    /// Hides what follows `password` in statements and connection strings that servers and libpq echo.
    static func withoutPasswords(_ text: String) -> String {
        text.replacing(#/(?i)(password\s*=?\s*)('(?:[^']|'')*'|"[^"]*")/#) { "\($0.1)[redacted]" }
            .replacing(#/(?i)(password=)[^\s'\[]\S*/#) { "\($0.1)[redacted]" }
            .replacing(#/(?i)(postgres(?:ql)?:\/\/[^:@\/\s]*:)[^@\s]*@/#) { "\($0.1)[redacted]@" }
    }

    static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).map { $0.drop { $0 == " " || $0 == "\t" } }.joined(separator: "; ")
    }
}
