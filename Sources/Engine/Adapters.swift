internal import BlockingIO
internal import Foundation
package import ObjectStorage
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH
internal import Steps

/// The ways out into the world that steps use through the engine.
package struct Adapters: Sendable {
    private let environment: [String: String]

    /// - Parameter environment: this process's, for the usual chain of S3 credentials.
    package init(environment: [String: String]) {
        self.environment = environment
    }

    package func makeStore(_ store: StoreRef) throws -> any ObjectStore {
        switch store.kind {
        case .directory(let path, let host):
            guard host == nil else {
                throw StepRefused(
                    "store.on-a-host", "store \(store.name) is a directory on \(host ?? ""), which this version cannot read",
                    hints: ["mount it on this machine, or put the backups into an S3 bucket"], exitStatus: .usage)
            }
            return DirectoryStore(path: path)
        case .s3(let place):
            let location = try ObjectStorage.S3Location(
                bucket: place.bucket, prefix: place.prefix, region: place.region, endpoint: place.endpoint.map { try Endpoint($0) },
                addressing: place.usesPathStyle ? .path : .automatic)
            return S3Store(
                location,
                credentials: CredentialChain.standard(
                    profile: place.profile, credentialsPath: place.credentialsFile, configPath: place.configFile,
                    environment: environment))
        }
    }

    /// PostgreSQL by way of its host's SSH session: a bridge to the server's unix socket, run as the database's superuser,
    /// so that peer authentication lets it in and no password is needed.
    func connect(
        _ database: DatabaseRef, _ name: String, _ application: String, _ remote: any RemoteHost
    ) async throws -> PostgresConnection {
        let tunnel = try await remote.tunnel(to: .command(socketBridge(database)), postgresPort: database.port)
        let target = PostgresTarget(
            .socketFolder(tunnel.directory, port: database.port), database: name, user: database.superuser)
        do {
            return try await PostgresConnection.connect(
                to: target, session: PostgresSession(applicationName: String(application.prefix(63))), deadline: Deadline(after: .seconds(30)))
        } catch {
            let why = tunnel.lastFailure()
            await tunnel.close()
            if let why, !why.isEmpty { throw DatabaseUnreachable(database: database.name, host: database.host, why: why) }
            throw error
        }
    }
}

/// The command on the host that joins its standard input and output to the server's socket, as the database's superuser.
private func socketBridge(_ database: DatabaseRef) -> String {
    let socket = shellQuoted("\(database.socketDirectory)/.s.PGSQL.\(database.port)")
    let user = shellQuoted(database.superuser)
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
    let program = "perl -e \(shellQuoted(bridge)) \(socket)"
    return """
        if [ "$(id -un)" = \(user) ]; then exec \(program); \
        elif [ "$(id -u)" = 0 ]; then exec runuser -u \(user) -- \(program); \
        else exec sudo -n -u \(user) -- \(program); fi
        """
}

struct DatabaseUnreachable: RepriseError {
    let code = "postgresql.unreachable"
    let database: String
    let host: String
    let why: String
    var message: String { "the server of database \(database) on \(host) cannot be reached: \(why)" }
    var hints: [String] {
        ["see whether it runs: on \(host), pg_lsclusters", "the login on \(host) must be the database's superuser, root, or may run sudo -n"]
    }
    var exitStatus: ExitStatus { .unreachable }
    var isTransient: Bool { true }
}
