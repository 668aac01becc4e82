import Journal
import RunCore
import Testing

extension Conformance {
    func prefixesResolve() async throws {
        let store = try await open()
        for name in ["prefix-ab", "prefix-ac", "prefix-b", "prefix-b-2"] {
            _ = try await store.create(run: Self.run(name), first: Self.entry(1), operator: Self.alice, label: "")
        }
        #expect(try await store.resolve(prefix: "prefix-ab") == Self.run("prefix-ab"))
        // A whole id wins over the longer ones that it begins.
        #expect(try await store.resolve(prefix: "prefix-b") == Self.run("prefix-b"))
        #expect(try await store.resolve(prefix: "prefix-b-") == Self.run("prefix-b-2"))
        #expect(try await store.resolve(prefix: nil) == Self.run("prefix-b-2"))
        let ambiguous = await #expect(throws: RunAmbiguous.self) { _ = try await store.resolve(prefix: "prefix-a") }
        #expect(ambiguous.map { Set($0.candidates) } == [Self.run("prefix-ab"), Self.run("prefix-ac")])
        for wrong in ["prefix-z", "", "%", "_refix", "PREFIX-AB", "prefix-ab'--", "../x", "prefix-\u{e9}"] {
            await #expect(throws: RunNotFound.self) { _ = try await store.resolve(prefix: wrong) }
        }
    }

