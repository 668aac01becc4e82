internal import RunCore

/// The state of a run as a table for a terminal.
package struct StatusText {
    private let report: RunReport
    private let style: Style
    private let width: Int

    /// - Parameter width: columns of the terminal; wide where there is none.
    package init(_ report: RunReport, style: Style, width: Int = 160) {
        self.report = report
        self.style = style
        self.width = max(60, width)
    }

    /// Lines, each ended by a newline.
    package var text: String {
        var lines = heading + [""] + table
        for step in report.steps { lines += detail(of: step) }
        if !report.warnings.isEmpty {
            lines.append("")
            lines += report.warnings.map { style.paint("warning: \(oneLine($0))", .attention) }
        }
        if !report.choices.isEmpty { lines += ["", "next:"] + report.choices.flatMap(choice) }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Commands stand as they are typed; what they are for, above them.
    private func choice(_ choice: NextChoice) -> [String] {
        guard !choice.when.isEmpty else { return choice.commands.map { "  \(oneLine($0))" } }
        return ["  \(choice.when):"] + choice.commands.map { "    \(oneLine($0))" }
    }

    private var heading: [String] {
        let state = style.paint(report.state, role(ofRunState: report.state))
        let title = report.title.isEmpty ? "" : " – \(oneLine(report.title))"
        var lines = [
            style.paint("run \(report.run)", .strong) + "  \(state)  \(durationText(report.elapsedSeconds))",
            "plan \(oneLine(report.plan)) (\(report.mode))\(title)",
            "started \(report.startedAt) by \(oneLine(report.startedBy))",
        ]
        if let holder = report.holder { lines.append("held by \(oneLine(holder))") }
        if report.state == "INTERRUPTED" {
            lines.append(style.paint("nobody drives this run; jobs on hosts may go on, and resuming picks them up", .attention))
        }
        return lines
    }

    private var table: [String] {
        let rows = report.steps.map { step in
            Row(
                glyph: style.glyph(step.stepState), word: word(of: step), role: step.stepState.role, step: step.id,
                hosts: step.on.isEmpty ? "" : oneLine(step.on.joined(separator: ",")), attempt: step.attempt == 0 ? "" : "\(step.attempt)",
                time: step.seconds.map(durationText) ?? "", title: oneLine(step.title))
        }
        let wide = (
            word: largest(rows.map(\.word), "STATE", 22), step: largest(rows.map(\.step), "STEP", 32),
            hosts: largest(rows.map(\.hosts), "ON", 24), time: largest(rows.map(\.time), "TIME", 14)
        )
        let fixed = 2 + wide.word + 2 + wide.step + 2 + wide.hosts + 2 + 3 + 2 + wide.time + 2
        let header = "  \(fitted("STATE", wide.word))  \(fitted("STEP", wide.step))  \(fitted("ON", wide.hosts))  TRY  "
            + "\(fitted("TIME", wide.time, alignsRight: true))  WHAT IT DOES"
        return [style.paint(header, .faint)] + rows.map { row in
            style.paint("\(row.glyph) \(fitted(row.word, wide.word))", row.role)
                + "  \(fitted(row.step, wide.step))  \(fitted(row.hosts, wide.hosts))  \(fitted(row.attempt, 3, alignsRight: true))  "
                + "\(fitted(row.time, wide.time, alignsRight: true))  \(clipped(row.title, max(12, width - fixed)))"
        }
    }

    private struct Row {
        let glyph: String, word: String, role: Style.Role, step: String, hosts: String, attempt: String, time: String, title: String
    }

    private func word(of step: RunReport.Step) -> String {
        if report.state == "INTERRUPTED", step.stepState == .running { return "interrupted" }
        if step.stepState == .succeeded, !step.changed, step.kind != "approval" { return "unchanged" }
        return step.stepState.word + (step.undo.map { $0 == "failed" || $0 == "inDoubt" ? ", undo \($0)" : "" } ?? "")
    }

    private func largest(_ texts: [String], _ header: String, _ limit: Int) -> Int {
        min(limit, max(columns(header), texts.map(columns).max() ?? 0))
    }

    private func detail(of step: RunReport.Step) -> [String] {
        var lines: [String] = []
        if let (what, failure) = step.standingFailure {
            lines += ["", style.paint("\(what) failed: \(terminalSafe(failure.message))", .bad)]
            lines += failure.hints.map { "HINT: \(oneLine($0))" }
        }
        if let doubt = step.doubt {
            lines += ["", style.paint("\(step.id) is in doubt: \(terminalSafe(doubt.message))", .attention)]
            lines += (doubt.evidence.objectValue ?? [:]).sorted { $0.key < $1.key }.map {
                "  \(oneLine($0.key)): \(oneLine(shortText($0.value, limit: 400)))"
            }
            lines.append("HINT: look at the target yourself, then say what you found with the command below")
        }
        if step.stepState == .waiting, let approval = step.approval {
            lines += ["", style.paint("\(step.id) waits for a person:", .attention)]
            lines += terminalSafe(approval).split(separator: "\n", omittingEmptySubsequences: false).map { "  \($0)" }
        }
        if let note = step.note { lines += ["", "\(step.id): \(oneLine(note))"] }
        return lines
    }
}
