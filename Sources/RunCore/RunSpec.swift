/// What the state machine needs to know of a plan. Frozen when the run is accepted.
package struct RunSpec: Codable, Hashable, Sendable {
    package var steps: [StepSpec]
    package var limits: Limits

    package init(steps: [StepSpec], limits: Limits = Limits()) {
        self.steps = steps
        self.limits = limits
    }

    /// How many steps may run side by side.
    package struct Limits: Codable, Hashable, Sendable {
        package var perHost: Int
        package var total: Int

        package init(perHost: Int = 4, total: Int = 16) {
            self.perHost = max(1, perHost)
            self.total = max(1, total)
        }
    }
}

package struct StepSpec: Codable, Hashable, Sendable {
    package var id: StepID
    package var needs: [StepID]
    /// Where it runs; each name counts against the limit per host.
    package var hosts: [String]
    package var retry: RetryPolicy
    package var onError: OnError
    package var hasUndo: Bool
    package var phase: Phase
    /// A person must agree before each first attempt.
    package var needsApproval: Bool
    /// The person who approves must be another than the one who started the run.
    package var approverIsNotStarter: Bool
    /// True: the step is nothing but a person's word, which is given and not skipped. Optional, so that runs of older versions are read.
    package var isApproval: Bool?

    package init(
        id: StepID, needs: [StepID] = [], hosts: [String] = [], retry: RetryPolicy = .once, onError: OnError = .stop,
        hasUndo: Bool = false, phase: Phase = .main, needsApproval: Bool = false, approverIsNotStarter: Bool = false, isApproval: Bool? = nil
    ) {
        self.id = id
        self.needs = needs
        self.hosts = hosts
        self.retry = retry
        self.onError = onError
        self.hasUndo = hasUndo
        self.phase = phase
        self.needsApproval = needsApproval
        self.approverIsNotStarter = approverIsNotStarter
        self.isApproval = isApproval
    }

    /// What a step's final failure does to the run.
    package enum OnError: String, Codable, Hashable, Sendable {
        /// Nothing new starts; what runs is let finish.
        case stop
        /// The failure is noted; the run can at best succeed with warnings.
        case `continue`
        /// The steps that succeeded are undone, the last one first.
        case undo
    }

    package enum Phase: String, Codable, Hashable, Sendable {
        case main
        /// Runs once nothing of the main phase can go on any more, whatever came of it.
        case finally
    }
}
