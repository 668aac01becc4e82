import ObjectStorage
import PlanModel
import PostgreSQL
import RunCore
import SSH
import Steps

/// What a step may use of the world, where it needs nothing but its secrets.
struct OwnServices: StepServices {
    var secrets: [String: String] = [:]

    func ledger(_ host: String) async throws -> any JobLedger { throw StepRefused("test.no-ledger", "there is no host") }
    func remote(_ host: String) async throws -> any RemoteHost { throw StepRefused("test.no-remote", "there is no host") }
    func forgetConnection(_ host: String, _ failed: any JobLedger) async {}
    func store(_ name: String) async throws -> any ObjectStore { throw StepRefused("test.no-store", "there is no store") }
    func connect(_ database: DatabaseRef, name: String) async throws -> PostgresConnection { throw StepRefused("test.no-database", "there is no database") }
    func secret(_ name: String) async throws -> String {
        guard let value = secrets[name] else { throw StepRefused("test.no-secret", "there is no secret \(name)") }
        return value
    }
    var ticket: FenceTicket { FenceTicket(run: StepContext.ownRun, fence: 1, holder: "tests", operator: "tests", journalSequence: 1, journalHead: "00") }
    func observed(_ key: String) async -> JSONValue? { nil }
    func observedBefore(_ key: String) async -> JSONValue? { nil }
    func observe(_ key: String, _ value: JSONValue) async throws {}
    var ending: StepEnded.Cause? { nil }
    func report(_ progress: StepProgress) {}
    func output(host: String, part: String?, _ output: JobOutput) {}
}

extension StepContext {
    static let ownRun = RunID("run-1")!

    /// The first attempt of a step of these fields.
    static func own(_ with: [String: JSONValue], outputs: [StepID: [String: JSONValue]] = [:], secrets: [String: String] = [:]) -> StepContext {
        StepContext(
            run: ownRun, step: StepID("step")!, attempt: 1, isUndo: false, isResumed: false, isDrill: false, hosts: ["app1"], with: with, parameters: [:],
            inventory: Inventory(), secretParameters: [:], outputs: StepOutputs(outputs), deadline: nil, specHash: "00", services: OwnServices(secrets: secrets))
    }
}
