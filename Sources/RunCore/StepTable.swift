/// The steps of a run, with what the schedule must know of them kept up to date change by change:
/// an event costs what it changes, not what the plan holds.
///
/// Everything but the records is derived from them, so only they are encoded.
struct StepTable: Hashable, Sendable {
    private(set) var records: [StepRecord]
    private var facts: [Facts]
    private var counts = Array(repeating: 0, count: Facts.bits)
    /// For each step, those that need it within its own phase.
    private let dependents: [[Int]]
    /// How many needs of its own phase each step still waits for.
    private var unmet: [Int]
    private var released: [Bool]
    private var lanes: [Lane] = []
    private var laneOf: [Int] = []
    private var hostLoads: [Int] = []
    private var undoable: [Undoable] = []

    /// Steps of one phase on the same hosts: what keeps one of them back keeps back all.
    private struct Lane: Hashable, Sendable {
        let phase: StepSpec.Phase
        /// Positions in `hostLoads`.
        let hosts: [Int]
        /// Steps that may start, in the order of the plan.
        var ready: [Int] = []
    }

    private struct Undoable: Hashable, Sendable {
        let order: Int
        let position: Int
    }

    init(_ records: [StepRecord]) {
        self.records = records
        facts = Array(repeating: [], count: records.count)
        released = Array(repeating: false, count: records.count)
        unmet = Array(repeating: 0, count: records.count)
        var dependents: [[Int]] = Array(repeating: [], count: records.count)
        for (position, record) in records.enumerated() {
            // The last steps run whatever came of the others, so that needs count within one phase only.
            for need in record.needs where records[need].spec.phase == record.spec.phase {
                dependents[need].append(position)
                unmet[position] += 1
            }
        }
        self.dependents = dependents
        formLanes()
        for position in records.indices { refresh(position) }
    }

    private mutating func formLanes() {
        var hosts: [String: Int] = [:]
        var known: [Lane: Int] = [:]
        for record in records {
            let lane = Lane(
                phase: record.spec.phase,
                hosts: record.spec.hosts.map { host in
                    let number = hosts[host] ?? hosts.count
                    hosts[host] = number
                    return number
                })
            if known[lane] == nil {
                known[lane] = lanes.count
                lanes.append(lane)
            }
            laneOf.append(known[lane]!)
        }
        hostLoads = Array(repeating: 0, count: hosts.count)
    }

    var indices: Range<Int> { records.indices }

    subscript(position: Int) -> StepRecord {
        get { records[position] }
        _modify {
            let order = records[position].order
            yield &records[position]
            refresh(position, orderBefore: order)
        }
    }

    /// Makes several changes to one step; what is derived from it is brought up to date once, after all of them.
    mutating func change(_ position: Int, _ body: (inout StepRecord) -> Void) { body(&self[position]) }

    /// How many steps all of `fact` holds for; `fact` is a single one.
    func count(_ fact: Facts) -> Int { counts[fact.rawValue.trailingZeroBitCount] }

    func any(_ fact: Facts) -> Bool { count(fact) > 0 }

    func isReady(in phase: StepSpec.Phase) -> Bool { lanes.contains { $0.phase == phase && !$0.ready.isEmpty } }

    /// The first step of the plan that may start now within `limits`.
    func nextReady(_ phase: StepSpec.Phase, _ limits: RunSpec.Limits) -> Int? {
        guard count(.takesSlot) < limits.total else { return nil }
        var first: Int?
        for lane in lanes where lane.phase == phase {
            guard let head = lane.ready.first, head < first ?? .max else { continue }
            if lane.hosts.allSatisfy({ hostLoads[$0] < limits.perHost }) { first = head }
        }
        return first
    }

    /// Of the steps of the main phase that can be undone, the one that started last.
    var lastUndoable: Int? { undoable.last?.position }

    // MARK: - Keeping up

    private mutating func refresh(_ position: Int, orderBefore: Int = 0) {
        let before = facts[position], after = Facts(records[position])
        facts[position] = after
        var changed = before.rawValue ^ after.rawValue
        while changed != 0 {
            let bit = changed.trailingZeroBitCount
            counts[bit] += after.rawValue & (1 << bit) != 0 ? 1 : -1
            changed &= changed - 1
        }
        if before.contains(.takesSlot) != after.contains(.takesSlot) {
            for host in lanes[laneOf[position]].hosts { hostLoads[host] += after.contains(.takesSlot) ? 1 : -1 }
        }
        refreshUndoable(position, before.contains(.undoable) ? orderBefore : nil, after.contains(.undoable))
        passOn(from: position, isReadyBefore: before.contains(.startable) && unmet[position] == 0)
    }

