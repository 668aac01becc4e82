internal import Engine
internal import RunCore

/// The chain of steps that made a run take as long as it took: each of them waited for the one before it. Steps beside the chain took
/// their time while it went on.
///
/// Found from the end of the run backwards: the step that ended last, the one of its needs that ended last, and so on to the start
/// (the critical path of a project's plan, with the times that were instead of those that were planned).
struct CriticalPath {
    struct Node {
        let id: String
        let phase: String
        let needs: [String]
        /// Milliseconds; from the beginning of the first attempt to the end of the last.
        let start: Int64
        let end: Int64
    }

    /// A stretch of the run's time. All of them together are the whole of it, without gaps or overlaps.
    struct Part: Hashable {
        /// Whose time it was; nil where no step of the chain was under way.
        let node: Int?
        let start: Int64
        let end: Int64
    }

    let nodes: [Node]
    /// In the order of time.
    let parts: [Part]

    /// A step that had all it needed and began later than this was waiting for something else: a place on its host.
    private static let slackMilliseconds: Int64 = 1000

    /// - Parameters:
    ///   - nodes: all that took time.
    ///   - needs: what each step needs, for those too that took none: what they needed is looked for behind them.
    init(_ nodes: [Node], needs: [String: [String]], from start: Int64, to end: Int64) {
        self.nodes = nodes
        let search = Search(nodes, needs)
        var parts: [Part] = []
        var reached = max(start, end)
        func take(_ node: Int?, from begin: Int64) {
            let begin = min(max(begin, start), reached)
            if begin < reached { parts.append(Part(node: node, start: begin, end: reached)) }
            reached = begin
        }
        var visited: Set<Int> = []
        var next = search.last(endingBy: reached)
        while let current = next, visited.insert(current).inserted {
            take(nil, from: nodes[current].end)
            take(current, from: nodes[current].start)
            next = search.predecessor(of: current, slack: Self.slackMilliseconds)
        }
        take(nil, from: start)
        self.parts = parts.reversed()
    }

    private struct Search {
        let nodes: [Node]
        let needs: [String: [String]]
        let index: [String: Int]
        /// Positions in `nodes`, by their ends.
        let byEnd: [Int]

        init(_ nodes: [Node], _ needs: [String: [String]]) {
            (self.nodes, self.needs) = (nodes, needs)
            index = Dictionary(nodes.indices.map { (nodes[$0].id, $0) }, uniquingKeysWith: { first, _ in first })
            byEnd = nodes.indices.sorted { (nodes[$0].end, nodes[$0].start) < (nodes[$1].end, nodes[$1].start) }
        }

        /// The node that ended last of those that ended by then.
        func last(endingBy time: Int64) -> Int? {
            var (low, high) = (0, byEnd.count)
            while low < high {
                let middle = (low + high) / 2
                if nodes[byEnd[middle]].end <= time { low = middle + 1 } else { high = middle }
            }
            return low == 0 ? nil : byEnd[low - 1]
        }

        func predecessor(of node: Int, slack: Int64) -> Int? {
            let start = nodes[node].start
            let needed = needed(by: nodes[node]).max { nodes[$0].end < nodes[$1].end }
            // One that needs nothing waited for whatever ended just before: those of `finally` do, and where all places are taken.
            guard let needed else { return last(endingBy: start) }
            guard start - nodes[needed].end > slack, let freed = last(endingBy: start), freed != node, start - nodes[freed].end <= slack else { return needed }
            return freed
        }

        /// Behind a step that took no time at all (left out in this mode, skipped by a person) stands what it needed.
        private func needed(by node: Node) -> [Int] {
            var found: [Int] = [], seen: Set<String> = [], open = node.needs
            while let id = open.popLast() {
                guard seen.insert(id).inserted else { continue }
                if let index = index[id] { found.append(index) } else { open += needs[id] ?? [] }
            }
            return found
        }
    }
}
