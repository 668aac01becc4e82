internal import BlockingIO
internal import Foundation
internal import Journal
internal import PlanModel
internal import RunCore
internal import Steps

/// Runs one attempt outside the driver's actor and reports its outcome as an event.
struct AttemptRunner: Sendable {
    let driver: RunDriver
    let key: RunDriver.AttemptKey
    let attempt: AttemptNumber
    let isResumed: Bool
    /// The step as it stood when the attempt was launched.
    let record: StepRecord?
    let timeout: Duration?

    func run() async {
        let timer = timeout.map { limit in
            Task {
                try? await Task.sleep(for: limit)
                if !Task.isCancelled { await driver.end(key, .timedOut) }
            }
        }
        defer { timer?.cancel() }
        guard let event = await outcome() else { return }
        await driver.post(.event(event, nil))
        if case .attemptDoubted(let doubt) = event { await resolve(doubt) }
    }

    /// Nil where the attempt was let go of: its fate is left to the process that resumes it.
    private func outcome() async -> RunEvent? {
        do {
            let kind = try driver.kinds.make(driver.frozen.kind(of: key.step))
            let context = try context()
            #if DEBUG || REPRISE_FAILPOINTS
                if Failpoint.mutant("outcome-before-effect") { return try await outcomeFirst(kind, context) }
            #endif
            Failpoint.hit("effect.before", context.place())
            let outcome = try await perform(kind, context)
            Failpoint.hit("effect.after", context.place())
            return success(outcome)
        } catch {
            return await failure(error)
        }
    }

    private func perform(_ kind: any StepKind, _ context: StepContext) async throws -> StepOutcome {
        guard key.isUndo else { return try await performUnlessDone(kind, context) }
        return try await driver.frozen.undo(key.step, kind, driver.kinds, context)
    }

    /// Asks the plan's own check first, where there is one; the step then works only where it is not done yet.
    private func performUnlessDone(_ kind: any StepKind, _ context: StepContext) async throws -> StepOutcome {
        guard let unless = try driver.frozen.unless(of: key.step, outputs: driver.outputs, run: driver.hold.run) else {
            return try await kind.perform(context)
        }
        let found = try await context.alreadyDone(unless)
        Failpoint.hit("unless.answered", context.place())
        guard !found.isDone else { return found.outcome(ofAttempt: attempt) }
        return try await kind.perform(context.without(found))
    }

    private func success(_ outcome: StepOutcome) -> RunEvent {
        .attemptSucceeded(
            AttemptSucceeded(
                step: key.step, attempt: attempt, isUndo: key.isUndo, evidence: outcome.evidence, outputs: outcome.outputs,
                warnings: outcome.warnings, changed: outcome.changed))
    }

    #if DEBUG || REPRISE_FAILPOINTS
        /// A fault built in on purpose: tests must notice it.
        private func outcomeFirst(_ kind: any StepKind, _ context: StepContext) async throws -> RunEvent? {
            await driver.post(.event(success(StepOutcome()), nil))
            Failpoint.hit("effect.before", context.place())
            _ = try await perform(kind, context)
            return nil
        }
    #endif

    private func failure(_ error: any Error) async -> RunEvent? {
        // An attempt that is being let go of may fail, or be in doubt, for want of its connections; that is no outcome.
        if Task.isCancelled, await driver.ending(key) == nil { return nil }
        switch error {
        case let doubt as StepInDoubt:
            return .attemptDoubted(
                AttemptDoubted(
                    step: key.step, attempt: attempt, isUndo: key.isUndo, message: doubt.message, evidence: doubt.evidence))
        case let ended as StepEnded:
            return failed(ended.cause == .timedOut ? .timedOut : .cancelled, "step.\(ended.cause)", ended.message)
        case is CancellationError:
            guard let cause = await driver.ending(key) else { return nil }
            return failed(cause == .timedOut ? .timedOut : .cancelled, "step.\(cause)", cause == .timedOut ? "its time was up" : "it was cancelled")
        case let error as any RepriseError:
            return failed(
                error.isTransient ? .failed : .permanent, error.code, error.message, error.hints, error.exitStatus,
                (error as? StepRefused)?.evidence ?? (error as? StepFailed)?.evidence ?? .null, needsNewRun: error.needsNewRun ? true : nil)
        default:
            return failed(.permanent, "step.unexpected", "an unexpected failure: \(type(of: error))", ["see the log with: reprise logs"])
        }
    }

    private func failed(
        _ kind: Failure.Kind, _ code: String, _ message: String, _ hints: [String] = [], _ status: ExitStatus = .failed,
        _ evidence: JSONValue = .null, needsNewRun: Bool? = nil
    ) -> RunEvent {
        .attemptFailed(
            AttemptFailed(
                step: key.step, attempt: attempt, isUndo: key.isUndo,
                failure: Failure(kind: kind, code: code, message: message, hints: hints, exitStatus: status, evidence: evidence, needsNewRun: needsNewRun),
                jitter: Double.random(in: 0...1)))
    }

    /// Some kinds know by themselves what to do about a doubt, for example to rebuild what lives in a scratch place.
    private func resolve(_ doubt: AttemptDoubted) async {
        do {
            if try await isAboutTheCheck() {
                let event = DoubtResolved(
                    step: key.step, verdict: .notDone, by: "plan",
                    reason: "only the check whether the step is already done had begun, which can be asked again", attempt: doubt.attempt, isUndo: doubt.isUndo)
                return await driver.post(.event(.doubtResolved(event), nil))
            }
            let kind = try driver.kinds.make(driver.frozen.kind(of: key.step))
            let resolution = try await kind.resolveDoubt(context(), StepInDoubt(doubt.message, evidence: doubt.evidence))
            guard let resolution else { return }
            let event = DoubtResolved(
                step: key.step, verdict: resolution.verdict, by: "plan", reason: resolution.reason, attempt: doubt.attempt, isUndo: doubt.isUndo)
            await driver.post(.event(.doubtResolved(event), nil))
        } catch {
            // What cannot be resolved here waits for a person, with the evidence that is already journaled.
        }
    }

    /// The step itself starts only after the answer of its `unless` is journaled.
    private func isAboutTheCheck() async throws -> Bool {
        guard !key.isUndo, try driver.frozen.step(key.step).unless != nil else { return false }
        return await driver.observation(key, AlreadyDone.observationKey) == nil
    }

    func askApproval() async {
        do {
            let kind = try driver.kinds.make(driver.frozen.kind(of: key.step))
            let message = try await kind.approvalRequest(context())
            await driver.post(.event(.approvalRequested(ApprovalRequested(step: key.step, message: message)), nil))
        } catch is CancellationError {
            return
        } catch {
            // An approval is never asked with less than all there is to know: without it the run stops here.
            await driver.post(.failed(error))
        }
    }

    private func context() throws -> StepContext {
        try driver.frozen.context(
            step: key.step, attempt: attempt, isUndo: key.isUndo, isResumed: isResumed, record: record, outputs: driver.outputs,
            deadline: timeout.map { Deadline(after: $0) }, run: driver.hold.run,
            kinds: driver.kinds, services: RunServices(driver: driver, key: key))
    }
}