    func boundsAreKept() async throws {
        let store = try await open()
        let id = Self.run("bounds-1")
        let hold = try await store.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        let refused: [[JournalEntry]] = [
            [], [JournalEntry(kind: "", payload: [])], [JournalEntry(kind: "with space", payload: [])],
            [JournalEntry(kind: "nul\0", payload: [])], [JournalEntry(kind: String(repeating: "k", count: 65), payload: [])],
            [JournalEntry(kind: "x", step: nil, attempt: 0, payload: [])],
        ]
        for entries in refused {
            await #expect(throws: EntryRefused.self) { _ = try await store.append(entries, hold: hold) }
        }
        await #expect(throws: EntryRefused.self) {
            _ = try await store.append([Self.entry(2)], hold: hold, label: "two words", snapshot: nil)
        }
        let largest = JournalEntry(kind: "x", payload: [UInt8](repeating: 0xff, count: JournalLimits.payloadBytes))
        #expect(try await store.append([largest], hold: hold)[0].payload == largest.payload)
        #expect(try await open().load(run: id).tail.last?.payload == largest.payload)
    }

    /// A task that is cancelled before or while it appends gets its records, and they are there.
    func cancellationDoesNotLoseAnAppend() async throws {
        let store = try await open()
        let id = Self.run("cancelled-1")
        let hold = try await store.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        for number in 2...40 {
            let task = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await store.append([Self.entry(number)], hold: hold)
            }
            task.cancel()
            let records = try await task.value
            #expect(records.map(\.sequence) == [Int64(number)])
        }
        #expect(try await open().load(run: id).head.sequence == 40)
    }

    func concurrentAppendsStayInOneChain() async throws {
        let store = try await open()
        let id = Self.run("parallel-1")
        let other = Self.run("parallel-2")
        let hold = try await store.create(run: id, first: Self.entry(0), operator: Self.alice, label: "")
        let otherHold = try await store.create(run: other, first: Self.entry(0), operator: Self.alice, label: "")
        try await store.release(otherHold)
        let sequences = try await withThrowingTaskGroup(of: [Int64].self) { group in
            for lane in 0..<20 {
                group.addTask {
                    var mine: [Int64] = []
                    for number in 0..<10 {
                        mine += try await store.append([Self.entry(lane * 10 + number)], hold: hold).map(\.sequence)
                    }
                    return mine
                }
                // A stale append that shares a commit with good ones is refused alone.
                group.addTask {
                    await #expect(throws: StaleHold.self) { _ = try await store.append([Self.entry(lane)], hold: otherHold) }
                    return []
                }
            }
            var all: [Int64] = []
            for try await mine in group {
                #expect(mine == mine.sorted())
                all += mine
            }
            return all
        }
        #expect(sequences.sorted() == Array(2...201))
        #expect(try await store.load(run: other).head.sequence == 1)
        let report = try await open().verify(run: id)
        #expect(report.isIntact && report.runsChecked == 1 && report.recordsChecked == 201)
    }

    func changesArriveAcrossStores() async throws {
        let writer = try await open()
        let reader = try await open()
        let id = Self.run("watched-1")
        let hold = try await writer.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        let seen = Task {
            var sequences: [Int64] = []
            for try await batch in reader.changes(run: id, after: 1) {
                sequences += batch.map(\.sequence)
                if sequences.count >= 30 { break }
            }
            return sequences
        }
        for number in 2...31 { _ = try await writer.append([Self.entry(number)], hold: hold) }
        #expect(try await seen.value == Array(2...31))
        let nobody = reader.changes(run: Self.run("nobody"), after: 0)
        await #expect(throws: RunNotFound.self) { for try await _ in nobody {} }
    }

    /// Taken, refused, or taken back: never two of them, whoever looks when.
    func aWordHasOneEnd() async throws {
        let holder = try await open()
        let person = try await open()
        let id = Self.run("words-1")
        _ = try await holder.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        func leave() async throws -> String { try await person.leaveWord(run: id, kind: "approval-decided", payload: Array("{}".utf8)) }

        let withdrawn = try await leave()
        #expect(try await holder.leftWords(run: id).map(\.name) == [withdrawn])
        #expect(try await person.fateOfWord(run: id, name: withdrawn) == .waiting)
        #expect(try await person.withdrawWord(run: id, name: withdrawn))
        #expect(try await holder.leftWords(run: id).isEmpty)
        // The holder may have seen it before it was taken back.
        #expect(try await !holder.claimWord(run: id, name: withdrawn))

        let taken = try await leave()
        #expect(try await holder.claimWord(run: id, name: taken))
        #expect(try await !person.withdrawWord(run: id, name: taken))
        #expect(try await person.fateOfWord(run: id, name: taken) == .waiting)
        #expect(try await holder.leftWords(run: id).isEmpty, "a claimed word is nobody else's")
        try await holder.answerWord(run: id, name: taken, refusal: nil)
        #expect(try await person.fateOfWord(run: id, name: taken) == .taken)

        let refused = try await leave()
        #expect(try await holder.claimWord(run: id, name: refused))
        try await holder.putWordBack(run: id, name: refused)
        #expect(try await holder.leftWords(run: id).map(\.name) == [refused])
        #expect(try await holder.claimWord(run: id, name: refused))
        try await holder.answerWord(run: id, name: refused, refusal: "it came too late")
        #expect(try await person.fateOfWord(run: id, name: refused) == .refused("it came too late"))
        #expect(try await !person.withdrawWord(run: id, name: refused))

        for _ in 0..<50 {
            let name = try await leave()
            async let claimed = holder.claimWord(run: id, name: name)
            async let withdrawn = person.withdrawWord(run: id, name: name)
            let ends = try await [claimed, withdrawn]
            #expect(ends.filter { $0 }.count == 1)
        }
    }

    func labelsAreListed() async throws {
        let store = try await open()
        let first = Self.run("label-1")
        let second = Self.run("label-2")
        let hold = try await store.create(run: first, first: Self.entry(1), operator: Self.alice, label: "ACCEPTED")
        _ = try await store.create(run: second, first: Self.entry(1), operator: Self.bob, label: "ACCEPTED")
        let records = try await store.append([Self.entry(2)], hold: hold, label: "RUNNING", snapshot: nil)
        _ = try await store.append([Self.entry(3)], hold: hold)
        let runs = try await open().runs(limit: 2)
        #expect(runs.map(\.run) == [second, first] && runs.map(\.label) == ["ACCEPTED", "RUNNING"])
        #expect(runs.map(\.holder?.identity) == [Self.bob, Self.alice] && runs.allSatisfy { $0.holder?.isAlive == true })
        #expect(runs[1].head.sequence == 3 && runs[1].lastEventMilliseconds >= records[0].timeMilliseconds)
        #expect(try await store.runs(limit: 1).count == 1)
    }
}
