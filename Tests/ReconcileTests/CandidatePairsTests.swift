import PostgreSQL
import Testing

@testable import Reconcile

struct CandidatePairsTests {
    private func lines(_ lines: [String]) throws -> RowLines {
        let result = try RowLines()
        for line in lines { try result.append(Array("\(line)\n".utf8)) }
        return result
    }

    private func pairs(_ own: [String], _ theirs: [String], limit: Int, hasKey: Bool = true, hasPairs: Bool = true) throws -> [String] {
        let columns = try ["id", "v"].map(SQLIdentifier.init), key = hasKey ? [columns[0]] : nil
        let pairs = CandidatePairs(reader: try RowReader(columns: columns, compared: columns, key: key), hasPairs: hasPairs, limit: limit)
        var found: [String] = []
        let text = { (line: ArraySlice<UInt8>?) in line.map { String(decoding: $0, as: UTF8.self) } ?? "-" }
        try pairs.forEach(try lines(own), try lines(theirs)) { found.append("\(text($0)) \(text($1))") }
        return found
    }

    /// In however many parts it is done; a key that a side has twice takes as many partners as there are.
    @Test(arguments: [1, 7, 1000])
    func eachRowMeetsTheOneOfItsKeyOnce(limit: Int) throws {
        let own = (0..<100).map { "\($0)\ta" } + ["7\tagain", "200\ta"], theirs = (50..<150).reversed().map { "\($0)\tb" } + ["60\tonce more"]
        let found = try pairs(own, theirs, limit: limit)
        let expected = (0..<50).map { "\($0)\ta -" } + ["7\tagain -", "200\ta -"] + (50..<100).map { "\($0)\ta \($0)\tb" }
            + (100..<150).map { "- \($0)\tb" } + ["- 60\tonce more"]
        #expect(found.sorted() == expected.sorted())
        // Undivided, the backup's come first, and each side in its order.
        if limit == 1000 { #expect(found.first == "0\ta -" && found.last == "- 60\tonce more") }
    }

    @Test func rowsWithoutAKeyMeetThoseThatAreTheSameOrNone() throws {
        let own = ["1\ta", "1\ta", "2\tb"], theirs = ["2\tb", "1\ta", "3\tc"]
        #expect(try pairs(own, theirs, limit: 10, hasKey: false).sorted() == ["- 3\tc", "1\ta -", "1\ta 1\ta", "2\tb 2\tb"])
        #expect(try pairs(own, theirs, limit: 1, hasKey: false, hasPairs: false).count == 6)
    }
}
