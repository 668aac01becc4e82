import RunCore

/// The graph of a plan as text.
package struct GraphDrawing: Sendable {
    /// Past this many lanes side by side a drawing helps nobody; then each line names what its step needs.
    private static let mostLanes = 24

    private let plan: Plan
    private let steps: [PlanStep]
    private let finally: [PlanStep]

    package init(_ plan: Plan, mode: RunMode = .recovery) {
        self.plan = plan
        steps = plan.steps(in: mode)
        finally = plan.finally(in: mode)
    }

    // MARK: - For terminals

    /// One line for each step, in an order in which they could run, with lanes for what runs side by side.
    /// - Parameter isASCII: for terminals without box-drawing characters.
    package func text(isASCII: Bool = false) -> String {
        let rows =
            lanes()
            ?? steps.map {
                ($0, "*", $0.needs.isEmpty ? "" : "needs \($0.needs.map(\.rawValue).joined(separator: ", "))")
            }
        let laneWidth = rows.map(\.lanes.unicodeScalars.count).max() ?? 0
        let idWidth = (steps + finally).map(\.id.rawValue.count).max() ?? 0
        let kindWidth = (steps + finally).map(\.kind.count).max() ?? 0
        var lines = rows.map { step, lanes, note in
            line(pad(lanes, laneWidth), step, idWidth, kindWidth, note: note)
        }
        if !finally.isEmpty {
            lines.append("finally, whatever happened:")
            lines += finally.map { line(pad("●", laneWidth), $0, idWidth, kindWidth, note: "") }
        }
        let drawing = lines.joined(separator: "\n")
        return isASCII ? Self.ascii(drawing) : drawing
    }

    private func line(_ lanes: String, _ step: PlanStep, _ idWidth: Int, _ kindWidth: Int, note: String) -> String {
        let place = step.on.isEmpty ? "" : "on \(step.on.map { printable($0) }.joined(separator: ", "))"
        let parts = [lanes, pad(step.id.rawValue, idWidth), pad(step.kind, kindWidth), place, note].filter {
            !$0.isEmpty
        }
        var text = parts.joined(separator: "  ")
        while text.last == " " { text.removeLast() }
        return text
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.unicodeScalars.count))
    }

    private static func ascii(_ text: String) -> String {
        let plain: [Unicode.Scalar: Unicode.Scalar] = [
            "●": "*", "│": "|", "─": "-", "╯": "'", "╰": "`", "├": "+", "┤": "+", "┼": "+", "┴": "+",
        ]
        return String(String.UnicodeScalarView(text.unicodeScalars.map { plain[$0] ?? $0 }))
    }

    /// nil where the steps need each other or more lanes than `mostLanes`.
    private func lanes() -> [(step: PlanStep, lanes: String, note: String)]? {
        let graph = PlanGraph(steps.map { ($0.id, $0.needs) })
        guard let order = graph.orderedIndices() else { return nil }
        var open: [Int?] = []
        var waiting = graph.dependents.map(\.count)
        var rows: [(step: PlanStep, lanes: String, note: String)] = []
        for index in order {
            let needed = open.indices.filter { lane in open[lane].map { graph.needs[index].contains($0) } ?? false }
            for need in graph.needs[index] { waiting[need] -= 1 }
            let closing = needed.filter { waiting[open[$0]!] == 0 }
            let own = closing.first ?? open.firstIndex(of: nil) ?? open.count
            guard own < Self.mostLanes else { return nil }
            if own == open.count { open.append(nil) }
            rows.append((steps[index], row(open, own: own, needed: needed, closing: Set(closing)), ""))
            for lane in closing { open[lane] = nil }
            open[own] = waiting[index] > 0 ? index : nil
            while let last = open.last, last == nil { open.removeLast() }
        }
        return rows
    }

    private func row(_ open: [Int?], own: Int, needed: [Int], closing: Set<Int>) -> String {
        let low = min(own, needed.first ?? own)
        let high = max(own, needed.last ?? own)
        var text = ""
        for lane in open.indices {
            let isBetween = lane > low && lane < high
            let cell: String
            if lane == own {
                cell = "●"
            } else if closing.contains(lane) {
                cell = lane == low ? "╰" : lane == high ? "╯" : "┴"
            } else if needed.contains(lane) {
                cell = lane == low ? "├" : lane == high ? "┤" : "┼"
            } else if open[lane] != nil {
                cell = isBetween ? "┼" : "│"
            } else {
                cell = isBetween ? "─" : " "
            }
            text += cell
            if lane + 1 < open.count { text += lane >= low && lane < high ? "─" : " " }
        }
        return text
    }

    // MARK: - For other programs

    /// For Graphviz.
    package func dot() -> String {
        var lines = [
            "digraph \(jsonString(plan.name)) {", "  rankdir=TB;", "  node [shape=box, fontname=\"sans-serif\"];",
        ]
        for step in steps + finally {
            let label = "\(step.id)\\n\(step.kind)"
            lines.append(
                "  \"\(step.id)\" [label=\"\(label)\"\(finally.contains { $0.id == step.id } ? ", style=dashed" : "")];"
            )
        }
        for step in steps { lines += step.needs.map { "  \"\($0)\" -> \"\(step.id)\";" } }
        lines += finallyEdges().map { "  \"\($0)\" -> \"\($1)\" [style=dashed];" }
        return (lines + ["}"]).joined(separator: "\n")
    }

    /// For Mermaid, in Markdown.
    package func mermaid() -> String {
        let all = steps + finally
        let name = Dictionary(all.enumerated().map { ($1.id, "s\($0)") }) { first, _ in first }
        var lines = ["flowchart TD"]
        lines += all.enumerated().map { "  s\($0)[\"\($1.id)<br/>\($1.kind)\"]" }
        for step in steps {
            lines += step.needs.compactMap { need in name[need].map { "  \($0) --> \(name[step.id]!)" } }
        }
        lines += finallyEdges().map { "  \(name[$0]!) -.-> \(name[$1]!)" }
        return lines.joined(separator: "\n")
    }

    /// From every step that nothing else needs to the first of `finally`, then along it.
    private func finallyEdges() -> [(StepID, StepID)] {
        guard let first = finally.first else { return [] }
        let needed = Set(steps.flatMap(\.needs))
        return steps.filter { !needed.contains($0.id) }.map { ($0.id, first.id) }
            + zip(finally, finally.dropFirst()).map { ($0.id, $1.id) }
    }
}
