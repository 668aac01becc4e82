package import Journal
internal import RunCore

/// One line of `reprise list`. Its fields only ever grow.
package struct RunListEntry: Codable, Hashable, Sendable {
    package var run: String
    package var plan: String
    package var state: String
    package var startedAt: String
    package var lastEventAt: String
    package var events: Int64
    package var holder: String?

    /// - Parameter plan: the name of the run's plan.
    package init(_ summary: RunSummary, plan: String) {
        let isHeld = summary.holder?.isAlive ?? false
        run = summary.run.rawValue
        self.plan = plan
        state = RunState(rawValue: summary.label).map { RunReport.shownState($0, isHeld: isHeld) } ?? summary.label
        startedAt = timestamp(summary.createdMilliseconds)
        lastEventAt = timestamp(summary.lastEventMilliseconds)
        events = summary.head.sequence
        holder = isHeld ? summary.holder?.identity.summary : nil
    }
}

/// Columns of text for a terminal, headed and aligned.
package func tableText(_ table: Document.Table, style: Style) -> String {
    Document(title: "", blocks: [.table(table)]).tableLines(style).map { $0 + "\n" }.joined()
}
