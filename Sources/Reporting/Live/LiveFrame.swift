package import RunCore
internal import Steps

/// The lines at the bottom of a terminal that are painted anew while a run goes on. Pure: what is shown comes in.
package struct LiveFrame: Sendable {
    package struct ActiveStep: Sendable {
        package var step: String
        package var hosts: String
        package var meter: StepMeter?
        package var elapsedMilliseconds: Int64
        package var isUndo: Bool

        package init(step: String, hosts: String, meter: StepMeter?, elapsedMilliseconds: Int64, isUndo: Bool) {
            self.step = step
            self.hosts = hosts
            self.meter = meter
            self.elapsedMilliseconds = elapsedMilliseconds
            self.isUndo = isUndo
        }
    }

    package var run: String
    package var state: RunState
    package var ended: Int
    package var total: Int
    package var elapsedMilliseconds: Int64
    package var active: [ActiveStep]
    package var turn: Int

    package init(
        run: String, state: RunState, ended: Int, total: Int, elapsedMilliseconds: Int64, active: [ActiveStep], turn: Int
    ) {
        self.run = run
        self.state = state
        self.ended = ended
        self.total = total
        self.elapsedMilliseconds = elapsedMilliseconds
        self.active = active
        self.turn = turn
    }

    /// At most this many active steps have a line of their own.
    private static let mostSteps = 12

    /// No line is wider than `width`, so that each takes one row of the terminal.
    package func lines(style: Style, width: Int) -> [String] {
        guard total > 0 else { return [] }
        let names = active.map { ($0.isUndo ? "undo " : "") + $0.step }
        let nameWidth = min(28, names.map(columns).max() ?? 0)
        var lines = zip(active, names).prefix(Self.mostSteps).map { step, name in
            line(step, fitted(name, nameWidth), style, width)
        }
        if active.count > Self.mostSteps { lines.append("  … and \(active.count - Self.mostSteps) more") }
        let foot = "  \(state.rawValue)  \(ended) of \(counted(total, "step"))  \(durationText(Double(elapsedMilliseconds) / 1000))  "
            + "Ctrl-C lets go; jobs on hosts go on"
        lines.append(style.paint(clipped(foot, width - 1), .faint))
        return lines
    }

    private func line(_ step: ActiveStep, _ name: String, _ style: Style, _ width: Int) -> String {
        let time = durationText(Double(step.elapsedMilliseconds) / 1000)
        var middle = step.meter.map { oneLine($0.progress.phase) } ?? (step.hosts.isEmpty ? "" : "on \(step.hosts)")
        var bar = ""
        if let meter = step.meter {
            if let fraction = meter.fraction, width >= 80 { bar = style.bar(fraction, width: 20) + " " }
            bar += meter.text
        }
        let fixed = 2 + columns(name) + 2 + (bar.isEmpty ? 0 : columns(bar) + 2) + 2 + columns(time)
        middle = clipped(middle, max(8, width - 1 - fixed))
        let text = [middle, bar, time].filter { !$0.isEmpty }.joined(separator: "  ")
        return "\(style.paint(style.spinner(turn), .active)) " + clipped("\(name)  \(text)", max(10, width - 3))
    }
}
