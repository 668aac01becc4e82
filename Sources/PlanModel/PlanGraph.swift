package import RunCore

/// Who needs whom. Nodes keep the order in which they were given; every algorithm is iterative and linear
/// (but for `uses(upstreamOf:)`, which is linear for each 64 targets).
package struct PlanGraph: Hashable, Sendable {
    package let nodes: [StepID]
    /// For each node the indices of those that it needs; unknown names are left out.
    let needs: [[Int]]
    let dependents: [[Int]]

    /// - Parameter steps: with distinct ids.
    package init(_ steps: [(id: StepID, needs: [StepID])]) {
        nodes = steps.map(\.id)
        var index: [StepID: Int] = [:]
        for (position, step) in steps.enumerated() { index[step.id] = position }
        var needs = [[Int]](repeating: [], count: steps.count)
        var dependents = needs
        for (position, step) in steps.enumerated() {
            var seen = Set<Int>()
            for need in step.needs {
                guard let target = index[need], seen.insert(target).inserted else { continue }
                needs[position].append(target)
                dependents[target].append(position)
            }
        }
        self.needs = needs
        self.dependents = dependents
    }

    /// The steps' own graph; `finally` is not part of it.
    package init(_ plan: Plan) { self.init(plan.steps.map { ($0.id, $0.needs) }) }

    /// An order in which every step comes after all that it needs; of several that are free, the earliest written first.
    /// - Returns: nil where there is a cycle.
    package func topologicalOrder() -> [StepID]? {
        orderedIndices().map { $0.map { nodes[$0] } }
    }

    func orderedIndices() -> [Int]? {
        var missing = needs.map(\.count)
        var free = IndexHeap()
        for index in nodes.indices where missing[index] == 0 { free.insert(index) }
        var order: [Int] = []
        order.reserveCapacity(nodes.count)
        while let index = free.removeSmallest() {
            order.append(index)
            for dependent in dependents[index] {
                missing[dependent] -= 1
                if missing[dependent] == 0 { free.insert(dependent) }
            }
        }
        return order.count == nodes.count ? order : nil
    }

    /// Cycles that do not overlap, at least one where there is any: `a, b, c` where a needs b, b needs c and c needs a.
    package func cycles() -> [[StepID]] {
        enum Color { case white, gray, black }
        var color = [Color](repeating: .white, count: nodes.count)
        var position = [Int](repeating: 0, count: nodes.count)
        var isReported = [Bool](repeating: false, count: nodes.count)
        var found: [[StepID]] = []
        for root in nodes.indices where color[root] == .white {
            var path = [(node: root, next: 0)]
            color[root] = .gray
            position[root] = 0
            while let (node, next) = path.last {
                guard next < needs[node].count else {
                    color[node] = .black
                    path.removeLast()
                    continue
                }
                path[path.count - 1].next += 1
                let target = needs[node][next]
                if color[target] == .white {
                    color[target] = .gray
                    position[target] = path.count
                    path.append((target, 0))
                } else if color[target] == .gray, !isReported[target], !isReported[node] {
                    let cycle = path[position[target]...].map(\.node)
                    for member in cycle { isReported[member] = true }
                    found.append(cycle.map { nodes[$0] })
                }
            }
        }
        return found
    }

    /// For pairs (step, target): whether the target is needed by the step, directly or through others.
    /// Only for graphs without cycles. Steps are given by their place among `nodes`.
    package func uses(_ pairs: [(step: Int, target: Int)]) -> [Bool] {
        guard let order = orderedIndices() else { return pairs.map { _ in true } }
        var result = [Bool](repeating: false, count: pairs.count)
        let byTarget = Dictionary(grouping: pairs.indices) { pairs[$0].target }
        let targets = byTarget.keys.sorted()
        for start in stride(from: 0, to: targets.count, by: 64) {
            let batch = targets[start..<min(start + 64, targets.count)]
            var own = [Int: UInt64]()
            for (bit, target) in batch.enumerated() { own[target] = 1 << UInt64(bit) }
            var upstream = [UInt64](repeating: 0, count: nodes.count)
            for node in order {
                var bits: UInt64 = 0
                for need in needs[node] { bits |= upstream[need] | (own[need] ?? 0) }
                upstream[node] = bits
            }
            for target in batch {
                for pair in byTarget[target] ?? [] where upstream[pairs[pair].step] & (own[target] ?? 0) != 0 {
                    result[pair] = true
                }
            }
        }
        return result
    }
}

/// A binary heap of indices, smallest first.
private struct IndexHeap {
    private var items: [Int] = []

    mutating func insert(_ item: Int) {
        items.append(item)
        var child = items.count - 1
        while child > 0, items[child] < items[(child - 1) / 2] {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func removeSmallest() -> Int? {
        guard let smallest = items.first, let last = items.popLast() else { return nil }
        guard !items.isEmpty else { return smallest }
        items[0] = last
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < items.count else { return smallest }
            let child = left + 1 < items.count && items[left + 1] < items[left] ? left + 1 : left
            guard items[child] < items[parent] else { return smallest }
            items.swapAt(child, parent)
            parent = child
        }
    }
}

extension Plan {
    /// The steps of one mode. A step that is left out hands its needs on to those that need it.
    package func steps(in mode: RunMode) -> [PlanStep] {
        guard steps.contains(where: { $0.only != nil && $0.only != mode }) else { return steps }
        var isLeftOut = Set<StepID>()
        var handedOn: [StepID: [StepID]] = [:]
        let byID = Dictionary(steps.map { ($0.id, $0) }) { first, _ in first }
        for id in PlanGraph(self).topologicalOrder() ?? steps.map(\.id) {
            guard let step = byID[id] else { continue }
            let effective = step.needs.flatMap { isLeftOut.contains($0) ? handedOn[$0] ?? [] : [$0] }
            var seen = Set<StepID>()
            handedOn[id] = effective.filter { seen.insert($0).inserted }
            if let only = step.only, only != mode { isLeftOut.insert(id) }
        }
        return steps.filter { !isLeftOut.contains($0.id) }.map { step in
            var kept = step
            kept.needs = handedOn[step.id] ?? step.needs
            return kept
        }
    }

    /// The `finally` steps of one mode, in order.
    package func finally(in mode: RunMode) -> [PlanStep] { finally.filter { $0.only == nil || $0.only == mode } }
}
