import BlockingIO
import PostgreSQL
import PostgresCluster
import TestSupport
import Testing

@testable import Reconcile

struct NarrowingPartsTests {
    /// Against a dictionary that is too simple to be wrong.
    @Test func outstandingRowsAreFoundMovedAndTakenOut() {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        var rows = Outstanding(), model: [Outstanding.Row] = []
        for step in 0..<40_000 {
            let (key, row) = (UInt64(random.below(300)) << 3, UInt64(random.below(2)))
            switch random.below(5) {
            case 0, 1:
                rows.insert(.init(key: key, row: row, place: UInt64(step + 1)))
                model.append(.init(key: key, row: row, place: UInt64(step + 1)))
            case 3:
                guard let known = model.randomElement(using: &random) else { continue }
                let place = UInt64(step + 1) << 32
                let hasMoved = rows.move(key: known.key, from: known.place, to: place)
                #expect(hasMoved)
                model[model.firstIndex { $0.place == known.place }!].place = place
            default:
                let place = rows.remove(key: key, row: row)
                let index = model.firstIndex { $0.key == key && $0.row == row && (place == nil || $0.place == place) }
                #expect((place == nil) == (index == nil), "seed \(seed), step \(step)")
                if let index { model.remove(at: index) }
            }
        }
        #expect(rows.count == model.count)
        #expect(rows.sorted.map(\.place) == model.map(\.place).sorted(), "seed \(seed)")
    }

