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
}
