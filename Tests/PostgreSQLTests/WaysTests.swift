import BlockingIO
import Foundation
import Glibc
import LoopbackSSH
import PlanModel
import PostgreSQL
import PostgresCluster
import RunCore
import SSH
import Testing

@testable import Engine

/// The three ways from the orchestrator to a server, against a cluster with TLS and an sshd, both of these tests' own.
@Suite(.serialized, .enabled(if: Cluster.isAvailable && LoopbackServer.isAvailable, Comment(rawValue: Cluster.missing)))
struct WaysTests {
    /// What a shell, a connection string, a password file or a YAML reader would trip over.
    private static let password = "ca'nary \"$HOME\" `id` %41 \\ p=q #;\nsecond líne"

    /// One for all tests here: an initdb takes seconds.
    private static let cluster = Task {
        let cluster = try await Cluster(tcpPort: freePort())
        try await cluster.psql("ALTER ROLE postgres PASSWORD \(try SQLLiteral(password).sql)")
        return cluster
    }

    /// An sshd and a session of this test's own; the server ends with the instance.
    private let server: LoopbackServer
    private let session: SSHSession

    init() async throws {
        server = try LoopbackServer()
        session = try await SSHSession.connect(to: server.target(), deadline: soon())
    }

    private func connector(
        _ via: DatabaseRef.Via?, password: String = Self.password, address: String? = nil, authority: String? = nil, port: Int? = nil,
        over other: SSHSession? = nil
    ) async throws -> DatabaseConnector {
        let cluster = try await Self.cluster.value
        let database = DatabaseRef(
            name: "chms", host: "db1", database: "postgres", socketDirectory: cluster.folder, port: port ?? cluster.port,
            password: SecretReference("env:NOT_ASKED_HERE"), via: via, address: address ?? (via == .direct ? "localhost" : nil),
            rootCertificate: authority ?? cluster.tls?.authority)
        return DatabaseConnector(database: database, hostAddress: "127.0.0.1", remote: other ?? session) { _ in password }
    }

    @Test(arguments: [nil, DatabaseRef.Via.bridge, .tunnel, .direct], [false, true])
    func everyWayLeadsToTheSameServer(_ via: DatabaseRef.Via?, loginIsNoisy: Bool) async throws {
        let cluster = try await Self.cluster.value
        let home = "/tmp/reprise-home-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: home) }
        try (loginIsNoisy ? "echo hello from the start-up file; echo trouble >&2\n" : "").write(
            toFile: home + "/.bashrc", atomically: true, encoding: .utf8)
        let server = try LoopbackServer(lines: ["SetEnv HOME=\(home)"])
        let session = try await SSHSession.connect(to: server.target(), deadline: soon())
        let connection = try await connector(via, over: session).connect("postgres", application: "reprise/x.y")
        let row = try await connection.query(
            """
            SELECT current_setting('data_directory') AS place, current_user AS role, current_setting('application_name') AS name,
                   coalesce(ssl, false) AS tls, inet_client_addr() IS NOT NULL AS tcp
            FROM pg_stat_ssl WHERE pid = pg_backend_pid()
            """, deadline: soon()
        ).only()
        #expect(try row.string("place").hasSuffix("/\((cluster.folder as NSString).lastPathComponent)/data"))
        #expect(try row.string("role") == "postgres" && row.string("name") == "reprise/x.y")
        #expect(try row.bool("tls") == (via == .direct))
        #expect(try row.bool("tcp") == (via == .tunnel || via == .direct))
        let hostile = "'; DROP TABLE members; -- \\ \" $1 \u{1F600}\n\t"
        #expect(try await connection.query("SELECT $1::text AS a", [.text(hostile)], deadline: soon()).only().string("a") == hostile)
        let rows = (0..<20_000).map { "\($0)\n" }.joined()
        let received = Received()
        #expect(try await connection.copyOut("COPY (SELECT generate_series(0, 19999)) TO STDOUT", deadline: soon()) { received.add($0) } == 20_000)
        #expect(received.text == rows)
        await #expect(throws: DeadlineExceeded.self) {
            try await connection.query("SELECT pg_sleep(60)", deadline: Deadline(after: .milliseconds(300)))
        }
        #expect(try await connection.query("SELECT 1 AS x", deadline: soon()).only().integer("x") == 1)
        await connection.close()
        await session.close()
    }

    @Test(arguments: [DatabaseRef.Via.tunnel, .direct]) func aWrongPasswordIsNamedAndNotShown(_ via: DatabaseRef.Via) async throws {
        let wrong = "wrong-canary 'x\" \n$"
        let error = await refusal { _ = try await connector(via, password: wrong).connect("postgres", application: "t") }
        #expect(error?.code == "postgresql.password-refused", "\(String(describing: error))")
        #expect(error?.isTransient == false && error?.hints.isEmpty == false)
        #expect(error?.exitStatus == .failed, "the server was reached")
        var dumped = ""
        dump(error, to: &dumped)
        #expect(!"\(String(describing: error))\(dumped)".contains("canary"))
    }

    @Test func thePasswordIsInNoArgumentAndInNoServersLog() async throws {
        let cluster = try await Self.cluster.value
        let connection = try await connector(.tunnel).connect("postgres", application: "t")
        _ = try await connection.query("SELECT 1", deadline: soon())
        let seen = try await shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; cat \(cluster.folder)/log \(server.folder)/log")
        // It is in the statement that set it, which no way of ours sends.
        #expect(seen.text.contains("postgres") && !seen.text.contains("second líne"))
        await connection.close()
    }

    @Test func aCertificateOfAnotherAuthorityIsRefused() async throws {
        let other = try await Self.cluster.value.tls?.otherAuthority
        let error = await refusal { _ = try await connector(.direct, authority: other).connect("postgres", application: "t") }
        #expect(error?.code == "postgresql.certificate-untrusted", "\(String(describing: error))")
        #expect(error?.hints.first?.contains("sslrootcert") == true && error?.isTransient == false)
    }

    @Test func aCertificateWithAnotherNameIsRefused() async throws {
        let error = await refusal { _ = try await connector(.direct, address: "127.0.0.1").connect("postgres", application: "t") }
        #expect(error?.code == "postgresql.certificate-name", "\(String(describing: error))")
        #expect(error?.hints.first?.contains("address") == true && error?.isTransient == false)
    }

    @Test func aMissingRootCertificateIsNamed() async throws {
        let error = await refusal { _ = try await connector(.direct, authority: "/nonexistent/ca.crt").connect("postgres", application: "t") }
        #expect(error?.code == "postgresql.no-root-certificate", "\(String(describing: error))")
        #expect(error?.message.contains("/nonexistent/ca.crt") == true)
    }

    @Test func aServerThatIsNotThereIsUnreachableByEveryWay() async throws {
        let nobody = try freePort()
        for via in DatabaseRef.Via.allCases {
            let error = await refusal { _ = try await connector(via, port: nobody).connect("postgres", application: "t") }
            #expect(error?.exitStatus == .unreachable, "\(via): \(String(describing: error))")
            #expect(error?.hints.isEmpty == false)
        }
    }

    private func refusal(_ body: () async throws -> Void) async -> (any RepriseError)? {
        do {
            try await body()
            return nil
        } catch {
            return error as? any RepriseError
        }
    }
}

private final class Received: @unchecked Sendable {
    private let lock = NSLock()
    private var bytes: [UInt8] = []
    func add(_ chunk: [UInt8]) { lock.withLock { bytes += chunk } }
    var text: String { String(decoding: lock.withLock { bytes }, as: UTF8.self) }
}
