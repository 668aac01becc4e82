import Foundation
import Journal
import PlanModel
import RunCore
import SSH
import Steps
import Testing

@testable import Engine

/// What a step costs must not grow with the number of steps of the run.
@Suite struct LargeRunTests {
    /// Reports what it was given, so that what reaches it can be seen.
    private struct EchoStep: StepKind {
        static let schema = StepKindSchema(
            name: "echo", summary: "reports its field", fields: [FieldSchema("say", .string, help: "what to report")], needsHost: false)
        init() {}
        func perform(_ context: StepContext) async throws -> StepOutcome {
            StepOutcome(outputs: ["said": context.with["say"] ?? "nothing"])
        }
        func manualCommands(_ context: StepContext) -> [String] { [] }
    }

    private struct Silent: RunObserver {
        func happened(_ event: RunEvent, _ machine: RunMachine) {}
        func progressed(_ step: StepID, _ progress: StepProgress) {}
        func wrote(_ step: StepID, isUndo: Bool, host: String, part: String?, _ output: JobOutput) {}
    }

    private let kinds = StepRegistry([EchoStep.self])
    private let folder = FileManager.default.temporaryDirectory.path + "/reprise-engine-\(UInt32.random(in: .min ... .max))"

    private func id(_ number: Int) throws -> StepID { try #require(StepID("step-\(number)")) }

    /// A chain of steps each of which reports what the one before it reported.
    private func drive(steps count: Int) async throws -> (end: RunEnd, journal: SQLiteJournal, run: RunID) {
        let steps = try (1...count).map { number in
            let says = number == 1 ? "hello" : "{{ steps.step-\(number - 1).said }}"
            return PlanStep(
                id: try id(number), kind: "echo", needs: number > 1 ? [try id(number - 1)] : [], with: .object(["say": .string(says)]))
        }
        let frozen = try FrozenRun(
            plan: Plan(name: "large", steps: steps), inventory: Inventory(), parameters: ParameterBinding(values: [:]), mode: .recovery,
            planPath: "large.yaml")
        let journal = try await SQLiteJournal.open(path: folder + "/journal.db")
        let orchestrator = Orchestrator(
            journal: journal, kinds: kinds, connector: SSHConnector(environment: [:]), adapters: Adapters(environment: [:]),
            redactor: Redactor())
        let run = try #require(RunID("r"))
        let driver = try await orchestrator.accept(frozen, as: run, observer: Silent(), staysForPeople: false)
        return (try await driver.drive(), journal, run)
    }

    @Test func eachStepIsGivenWhatTheOneBeforeItLeft() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (end, journal, _) = try await drive(steps: 5)
        #expect(end.machine.state == .succeeded)
        #expect(end.machine[try id(5)]?.outputs["said"] == "hello")
        try await journal.close()
    }

    /// A snapshot holds every step, so that taking one for a fixed number of events would make each event dearer in a larger run.
    @Test func snapshotsAreAsFarApartAsTheRunHasSteps() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let count = 600
        let (end, journal, run) = try await drive(steps: count)
        #expect(end.machine.state == .succeeded)
        let loaded = try await journal.load(run: run)
        // Held, two events a step: one snapshot in the middle and one near the end.
        #expect(loaded.snapshot.map { $0.atSequence / Int64(count) } == 2, "\(loaded.snapshot?.atSequence ?? 0) of \(loaded.head.sequence)")
        let resumed = try await ResumableRun.load(run, from: journal)
        #expect(resumed.machine.state == .succeeded && resumed.machine.steps == end.machine.steps)
        try await journal.close()
    }
}
