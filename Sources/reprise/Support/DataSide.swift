internal import BlockingIO
internal import Engine
internal import Foundation
internal import ObjectStorage
internal import PlanModel
internal import PlanYAML
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// One side of a comparison as it is named on the command line.
enum DataSide: Sendable, Hashable {
    /// An archive on this machine.
    case file(String)
    /// An archive in a store of the inventory; nil: the newest.
    case store(String, key: String?)
    /// A database of the inventory, or another one on its server.
    case database(String, other: String?)
    case server(PostgresTarget)

    static let grammar = """
        file:PATH            an archive of pg_dump on this machine
        store:NAME[/KEY]     an archive in a store of the inventory; without a key the newest
        database:NAME[/DB]   a database of the inventory, or another one on its server
        postgresql://…       any database; passwords come from PGPASSFILE or ~/.pgpass
        """

    /// The grammar as a paragraph of a command's help.
    static let help = "SOURCE and TARGET are one of:\n" + grammar.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")

    init(_ word: String) throws {
        let parts = word.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let (kind, rest) = (parts[0], parts.count == 2 ? parts[1] : "")
        let pieces = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let second = pieces.count == 2 && !pieces[1].isEmpty ? pieces[1] : nil
        switch kind {
        case _ where rest.isEmpty: throw Self.unreadable(word)
        case "file": self = .file(rest)
        case "store": self = .store(pieces[0], key: second)
        case "database": self = .database(pieces[0], other: second)
        case "postgresql", "postgres": self = .server(try Self.target(word))
        default: throw Self.unreadable(word)
        }
    }

    private static func unreadable(_ word: String) -> Refusal {
        Refusal("bad-side", "\(printable(word)) names no data to compare", hints: grammar.split(separator: "\n").map(String.init))
    }

    /// A connection URI in libpq's form: host and port, or `?host=/folder` for a unix socket.
    private static func target(_ word: String) throws -> PostgresTarget {
        guard let parts = URLComponents(string: word) else { throw unreadable(word) }
        guard parts.password == nil else {
            throw Refusal("password-in-argument", "a password does not belong on the command line, where everybody sees it", hints: ["put it into ~/.pgpass or the file of PGPASSFILE"])
        }
        var query: [String: String] = [:]
        for item in parts.queryItems ?? [] {
            guard ["host", "port", "user", "dbname", "sslmode", "sslrootcert"].contains(item.name) else {
                throw Refusal("bad-side", "\(printable(item.name)) is no part of a connection that is understood here", hints: ["host, port, user, dbname, sslmode=disable and sslrootcert are"])
            }
            query[item.name] = item.value
        }
        let host = query["host"] ?? parts.host ?? ""
        let port = query["port"].flatMap(Int.init) ?? parts.port ?? 5432
        let name = query["dbname"] ?? String(parts.path.dropFirst())
        guard !name.isEmpty, !host.isEmpty else {
            throw Refusal("bad-side", "\(printable(word)) names no database and host", hints: ["postgresql://user@host/database, or postgresql:///database?host=/var/run/postgresql"])
        }
        if host.hasPrefix("/") { return PostgresTarget(.socketFolder(host, port: port), database: name, user: query["user"] ?? parts.user) }
        let tls = query["sslmode"] == "disable" ? PostgresTarget.TLS.off : .verified(rootCertificate: query["sslrootcert"])
        return PostgresTarget(.tcp(host: host, port: port, tls: tls), database: name, user: query["user"] ?? parts.user)
    }
}

/// Opens sides, and closes them again.
struct DataSides {
    let options: GlobalOptions
    /// Shown in `pg_stat_activity`.
    let application: String

    enum Opened: Sendable {
        case archive(path: String, contents: ArchiveTOC)
        case database(PostgresConnection)
    }

    /// Hands both over. A backup in a store takes longest to open: what is wrong with the other side is said before it is fetched.
    func with<Value>(_ source: DataSide, _ target: DataSide, _ body: (Opened, Opened) async throws -> Value) async throws -> Value {
        guard case .store = source else {
            return try await with(source) { source in try await with(target) { target in try await body(source, target) } }
        }
        return try await with(target) { target in try await with(source) { source in try await body(source, target) } }
    }

    /// Hands the side over, and closes it whatever `body` does.
    func with<Value>(_ side: DataSide, _ body: (Opened) async throws -> Value) async throws -> Value {
        switch side {
        case .file(let path): return try await body(try Self.archive(at: path))
        case .store(let name, let key):
            return try await BackupFile.withFile(key, BackupStore(name, isDatabase: true, options), options) { file in
                try await body(try Self.archive(at: file.unwrapped.path, called: file.version.key))
            }
        case .server(let target):
            let connection = try await PostgresConnection.connect(
                to: target, session: PostgresSession(applicationName: application), deadline: Deadline(after: .seconds(30)))
            return try await close(connection, after: body)
        case .database(let name, let other): return try await withDatabase(name, other, body)
        }
    }

    private func withDatabase<Value>(_ name: String, _ other: String?, _ body: (Opened) async throws -> Value) async throws -> Value {
        let inventory = try PlanFiles(options: options).requiredInventory(besidePlan: nil).inventory
        guard let database = inventory.database(name) else {
            var speller = Speller()
            let hints = speller.hints(for: name, among: inventory.databases.map(\.name), what: "databases")
            throw Refusal("unknown-database", "the inventory has no database \(printable(name))", hints: hints)
        }
        let host = try await Wiring.connector().connect(database.host, inventory)
        do {
            guard let remote = host.remote else {
                throw Refusal("local-database", "database \(name) is on this machine", hints: ["name it by its socket: postgresql:///\(other ?? database.database)?host=\(database.socketDirectory)"])
            }
            let connection = try await connectServer(
                of: database, name: other ?? database.database, application: application, inventory, remote, Redactor())
            let value = try await close(connection, after: body)
            await host.close()
            return value
        } catch {
            await host.close()
            throw error
        }
    }

    private func close<Value>(_ connection: PostgresConnection, after body: (Opened) async throws -> Value) async throws -> Value {
        do {
            let value = try await body(.database(connection))
            await connection.close()
            return value
        } catch {
            await connection.close()
            throw error
        }
    }

    private static func archive(at path: String, called name: String? = nil) throws -> Opened {
        .archive(path: path, contents: try LocalArchive.contents(at: path, called: name))
    }
}
