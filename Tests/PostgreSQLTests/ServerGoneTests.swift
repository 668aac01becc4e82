import Glibc
import Testing

@testable import PostgreSQL
import PostgresCluster

@Suite struct ServerGoneTests {
    /// What the real programs say when the real server is stopped under them, and what they say of everything else.
    @Test func aServerThatIsStoppedUnderAProgramIsToldFromAFailureOfItsOwn() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase()
        let ended = Task { try await cluster.run("psql -X -d \(name) -c 'SELECT pg_sleep(60)'", environment: ["LC_ALL": "C"]) }
        let find = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '\(name)' AND query LIKE '%pg_sleep%'"
        while try await cluster.psql(find) == "0" {}
        let said = try await ended.value.errors
        #expect(ServerGone.isSaid(in: said), "\(said)")
        #expect(ContentHashFailure(jobErrors: said).isTransient)
        let unreachable = try await cluster.run("psql -X -h \(cluster.folder) -p 1 -c 'SELECT 1'", environment: ["LC_ALL": "C"])
        #expect(ServerGone.isSaid(in: unreachable.errors), "\(unreachable.errors)")

        let wrong = try await cluster.run("psql -X -d \(name) -c 'SELECT * FROM nothing'", environment: ["LC_ALL": "C"])
        #expect(wrong.status != 0 && !ServerGone.isSaid(in: wrong.errors))
        #expect(!ContentHashFailure(jobErrors: wrong.errors).isTransient)
    }

    /// A server that replays its log for as long as the test wants.
    @Test func aServerThatRecoversIsToldFromOneThatIsGone() async throws {
        let cluster = try await Cluster()
        let goOn = "\(cluster.folder)/go-on", user = geteuid() == 0 ? "runuser -u postgres --" : ""
        try await cluster.must(
            """
            cd /; data=\(cluster.folder)/data
            \(user) pg_ctl -D $data -m immediate -w stop
            \(user) touch $data/recovery.signal
            echo "restore_command = 'until [ -e \(goOn) ]; do sleep 0.1; done; false'" | \(user) tee -a $data/postgresql.auto.conf
            \(user) pg_ctl -D $data -l \(cluster.folder)/log -W start
            for try in {1..600}; do said=$(psql -X -c "SELECT 1" 2>&1 || true); [[ $said != *"the database system is"* ]] || exit 0; sleep 0.1; done
            echo "$said" >&2; exit 1
            """, environment: ["LC_ALL": "C"])
        let refused = await #expect(throws: PostgresConnectionError.self) { try await cluster.connect() }
        #expect(refused?.code == PostgresConnectionError.starting && refused?.isTransient == true, "\(refused?.message ?? "")")
        let program = try await cluster.run("psql -X -c 'SELECT 1'", environment: ["LC_ALL": "C"])
        #expect(ServerGone.isSaid(in: program.errors), "\(program.errors)")
        try await cluster.must("touch \(goOn); chmod a+r \(goOn)")
        #expect(try await cluster.psql("SELECT 1") == "1")
    }
}
