import TestSupport
import Testing

@testable import Steps

@Suite struct FileComparisonTests {
    private func bytes(_ paths: [String]) -> [[UInt8]] { paths.map { Array($0.utf8) } }
    private func text(_ paths: [[UInt8]]) -> [String] { paths.map { String(decoding: $0, as: UTF8.self) } }

    @Test func whatOnlyOneSideHasIsNamed() {
        let comparison = FileComparison(rows: bytes(["b", "a", "gone/x", "b"]), files: bytes(["a", "new", "b"]))
        #expect(text(comparison.rowsWithoutFile) == ["gone/x"] && text(comparison.filesWithoutRow) == ["new"])
        #expect(comparison.rows == 3 && comparison.files == 3)
    }

    @Test(arguments: [([String](), [String]()), (["a"], []), ([], ["a"])])
    func anEmptySideIsNoMistake(rows: [String], files: [String]) {
        let comparison = FileComparison(rows: bytes(rows), files: bytes(files))
        #expect(text(comparison.rowsWithoutFile) == rows && text(comparison.filesWithoutRow) == files)
    }

    @Test func aNameInAnotherUnicodeFormIsAnotherFile() {
        let composed = "Gr\u{fc}n", decomposed = "Gru\u{308}n"
        #expect(composed == decomposed)
        let comparison = FileComparison(rows: bytes([composed]), files: bytes([decomposed]))
        #expect(comparison.rowsWithoutFile == bytes([composed]) && comparison.filesWithoutRow == bytes([decomposed]))
    }

    @Test func patternsLeaveOutFilesThatNeedNoRowAndNoOthers() {
        let files = bytes([".gitignore", "deep/.gitignore", "a.tmp", "deep/b.tmp", "cache/c", "deep/cache/d", "tmp", "kept.tmp"])
        let comparison = FileComparison(rows: bytes(["kept.tmp"]), files: files, ignoring: [".gitignore", "*.tmp", "cache/*"])
        #expect(text(comparison.filesWithoutRow) == ["deep/cache/d", "tmp"])
        #expect(comparison.files == 3, "a file that has a row counts, whatever its name")
        #expect(comparison.rowsWithoutFile.isEmpty)
    }

    @Test func aListingIsReadByteByByte() {
        let listing: [UInt8] = Array("./a\n b".utf8) + [0] + Array("./".utf8) + [0xff, 0xfe, 0] + Array("././x".utf8) + [0]
        #expect(FileComparison.paths(inListing: listing) == [Array("a\n b".utf8), [0xff, 0xfe], Array("./x".utf8)])
        #expect(FileComparison.paths(inListing: []).isEmpty)
    }

    @Test func randomSetsAgreeWithSetArithmetic() {
        let seed = seed(#function)
        var generator = SeededGenerator(seed)
        for _ in 0..<200 {
            func some() -> Set<[UInt8]> {
                Set((0..<Int.random(in: 0...12, using: &generator)).map { _ in
                    (0..<Int.random(in: 1...2, using: &generator)).map { _ in UInt8.random(in: 0x60...0x63, using: &generator) }
                })
            }
            let rows = some(), files = some()
            let comparison = FileComparison(rows: Array(rows).shuffled(using: &generator), files: Array(files).shuffled(using: &generator))
            #expect(Set(comparison.rowsWithoutFile) == rows.subtracting(files), "seed \(seed)")
            #expect(Set(comparison.filesWithoutRow) == files.subtracting(rows), "seed \(seed)")
        }
    }
}
