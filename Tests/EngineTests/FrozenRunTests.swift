import Foundation
import Journal
import PlanModel
import PlanYAML
import RunCore
import Steps
import Testing

@testable import Engine

@Suite struct FrozenRunTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    private func frozen(mode: RunMode = .recovery, parameters words: [String] = []) throws -> FrozenRun {
        let inventory = try loadInventory(at: Self.root + "/inventory/lab.yaml").inventory
        let plan = try loadPlan(at: Self.root + "/plans/db-corruption.yaml", kinds: StepRegistry.standard.schemas, inventory: inventory).plan
        let binding = try #require(ParameterBinding.bind(words, to: plan).binding)
        return try FrozenRun(plan: plan, inventory: inventory, parameters: binding, mode: mode, planPath: "plans/db-corruption.yaml")
    }

    /// What is bound to a job on a host must be the same in the process that resumes it.
    @Test func aResumedProcessComputesTheSameHashOfEveryStep() throws {
        let original = try frozen()
        let accepted = try original.accepted(startedBy: "anna@bastion", kinds: .standard)
        let entry = try EventCodec.entry(.accepted(accepted))
        let event = try #require(try RunEvent(kind: entry.kind) { try EventCodec.decode($0, entry.payload) })
        guard case .accepted(let read) = event else { throw Problem.wrongKind }
        let copy = try FrozenRun.read(read)
        for (step, _) in original.steps {
            #expect(try copy.specHash(of: step.id) == original.specHash(of: step.id))
            #expect(copy.timeout(of: step.id) == original.timeout(of: step.id))
        }
        #expect(copy.planDigest == original.planDigest)
    }

    @Test func anotherParameterGivesAnotherHash() throws {
        let step = try #require(StepID("restore"))
        #expect(try frozen().specHash(of: step) != frozen(parameters: ["scratch=other"]).specHash(of: step))
    }

    @Test func aWaivedApprovalAsksNobody() throws {
        func needsApproval(_ run: FrozenRun) throws -> Bool? {
            try run.accepted(startedBy: "anna", kinds: .standard).spec.steps.first { $0.id.rawValue == "approve-swap" }?.needsApproval
        }
        #expect(try needsApproval(frozen()) == true)
        #expect(try needsApproval(frozen(parameters: ["approve=no"])) == false)
    }

    /// Of a parameter's value the plan's validation cannot know.
    @Test(arguments: [("db1", nil), ("db", nil), ("all", "run.several-hosts"), ("bd1", "run.unknown-host")] as [(String, String?)])
    func whatAParameterNamesIsLookedUpBeforeTheRun(target: String, refused: String?) throws {
        let inventory = try loadInventory(at: Self.root + "/inventory/lab.yaml").inventory
        let text = """
            reprise: 1
            name: named
            parameters:
              where: {type: string, required: true}
            steps:
              - {id: get, kind: fetch-backup, on: "{{ params.where }}", with: {store: backups}}

            """
        let plan = try #require(readPlan(SourceText(Array(text.utf8), file: "named.yaml"), kinds: StepRegistry.standard.schemas, inventory: inventory).plan)
        let binding = try #require(ParameterBinding.bind(["where=\(target)"], to: plan).binding)
        do {
            let run = try FrozenRun(plan: plan, inventory: inventory, parameters: binding, mode: .recovery, planPath: "p")
            #expect(refused == nil && run.hosts(of: plan.steps[0]) == ["db1"])
        } catch let refusal as StepRefused {
            #expect(refusal.code == refused)
        }
    }

    /// What a step has told of the host that it made is known from then on, and the frozen copy stays as it was.
    @Test func aHostThatTheRunHasMadeIsKnownByWhatItsStepSaid() throws {
        let inventory = Inventory(hosts: [Host(name: "new1")])
        let text = """
            reprise: 1
            name: made
            steps:
              - {id: make, kind: provision, on: orchestrator, with: {host: new1, run: "true"}}
              - {id: use, kind: command, on: new1, with: {run: hostname}}

            """
        let plan = try #require(readPlan(SourceText(Array(text.utf8), file: "made.yaml"), kinds: StepRegistry.standard.schemas, inventory: inventory).plan)
        let binding = try #require(ParameterBinding.bind([], to: plan).binding)
        let run = try FrozenRun(plan: plan, inventory: inventory, parameters: binding, mode: .recovery, planPath: "p")
        #expect(run.inventory(knowing: StepOutputs()).host("new1")?.address == nil)
        let made: JSONValue = ["host": "new1", "address": "203.0.113.7", "hostKeys": ["ssh-ed25519 AAAA"]]
        let outputs = StepOutputs([StepID("make")!: ["provisioned": made]])
        #expect(run.inventory(knowing: outputs).host("new1")?.address == "203.0.113.7")
        #expect(run.inventory(knowing: outputs).host("new1")?.hostKeys == ["ssh-ed25519 AAAA"])
        #expect(run.inventory.host("new1")?.address == nil)
    }

    @Test func aDrillLeavesOutTheCutover() throws {
        let ids = try frozen(mode: .drill).steps.map(\.step.id.rawValue)
        #expect(!ids.contains("swap"))
        #expect(ids.contains("restore"))
    }

    @Test func aRunReservesTheDatabasesThatItsStepsName() throws {
        #expect(try frozen().claims(on: "db1") == ["database:5432:chms_production"])
        #expect(try frozen().claims(on: "app1").isEmpty)
    }

    @Test func onlyADrillIsKeptAwayFromProductionsClusters() throws {
        #expect(try frozen().drillGuard == nil)
        let drillGuard = try #require(try frozen(mode: .drill).drillGuard)
        #expect(drillGuard.production == [] && !drillGuard.allowsSameCluster)
        let original = try frozen(mode: .drill)
        var plan = original.plan, inventory = original.inventory
        inventory.productionSystemIdentifiers = ["7312345678901234567"]
        let listed = try FrozenRun(plan: plan, inventory: inventory, parameters: original.parameters, mode: .drill, planPath: "p")
        #expect(listed.drillGuard?.production == ["7312345678901234567"])
        plan.allow = [.sameCluster]
        let allowed = try FrozenRun(plan: plan, inventory: inventory, parameters: original.parameters, mode: .drill, planPath: "p")
        #expect(allowed.drillGuard == nil)
    }

    @Test func runIdsSortByTheirStart() {
        let early = makeRunID(secondsSince1970: 1_790_000_000, suffix: 7)
        let late = makeRunID(secondsSince1970: 1_790_000_001, suffix: 3)
        #expect(early < late)
        #expect(makeRunID(secondsSince1970: 0, suffix: 0).rawValue.hasPrefix("19700101-000000-"))
    }

    private enum Problem: Error { case wrongKind }
}