    private mutating func refreshUndoable(_ position: Int, _ orderBefore: Int?, _ isUndoable: Bool) {
        let order = records[position].order
        guard orderBefore != (isUndoable ? order : nil) else { return }
        if let orderBefore { undoable.remove(at: undoable.place { $0.order < orderBefore }) }
        if isUndoable {
            undoable.insert(Undoable(order: order, position: position), at: undoable.place { $0.order < order })
        }
    }

    /// Brings up to date whether the step at `position` is ready, and those that need it, and so on through skipped ones.
    private mutating func passOn(from position: Int, isReadyBefore: Bool) {
        setReady(position, from: isReadyBefore, to: facts[position].contains(.startable) && unmet[position] == 0)
        guard releases(position) != released[position] else { return }
        var open = [position]
        while let current = open.popLast() {
            let releases = self.releases(current)
            guard releases != released[current] else { continue }
            released[current] = releases
            for dependent in dependents[current] {
                let wasMet = unmet[dependent] == 0
                unmet[dependent] += releases ? -1 : 1
                guard wasMet != (unmet[dependent] == 0) else { continue }
                if facts[dependent].contains(.startable) { setReady(dependent, from: wasMet, to: !wasMet) }
                open.append(dependent)
            }
        }
    }

    private func releases(_ position: Int) -> Bool {
        facts[position].contains(.releases) || (facts[position].contains(.releasesOnceMet) && unmet[position] == 0)
    }

    private mutating func setReady(_ position: Int, from before: Bool, to after: Bool) {
        guard before != after else { return }
        let lane = laneOf[position], place = lanes[lane].ready.place { $0 < position }
        if after { lanes[lane].ready.insert(position, at: place) } else { lanes[lane].ready.remove(at: place) }
    }
}

extension StepTable: Codable {
    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let records = try container.decode([StepRecord].self)
        guard records.allSatisfy({ $0.needs.allSatisfy(records.indices.contains) }) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "a step needs one that is not there")
        }
        self.init(records)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(records)
    }
}

/// What the schedule asks about a step. Each is counted over all steps.
struct Facts: OptionSet, Hashable, Sendable {
    let rawValue: Int

    static let active = Facts(rawValue: 1 << 0)
    static let takesSlot = Facts(rawValue: 1 << 1)
    /// The step or its undo is.
    static let inDoubt = Facts(rawValue: 1 << 2)
    static let waiting = Facts(rawValue: 1 << 3)
    /// A failure in the main phase that no plan or person made light of.
    static let blocksRun = Facts(rawValue: 1 << 4)
    /// As `blocksRun`, under `on-error: undo`. A cancelled step did not fail: taking up a cancelled run again must not undo it.
    static let asksForUndo = Facts(rawValue: 1 << 5)
    /// A step of the main phase that neither succeeded nor was made light of.
    static let unsatisfied = Facts(rawValue: 1 << 6)
    static let notPlain = Facts(rawValue: 1 << 7)
    static let undoFailed = Facts(rawValue: 1 << 8)
    static let undoable = Facts(rawValue: 1 << 9)
    /// Queued, and nothing but its needs keeps it.
    static let startable = Facts(rawValue: 1 << 10)
    /// Steps of its phase that need it may start.
    static let releases = Facts(rawValue: 1 << 11)
    /// As `releases`, once its own needs are met: a skipped step must not let later ones overtake earlier ones.
    static let releasesOnceMet = Facts(rawValue: 1 << 12)
    static let bits = 13

    init(rawValue: Int) { self.rawValue = rawValue }

    init(_ record: StepRecord) {
        let isMain = record.spec.phase == .main
        var facts: Facts = []
        if record.isActive { facts.insert(.active) }
        if record.takesSlot { facts.insert(.takesSlot) }
        if record.isInDoubt { facts.insert(.inDoubt) }
        if record.state == .waiting { facts.insert(.waiting) }
        if isMain, record.blocksRun { facts.insert(.blocksRun) }
        if isMain, record.blocksRun, record.state != .cancelled, record.spec.onError == .undo { facts.insert(.asksForUndo) }
        if isMain, !record.state.satisfiesDependents { facts.insert(.unsatisfied) }
        if record.state != .succeeded || !record.warnings.isEmpty { facts.insert(.notPlain) }
        if record.undo.state == .failed { facts.insert(.undoFailed) }
        if isMain, record.isUndoable { facts.insert(.undoable) }
        if record.state == .queued, !record.isIssued, !record.waitsForRetry { facts.insert(.startable) }
        if record.state == .skipped {
            facts.insert(.releasesOnceMet)
        } else if record.state.satisfiesDependents || (!isMain && (record.blocksRun || record.state == .undone)) {
            facts.insert(.releases)
        }
        self = facts
    }
}

extension Array {
    /// Where the first element stands that does not come before; the array is sorted by `comesBefore`.
    fileprivate func place(where comesBefore: (Element) -> Bool) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2
            if comesBefore(self[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