    /// Lines of all lengths, asked for in their order and in none, some of them before later ones are written.
    @Test func aLineIsReadWhereItWasWritten() throws {
        let seed = seed(#function)
        var random = SeededGenerator(seed), written: [(place: Int, line: [UInt8])] = []
        let file = try SpoolFile()
        for round in 0..<2000 {
            let length = random.below(20) == 0 ? random.below(300_000) : random.below(200)
            let line = [UInt8](repeating: UInt8(97 + round % 26), count: length) + [10]
            written.append((try file.append(line), line))
            let asked = random.below(3) == 0 ? written[random.below(written.count)] : written[max(0, written.count - 1 - random.below(4))]
            #expect(try file.line(at: asked.place) == asked.line, "seed \(seed), round \(round)")
        }
        for (place, line) in written { #expect(try file.line(at: place) == line, "seed \(seed), in order") }
    }

    @Test(arguments: [1, 2, 3, 7, 50, 10_000])
    func rowsAreFoundHoweverTheScriptIsCutUp(portion: Int) throws {
        let script = #"""
            SET client_encoding = 'UTF8';
            COPY app.t (id, "a,b", "x""y") FROM stdin;
            1	one	\N
            2	COPY app.t (id) FROM stdin;	\\.
            \.

            COPY app."T (2)" FROM stdin;
            \.
            COPY app.t (id) FROM stdin;
            3
            \.
            SELECT 1;

            """#
        let names = [try QualifiedName(schema: "app", name: "t"), try QualifiedName(schema: "app", name: "T (2)")]
        var parser = CopyParser(tables: Set(names)), found: [String] = []
        let bytes = Array(script.utf8)
        for start in stride(from: 0, to: bytes.count, by: portion) {
            try parser.take(bytes[start..<min(start + portion, bytes.count)]) { columns, lines, count in
                let text = String(decoding: lines, as: UTF8.self).split(separator: "\n")
                #expect(text.count == count)
                found += text.map { "\(columns.map(\.name).joined(separator: "|")): \($0)" }
            }
        }
        #expect(found == ["id|a,b|x\"y: 1\tone\t\\N", "id|a,b|x\"y: 2\tCOPY app.t (id) FROM stdin;\t\\\\.", "id: 3"])
        #expect(!parser.isInside)
    }

    @Test func anArchiveThatEndsInsideOfATableIsNotAtItsEnd() throws {
        var parser = CopyParser(tables: [try QualifiedName(schema: "app", name: "t")])
        try parser.take(Array("COPY app.t (id) FROM stdin;\n1\n".utf8)[...]) { _, _, _ in }
        #expect(parser.isInside)
        #expect(throws: ReconcileRefused.self) { try parser.take(Array("\\.\nCOPY app.other (id) FROM stdin;\n".utf8)[...]) { _, _, _ in } }
    }

    @Test func aRowOfAnotherNumberOfFieldsIsRefused() throws {
        let columns = try ["a", "b"].map(SQLIdentifier.init)
        let reader = try RowReader(columns: columns, compared: columns, key: [columns[0]])
        #expect(try reader.digests(of: Array("1\t2\n3\t4\n".utf8)).count == 2)
        #expect(throws: ReconcileRefused.self) { try reader.digests(of: Array("1\t2\n3\n".utf8)) }
        #expect(throws: ReconcileRefused.self) { try reader.digests(of: Array("1\t2\n3\t4".utf8)) }
    }

    /// The same fields in another order, and among others, are the same row; a value that moves across a column's edge is not.
    @Test func aRowIsKnownByItsFieldsAndNotByItsLayout() throws {
        let (a, b, c) = (try SQLIdentifier("a"), try SQLIdentifier("b"), try SQLIdentifier("c"))
        let plain = try RowReader(columns: [a, b], compared: [a, b], key: [b])
        let mixed = try RowReader(columns: [c, b, a], compared: [a, b], key: [b])
        let one = try plain.digests(of: Array("x\ty\n".utf8))[0], other = try mixed.digests(of: Array("zz\ty\tx\n".utf8))[0]
        #expect(one.key == other.key && one.row == other.row)
        #expect(try mixed.projected(Array("zz\ty\tx\n".utf8)) == Array("x\ty\n".utf8))
        let moved = try plain.digests(of: Array("xy\t\nx\ty\n".utf8))
        #expect(moved[0].row != moved[1].row && moved[1].row == one.row)
    }

    @Test(arguments: [
        ("2026-11-23 05:00:00+09", "2026-11-22 20:00:00+00"), ("2026-03-01 00:30:00.125-03:30", "2026-03-01 04:00:00.125+00"),
        ("1886-12-31 23:59:59+09:18:59", "1886-12-31 14:41:00+00"), ("12026-01-01 00:00:00+01", "12025-12-31 23:00:00+00"),
        ("2024-02-29 23:30:00-01", "2024-03-01 00:30:00+00"), ("infinity", "infinity"), ("\\N", "\\N"),
        ("2026-11-23 05:00:00+00", "2026-11-23 05:00:00+00"), ("0044-03-15 12:00:00+00:34 BC", "0044-03-15 12:00:00+00:34 BC"),
    ])
    func aMomentIsWrittenAsASessionInUTCWouldWriteIt(written: String, inUTC: String) {
        var line: [UInt8] = []
        Array(written.utf8).withUnsafeBytes { Moment.append($0, to: &line) }
        #expect(String(decoding: line, as: UTF8.self) == inUTC)
    }

    enum Damage: CaseIterable { case scattered, inOneStretch, inStretchesOfBothSides }

    /// What is handed on by the line: damage that is scattered, and damage in stretches that are longer than any look ahead, with room for
    /// all that is waiting and where most of it is laid aside.
    @Test(arguments: Damage.allCases, [600_000, 2_000, 0])
    func streamsThatRunBesideEachOtherMeetAgain(damage: Damage, room: Int) async throws {
        // A thread of its own: it takes seconds, in which no other test would come to its turn.
        let met = try await DedicatedThread(name: "streams").run { try Self.meet(damage, room) }
        #expect(met.left == met.differences)
        let differences = met.differences.values.reduce(0, +)
        #expect(met.handed < (damage == .scattered ? 2 : 5) * differences, "\(met.handed) lines were handed on for \(differences) differences")
    }

    /// - Returns: how many lines were handed on, and how many were left of either side; how many should be.
    private static func meet(_ damage: Damage, _ room: Int) throws -> (handed: Int, left: [Side: Int], differences: [Side: Int]) {
        let count = 120_000
        func isOnlyInBackup(_ row: Int) -> Bool {
            switch damage {
            case .scattered: row % 100 == 0 || row % 200 == 1
            case .inOneStretch, .inStretchesOfBothSides: (20_000..<30_000).contains(row)
            }
        }
        func isOnlyLive(_ row: Int) -> Bool { damage == .inStretchesOfBothSides && (60_000..<64_000).contains(row) }
        let rows = 0..<count, text: (Int) -> String = { "\($0)\tname \($0)\n" }
        let backup = rows.filter { !isOnlyLive($0) }.map(text)
        let live = rows.filter { !isOnlyInBackup($0) }.map { $0 % 200 == 2 ? "\($0)\tother\n" : text($0) }
        let missing = Set(backup).subtracting(live).count, extra = Set(live).subtracting(backup).count
        var limits = Narrowing.Limits()
        (limits.outstanding, limits.heldBytes) = (room, 20 * room)
        let columns = try [SQLIdentifier("id"), SQLIdentifier("name")], reader = try RowReader(columns: columns, compared: columns, key: [columns[0]])
        var alignment = Alignment(), elimination = try Elimination(limits), handed = 0
        func handOn(_ loose: Alignment.Loose) throws -> Side? {
            for lines in [loose.backup, loose.live] { handed += lines.count { $0 == 10 } }
            return try elimination.take(loose, reader)
        }
        for start in stride(from: 0, to: count, by: 2000) {
            for (side, lines) in [(Side.backup, backup), (.live, live)] where start < lines.count {
                alignment.take(side, lines[start..<min(start + 2000, lines.count)].flatMap { Array($0.utf8) })
                try alignment.advance(handOn)
            }
        }
        for side in Side.allCases {
            alignment.end(side)
            try alignment.advance(handOn)
        }
        var left: [Side: Int] = [:]
        try elimination.finish { side, _ in left[side, default: 0] += 1 }
        return (handed, left, [.backup: missing, .live: extra])
    }
}
