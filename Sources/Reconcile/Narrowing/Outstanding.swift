/// Rows of one side that have met no partner on the other yet.
///
/// A hash table of its own, with open addressing: rows come and go by the million, and nearly all leave again at once.
struct Outstanding {
    struct Row {
        var key: UInt64
        var row: UInt64
        /// Where its text is; never 0.
        var place: UInt64
    }

    private(set) var count = 0
    private var slots: [Row]
    private var mask: Int
    private static let smallest = 1 << 12
    private static let empty = Row(key: 0, row: 0, place: 0)

    init() {
        slots = [Row](repeating: Self.empty, count: Self.smallest)
        mask = Self.smallest - 1
    }

    private func home(_ key: UInt64) -> Int { Int(truncatingIfNeeded: key) & mask }

    /// Rows may be there any number of times.
    mutating func insert(_ row: Row) {
        if (count + 1) * 3 > slots.count * 2 { grow() }
        place(row)
        count += 1
    }

    private mutating func place(_ row: Row) {
        var at = home(row.key)
        while slots[at].place != 0 { at = (at + 1) & mask }
        slots[at] = row
    }

    private mutating func grow() {
        let old = slots
        slots = [Row](repeating: Self.empty, count: old.count * 2)
        mask = slots.count - 1
        for row in old where row.place != 0 { place(row) }
    }

    private func find(_ key: UInt64, where matches: (Row) -> Bool) -> Int? {
        var at = home(key)
        while slots[at].place != 0 {
            if slots[at].key == key, matches(slots[at]) { return at }
            at = (at + 1) & mask
        }
        return nil
    }

    /// Takes one row of that key and content out.
    /// - Returns: its place; nil where there is none.
    mutating func remove(key: UInt64, row: UInt64) -> UInt64? {
        guard count > 0, let found = find(key, where: { $0.row == row }) else { return nil }
        let place = slots[found].place
        close(found)
        count -= 1
        return place
    }

    /// Moves those that follow up, so that each is still found from its home on.
    private mutating func close(_ gap: Int) {
        var gap = gap, at = (gap + 1) & mask
        while slots[at].place != 0 {
            let distance = (at - home(slots[at].key)) & mask
            if distance >= (at - gap) & mask {
                slots[gap] = slots[at]
                gap = at
            }
            at = (at + 1) & mask
        }
        slots[gap] = Self.empty
    }

    /// Says that a row's text has moved.
    /// - Returns: false where the row is not outstanding any more.
    mutating func move(key: UInt64, from place: UInt64, to other: UInt64) -> Bool {
        guard let found = find(key, where: { $0.place == place }) else { return false }
        slots[found].place = other
        return true
    }

    func contains(key: UInt64, place: UInt64) -> Bool { find(key) { $0.place == place } != nil }

    func forEach(_ body: (Row) throws -> Void) rethrows {
        for row in slots where row.place != 0 { try body(row) }
    }

    /// In the order of their places.
    var sorted: [Row] {
        // To its size at once: what a growing array leaves behind would be more than the rows themselves.
        var rows: [Row] = []
        rows.reserveCapacity(count)
        forEach { rows.append($0) }
        rows.sort { $0.place < $1.place }
        return rows
    }
}
