/// Lets two streams of lines run beside each other, and finds the lines that are not on both without looking at the others one by one.
///
/// Most rows of a table and of its backup are the same and in the same order: such stretches are compared as they lie. Only what
/// does not fit is handed on by the line. Nothing depends on the order but the speed: a line that is handed on may meet its partner later.
struct Alignment {
    private var backup = PendingLines()
    private var live = PendingLines()
    private var hasEnded: (backup: Bool, live: Bool) = (false, false)
    private var state = State.together

    private enum State {
        case together
        /// The streams have lost each other; so many pairs of lines were handed on since.
        case apart(Int)
        /// One side's lines are where the other has been already: it goes on alone until it meets the other's present line.
        case catchingUp(Side, Int)
    }

    /// How far is looked ahead for where the streams meet again.
    private static let lookAhead = 4
    /// So many pairs of lines are handed on before it is looked who is behind.
    private static let apartLimit = 256
    private static let catchUpLimit = 200_000

    /// Whether more lines of a side are of no use at present. A few must be there before it can be said where the streams meet.
    func hasEnough(_ side: Side, bytes: Int) -> Bool {
        let pending = side == .backup ? backup : live
        return pending.count > bytes && pending.withBytes { $0.lineEnds(Self.lookAhead + 2).count > Self.lookAhead + 2 }
    }

    mutating func take(_ side: Side, _ lines: [UInt8]) {
        if side == .backup { backup.append(lines) } else { live.append(lines) }
    }

    mutating func end(_ side: Side) {
        if side == .backup { hasEnded.backup = true } else { hasEnded.live = true }
    }

    /// Lines that fit nowhere so far, of either side.
    struct Loose {
        var backup: [UInt8] = []
        var live: [UInt8] = []
        var isEmpty: Bool { backup.isEmpty && live.isEmpty }
    }

    /// Goes on as far as there are lines of both sides.
    ///
    /// - Parameter handOn: takes lines that do not fit; returns which side's found their partners among what the other handed on
    ///   before, if that is one side alone.
    mutating func advance(_ handOn: (Loose) throws -> Side?) throws {
        var loose = Loose()
        while try step(&loose, handOn) {
            if loose.backup.count + loose.live.count > 128 * 1024 { try flush(&loose, handOn) }
        }
        try flush(&loose, handOn)
    }

    @discardableResult
    private func flush(_ loose: inout Loose, _ handOn: (Loose) throws -> Side?) throws -> Side? {
        guard !loose.isEmpty else { return nil }
        defer { loose = Loose() }
        return try handOn(loose)
    }

    /// - Returns: false where more lines have to come first.
    private mutating func step(_ loose: inout Loose, _ handOn: (Loose) throws -> Side?) throws -> Bool {
        let same = backup.withBytes { own in live.withBytes { own.sameLines($0) } }
        if same > 0 {
            backup.drop(same)
            live.drop(same)
            state = .together
        }
        if backup.isEmpty || live.isEmpty { return drainAfterEnd(&loose) }
        switch state {
        case .together, .apart:
            guard let meeting = meeting() else { return false }
            backup.take(meeting.backup, into: &loose.backup)
            live.take(meeting.live, into: &loose.live)
            try drift(meeting.isFound, &loose, handOn)
        case .catchingUp(let side, let lines):
            takeLine(of: side, &loose)
            state = lines < Self.catchUpLimit ? .catchingUp(side, lines + 1) : .apart(1)
        }
        return true
    }

    private mutating func drift(_ isFound: Bool, _ loose: inout Loose, _ handOn: (Loose) throws -> Side?) throws {
        guard !isFound else { return state = .together }
        guard case .apart(let pairs) = state else { return state = .apart(1) }
        state = .apart(pairs + 1)
        if pairs % Self.apartLimit == 0, let behind = try flush(&loose, handOn) { state = .catchingUp(behind, 0) }
    }

    private mutating func takeLine(of side: Side, _ loose: inout Loose) {
        if side == .backup {
            backup.take(backup.withBytes { $0.endOfLine(0) } ?? 0, into: &loose.backup)
        } else {
            live.take(live.withBytes { $0.endOfLine(0) } ?? 0, into: &loose.live)
        }
    }

    /// Where one side has come to its end, the rest of the other fits nowhere.
    private mutating func drainAfterEnd(_ loose: inout Loose) -> Bool {
        if backup.isEmpty, hasEnded.backup, !live.isEmpty {
            live.take(live.count, into: &loose.live)
        } else if live.isEmpty, hasEnded.live, !backup.isEmpty {
            backup.take(backup.count, into: &loose.backup)
        }
        return false
    }

    /// How many bytes of each side do not fit before they meet again; where they do not within a few lines, one line of each.
    ///
    /// - Returns: nil where more lines have to come before that can be said.
    private func meeting() -> (backup: Int, live: Int, isFound: Bool)? {
        backup.withBytes { own in
            live.withBytes { other in
                let a = own.lineEnds(Self.lookAhead + 1), b = other.lineEnds(Self.lookAhead + 1)
                let isShort = (a.count <= Self.lookAhead + 1 && !hasEnded.backup) || (b.count <= Self.lookAhead + 1 && !hasEnded.live)
                guard !isShort else { return nil }
                func same(_ left: Int, _ right: Int) -> Bool {
                    left + 1 < a.count && right + 1 < b.count && own.isSame(a[left]..<a[left + 1], other, b[right]..<b[right + 1])
                }
                for total in 1...2 * Self.lookAhead {
                    for left in max(0, total - Self.lookAhead)...min(total, Self.lookAhead) where same(left, total - left) {
                        return (a[left], b[total - left], true)
                    }
                }
                return (a[1], b[1], false)
            }
        }
    }
}
