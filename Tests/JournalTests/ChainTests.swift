import Journal
import RunCore
import Testing

/// The format of the chain. These values never change: they were computed with another program (Python's hashlib).
@Suite struct ChainTests {
    @Test func theOriginIsAFunctionOfTheRun() {
        #expect(hex(JournalChain.origin(of: RunID("r")!)) == "cba6bef846165cc6e9f8e6df83a21bd96f7404aa461f51e342e28bb2df0ff806")
    }

    @Test func aRecordsHashIsThePublishedOne() {
        let full = record(Conformance.entry(7), at: 2)
        #expect(hex(full.hash) == "54ea4af3d501a618a181919a6a046691cc43880723c538f262205c1db1b52fdc")
        let bare = record(JournalEntry(kind: "run.accepted", payload: []), at: 1)
        #expect(hex(bare.hash) == "e0bcae6c8e2a4bc492fe76def15050b5c286436280e9f616d4fc3dce7d7814eb")
    }

    @Test func noTwoRecordsThatDifferShareAnEncoding() {
        let entries = [
            JournalEntry(kind: "ab", payload: []), JournalEntry(kind: "a", payload: Array("b".utf8)),
            JournalEntry(kind: "ab", step: StepID("c"), payload: []),
            JournalEntry(kind: "ab", step: StepID("c"), attempt: 1, payload: []),
            JournalEntry(kind: "ab", attempt: 1, payload: []), JournalEntry(kind: "ab", payload: [0]),
        ]
        let records = entries.map { record($0, at: 1) } + entries.map { record($0, at: 2) }
        #expect(Set(records.map(\.hash)).count == records.count)
        #expect(records.allSatisfy { record in record.isIntact })
    }

    private func record(_ entry: JournalEntry, at sequence: Int64) -> JournalRecord {
        let run = RunID("r")!
        return JournalRecord(
            run: run, sequence: sequence, timeMilliseconds: 1_700_000_000_000, fence: 3, entry: entry,
            previousHash: JournalChain.origin(of: run))
    }

    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}
