import Foundation
import PostgresCluster
import Testing

/// `reprise diff` and `reprise merge` against a server of their own, by the program as people run it.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct DiffMergeTests {
    /// A live database that has lost and changed rows since it was dumped.
    struct Scene {
        let cluster: Cluster
        let program: Program
        let live: String
        let archive: String

        /// - Parameter own: a server that nobody else uses; nil for the one of all tests.
        init(on own: Cluster? = nil) async throws {
            if let own { cluster = own } else { cluster = try await Cluster.server() }
            program = try Program()
            live = try await cluster.newDatabase("diffed")
            archive = "\(program.folder)/members.dump"
            try await cluster.psql(
                """
                CREATE TABLE members (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, "at Day" timestamptz);
                INSERT INTO members (name, "at Day") SELECT 'm' || g, timestamptz '2026-01-01' + g * interval '1 day' FROM generate_series(1, 500) g
                """, database: live)
            try await cluster.must("pg_dump -Fc -f '\(archive)' '\(live)'", environment: ["PGTZ": "Asia/Tokyo"])
            try await cluster.psql(
                "DELETE FROM members WHERE id IN (7, 8); UPDATE members SET name = NULL WHERE id = 100; INSERT INTO members (name) VALUES ('new')", database: live)
        }

        func address(_ database: String) -> String { "postgresql:///\(database)?host=\(cluster.folder)&port=\(cluster.port)&user=postgres" }

        func start(_ arguments: [String]) throws -> Running {
            let path = "\(Cluster.programs):\(ProcessInfo.processInfo.environment["PATH"] ?? "")"
            return try program.start(arguments, environment: ["PATH": path])
        }

        func reprise(_ arguments: String...) async throws -> Program.Result { try await start(arguments).result() }

        /// The command that merges the archive's members into the live ones.
        var merging: [String] { ["merge", "file:\(archive)", address(live), "--table", "members"] }

        /// The hash that it asks for with these options.
        func agreed(_ options: String...) async throws -> String {
            let asked = try await start(merging + options).result()
            return String(try #require(asked.errors.firstMatch(of: /--agree ([0-9a-f]{12})/)?.1, "\(asked)"))
        }

        func rows() async throws -> String { try await cluster.psql("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM members AS t", database: live) }
    }

    @Test func everyDifferenceIsOneRecordALine() async throws {
        let scene = try await Scene()
        let result = try await scene.reprise("diff", "file:\(scene.archive)", scene.address(scene.live), "--table", "members", "--json")
        #expect(result.status == 3 && result.errors.isEmpty)
        let records = try result.jsonLines()
        #expect(records.map { $0["kind"] as? String } == ["missing", "missing", "changed", "extra"])
        let keys = records.map { ($0["key"] as? [String: String])?["id"] }
        #expect(keys == ["7", "8", "100", "501"])
        let changed = records[2], source = changed["source"] as? [String: Any], target = changed["target"] as? [String: Any]
        #expect(changed["table"] as? String == "public.members" && changed["columns"] as? [String] == ["name"])
        #expect(source?["name"] as? String == "m100" && target?["name"] is NSNull && source?["at Day"] as? String == target?["at Day"] as? String)
        #expect(records[0]["target"] == nil && records[3]["source"] == nil)
    }

    /// Whatever is compared with whatever, it is the same four differences; turned around, what was missing is what is only there.
    @Test func archivesAndDatabasesAreComparedWithEachOther() async throws {
        let scene = try await Scene(), restored = try await scene.cluster.newDatabase("restored")
        try await scene.cluster.must("pg_restore -d '\(restored)' '\(scene.archive)'")
        let other = "\(scene.program.folder)/live.dir"
        try await scene.cluster.must("pg_dump -Fd -f '\(other)' '\(scene.live)'")
        let backups = ["file:\(scene.archive)", scene.address(restored)], lives = ["file:\(other)", scene.address(scene.live)]
        for (backup, live) in backups.flatMap({ backup in lives.map { (backup, $0) } }) {
            for (sides, kinds) in [([backup, live], ["missing", "missing", "changed", "extra"]), ([live, backup], ["extra", "extra", "changed", "missing"])] {
                let result = try await scene.reprise("diff", sides[0], sides[1], "--table", "members", "--json")
                let found = try result.jsonLines().map { "\($0["kind"] ?? "") \(($0["key"] as? [String: String])?["id"] ?? "")" }.sorted()
                #expect(found == zip(kinds, ["7", "8", "100", "501"]).map { "\($0) \($1)" }.sorted(), "\(sides)")
                #expect(result.status == 3, "\(sides): \(result.errors)")
            }
        }
        let same = try await scene.reprise("diff", scene.address(restored), "file:\(scene.archive)", "--table", "members")
        #expect(same.status == 0 && same.output.contains("no differences"))
    }

    /// 120 MB differ. What is told of them is streamed, and of the texts of candidates no more than a few are in memory.
    @Test(arguments: [false, true])
    func largeValuesAreNotHeldAllAtOnce(areArchives: Bool) async throws {
        let scene = try await Scene(), other = "\(scene.program.folder)/other.dump"
        try await scene.cluster.psql(
            "CREATE TABLE large (id int PRIMARY KEY, v text); INSERT INTO large SELECT g, repeat('x', 1000000) || g FROM generate_series(1, 60) g", database: scene.live)
        try await scene.cluster.must("pg_dump -Fc -t large -f '\(scene.archive)' '\(scene.live)'")
        try await scene.cluster.psql("UPDATE large SET v = v || 'y'", database: scene.live)
        if areArchives { try await scene.cluster.must("pg_dump -Fc -t large -f '\(other)' '\(scene.live)'") }
        var environment = scene.program.ownEnvironment
        environment["PATH"] = "\(Cluster.programs):\(environment["PATH"] ?? "")"
        let running = try Running(
            executable: "/bin/sh",
            arguments: [
                "-c", #"exec "$0" "$@" > lines"#, Program.path, "diff", "file:\(scene.archive)", areArchives ? "file:\(other)" : scene.address(scene.live),
                "--table", "large", "--json",
            ], place: scene.program.folder, environment: environment)
        async let result = running.result()
        var peak = 0
        while let status = try? String(contentsOfFile: "/proc/\(running.id)/status", encoding: .utf8),
            let kilobytes = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })?.split(whereSeparator: \.isWhitespace)[1]
        {
            peak = Int(kilobytes) ?? 0
            try await Task.sleep(for: .milliseconds(10))
        }
        let (status, errors) = try await (result.status, result.errors)
        #expect(status == 3 && peak < 200_000, "\(peak) kB; \(errors)")
        try await scene.cluster.must("[ $(wc -l < '\(scene.program.folder)/lines') = 60 ] && [ $(wc -c < '\(scene.program.folder)/lines') -gt 120000000 ]")
    }

    /// Contents that rows name, whichever side is the archive, and where a server has them.
    @Test func contentsOfLargeObjectsAreDifferencesToo() async throws {
        let scene = try await Scene(), archive = "\(scene.program.folder)/pictures.dump", later = "\(scene.program.folder)/later.dump"
        try await scene.cluster.psql(
            """
            CREATE TABLE pictures (id int PRIMARY KEY, data oid); SELECT lo_from_bytea(900001, 'one'), lo_from_bytea(900002, 'two'), lo_from_bytea(900003, 'three');
            INSERT INTO pictures SELECT g, 900000 + g FROM generate_series(1, 3) AS g
            """, database: scene.live)
        try await scene.cluster.must("pg_dump -Fc -f '\(archive)' '\(scene.live)'")
        let address = scene.address(scene.live), restored = try await scene.cluster.newDatabase("pictured")
        try await scene.cluster.must("pg_restore -d '\(restored)' '\(archive)'")
        let same = try await scene.reprise("diff", "file:\(archive)", address, "--table", "pictures")
        #expect(same.status == 0 && same.output.contains("public.pictures: no differences (3 rows against 3"), "\(same.errors)")
        try await scene.cluster.psql("SELECT lo_put(900001, 0, 'O'), lo_unlink(900002)", database: scene.live)
        try await scene.cluster.must("pg_dump -Fc -f '\(later)' '\(scene.live)'")
        for source in ["file:\(archive)", scene.address(restored)] {
            for target in [address, "file:\(later)"] {
                let result = try await scene.reprise("diff", source, target, "--table", "pictures")
                #expect(result.status == 3 && result.output.contains("public.pictures: no differences"), "\(source) \(target): \(result.errors)")
                // Turned around, what is only there comes after what has changed.
                let said = ["1 missing in the target, 1 changed", "1 changed, 1 missing in the target"].map { "pg_catalog.pg_largeobject: \($0) (contents of large objects that rows name)\n" }
                #expect(said.contains { result.output.contains($0) }, "\(source) \(target): \(result.output)")
                let records = try await scene.reprise("diff", source, target, "--table", "pictures", "--json").jsonLines()
                #expect(records.compactMap { $0["kind"] as? String } == ["changed", "missing"])
                #expect((records.first?["source"] as? [String: String])?["sha256"]?.count == 64 && records.first?["table"] as? String == "pg_catalog.pg_largeobject")
            }
        }
        let turned = try await scene.reprise("diff", address, "file:\(archive)", "--table", "pictures")
        #expect(turned.output.contains("1 only in the target, 1 changed"))
        #expect(try await scene.reprise("diff", "file:\(archive)", address, "--table", "pictures", "--large-objects", "ignore").status == 0)
        let merge = ["merge", "file:\(archive)", address, "--table", "pictures", "--changed", "take-backup"]
        let path = "\(Cluster.programs):\(ProcessInfo.processInfo.environment["PATH"] ?? "")"
        let asked = try await scene.program.start(merge, environment: ["PATH": path]).result()
        let hash = try #require(asked.errors.firstMatch(of: /--agree ([0-9a-f]{12})/)?.1)
        #expect(try await scene.program.start(merge + ["--agree", String(hash)], environment: ["PATH": path]).result().status == 0)
        #expect(try await scene.reprise("diff", "file:\(archive)", address, "--table", "pictures").status == 0)
    }

    @Test func peopleSeeWhatHasChanged() async throws {
        let scene = try await Scene()
        let result = try await scene.reprise("diff", "file:\(scene.archive)", scene.address(scene.live), "--table", "members", "--samples", "1")
        #expect(result.status == 3)
        #expect(result.output.contains("public.members: 2 missing in the target, 1 changed, 1 only in the target (500 rows against 499, the archive streamed"))
        #expect(result.output.contains("  changed: id=100; name=m100 in the source, NULL in the target\n"))
        #expect(result.output.contains("id=7") && !result.output.contains("id=8"))
        // It only looked.
        #expect(try await scene.cluster.psql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'reprise%'", database: scene.live) == "0")
    }

    @Test func aMergeIsAgreedToByItsHashAndTakenBackByItsName() async throws {
        let scene = try await Scene(), before = try await scene.rows()
        let sides = ["merge", "file:\(scene.archive)", scene.address(scene.live), "--table", "members", "--changed", "take-backup", "--json"]
        func merge(_ more: String...) async throws -> Program.Result {
            let path = "\(Cluster.programs):\(ProcessInfo.processInfo.environment["PATH"] ?? "")"
            return try await scene.program.start(sides + more, environment: ["PATH": path]).result()
        }
        let asked = try await merge()
        #expect(asked.status == 5)
        let hash = try #require(asked.errors.firstMatch(of: /--agree ([0-9a-f]{12})/)?.1)
        #expect(try await scene.rows() == before, "nobody has agreed yet")
        // What is to be agreed to is there to be read.
        let preview = try #require(try asked.json() as? [String: Any])
        #expect((preview["hash"] as? String)?.hasPrefix(hash) == true && (preview["tables"] as? [Any])?.count == 1)
        #expect(try await merge("--agree", "0123456789abcdef").status == 3)
        let done = try await merge("--agree", String(hash))
        #expect(done.status == 0, "\(done.errors)")
        let outcome = try #require(try done.json() as? [String: Any]), id = try #require(outcome["merge"] as? String)
        #expect(done.errors == "reprise: note: merging as \(id)\n", "known also where its end is not seen")
        #expect((outcome["tables"] as? [[String: Any]])?.first?["inserted"] as? Int == 2)
        #expect(try await scene.cluster.psql("SELECT count(*), count(*) FILTER (WHERE name = 'new'), max(name) FILTER (WHERE id = 100) FROM members", database: scene.live) == "501|1|m100")
        // Nothing stays but the audit.
        #expect(try await scene.cluster.psql("SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'reprise%'", database: scene.live) == "reprise_audit")
        let undone = try await scene.reprise("merge", scene.address(scene.live), "--undo", id)
        #expect(undone.status == 0 && undone.output.contains("2 deleted"))
        #expect(try await scene.rows() == before)
        #expect(try await scene.reprise("merge", scene.address(scene.live), "--undo", id).output == "It was taken back before.\n")
    }

    @Test(arguments: [
        (["diff", "x", "y", "--table", "t"], "names no data to compare"), (["diff", "file:/nowhere", "file:/nowhere", "--table", "t"], "there is no archive /nowhere"),
        (["diff", "file:ARCHIVE", "postgresql://u:secret@h/d", "--table", "t"], "a password does not belong on the command line"),
        (["diff", "file:ARCHIVE", "LIVE", "--table", "nothing"], "has no table public.nothing"),
        (["diff", "file:ARCHIVE", "LIVE", "--table", "nothing=members"], "the backup has no table public.nothing"),
        (["diff", "file:ARCHIVE", "LIVE", "--table", "members", "--key", "name"], "are no key of public.members"),
        (["merge", "LIVE", "file:ARCHIVE", "--table", "members"], "an archive cannot be merged into"),
        (["merge", "file:ARCHIVE", "LIVE", "--table", "members", "--column", "name=nonsense"], "is not COLUMN=RULE"),
        (["merge", "file:ARCHIVE", "LIVE", "--table", "members", "--changed", "newest"], "needs `newest-by`"),
        (["merge", "LIVE", "--undo", "merge-of-nobody"], "this database knows no merge merge-of-nobody"),
    ])
    func whatCannotBeDoneIsSaidInOneSentence(arguments: [String], said: String) async throws {
        let scene = try await Scene(), before = try await scene.rows()
        let words = arguments.map { $0.replacing("ARCHIVE", with: scene.archive).replacing("LIVE", with: scene.address(scene.live)) }
        let result = try await scene.program.start(words, environment: ["PATH": "\(Cluster.programs):/usr/bin:/bin"]).result()
        #expect(result.status == 1 || result.status == 2, "\(result.status)")
        #expect(result.errors.contains(said) && !result.errors.contains("secret"), "\(result.errors)")
        #expect(try await scene.rows() == before)
    }
}
