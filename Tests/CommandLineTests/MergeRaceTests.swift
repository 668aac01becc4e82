import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

/// `reprise merge` where somebody else writes the same rows.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct MergeRaceTests {
    private typealias Scene = DiffMergeTests.Scene

    private func other(_ scene: Scene, _ statements: String...) async throws -> PostgresConnection {
        let other = try await scene.cluster.connect(scene.live, name: "the till")
        for sql in statements { try await other.execute(sql, deadline: soon()) }
        return other
    }

    /// They let go while the second try waits: what they wrote stays, and the rest is merged.
    @Test func whoHoldsARowIsNamedAndAnotherTryFindsItFree() async throws {
        let scene = try await Scene(), hash = try await scene.agreed("--changed", "take-backup")
        let other = try await other(scene, "BEGIN", "UPDATE public.members SET name = 'a secret' WHERE id = 100"), pid = await other.backendPID
        let merge = try scene.start(scene.merging + ["--changed", "take-backup", "--agree", hash, "--lock-timeout", "1"])
        try await Program.wait(for: "the name of who holds it") { merge.errorsSoFar.contains("trying again (2 of 5)") }
        #expect(merge.errorsSoFar.contains("held by pid \(pid) (postgres, the till), idle in transaction") && !merge.errorsSoFar.contains("secret"))
        try await other.execute("COMMIT", deadline: soon())
        let done = try await merge.result()
        #expect(done.status == 0 && done.output.contains("2 inserted, 0 updated") && done.output.contains("left alone: 1, changed since the preview"), "\(done)")
        #expect(try await scene.cluster.psql("SELECT name FROM members WHERE id = 100", database: scene.live) == "a secret")
        await other.close()
    }

    /// Nobody lets go: five tries, nothing is written, and the last word is who it was.
    @Test func aRowThatStaysHeldEndsTheMergeAndItsUndoWithTheNameOfWhoHoldsIt() async throws {
        let scene = try await Scene(), hash = try await scene.agreed("--changed", "take-backup")
        let take = ["--changed", "take-backup", "--agree", hash]
        let other = try await other(scene, "BEGIN", "SELECT FROM public.members WHERE id = 100 FOR UPDATE"), before = try await scene.rows()
        let merge = try await scene.start(scene.merging + take + ["--lock-timeout", "1", "--quiet"]).result()
        let named = "HINT: let it come to its end, or end it: SELECT pg_terminate_backend(\(await other.backendPID))"
        #expect(merge.status == 1 && merge.errors.contains(named) && !merge.errors.contains("trying again"), "\(merge)")
        #expect(try await scene.rows() == before)
        try await other.execute("ROLLBACK", deadline: soon())
        let done = try await scene.start(scene.merging + take).result()
        let id = try #require(done.output.firstMatch(of: /--undo (merge-[0-9a-f]{8})/)?.1)
        for sql in ["BEGIN", "SELECT FROM public.members WHERE id = 100 FOR UPDATE"] { try await other.execute(sql, deadline: soon()) }
        let undo = try await scene.reprise("merge", scene.address(scene.live), "--undo", String(id), "--lock-timeout", "1")
        #expect(undo.status == 1 && undo.errors.contains(named) && undo.errors.contains("trying again (5 of 5)"), "\(undo)")
        try await other.execute("ROLLBACK", deadline: soon())
        #expect(try await scene.reprise("merge", scene.address(scene.live), "--undo", String(id)).status == 0)
        #expect(try await scene.rows() == before)
        await other.close()
    }

    /// A row that nobody could see while it was looked for is there when the merge writes: the next try sees it.
    @Test func aRangeThatIsTakenAtTheSameInstantIsLeftAlone() async throws {
        let scene = try await Scene(), archive = "\(scene.program.folder)/bookings.dump"
        try await scene.cluster.psql(
            """
            CREATE TABLE bookings (id int PRIMARY KEY, hours int4range, EXCLUDE USING gist (hours WITH &&));
            INSERT INTO bookings VALUES (1, '[1,2)'), (2, '[2,3)'), (3, '[3,4)')
            """, database: scene.live)
        try await scene.cluster.must("pg_dump -Fc -f '\(archive)' '\(scene.live)'")
        try await scene.cluster.psql("DELETE FROM bookings WHERE id < 3", database: scene.live)
        let command = ["merge", "file:\(archive)", scene.address(scene.live), "--table", "bookings"]
        let hash = try #require(try await scene.start(command).result().errors.firstMatch(of: /--agree ([0-9a-f]{12})/)?.1)
        let other = try await other(scene, "BEGIN", "INSERT INTO public.bookings VALUES (9, '[1,2)')")
        let merge = try scene.start(command + ["--agree", String(hash)])
        let deadline = soon()
        while try await scene.cluster.psql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '\(scene.live)' AND application_name = 'reprise/merge' AND wait_event_type = 'Lock'",
            database: scene.live) == "0"
        {
            try #require(!deadline.hasPassed, "it waits for nothing")
        }
        try await other.execute("COMMIT", deadline: soon())
        let done = try await merge.result()
        #expect(done.status == 0 && done.output.contains("1 inserted") && done.errors.contains("trying again (2 of 5)"), "\(done)")
        #expect(try await scene.cluster.psql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM bookings", database: scene.live) == "2 3 9")
        await other.close()
    }
}
