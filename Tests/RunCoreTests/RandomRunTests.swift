import Foundation
import RunCore
import Testing

/// Thousands of runs at random. A failure names its seed: `REPRISE_SEED=<seed> swift test --filter RandomRunTests` repeats that run,
/// and `REPRISE_TEST_RUNS=<count>` drives more of them.
@Suite struct RandomRunTests {
    @Test func randomRunsKeepTheirPromises() throws {
        let environment = ProcessInfo.processInfo.environment
        let only = environment["REPRISE_SEED"].flatMap(UInt64.init)
        let count = environment["REPRISE_TEST_RUNS"].flatMap(UInt64.init) ?? 1500
        let first = only ?? UInt64.random(in: 0...(.max / 2))
        let transitions = try drive(first..<(first + (only == nil ? count : 1)))
        try compare(transitions, mustSeeAll: false)
    }

    /// Always the same seeds, so that the coverage does not hang on luck.
    @Test func nearlyEveryDocumentedTransitionIsTakenAndNoOther() throws {
        try compare(try drive(1..<3001), mustSeeAll: true)
    }

    private struct Transitions {
        var ofRuns: [Promises.Transition: Int] = [:]
        var ofSteps: [Promises.Transition: Int] = [:]
    }

    private func drive(_ seeds: Range<UInt64>) throws -> Transitions {
        print("random runs: seeds \(seeds)")
        var seen = Transitions(), events = 0
        for seed in seeds {
            var run = try RandomRun(seed: seed)
            do {
                try run.drive()
            } catch {
                Issue.record("seed \(seed), after \(run.events.count) events: \(error)\n\(Self.tail(run))")
                break
            }
            events += run.events.count
            for transition in run.promises.runTransitions { seen.ofRuns[transition, default: 0] += 1 }
            for transition in run.promises.stepTransitions { seen.ofSteps[transition, default: 0] += 1 }
        }
        print("random runs: \(events) events")
        return seen
    }

    private static func tail(_ run: RandomRun) -> String {
        run.events.suffix(12).map { "  \($0.kind) \($0.step?.rawValue ?? "") \($0.attempt.map(String.init) ?? "")" }.joined(separator: "\n")
    }

    private func compare(_ seen: Transitions, mustSeeAll: Bool) throws {
        try compare("RunState", seen.ofRuns, mustSeeAll)
        try compare("StepState", seen.ofSteps, mustSeeAll)
    }

    private func compare(_ type: String, _ seen: [Promises.Transition: Int], _ mustSeeAll: Bool) throws {
        let documented = try DocumentedTransitions.read(type)
        #expect(documented.count > 20, "the lists in States.swift were not understood")
        var runs: [String: Int] = [:]
        for (transition, count) in seen { runs["\(transition.from) -> \(transition.to)", default: 0] += count }
        for transition in seen.keys.sorted() where !documented.contains("\(transition.from) -> \(transition.to)") {
            Issue.record("\(type) is not documented to go \(transition)")
        }
        let rarest = runs.sorted { $0.value < $1.value }.prefix(3).map { "\($0.key) (\($0.value))" }.joined(separator: ", ")
        print("\(type): \(documented.intersection(runs.keys).count) of \(documented.count) documented transitions seen,"
            + " \(seen.count) by event; rarest: \(rarest)")
        let missing = documented.subtracting(runs.keys).sorted()
        if !missing.isEmpty { print("\(type): not seen: \(missing)") }
        guard mustSeeAll else { return }
        // A few take several coincidences at once; more than that missing means lists or dice that are wrong.
        #expect(missing.count <= 3, "\(type): never seen, though documented: \(missing)")
    }
}

/// The "Can transition to" lists of States.swift: the documentation is the oracle, so it is read where it stands.
enum DocumentedTransitions {
    static func read(_ type: String) throws -> Set<String> {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Sources/RunCore/States.swift")
        let text = try String(contentsOf: file, encoding: .utf8)
        let after = try #require(text.components(separatedBy: "package enum \(type)").dropFirst().first)
        let body = try #require(after.components(separatedBy: "\n}\n").first)
        var transitions: Set<String> = [], comment = ""
        for line in body.split(separator: "\n").map({ $0.trimmingCharacters(in: .whitespaces) }) {
            if line.hasPrefix("///") {
                comment += line.dropFirst(3)
            } else if let match = line.wholeMatch(of: /case (\w+) = "\w+"/) {
                let list = comment.components(separatedBy: "Can transition to:").dropFirst().first ?? ""
                for target in list.matches(of: /`(\w+)`/) { transitions.insert("\(match.1) -> \(target.1)") }
                comment = ""
            }
        }
        return transitions
    }
}
