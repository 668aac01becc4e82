import PlanModel
import RunCore
import Testing

@testable import SSH
@testable import Steps

/// After which steps a service takes up what is new.
@Suite struct RestartCauseTests {
    private func environment(_ outputs: [String: JSONValue]) async throws -> [String: String] {
        let context = StepContext.own(["name": "nginx", "state": "running", "restart-when": ["cause"]], outputs: [StepID("cause")!: outputs])
        return try await ServiceStep().wantedState(on: "app1", context).environment
    }

    @Test func aCommandThatRanIsACauseAndOneThatWasLeftOutIsNone() async throws {
        let ran = StepContext.own(["run": "true"]).outcome(of: [("app1", DurableJobOutcome(result: .ended(0), stdout: [], stderr: []))])
        #expect(try await environment(ran.outputs)["RESTART_NOW"] == "1", "\(ran.outputs)")
        let found = AlreadyDone(["hosts": ["app1": true]])
        #expect(try await environment(found.outcome(ofAttempt: 1).outputs)["RESTART_NOW"] == "")
        #expect(try await environment(found.outcome(ofAttempt: 2).outputs)["RESTART_NOW"] == "1", "the first attempt did it, and was cut off")
    }

    /// A run that was cancelled before the service took it up must not be the last that knows of it.
    @Test func aCertificateIsAnsweredForByWhatItsFileHolds() async throws {
        let context = StepContext.own(["certificate": "/etc/ssl/site/fullchain.pem", "key": "/etc/ssl/site/key.pem"])
        let outcome = WantedStateReport.outcome(of: [], outputs: try CertificateStep().outputs(of: [], context))
        let environment = try await environment(outcome.outputs)
        #expect(environment["RESTART_PATHS"] == "/etc/ssl/site/fullchain.pem" && environment["RESTART_NOW"] == "")
    }
}
