import BlockingIO
import Foundation
import Glibc
import ObjectStorage
import PlanModel
import PostgreSQL
import PostgresCluster
import RunCore
import SSH
import Synchronization
import Testing

@testable import Steps

/// Whole tables from an archive that lies on the database's host, by the step itself: its jobs run on this machine.
@Suite(.enabled(if: Cluster.isAvailable && geteuid() == 0, "SKIPPED: needs PostgreSQL 15 and root, whose jobs run as postgres"))
struct ArchiveOnHostTests {
    private struct Scene {
        let cluster: Cluster
        let services: LocalServices
        let database: DatabaseRef
        let folder: String

        /// A folder of pg_dump's directory format with a table that is gone by now.
        init() async throws {
            cluster = try await Cluster.server()
            services = try await LocalServices(cluster)
            let name = try await cluster.newDatabase("folder")
            database = DatabaseRef(name: "production", host: "db1", database: name, socketDirectory: cluster.folder, port: cluster.port)
            folder = "\(cluster.folder)/it's a $(folder) of \(name)"
            try await cluster.psql(
                "CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE lost (id int PRIMARY KEY, name text); INSERT INTO lost SELECT g, 'n' || g FROM generate_series(1, 700) g",
                database: name)
            try await cluster.must("pg_dump -Fd -f \"$TO\" '\(name)' && chmod -R a+rX \"$TO\"", environment: ["TO": folder])
            try await cluster.psql("DROP TABLE lost", database: name)
        }

        func context(_ with: [String: JSONValue]) -> StepContext {
            StepContext(
                run: services.run, step: StepID("restore")!, attempt: 1, isUndo: false, isResumed: false, isDrill: false, hosts: ["db1"],
                with: with.merging(["database": "production", "tables": ["lost"], "types": "create"]) { first, _ in first }, parameters: [:],
                inventory: Inventory(databases: [database]), secretParameters: [:], outputs: StepOutputs(), deadline: soon(), specHash: "00", services: services)
        }
    }

    @Test func aFolderGivesItsTablesCountedAndItsUndoTakesThemBack() async throws {
        let scene = try await Scene(), step = PostgresRestoreTablesStep(), context = scene.context(["archive": .string(scene.folder)])
        let outcome = try await step.perform(context)
        #expect(outcome.outputs["rows"] == 700 && outcome.warnings.isEmpty, "\(outcome.warnings)")
        let name = scene.database.database
        #expect(try await scene.cluster.psql("SELECT count(*), max(name) FROM lost", database: name) == "700|n99")
        // The rows were held against the folder's own.
        #expect(try await scene.cluster.psql("SELECT rows, expected FROM reprise_audit.restored_tables", database: name) == "700|700")
        _ = try await step.undo(context)
        #expect(try await scene.cluster.psql("SELECT to_regclass('lost')", database: name) == "")
    }

    /// A file of it is cut off: the decode finds it before anything is done.
    @Test func aDamagedFolderRestoresNothing() async throws {
        let scene = try await Scene()
        try await scene.cluster.must("truncate -s 20 \"$TO\"/*.dat.gz", environment: ["TO": scene.folder])
        await #expect(throws: ContentHashFailure.self) {
            try await PostgresRestoreTablesStep().perform(scene.context(["archive": .string(scene.folder)]))
        }
        #expect(try await scene.cluster.psql("SELECT to_regclass('lost'), to_regclass('reprise_audit.restores')", database: scene.database.database) == "|")
    }

    @Test(arguments: [[:], ["backup": "fetch", "archive": "/srv/dump"]] as [[String: JSONValue]])
    func oneArchiveIsNamedAndNotTwo(fields: [String: JSONValue]) async throws {
        let scene = try await Scene()
        let refused = await #expect(throws: StepRefused.self) { try await PostgresRestoreTablesStep().perform(scene.context(fields)) }
        #expect(refused?.code == "postgres-restore-tables.which-archive")
    }

    @Test func aFolderThatIsNotThereIsNamed() async throws {
        let scene = try await Scene()
        let refused = await #expect(throws: StepRefused.self) { try await PostgresRestoreTablesStep().perform(scene.context(["archive": "/srv/no such dump"])) }
        #expect(refused?.message.contains("the archive /srv/no such dump on db1 cannot be read") == true)
    }
}

/// What a step may use of the world, where every host is this machine and the server is one of the tests' own.
private final class LocalServices: StepServices {
    let run = RunID("run-\(UInt32.random(in: 0 ... .max))")!
    private let cluster: Cluster
    private let own: LocalJobLedger
    private let observations = Mutex<[String: JSONValue]>([:])
    private let folder: String

    init(_ cluster: Cluster) async throws {
        self.cluster = cluster
        var template = Array("/var/tmp/reprise-steps-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // Jobs run as somebody else.
        chmod(folder, 0o755)
        own = try await LocalJobLedger.open(options: LedgerOptions(stateDirectory: folder + "/state"), deadline: soon())
        try await own.announce(ticket)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func ledger(_ host: String) async throws -> any JobLedger { own }
    func remote(_ host: String) async throws -> any RemoteHost { throw StepRefused("test.no-remote", "there is no other machine") }
    func forgetConnection(_ host: String, _ failed: any JobLedger) async {}
    func store(_ name: String) async throws -> any ObjectStore { throw StepRefused("test.no-store", "there is no store") }
    func connect(_ database: DatabaseRef, name: String) async throws -> PostgresConnection { try await cluster.connect(name) }
    func secret(_ name: String) async throws -> String { throw StepRefused("test.no-secret", "there is no secret") }
    var ticket: FenceTicket { FenceTicket(run: run, fence: 1, holder: "tests", operator: "tests", journalSequence: 1, journalHead: "00") }
    func observed(_ key: String) async -> JSONValue? { observations.withLock { $0[key] } }
    func observedBefore(_ key: String) async -> JSONValue? { nil }
    func observe(_ key: String, _ value: JSONValue) async throws { observations.withLock { $0[key] = value } }
    var ending: StepEnded.Cause? { nil }
    func report(_ progress: StepProgress) {}
    func output(host: String, part: String?, _ output: JobOutput) {}
}
