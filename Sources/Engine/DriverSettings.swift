package import RunCore
package import SSH
package import Steps

/// How a driver behaves; nothing in it changes what a run means.
package struct DriverSettings: Sendable {
    /// Who drives, as it is journaled.
    package var operatorName: String
    /// Stays when only a person can move the run on, instead of ending with exit status 5.
    package var staysForPeople: Bool
    /// Events between two snapshots of the state, or the number of the run's steps where that is more; bounds what a resumed process
    /// has to fold.
    package var eventsPerSnapshot: Int
    /// How long a host may be out of reach until a step gives it up.
    package var patience = Duration.seconds(600)

    package init(operatorName: String, staysForPeople: Bool = false, eventsPerSnapshot: Int = 256) {
        self.operatorName = operatorName
        self.staysForPeople = staysForPeople
        self.eventsPerSnapshot = eventsPerSnapshot
    }
}

/// How a drive ended.
package struct RunEnd: Sendable {
    package let machine: RunMachine
    /// The operator let go while steps were under way; jobs on hosts go on.
    package let isDetached: Bool

    package init(machine: RunMachine, isDetached: Bool) {
        self.machine = machine
        self.isDetached = isDetached
    }

    package var exitStatus: ExitStatus {
        if isDetached { return .detached }
        switch machine.state {
        case .succeeded: return .done
        case .succeededWithWarnings: return .doneWithWarnings
        case .waiting: return .waitingForPerson
        case .paused, .accepted, .running, .pausing, .cancelling, .undoing: return .interrupted
        // Whoever ended it knows why; the status of what had failed would say that this was refused.
        case .cancelled, .undone: return .failed
        case .failed:
            let failures = machine.steps.filter { $0.state == .failed || $0.state == .timedOut }.compactMap(\.failure)
            return failures.map(\.exitStatus).first { $0 != .failed } ?? .failed
        }
    }
}

/// Sees what happens in a run, for people. Called from several threads; must return at once.
package protocol RunObserver: Sendable {
    /// An event that is durable now, and the state after it.
    func happened(_ event: RunEvent, _ machine: RunMachine)
    func progressed(_ step: StepID, _ progress: StepProgress)
    func wrote(_ step: StepID, isUndo: Bool, host: String, part: String?, _ output: JobOutput)
}
