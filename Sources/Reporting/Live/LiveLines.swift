internal import RunCore
internal import Steps

/// The lines of a live view that stay.
struct LiveLines {
    let settings: LiveView.Settings

    init(_ settings: LiveView.Settings) { self.settings = settings }

    /// - Parameters:
    ///   - seconds: how long the attempt took that the event ends.
    ///   - callsOutHolder: another process than before has the run in hand.
    func lines(_ event: RunEvent, _ machine: RunMachine, seconds: Double?, callsOutHolder: Bool) -> [String] {
        guard isShown(event, callsOutHolder) else { return [] }
        let style = settings.style
        switch event {
        case .held(let held):
            guard held.fence > 1 else { return [line(" ", sentence(event), .normal)] }
            return calledOut(held, machine)
        case .attemptSucceeded(let ended):
            let time = seconds.map { "  \(style.paint(durationText($0), .faint))" } ?? ""
            return [line(style.glyph(.succeeded), sentence(event), event.role) + time] + ended.warnings.map { warning($0) }
        case .attemptFailed(let failed):
            let again = machine[failed.step]?.waitsForRetry == true ? " (another attempt follows)" : ""
            return [line(style.glyph(.failed), sentence(event) + again, .bad)] + failed.failure.hints.map { "          HINT: \(oneLine($0))" }
        case .attemptDoubted: return [line(style.glyph(.inDoubt), sentence(event), .attention)]
        case .approvalRequested(let asked):
            // On a terminal the question follows at once, with its whole text.
            if settings.mode == .terminal { return [line(style.glyph(.waiting), "\(asked.step) waits for approval", .attention)] }
            let text = terminalSafe(asked.message).split(separator: "\n", omittingEmptySubsequences: false).map { "          \($0)" }
            return [line(style.glyph(.waiting), "\(asked.step) waits for approval", .attention)] + text
        case .attemptStarted: return [line(style.glyph(.running), sentence(event), .active)]
        case .stepSkipped: return [line(style.glyph(.skipped), sentence(event), event.role)]
        case .accepted, .released, .hostPinned, .observed, .retryDue, .approvalDecided, .doubtResolved, .stepRetryRequested, .pauseRequested,
            .cancelRequested, .undoRequested:
            return [line(" ", sentence(event), event.role)]
        }
    }

    func line(_ step: StepID, _ meter: StepMeter) -> String {
        let numbers = meter.text.isEmpty ? "" : ", \(meter.text)"
        return line(" ", "\(step): \(oneLine(meter.progress.phase))\(numbers)", .normal)
    }

    func output(_ key: LogStore.Key, _ text: String) -> String {
        settings.style.paint("          \(key.step) \(oneLine(key.host)) | ", .faint) + terminalSafe(text, keepsNewlines: false)
    }

    private func isShown(_ event: RunEvent, _ callsOutHolder: Bool) -> Bool {
        let isQuiet = settings.mode == .quiet
        switch event {
        case .attemptFailed, .attemptDoubted, .approvalRequested: return true
        case .observed, .hostPinned: return settings.isVerbose && !isQuiet
        // A terminal shows what runs in the lines at its bottom.
        case .attemptStarted: return !isQuiet && (settings.mode == .lines || settings.isVerbose)
        case .retryDue: return settings.isVerbose && !isQuiet
        case .held: return callsOutHolder && !isQuiet
        // Said by the program itself when it ends, with what to do next.
        case .released: return false
        case .accepted, .attemptSucceeded, .approvalDecided, .doubtResolved, .stepSkipped, .stepRetryRequested, .pauseRequested,
            .cancelRequested, .undoRequested:
            return !isQuiet
        }
    }

    /// A run that goes on after it was left, killed or taken over.
    private func calledOut(_ held: RunHeld, _ machine: RunMachine) -> [String] {
        let style = settings.style
        let how = held.takeOverReason.map { "TAKEN OVER (\(oneLine($0)))" } ?? "RESUMED"
        var lines = [line(style.usesUnicode ? "↻" : "@", "\(how) by \(oneLine(held.by)) under fence \(held.fence)", .strong)]
        let running = machine.steps.filter { $0.state == .running }.map(\.spec.id.rawValue)
        let done = machine.steps.count { $0.state == .succeeded }
        if done > 0 { lines.append("          \(counted(done, "step")) done already: not repeated") }
        if !running.isEmpty {
            lines.append("          under way when the run was left: \(running.joined(separator: ", ")); the hosts are asked what became of it")
        }
        return lines
    }

    private func line(_ glyph: String, _ text: String, _ role: Style.Role) -> String {
        let time = settings.style.paint(clockText(settings.wallClock()), .faint)
        return "\(time)  \(settings.style.paint("\(glyph) \(text)", role))"
    }

    private func warning(_ text: String) -> String {
        settings.style.paint("          warning: \(oneLine(text))", .attention)
    }
}
