internal import BlockingIO
internal import Foundation
package import PlanModel
package import PostgreSQL
internal import RunCore
package import SSH
internal import Steps

/// Makes the orchestrator's own connections to a server of PostgreSQL, in the way that the inventory says.
struct DatabaseConnector: Sendable {
    let database: DatabaseRef
    /// Where the server is reached without SSH, when the inventory gives no address for it.
    let hostAddress: String
    let remote: any RemoteHost
    /// Called only where a password is needed.
    let password: @Sendable (SecretReference) async throws -> String

    /// - Parameters:
    ///   - name: the database on the server, which may be another one than the inventory's (a scratch database).
    ///   - application: shown in `pg_stat_activity`.
    func connect(_ name: String, application: String) async throws -> PostgresConnection {
        let session = PostgresSession(applicationName: String(application.prefix(63)))
        switch database.via ?? .bridge {
        case .bridge: return try await connect(name, session, through: .command(socketBridge), password: nil)
        case .tunnel:
            let endpoint = TunnelEndpoint.tcp(host: database.address ?? "127.0.0.1", port: database.port)
            return try await connect(name, session, through: endpoint, password: try await secret())
        case .direct:
            let target = PostgresTarget(
                .tcp(
                    host: database.address ?? hostAddress, port: database.port,
                    tls: .verified(rootCertificate: (database.rootCertificate as NSString?)?.expandingTildeInPath)),
                database: name, user: database.superuser, password: try await secret())
            return try await PostgresConnection.connect(to: target, session: session, deadline: Deadline(after: .seconds(30)))
        }
    }

    private func secret() async throws -> PostgresPassword {
        guard let reference = database.password else {
            throw StepRefused(
                "postgresql.no-password", "database \(database.name) is reached with a password, and the inventory has none",
                hints: ["give the database a `password` by reference, such as env:NAME"], exitStatus: .usage)
        }
        return PostgresPassword(try await password(reference))
    }

    private func connect(
        _ name: String, _ session: PostgresSession, through endpoint: TunnelEndpoint, password: PostgresPassword?
    ) async throws -> PostgresConnection {
        let tunnel = try await remote.tunnel(to: endpoint, postgresPort: database.port)
        let target = PostgresTarget(
            .socketFolder(tunnel.directory, port: database.port), database: name, user: database.superuser, password: password)
        do {
            return try await PostgresConnection.connect(to: target, session: session, deadline: Deadline(after: .seconds(30)))
        } catch {
            let why = tunnel.lastFailure()
            await tunnel.close()
            if let why, !why.isEmpty {
                throw DatabaseUnreachable(database: database.name, host: database.host, why: why, via: database.via ?? .bridge)
            }
            throw error
        }
    }

    /// The command on the host that joins its standard input and output to the server's socket, as the database's superuser.
    private var socketBridge: String {
        let socket = "\(database.socketDirectory)/.s.PGSQL.\(database.port)"
        // Both directions in one loop of select(2); perl's base package is everywhere where Debian is.
        let bridge = #"""
            use IO::Socket::UNIX; use IO::Select; $|=1;
            my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $ARGV[0]) or die "cannot reach $ARGV[0]: $!\n";
            my $set = IO::Select->new(\*STDIN, $s); my $b;
            sub all { my ($h, $d) = @_; while (length $d) { my $n = syswrite($h, $d); exit 0 unless $n; substr($d, 0, $n) = ""; } }
            while (1) { for my $h ($set->can_read) {
                my $n = sysread($h, $b, 262144);
                if (!$n) { exit 0 if $h == $s; $set->remove($h); shutdown($s, 1); next; }
                all($h == $s ? \*STDOUT : $s, $b);
            } }
            """#
        return database.asSuperuser("perl -e \(shellQuoted(bridge)) \(shellQuoted(socket))", replacingShell: true)
    }
}

/// Asks the server of `database` for an answer, by the way that the inventory says; for looking before a run.
///
/// - Throws: what hinders it, with what to do about it.
package func askServer(of database: DatabaseRef, _ inventory: Inventory, _ remote: any RemoteHost, _ redactor: Redactor) async throws {
    let connection = try await DatabaseConnector(database, inventory, remote, redactor).connect("postgres", application: "reprise/check")
    do {
        _ = try await connection.query("SELECT 1", deadline: Deadline(after: .seconds(10)))
        await connection.close()
    } catch {
        await connection.close()
        throw error
    }
}

/// A connection to a database on the server of `database`, by the way that the inventory says; for work outside of any run.
///
/// - Parameters:
///   - name: the database on that server.
///   - application: shown in `pg_stat_activity`.
package func connectServer(
    of database: DatabaseRef, name: String, application: String, _ inventory: Inventory, _ remote: any RemoteHost, _ redactor: Redactor
) async throws -> PostgresConnection {
    try await DatabaseConnector(database, inventory, remote, redactor).connect(name, application: application)
}

extension DatabaseConnector {
    /// By the inventory's account of it. A password is registered for redaction before it is used.
    init(_ database: DatabaseRef, _ inventory: Inventory, _ remote: any RemoteHost, _ redactor: Redactor) {
        self.database = database
        self.remote = remote
        hostAddress = inventory.host(database.host)?.address ?? database.host
        password = { reference in
            let value = try await SecretResolver.resolve("password of database \(database.name)", reference)
            redactor.register(value)
            return value
        }
    }
}
