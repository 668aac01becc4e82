package import BlockingIO
internal import Foundation
internal import Glibc
package import PostgreSQL
internal import TestSupport

/// A private PostgreSQL 15 server for these tests, with its files in a temporary folder and its socket there.
///
/// A small supervisor owns it: when the tests end in whatever way, its standard input closes, and it stops the server and
/// removes the folder.
package final class Cluster: Sendable {
    package let folder: String
    package let port: Int
    /// Of postgres itself.
    package let pid: Int32
    private let supervisorInput: Int32
    package static let programs = "/usr/lib/postgresql/15/bin"

    package static var isAvailable: Bool { access(programs + "/initdb", X_OK) == 0 }
    package static let missing = "SKIPPED: no PostgreSQL 15 server programs in /usr/lib/postgresql/15/bin (Debian: apt-get install postgresql-15)"

    /// What a server that is reached over TCP has beside its socket.
    package struct TLS: Sendable {
        /// Signed the server's certificate, which bears the name `localhost` alone.
        package let authority: String
        /// Signed nothing.
        package let otherAuthority: String
    }
    package let tls: TLS?

    /// One server for all tests of this process.
    package static let shared = Task { try await Cluster() }

    /// The shared server, or a loud skip.
    package static func server() async throws -> Cluster { try await shared.value }

    /// - Parameter tcpPort: also listens there, with TLS, and wants a password of everybody who comes that way.
    package init(tcpPort: Int? = nil) async throws {
        folder = try temporaryFolder("pg")
        port = tcpPort ?? 5432
        tls = tcpPort.map { [folder] _ in TLS(authority: "\(folder)/ca.crt", otherAuthority: "\(folder)/other.crt") }
        let owner = geteuid() == 0 ? (getpwnam("postgres") != nil ? "postgres" : "nobody") : ""
        let prefix = owner.isEmpty ? "" : "runuser -u \(owner) --"
        let made = try await shell(
            """
            \(owner.isEmpty ? "" : "chown \(owner) \(folder)")
            cd \(folder)
            \(prefix) \(Self.programs)/initdb -D \(folder)/data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync > initdb.log
            \(prefix) tee -a data/postgresql.conf > /dev/null <<EOF
            listen_addresses = ''
            unix_socket_directories = '\(folder)'
            fsync = off
            max_connections = 1000
            max_prepared_transactions = 4
            wal_level = logical
            timezone = 'Europe/Zurich'
            EOF
            \(tcpPort.map { Self.overTCP(port: $0, owner: owner) } ?? "")
            """)
        guard made.status == 0 else { throw ShellFailed(description: "initdb failed: \(made.errors)") }
        (supervisorInput, pid) = try Self.supervise(folder, prefix)
        try await psql(Self.roles.map { "CREATE ROLE \($0);" }.joined())
    }

    /// What the tests grant to and let own things: made with the server, since roles belong to all of it and tests that would
    /// each make them when absent come in each other's way.
    private static let roles = [
        "planted_owner", #""Mixed Reader""#, "planted_policy", #""Facts Role" LOGIN"#, #""Swap Owner""#, #""swap=odd""name""#, "swap_reader",
    ]

    /// Certificates of the test's own, and the settings to use them.
    private static func overTCP(port: Int, owner: String) -> String {
        """
        exec 2> tls.log; set -e
        for name in ca other; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$name" -keyout $name.key -out $name.crt
        done
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost\\n' > server.ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt
        install -m 0600 \(owner.isEmpty ? "" : "-o \(owner)") server.key server.crt data/
        chmod 0755 .; chmod 0644 ca.crt other.crt
        \(owner.isEmpty ? "" : "runuser -u \(owner) --") tee -a data/postgresql.conf > /dev/null <<EOF
        listen_addresses = '127.0.0.1'
        port = \(port)
        ssl = on
        EOF
        \(owner.isEmpty ? "" : "runuser -u \(owner) --") tee data/pg_hba.conf > /dev/null <<EOF
        local all all trust
        host all all 127.0.0.1/32 scram-sha-256
        EOF
        """
    }

    private static func supervise(_ folder: String, _ prefix: String) throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw ShellFailed(description: "no pipe") }
        _ = fcntl(ends[1], F_SETFD, FD_CLOEXEC)
        let script = """
            cd /; \(prefix) \(programs)/pg_ctl -D \(folder)/data -l \(folder)/log -w start > /dev/null || exit 1
            read -r _
            \(prefix) \(programs)/pg_ctl -D \(folder)/data -m immediate -w stop > /dev/null 2>&1
            rm -rf -- '\(folder)'
            """
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        let arguments: [UnsafeMutablePointer<CChar>?] = (["bash", "-c", script] as [String]).map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var pid: pid_t = 0
        // Ctrl-C must reach the supervisor through the pipe only.
        let result = withSpawnAttributes(flags: Int32(POSIX_SPAWN_SETPGROUP)) { posix_spawn(&pid, "/bin/bash", &actions, $0, arguments, environ) }
        guard result == 0 else { throw ShellFailed(description: "no bash") }
        close(ends[0])
        return (ends[1], pid)
    }

    package var target: PostgresTarget { PostgresTarget(.socketFolder(folder, port: port), database: "postgres", user: "postgres") }
    package var environment: [String: String] { ["PGHOST": folder, "PGPORT": "\(port)", "PGUSER": "postgres", "PGDATABASE": "postgres"] }

    package func connect(_ database: String = "postgres", name: String = "tests") async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            to: target.database(database), session: PostgresSession(applicationName: name), deadline: Deadline(after: .seconds(120)))
    }

    /// Runs SQL by the real psql, waiting for the server where it is still starting.
    @discardableResult
    package func psql(_ sql: String, database: String = "postgres") async throws -> String {
        for attempt in 0... {
            let outcome = try await run("psql -XqAt -v ON_ERROR_STOP=1 -d '\(database)' -f -", input: sql)
            if outcome.status == 0 { return outcome.text.trimmingCharacters(in: .newlines) }
            guard outcome.status == 2, attempt < 100 else { throw ShellFailed(description: "psql: \(outcome.errors)") }
            try await Task.sleep(for: .milliseconds(100))
        }
        fatalError("unreachable")
    }

    package func run(_ script: String, environment extra: [String: String] = [:], input: String = "") async throws -> Outcome {
        try await shell("PATH=\(Self.programs):$PATH\n" + script, environment: environment.merging(extra) { $1 }, input: input)
    }

    /// Runs a script that must succeed.
    @discardableResult
    package func must(_ script: String, environment extra: [String: String] = [:], input: String = "") async throws -> Outcome {
        let outcome = try await run(script, environment: extra, input: input)
        guard outcome.status == 0 else { throw ShellFailed(description: "\(script): status \(outcome.status): \(outcome.errors)") }
        return outcome
    }

    /// A new, empty database with a name of its own.
    package func newDatabase(_ prefix: String = "t") async throws -> String {
        let name = "\(prefix)_\(UInt32.random(in: 0 ... .max))"
        try await psql("CREATE DATABASE \(name) TEMPLATE template0")
        return name
    }
}

package func soon(_ seconds: Int = 600) -> Deadline { Deadline(after: .seconds(seconds)) }
