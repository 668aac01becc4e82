import Foundation
import Glibc
import Journal
import PlanModel
import RunCore
import SSH
import Steps
import TestSupport
import Testing

@testable import Engine

/// The end of a process's work on a run, where even that cannot be written down.
@Suite struct LettingGoTests {
    private struct Nothing: StepKind {
        static let schema = StepKindSchema(name: "nothing", summary: "does nothing", fields: [], needsHost: false)
        init() {}
        func perform(_ context: StepContext) async throws -> StepOutcome { StepOutcome() }
        func manualCommands(_ context: StepContext) -> [String] { [] }
    }

    private struct Silent: RunObserver {
        func happened(_ event: RunEvent, _ machine: RunMachine) {}
        func progressed(_ step: StepID, _ progress: StepProgress) {}
        func wrote(_ step: StepID, isUndo: Bool, host: String, part: String?, _ output: JobOutput) {}
    }

    /// What went wrong is what is said, and not that letting go failed too; and the same process can take the run in hand again.
    @Test(.enabled(if: geteuid() == 0, "SKIPPED WITHOUT ROOT: a full disk needs a tmpfs of its own"))
    func anErrorIsKeptAndTheRunIsFreeAlthoughLettingGoCannotBeWritten() async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/reprise-letting-go-\(UInt32.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        try tool("mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", folder)
        defer {
            try? tool("umount", "-l", folder)
            rmdir(folder)
        }
        let journal = try await SQLiteJournal.open(path: folder + "/journal.db")
        let orchestrator = Orchestrator(
            journal: journal, kinds: StepRegistry([Nothing.self]), connector: SSHConnector(environment: [:]), adapters: Adapters(environment: [:]),
            redactor: Redactor())
        let (run, step) = (try #require(RunID("r")), try #require(StepID("step")))
        let frozen = try FrozenRun(
            plan: Plan(name: "small", steps: [PlanStep(id: step, kind: "nothing", with: .object([:]))]), inventory: Inventory(),
            parameters: ParameterBinding(values: [:]), mode: .recovery, planPath: "small.yaml")
        let driver = try await orchestrator.accept(frozen, as: run, observer: Silent(), staysForPeople: false)

        // To the last byte; `dd` fails then, as it should.
        try? tool("dd", "if=/dev/zero", "of=\(folder)/ballast", "bs=4k", "status=none")
        // A word that does not fit: the step has not failed.
        let word = RunEvent.stepRetryRequested(OperatorOnStep(step: step, by: "anna", reason: "a test"))
        let error = await #expect(throws: InvalidTransition.self) { _ = try await driver.drive(words: [word]) }
        #expect(error?.code == "run.invalid-transition")
        // It could not be written that the run was let go of.
        let holder = try await journal.summary(run: run).holder
        #expect(holder != nil && holder?.isAlive == false)

        unlink(folder + "/ballast")
        let again = try await orchestrator.open(run, observer: Silent(), staysForPeople: false)
        #expect(try await again.drive().machine.state == .succeeded)
        try await journal.close()
    }
}
