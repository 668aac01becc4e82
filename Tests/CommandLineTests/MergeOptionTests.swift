import Foundation
import PostgresCluster
import Testing

/// What the options of `reprise merge` do, by what is in the table afterwards.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct MergeOptionTests {
    private typealias Scene = DiffMergeTests.Scene

    /// Asks for the preview, agrees to it, and returns both answers.
    private func merge(_ scene: Scene, _ options: [String]) async throws -> (asked: Program.Result, done: Program.Result) {
        let asked = try await scene.start(scene.merging + options).result()
        let hash = try #require(asked.errors.firstMatch(of: /--agree ([0-9a-f]{12})/)?.1, "\(asked)")
        let done = try await scene.start(scene.merging + options + ["--agree", String(hash)]).result()
        #expect(asked.status == 5 && done.status == 0, "\(done)")
        return (asked, done)
    }

    /// The lost rows that are back, and what row 100 holds; it has lost its name and got another day.
    private func state(_ scene: Scene) async throws -> String {
        try await scene.cluster.psql(
            "SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM members WHERE id IN (7, 8)), name, \"at Day\"::date FROM members WHERE id = 100",
            database: scene.live)
    }

    /// Others' subscribers would stop at the tables that a merge makes. On a server of its own: a slot waits for everybody's transactions.
    @Test func whereAllTablesArePublishedNothingIsMadeUnlessThatIsSaid() async throws {
        let scene = try await Scene(on: Cluster())
        try await scene.cluster.psql("CREATE PUBLICATION everything FOR ALL TABLES", database: scene.live)
        try await scene.cluster.psql("SELECT pg_create_logical_replication_slot('reader', 'pgoutput')", database: scene.live)
        let refused = try await scene.start(scene.merging).result()
        #expect(refused.status != 0 && refused.errors.contains("publication everything of \(scene.live)") && refused.errors.contains("--published accept"), "\(refused)")
        #expect(try await scene.cluster.psql("SELECT to_regnamespace('reprise_merge') IS NULL", database: scene.live) == "t")
        #expect(try await merge(scene, ["--published", "accept"]).done.output.contains("2 inserted"))
    }

    private static let lost = "UPDATE members SET \"at Day\" = '2001-01-01' WHERE id = 100"

    /// Days of the rows are 2026-01-08 and 2026-01-09 at midnight in Zurich, which is the day before in UTC.
    @Test(arguments: [
        (["--where", "id = 7"], "7||2001-01-01"), (["--missing", "skip", "--column", "name=take-backup"], "|m100|2001-01-01"),
        (["--column", "name=take-backup", "--changed", "keep-live"], "7 8|m100|2001-01-01"),
        (["--changed", "take-backup", "--column", "at Day=keep-live"], "7 8|m100|2001-01-01"), (["--changed", "fill-nulls"], "7 8|m100|2001-01-01"),
        (["--changed", "newest", "--newest-by", "at Day"], "7 8|m100|2026-04-11"), (["--since", "at Day=2026-01-08"], "8||2001-01-01"),
        (["--before", "at Day=2026-01-08"], "7||2001-01-01"), (["--since", "at Day=2026-01-07", "--before", "at Day=2026-01-08"], "7||2001-01-01"),
    ])
    func whatAnOptionSaysIsWhatComesBack(options: [String], expected: String) async throws {
        let scene = try await Scene()
        try await scene.cluster.psql(Self.lost, database: scene.live)
        _ = try await merge(scene, options)
        #expect(try await state(scene) == expected)
    }

    /// A file says what a plan's step says; options go before it, and rules of single tables before these.
    @Test func rulesOfAFileAreThoseOfAPlan() async throws {
        let scene = try await Scene()
        try await scene.cluster.psql(Self.lost, database: scene.live)
        try scene.program.write("missing: skip\ntables:\n  members:\n    missing: insert\n    where: id = 8\n    columns: {name: take-backup}\n", to: "own.yaml")
        _ = try await merge(scene, ["--rules", "own.yaml", "--where", "id = 7"])
        #expect(try await state(scene) == "8|m100|2001-01-01")
        try scene.program.write("missing: skip\nchanged: take-backup\n", to: "all.yaml")
        let (asked, _) = try await merge(scene, ["--rules", "all.yaml", "--missing", "insert"])
        #expect(asked.output.contains("columns that change: \"at Day\" in 1"))
        #expect(try await state(scene) == "7 8|m100|2026-04-11")
    }

    @Test(arguments: [
        ("tables: {members: {chagned: decide}}", "rules.yaml:1:20"), ("tables: {nobody: {missing: skip}}", "rules for table public.nobody"),
        ("changed: newest", "needs `newest-by`"), ("changed: \"{{ params.rule }}\"", "there is no parameter `rule`"), ("- missing", "expected a map"), ("", "empty"),
        ("database: production", "unknown key `database`"),
    ])
    func whatIsWrongInAFileIsSaidWithItsPlace(text: String, said: String) async throws {
        let scene = try await Scene(), before = try await scene.rows()
        try scene.program.write(text, to: "rules.yaml")
        let result = try await scene.start(scene.merging + ["--rules", "rules.yaml"]).result()
        #expect(result.status == 2 && result.errors.contains(said), "\(result)")
        #expect(try await scene.rows() == before)
    }

    /// Rows that wait are written into a file, which is filled in and given back.
    @Test func rowsAreDecidedByTheFileThatTheyWereWrittenInto() async throws {
        let scene = try await Scene()
        try await scene.cluster.psql("UPDATE members SET name = 'by hand' WHERE id = 200", database: scene.live)
        let waiting = ["--changed", "decide", "--undecided", "waiting"]
        let asked = try await scene.start(scene.merging + waiting).result()
        #expect(asked.status == 5 && asked.errors.contains("rows that wait for a decision stand in waiting") && asked.output.contains("2 wait for a decision"), "\(asked)")
        let mode = try FileManager.default.attributesOfItem(atPath: "\(scene.program.folder)/waiting")[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let again = try await scene.start(scene.merging + waiting).result()
        #expect(again.status == 2 && again.errors.contains("waiting cannot be written"), "\(again)")
        let lines = scene.program.read("waiting").split(separator: "\n")
        #expect(lines.count == 2 && lines[0].contains(#""key":{"id":"100"}"#))
        let decided = [lines[0].replacing(#""take":"""#, with: #""take":"backup""#), lines[1].replacing(#""take":"""#, with: #""take":"live""#)]
        try scene.program.write((decided + [#"{"table": "members", "key": {"id": 7}, "take": "live"}"#]).joined(separator: "\n"), to: "decided")
        let (first, _) = try await merge(scene, ["--changed", "decide", "--decisions", "decided"])
        #expect(first.errors.contains("line 3 of the decisions decides no row that waits for one"))
        #expect(try await scene.cluster.psql("SELECT string_agg(name, ' ' ORDER BY id) FROM members WHERE id IN (7, 8, 100, 200)", database: scene.live) == "m7 m8 m100 by hand")
        let nowhere = try await scene.start(scene.merging + ["--decisions", "nowhere"]).result()
        #expect(nowhere.status == 2 && nowhere.errors.contains("the decisions nowhere cannot be read"), "\(nowhere)")
    }

    /// Without its name the trigger makes the merge refuse; with it, who is asked reads who will wait, and it is on again afterwards.
    @Test func aTriggerThatIsNamedIsOffForTheMergeAlone() async throws {
        let scene = try await Scene()
        try await scene.cluster.psql(
            """
            CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
            CREATE TRIGGER "shout it" BEFORE INSERT OR UPDATE ON members FOR EACH ROW EXECUTE FUNCTION shout()
            """, database: scene.live)
        let before = try await scene.rows(), hash = try await scene.agreed()
        let refused = try await scene.start(scene.merging + ["--agree", hash]).result()
        #expect(refused.status == 3 && refused.errors.contains("shout it"), "\(refused)")
        let unknown = try await scene.start(scene.merging + ["--disable-trigger", "members:shout"]).result()
        #expect(unknown.status == 2 && unknown.errors.contains("table public.members has no trigger shout") && unknown.output.isEmpty, "\(unknown)")
        let other = try await scene.start(scene.merging + ["--agree", hash, "--disable-trigger", "members:shout it"]).result()
        #expect(other.status == 3 && other.errors.contains("are not those that were agreed to"), "\(other)")
        #expect(try await scene.rows() == before)
        let (asked, _) = try await merge(scene, ["--disable-trigger", "members:shout it"])
        let said = #"Off while it is merged: trigger "shout it" of public.members. Whoever writes public.members waits for all of the merge, about "#
        #expect(asked.output.contains(said) && asked.output.contains("2 rows at 10,000 a second"), "\(asked)")
        #expect(try await scene.cluster.psql("SELECT string_agg(name, ' ' ORDER BY id) FROM members WHERE id IN (7, 8)", database: scene.live) == "m7 m8")
        #expect(try await scene.cluster.psql("SELECT tgenabled FROM pg_trigger WHERE tgname = 'shout it'", database: scene.live) == "O")
    }

    /// A table that nobody named gives the rows that are needed, and no others; from an archive and from a database.
    @Test func parentsComeAlongWhereTheyAreFollowed() async throws {
        let scene = try await Scene(), archive = "\(scene.program.folder)/visits.dump"
        try await scene.cluster.psql(
            """
            CREATE TABLE places (id int PRIMARY KEY, name text); CREATE TABLE rooms (id int PRIMARY KEY, place int REFERENCES places);
            CREATE TABLE visits (id int PRIMARY KEY, room int REFERENCES rooms, seen int);
            INSERT INTO places SELECT g, 'p' || g FROM generate_series(1, 4) g; INSERT INTO rooms SELECT g, g FROM generate_series(1, 4) g;
            INSERT INTO visits SELECT g, g FROM generate_series(1, 3) g
            """, database: scene.live)
        try await scene.cluster.must("pg_dump -Fc -f '\(archive)' '\(scene.live)'")
        let restored = try await scene.cluster.newDatabase("visited")
        try await scene.cluster.must("pg_restore -d '\(restored)' '\(archive)'")
        let found = "SELECT string_agg(x, ' ') FROM (SELECT 'p' || id FROM places UNION ALL SELECT 'r' || id FROM rooms UNION ALL SELECT 'v' || id FROM visits ORDER BY 1) AS t(x)"
        for source in ["file:\(archive)", scene.address(restored)] {
            // Of the fourth place and room nobody needs anything; the first ones have other values by now, which stay.
            try await scene.cluster.psql(
                "DELETE FROM visits; DELETE FROM rooms WHERE id > 1; DELETE FROM places WHERE id > 1; UPDATE places SET name = 'now' WHERE id = 1", database: scene.live)
            let command = ["merge", source, scene.address(scene.live), "--table", "visits", "--parents", "follow"]
            let asked = try await scene.start(command).result()
            #expect(asked.output.contains("public.places: 2 missing: insert (needed by public.rooms)"), "\(asked)")
            let hash = try #require(asked.errors.firstMatch(of: /--agree ([0-9a-f]{12})/)?.1)
            #expect(try await scene.start(command + ["--agree", String(hash)]).result().status == 0)
            #expect(try await scene.cluster.psql(found, database: scene.live) == "p1 p2 p3 r1 r2 r3 v1 v2 v3")
            #expect(try await scene.cluster.psql("SELECT name FROM places WHERE id = 1", database: scene.live) == "now")
        }
        let same = try await scene.start(["merge", scene.address(scene.live), scene.address(scene.live), "--table", "visits=visits", "--parents", "follow"]).result()
        #expect(same.status == 2 && same.errors.contains("have no names in the same database"), "\(same)")
    }

    @Test func aWindowIsOfOneColumn() async throws {
        let scene = try await Scene()
        let two = try await scene.start(scene.merging + ["--since", "id=3", "--before", "at Day=2026-01-08"]).result()
        #expect(two.status == 2 && two.errors.contains("--since and --before name two columns"), "\(two)")
        let bare = try await scene.start(scene.merging + ["--since", "2026-01-08"]).result()
        #expect(bare.status == 2 && bare.errors.contains("2026-01-08 is not COLUMN=VALUE"), "\(bare)")
    }
}
