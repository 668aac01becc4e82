import Foundation
import PostgreSQL
import PostgresCluster
import TestSupport
import Testing

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct ContentHashTests {
    private func expected(_ archive: String, _ cluster: Cluster, contents: ArchiveTOC? = nil) async throws -> ContentSummary {
        let outcome = try await runJob(.archive(at: archive, contents: contents), cluster)
        guard outcome.status == 0 else { throw ContentHashFailure(jobErrors: outcome.errors) }
        return try ContentSummary(jobOutput: outcome.output)
    }

    private func actual(_ database: String, _ expected: ContentSummary, _ cluster: Cluster) async throws -> ContentSummary {
        var environment = cluster.environment
        environment["PGDATABASE"] = database
        let job = ContentHashJob.database(expecting: expected, environment: environment, applicationName: "reprise/tests")
        let outcome = try await runJob(job, cluster)
        guard outcome.status == 0 else { throw ContentHashFailure(jobErrors: outcome.errors) }
        return try ContentSummary(jobOutput: outcome.output)
    }

    @Test(arguments: Archives.all)
    func everyFormatGivesTheContentOfTheDatabase(_ name: String) async throws {
        let cluster = try await Cluster.server()
        let database = try await Planted.shared.value
        let archives = try await Planted.archives.value
        let toc = name == "custom.dump" ? try ArchiveTOC(bytes: archives.bytes(name)) : nil
        let wanted = try await expected(archives.path(name), cluster, contents: toc)
        let found = try await actual(database, wanted, cluster)
        let comparison = ContentComparison(expected: wanted, actual: found)
        #expect(comparison.isMatch, "\(comparison.text)")
        #expect(wanted.tables.count == 10)
        #expect(wanted.largeObjects.count == 3)
        #expect(wanted.largeObjects.bytes == 80_000 + 10_008)
        #expect(wanted.sequences.map(\.value).sorted() == [3003, 5000])
        let rows = Dictionary(uniqueKeysWithValues: wanted.tables.map { ("\($0.name)", $0.rows) })
        #expect(rows["app.members"] == 3003)
        #expect(rows["\"Odd Schema\".nothing"] == 2)
        #expect(rows["\"Odd Schema\".empty"] == 0)
        #expect(wanted.tables.first { $0.name.name.name == "members" }?.columns.contains("full_name") == false)
    }

    @Test(arguments: ["Asia/Tokyo", "America/St_Johns", "Europe/London", "Asia/Kathmandu"])
    func aDumpFromAnotherTimeZoneVerifies(_ zone: String) async throws {
        let cluster = try await Cluster.server()
        let database = try await Planted.shared.value
        let archives = try await Archives(of: database, on: cluster, zone: zone, formats: ["custom.dump", "plain.sql"])
        for name in ["custom.dump", "plain.sql"] {
            let text = try await cluster.must("[ \(name) = plain.sql ] && cat \(archives.path("plain.sql")) || pg_restore -f - \(archives.path(name))").text
            if zone != "Europe/London" { #expect(!text.contains("2024-06-01 12:34:56.789012+00")) }
            let wanted = try await expected(archives.path(name), cluster)
            let comparison = ContentComparison(expected: wanted, actual: try await actual(database, wanted, cluster))
            #expect(comparison.isMatch, "\(name): \(comparison.text)")
        }
    }

    @Test func aDumpWithByteaAsEscapesVerifies() async throws {
        let cluster = try await Cluster.server()
        let database = try await Planted.make(cluster)
        try await cluster.psql("ALTER DATABASE \(database) SET bytea_output = 'escape'")
        let archives = try await Archives(of: database, on: cluster, zone: "Asia/Tokyo", formats: ["custom.dump"])
        let wanted = try await expected(archives.path("custom.dump"), cluster)
        let comparison = ContentComparison(expected: wanted, actual: try await actual(database, wanted, cluster))
        #expect(comparison.isMatch, "\(comparison.text)")
    }

    @Test func partitionsLoadedThroughTheirRootAreCountedAtTheRoot() async throws {
        let cluster = try await Cluster.server()
        let database = try await Planted.shared.value
        let archives = try await Archives(of: database, on: cluster, zone: "Asia/Tokyo", options: "--load-via-partition-root", formats: ["custom.dump", "plain.sql"])
        for name in ["custom.dump", "plain.sql"] {
            let wanted = try await expected(archives.path(name), cluster)
            #expect(wanted.tables.first { "\($0.name)" == "app.attendance" }?.rows == 4000)
            let comparison = ContentComparison(expected: wanted, actual: try await actual(database, wanted, cluster))
            #expect(comparison.isMatch, "\(comparison.text)")
        }
    }

    static let changes: [(String, String)] = [
        ("members", "UPDATE app.members SET zone_text = '12:30:00-14:00 and 2023-12-31 15:00:00+00' WHERE id = 2"),
        ("members", "UPDATE app.members SET name = name || 'x' WHERE id = 77"),
        ("members", "UPDATE app.members SET picture = '\\xde' WHERE id = 78"),
        ("members", "UPDATE app.members SET updated_at = updated_at + interval '1 ms' WHERE id = 79"),
        ("members", "UPDATE app.members SET data = '{\"a\": 80}' WHERE id = 80"),
        ("members", "UPDATE app.members SET ratio = nextafter(ratio) WHERE id = 2"),
        ("members", "UPDATE app.members SET tags[2] = 'q' WHERE id = 82"),
        ("members", "UPDATE app.members SET \"check\" = '' WHERE id = 83"),
        ("members", "UPDATE app.members SET email = 'M84@example.org' WHERE id = 84"),
        ("members", "DELETE FROM app.members WHERE id = 3003"),
        ("times", "UPDATE app.times SET vs[1].note = 'q\"uo,te' WHERE id = 1"),
        ("times", "UPDATE app.times SET note = '2023-12-31 15:00:00+00' WHERE id = 1"),
        ("times", "UPDATE app.times SET v.note = '2023-12-31 15:00:00+00' WHERE id = 1"),
        ("times", "UPDATE app.times SET z = '0044-03-15 12:00:01+00 BC' WHERE id = 3"),
        ("times", "UPDATE app.times SET rs = NULL WHERE id = 1"),
        ("attendance_2025", "INSERT INTO app.attendance SELECT * FROM app.attendance_2025 LIMIT 1"),
        ("attendance_2025", "UPDATE app.attendance_2025 SET info = '{\"i\": 1.0}' WHERE member = 301"),
        ("child", "UPDATE app.child SET at = at + interval '1 us'"),
        ("nothing", "INSERT INTO \"Odd Schema\".nothing DEFAULT VALUES"),
    ]

    @Test func oneChangeOfEachKindIsFoundInItsTableAndNowhereElse() async throws {
        let cluster = try await Cluster.server()
        let database = try await Planted.make(cluster)
        try await cluster.psql(
            "CREATE FUNCTION public.nextafter(x float8) RETURNS float8 LANGUAGE sql AS 'SELECT x + 1e-12'; ALTER TABLE app.members DISABLE TRIGGER touch",
            database: database)
        let archives = try await Archives(of: database, on: cluster, zone: "Asia/Tokyo", formats: ["custom.dump"])
        let wanted = try await expected(archives.path("custom.dump"), cluster)
        for (table, change) in Self.changes {
            let copy = "\(database)_x"
            try await cluster.psql("CREATE DATABASE \(copy) TEMPLATE \(database)")
            try await cluster.psql("SET search_path = public, app; " + change, database: copy)
            let comparison = ContentComparison(expected: wanted, actual: try await actual(copy, wanted, cluster))
            #expect(comparison.tables.filter { !$0.isEqual }.map(\.table.name.name) == [table], "\(change): \(comparison.text)")
            #expect(throws: ContentMismatch.self) { try comparison.requireMatch() }
            try await cluster.psql("DROP DATABASE \(copy)")
        }
    }

    @Test func changesOutsideTablesAreFound() async throws {
        let cluster = try await Cluster.server()
        let database = try await Planted.make(cluster)
        let archives = try await Archives(of: database, on: cluster, formats: ["custom.dump"])
        let wanted = try await expected(archives.path("custom.dump"), cluster)
        for (change, finding) in [
            ("SELECT lo_put(90001, 79999, 'x')", "large objects"), ("SELECT lo_unlink(90002)", "large objects"),
            ("SELECT setval('app.receipts', 4995)", "app.receipts"), ("DROP TABLE app.child", "app.child"),
            ("ALTER TABLE app.times DROP COLUMN s", "app.times"), ("CREATE TABLE app.surprise AS SELECT 1 AS x", "app.surprise"),
        ] {
            let copy = "\(database)_x"
            try await cluster.psql("CREATE DATABASE \(copy) TEMPLATE \(database)")
            try await cluster.psql(change, database: copy)
            let comparison = ContentComparison(expected: wanted, actual: try await actual(copy, wanted, cluster))
            #expect(!comparison.isMatch)
            #expect(comparison.findings.count == 1 && comparison.findings[0].hasPrefix(finding), "\(change): \(comparison.findings)")
            try await cluster.psql("DROP DATABASE \(copy)")
        }
        // A sequence that moved on is no mismatch.
        try await cluster.psql("SELECT nextval('app.receipts')", database: database)
        #expect(ContentComparison(expected: wanted, actual: try await actual(database, wanted, cluster)).isMatch)
    }

    @Test func everyCutOffArchiveIsRefused() async throws {
        let cluster = try await Cluster.server()
        let archives = try await Planted.archives.value
        for name in ["custom.dump", "plain.sql", "custom.dump.gz", "plain.sql.gz", "tar.dump"] {
            let whole = try archives.bytes(name)
            for part in [0.35, 0.6, 0.97] {
                let cut = archives.path("cut-\(name)")
                try Data(whole.prefix(Int(Double(whole.count) * part))).write(to: URL(fileURLWithPath: cut))
                let outcome = try await runJob(.archive(at: cut), cluster)
                #expect(outcome.status != 0, "\(name) at \(part)")
                #expect(throws: ContentHashFailure.self) { try ContentSummary(jobOutput: outcome.output) }
                #expect(ContentHashFailure(jobErrors: outcome.errors).code.hasPrefix("postgresql.content-"))
            }
        }
        // Plain SQL cut exactly after a whole statement looks like SQL, and restores with exit 0.
        let plain = try archives.bytes("plain.sql")
        let text = String(decoding: plain, as: UTF8.self)
        let end = try #require(text.range(of: "--\n-- PostgreSQL database dump complete"))
        try Data(text[..<end.lowerBound].utf8).write(to: URL(fileURLWithPath: archives.path("cut.sql")))
        let outcome = try await runJob(.archive(at: archives.path("cut.sql")), cluster)
        #expect(ContentHashFailure(jobErrors: outcome.errors).code == "postgresql.content-truncated")
        try await cluster.must("cd \(archives.folder); cp -r folder.dump cut-folder.dump; rm \"$(ls cut-folder.dump/*.dat.gz | sed -n 1p)\"")
        #expect(try await runJob(.archive(at: archives.path("cut-folder.dump")), cluster).status != 0)
    }

    /// An older backup is taken in place of a damaged one: what says nothing about the archive must not be called damage.
    @Test(arguments: [
        ("--version) echo 15 ;; *) head -c 20000 /dev/zero | tr '\\0' '\\n'; kill -KILL $$ ;;", "program-killed", true),
        ("--version) exit 1 ;; *) echo 'cannot open shared object file' >&2; exit 127 ;;", "program-missing", false),
        ("--version) echo 15 ;; *) echo 'could not read from input file' >&2; exit 1 ;;", "archive-damaged", false),
    ])
    func aProgramThatFailsForReasonsOfItsOwnIsNoDamage(cases: String, code: String, isTransient: Bool) async throws {
        let cluster = try await Cluster.server(), archives = try await Planted.archives.value
        let program = archives.path("pg_restore-\(code)")
        // By another process: a program that is open for writing in this one cannot be run.
        try await cluster.must("cat > '\(program)' && chmod 755 '\(program)'", input: "#!/bin/sh\ncase $1 in \(cases) esac\n")
        let outcome = try await runJob(.archive(at: archives.path("custom.dump"), pgRestore: program), cluster)
        let failure = ContentHashFailure(jobErrors: outcome.errors)
        #expect(failure.code == "postgresql.content-\(code)" && failure.isTransient == isTransient, "\(outcome.errors)")
    }

    /// Debian's pg_restore looks at all clusters before it reads an archive, and one may be in the making.
    @Test(.enabled(if: FileManager.default.fileExists(atPath: "/usr/share/postgresql-common/pg_wrapper"), "this system has no pg_wrapper"))
    func aClusterInTheMakingIsNoDamage() async throws {
        let cluster = try await Cluster.server(), archives = try await Planted.archives.value
        let folder = archives.path("clusters")
        try await cluster.must("mkdir -p '\(folder)/15/main' && echo 'port = 5432' > '\(folder)/15/main/postgresql.conf'")
        let job = ContentHashJob.archive(at: archives.path("custom.dump"), pgRestore: "/usr/bin/pg_restore")
        let outcome = try await cluster.run("unset PGHOST PGPORT PGCLUSTER; perl -", environment: ["PG_CLUSTER_CONF_ROOT": folder], input: job.program)
        #expect(outcome.status == 0, "\(outcome.errors)")
    }

    @Test func archivesOfInsertsAreRefusedByName() async throws {
        let cluster = try await Cluster.server()
        let archives = try await Archives(of: try await Planted.shared.value, on: cluster, options: "--inserts", formats: ["custom.dump", "plain.sql"])
        for name in ["custom.dump", "plain.sql"] {
            let failure = await #expect(throws: ContentHashFailure.self) { try await expected(archives.path(name), cluster) }
            #expect(failure?.code == "postgresql.content-inserts")
            #expect(failure?.hints.first?.contains("--inserts") == true)
        }
        #expect(try ArchiveTOC(bytes: archives.bytes("custom.dump")).dataTables.allSatisfy { !$0.isCopy })
    }

    @Test func whatIsMissingOnTheHostIsNamed() async throws {
        let cluster = try await Cluster.server()
        let archives = try await Planted.archives.value
        let job = ContentHashJob.archive(at: archives.path("custom.dump"), pgRestore: "/nonexistent/pg_restore")
        #expect(ContentHashFailure(jobErrors: try await runJob(job, cluster).errors).code == "postgresql.content-program-missing")
        let absent = try await runJob(.archive(at: archives.path("absent")), cluster)
        #expect(ContentHashFailure(jobErrors: absent.errors).code == "postgresql.content-archive-missing")
        let wanted = try await expected(archives.path("custom.dump"), cluster)
        let failure = await #expect(throws: ContentHashFailure.self) { try await actual("no_such_database", wanted, cluster) }
        #expect(failure?.code == "postgresql.content-database")
    }

    @Test func aPartialResultIsNoResult() {
        let table = #"{"table":"a.b","schema":"a","name":"b","columns":["x"],"rows":1,"hash":"00000000000000000000000000000000","bytes":2}"#
        let end = #"{"complete":true,"tables":1,"rows":1,"bytes":2,"encoding":"UTF8","seconds":1}"#
        #expect((try? ContentSummary(jobOutput: Array("\(table)\n\(end)\n".utf8)))?.rows == 1)
        for bad in ["", table, end, "\(table)\n\(table)\n\(end)", "\(table)\nnoise\n\(end)", "\(table)\n\(end)\n\(table)"] {
            #expect(throws: ContentHashFailure.self) { try ContentSummary(jobOutput: Array(bad.utf8)) }
        }
    }

    @Test func anyOrderOfRandomRowsHashesAlikeAndAnyFlippedByteDoesNot() async throws {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        let cluster = try await Cluster.server()
        let folder = try temporaryFolder("random")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func script(_ blocks: [[[UInt8]]]) -> [UInt8] {
            var bytes = Array("--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\nCREATE TABLE public.t (\n    a text,\n    b text\n);\n".utf8)
            for block in blocks {
                bytes += Array("COPY public.t (a, b) FROM stdin;\n".utf8) + block.flatMap { $0 + [10] } + Array("\\.\n\n".utf8)
            }
            return bytes + Array("--\n-- PostgreSQL database dump complete\n--\n".utf8)
        }
        func summary(_ blocks: [[[UInt8]]]) async throws -> ContentSummary {
            let path = folder + "/x.sql"
            try Data(script(blocks)).write(to: URL(fileURLWithPath: path))
            return try await expected(path, cluster)
        }
        for _ in 0..<8 {
            let count = Int.random(in: 1...3000, using: &random)
            let alphabet = Array("abcdefghijklmnop 0123456789:+-.{}\",ü".utf8)
            var rows = (0..<count).map { _ in
                (0..<Int.random(in: 1...(Bool.random(using: &random) ? 40 : 2000), using: &random)).map { _ in alphabet.randomElement(using: &random)! }
                    + [9] + [alphabet.randomElement(using: &random)!]
            }
            let original = try await summary([rows])
            rows.shuffle(using: &random)
            var batches: [[[UInt8]]] = []
            var rest = rows[...]
            while !rest.isEmpty {
                let size = Int.random(in: 1...rest.count, using: &random)
                batches.append(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            let shuffled = try await summary(batches)
            #expect(original.tables == shuffled.tables, "seed \(seed)")
            let victim = rows.indices.randomElement(using: &random)!
            let place = rows[victim].indices.randomElement(using: &random)!
            rows[victim][place] = rows[victim][place] == 65 ? 66 : 65
            let changed = try await summary([rows])
            #expect(changed.tables[0].rows == count)
            #expect(changed.tables[0].hash != original.tables[0].hash, "seed \(seed)")
            rows.append(rows[0])
            rows.append(rows[0])
            #expect(try await summary([rows]).tables[0].hash != changed.tables[0].hash, "seed \(seed)")
        }
    }
}
