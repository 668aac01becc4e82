import BlockingIO
import Foundation
import PostgresCluster
import Testing

@testable import PostgreSQL

/// Selections are restored by the real programs, as the host would run them.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct SelectionRestoreTests {
    static let formats = ["custom.dump", "folder.dump", "tar.dump"]
    private static let everything = ["app.*", "Odd Schema.*"]

    /// What each test restores from and into.
    private struct Place {
        let cluster: Cluster
        let archives: Archives
        let format: String
        let database: String
        let selection: TableSelection
        let archive: ArchiveTOC

        init(
            _ tables: [String], excluding excluded: [String] = [], into target: Selectable.Target, format: String = "custom.dump",
            _ adjust: (inout TableSelection.Wish) -> Void = { $0.createsFunctions = true }
        ) async throws {
            cluster = try await Cluster.server()
            archives = try await Selectable.archives.value
            self.format = format
            database = try await target.database()
            archive = try ArchiveTOC(bytes: archives.bytes(format == "folder.dump" ? "folder.dump/toc.dat" : format))
            var wish = TableSelection.Wish(tables: try tables.map { try TablePattern($0) })
            wish.excluded = try excluded.map { try TablePattern($0) }
            adjust(&wish)
            selection = try TableSelection(wish, from: archive, into: try await Selectable.contents(of: database))
        }

        func restore(_ id: String = "run step", file: String? = nil, expected: [QualifiedName: Int] = [:]) async throws -> Outcome {
            let restore = SelectionRestore(selection, id: id, expectedRows: expected, lockTimeout: .milliseconds(500))
            let script = try restore.script(
                archive: "'\(file ?? archives.path(format))'", database: "'dbname=\(database)'", isTar: archive.format == .tar)
            return try await cluster.run("sh -c \"$SCRIPT\"", environment: ["SCRIPT": script], input: try restore.input())
        }

        func findings() async throws -> [String] {
            let present = try await Selectable.contents(of: database)
            return StructureDiff(archive: selection.expected(of: archive), database: selection.found(in: present, of: archive)).findings.map(\.text)
        }

        func value(_ sql: String) async throws -> String { try await cluster.psql(sql, database: database) }
        func mark(_ id: String = "run step") async throws -> SelectionMark? {
            let connection = try await cluster.connect(database)
            return try await SelectionMark.read(id, connection, deadline: soon())
        }
        func undo() async throws -> SelectionMark? {
            let connection = try await cluster.connect(database)
            return try await SelectionMark.undo("run step", lockTimeout: .seconds(1), connection, deadline: soon())
        }
        /// Of every table of the selection, in an order that does not depend on how rows lie.
        func rows(in database: String) async throws -> [String] {
            var result: [String] = []
            for table in selection.tables {
                result.append(try await cluster.psql("SELECT '\(table)', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM ONLY \(table.sql) t", database: database))
            }
            return result
        }
        /// Everything but the marks.
        func objects() async throws -> [StructureDiff.Object] {
            try await Selectable.contents(of: database).entries.filter { $0.schema != "reprise_audit" && $0.tag != "reprise_audit" }.map(\.object).sorted()
        }
    }

    @Test(arguments: formats)
    func allTablesComeIntoANewDatabaseAsTheyWere(_ format: String) async throws {
        let place = try await Place(Self.everything, into: .empty, format: format)
        let before = try await place.objects()
        let outcome = try await place.restore()
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try await place.findings() == [])
        #expect(try await place.rows(in: place.database) == place.rows(in: try await Selectable.shared.value))
        let mark = try #require(try await place.mark())
        #expect(mark.selection == place.selection && mark.rows.values.reduce(0, +) == 2556)
        // Positions of sequences: the next number is a new one.
        #expect(try await place.value("INSERT INTO app.members (org, name) VALUES (1, 'x') RETURNING id; INSERT INTO \"Odd Schema\".\"Mixed Case\" DEFAULT VALUES RETURNING \"Id\"") == "501\n3")
        // Written since: it stays.
        await #expect(throws: SelectionNotUndone.self) { try await place.undo() }
        #expect(try await place.value("DELETE FROM app.members WHERE name = 'x'; DELETE FROM \"Odd Schema\".\"Mixed Case\" WHERE \"Id\" = 3; SELECT count(*) FROM app.att") == "2000")
        let undone = try await place.undo()
        #expect(undone?.selection == place.selection)
        #expect(try await place.objects() == before)
        #expect(try await place.undo() == nil)
        #expect(try await place.mark()?.isUndone == true)
    }

    /// A part comes back under a root that lives on, and tables come back that others of the target lead to and from.
    @Test(arguments: formats)
    func whatIsMissingIsTiedToWhatIsThere(_ format: String) async throws {
        let place = try await Place(["app.att_2024", "app.members"], into: .without("DROP TABLE app.att_2024; DROP TABLE app.members CASCADE"), format: format)
        let before = try await place.objects()
        let outcome = try await place.restore()
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try await place.findings() == [])
        #expect(try await place.rows(in: place.database) == place.rows(in: try await Selectable.shared.value))
        #expect(try await place.value("SELECT count(*) FROM app.att") == "2000")
        // No index was made twice: the part's are the root's.
        #expect(try await place.value("SELECT count(*), count(i.inhparent) FROM pg_index x LEFT JOIN pg_inherits i ON i.inhrelid = x.indexrelid WHERE indrelid = 'app.att_2024'::regclass") == "2|2")
        #expect(try await place.undo() != nil)
        #expect(try await place.objects() == before)
    }

    @Test(arguments: formats)
    func anArchiveThatIsCutOffLeavesNothing(_ format: String) async throws {
        let place = try await Place(["Odd Schema.*", "app.uses", "app.orgs"], into: .empty, format: format)
        let before = try await place.objects(), cut = place.archives.path("cut-\(format)-\(UUID().uuidString)")
        // The last of its data is gone, its table of contents is whole.
        try await place.cluster.must(
            format == "folder.dump"
                ? "cp -r \(place.archives.path(format)) \(cut); for f in \(cut)/*.dat.gz; do truncate -s 12 $f; done"
                : "cp \(place.archives.path(format)) \(cut); truncate -s -\(format == "tar.dump" ? 12_000 : 40) \(cut)")
        let outcome = try await place.restore(file: cut)
        #expect(outcome.status != 0)
        #expect(try await place.objects() == before)
        #expect(try await place.mark() == nil)
    }

    @Test func aCountThatIsNotTheBackupsRollsEverythingBack() async throws {
        let place = try await Place(["app.att", "app.orgs", "app.members"], into: .empty)
        let before = try await place.objects(), part = try QualifiedName(schema: "app", name: "att_2024")
        let wrong = try await place.restore(expected: [part: 1043, try QualifiedName(schema: "app", name: "att_2025"): 900])
        #expect(wrong.status == 3)
        #expect(wrong.errors.contains("reprise: app.att: the backup holds 1943 rows, and 2000 were loaded"))
        #expect(try await place.objects() == before)
        #expect(try await place.mark() == nil)
    }

    @Test func rowsWhoseParentsAreGoneAndTablesInUseRollEverythingBack() async throws {
        let place = try await Place(["app.members"], into: .without("DROP TABLE app.members CASCADE; DELETE FROM app.orgs WHERE id = 7"))
        let before = try await place.objects()
        let orphaned = try await place.restore()
        #expect(orphaned.status == 3 && orphaned.errors.contains("violates foreign key constraint"))
        #expect(try await place.objects() == before)
        // Somebody writes the table that the key leads to: nobody waits for ever, least of all behind us.
        _ = try await place.value("INSERT INTO app.orgs (id, name) VALUES (7, 'again')")
        let writer = try await place.cluster.connect(place.database)
        try await writer.execute("BEGIN", deadline: soon())
        try await writer.execute("UPDATE app.orgs SET name = 'other' WHERE id = 1", deadline: soon())
        let waited = try await place.restore()
        #expect(waited.status == 3 && waited.errors.contains("lock timeout"))
        #expect(try await place.mark() == nil)
        try await writer.execute("COMMIT", deadline: soon())
        let outcome = try await place.restore()
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try await place.findings() == [])
        // The same restore is not done twice.
        #expect(try await place.restore().status == 3)
    }

    /// What a difference in structure looks like: nothing of these tables may be missing, and nothing more be there.
    @Test func whatIsMissingOrTooMuchAfterwardsIsFound() async throws {
        let place = try await Place(["app.members", "app.orgs"], into: .empty)
        #expect(try await place.restore().status == 0)
        _ = try await place.value(
            "DROP INDEX app.members_half; GRANT SELECT ON app.orgs TO PUBLIC; ALTER TABLE app.members ALTER mood DROP DEFAULT; CREATE INDEX more ON app.orgs (name)")
        #expect(
            Set(try await place.findings()) == [
                "INDEX app.members_half is missing", "COMMENT app.INDEX members_half is missing", "ACL app.TABLE orgs is not in the archive",
                "TABLE app.members is defined differently", "INDEX app.more is not in the archive",
            ])
    }

    @Test func aRestoreThatStillRunsIsWaitedForBeforeItsMarkIsRead() async throws {
        let place = try await Place(["app.orgs"], into: .empty)
        let other = try await place.cluster.connect(place.database)
        try await other.execute("BEGIN", deadline: soon())
        try await other.execute(SelectionMark.lock("run step"), deadline: soon())
        let connection = try await place.cluster.connect(place.database)
        await #expect(throws: (any Error).self) { try await SelectionMark.read("run step", connection, deadline: Deadline(after: .milliseconds(300))) }
        try await other.execute("COMMIT", deadline: soon())
        #expect(try await place.mark() == nil)
    }
}
