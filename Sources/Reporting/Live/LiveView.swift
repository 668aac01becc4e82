internal import Engine
package import RunCore
package import SSH
package import Steps
internal import Synchronization

/// Shows a run while it goes on. It collects; `paint` hands out what is to be written, so that a slow terminal holds up nobody.
package final class LiveView: RunObserver {
    package enum Mode: Sendable, Hashable {
        /// Lines that stay, and a few at the bottom that are painted anew.
        case terminal
        /// Lines with their time, for files and pipes; progress at a change of phase or every five seconds.
        case lines
        /// One JSON object a line.
        case json
        /// Only failures and what a person has to do.
        case quiet
    }

    package struct Settings: Sendable {
        package var mode: Mode
        package var style: Style
        /// Shows the output of jobs and what steps note down, too.
        package var isVerbose: Bool
        /// Wall clock, milliseconds since 1970.
        package var wallClock: @Sendable () -> Int64
        /// Milliseconds that never run backwards.
        package var clock: @Sendable () -> Int64

        package init(
            mode: Mode, style: Style, isVerbose: Bool = false, wallClock: @escaping @Sendable () -> Int64,
            clock: @escaping @Sendable () -> Int64
        ) {
            self.mode = mode
            self.style = style
            self.isVerbose = isVerbose
            self.wallClock = wallClock
            self.clock = clock
        }
    }

    private let run: RunID
    private let settings: Settings
    private let logs: LogStore?
    private let state: Mutex<LiveState>

    package init(run: RunID, settings: Settings, logs: LogStore?) {
        self.run = run
        self.settings = settings
        self.logs = logs
        state = Mutex(LiveState(startedAt: settings.clock()))
    }

    package func happened(_ event: RunEvent, _ machine: RunMachine) {
        let now = settings.clock()
        // Closing a log writes its last, unfinished line; it belongs before the outcome.
        if let step = Self.endedStep(event) { logs?.close(step: step) }
        state.withLock { state in
            let seconds = state.take(event, machine, at: now)
            switch settings.mode {
            case .json: state.pending.append(LiveJSON.event(event, machine, run: run, time: timestamp(settings.wallClock())))
            case .terminal, .lines, .quiet:
                state.pending += LiveLines(settings).lines(event, machine, seconds: seconds, callsOutHolder: state.isNewHolder(event))
            }
        }
    }

    package func progressed(_ step: StepID, _ progress: StepProgress) {
        let now = settings.clock()
        state.withLock { state in
            guard let meter = state.take(progress, of: step, at: now), settings.mode == .lines || settings.mode == .json else { return }
            guard state.isProgressDue(step, progress.phase, at: now) else { return }
            switch settings.mode {
            case .json: state.pending.append(LiveJSON.progress(step, meter, run: run, time: timestamp(settings.wallClock())))
            case .lines: state.pending.append(LiveLines(settings).line(step, meter))
            case .terminal, .quiet: break
            }
        }
    }

    package func wrote(_ step: StepID, isUndo: Bool, host: String, part: String?, _ output: JobOutput) {
        guard let logs else { return }
        let attempt = state.withLock { $0.attempt(of: step, isUndo: isUndo) }
        let key = LogStore.Key(step: step, attempt: attempt, isUndo: isUndo, host: host, part: part)
        let stream: LogStore.Stream = output.stream == .stdout ? .out : .err
        let lines = logs.append(key, stream, offset: output.offset, bytes: output.bytes)
        guard settings.isVerbose, !lines.isEmpty, settings.mode != .quiet else { return }
        state.withLock { state in
            for line in lines {
                state.pending.append(
                    settings.mode == .json
                        ? LiveJSON.output(key, stream, line, run: run, time: timestamp(settings.wallClock()))
                        : LiveLines(settings).output(key, line))
            }
        }
    }

    /// Puts a line of the program itself among the others.
    package func note(_ line: String) {
        guard settings.mode != .json else { return }
        state.withLock { $0.pending.append(line) }
    }

    /// What is to be written now: new lines, and on a terminal the bottom lines painted anew. For one caller at a time.
    ///
    /// - Parameter width: columns of the terminal.
    package func paint(width: Int) -> String { painted(width: width, withFrame: true) }

    /// As `paint`, but leaves no bottom lines behind: for the end, and before somebody else writes to the terminal.
    package func finish() -> String {
        logs?.close()
        return painted(width: 80, withFrame: false)
    }

    private func painted(width: Int, withFrame: Bool) -> String {
        let now = settings.clock()
        return state.withLock { state in
            let lines = state.pending
            state.pending = []
            guard settings.mode == .terminal else { return lines.map { $0 + "\n" }.joined() }
            var text = state.paintedLines > 0 ? "\u{1B}[\(state.paintedLines)A\r\u{1B}[J" : ""
            text += lines.map { $0 + "\n" }.joined()
            state.turn += 1
            let frame = withFrame ? state.frame(run: run, at: now).lines(style: settings.style, width: max(40, width)) : []
            state.paintedLines = frame.count
            return text + frame.map { $0 + "\n" }.joined()
        }
    }

    private static func endedStep(_ event: RunEvent) -> StepID? {
        switch event {
        case .attemptSucceeded, .attemptFailed, .attemptDoubted: event.step
        case .accepted, .held, .released, .hostPinned, .attemptStarted, .observed, .retryDue, .approvalRequested, .approvalDecided,
            .doubtResolved, .stepSkipped, .stepRetryRequested, .pauseRequested, .cancelRequested, .undoRequested:
            nil
        }
    }
}
