/// Puts the rows that differ between two sides together: those of one key, or those that are the same beside their objects' contents.
///
/// Their texts stay in files. Of one side their places are held in memory; where they are too many, both sides are cut into parts first,
/// by their keys.
struct CandidatePairs {
    let reader: RowReader
    /// False: there is no key, and no row has a partner.
    let hasPairs: Bool
    /// Rows of one side whose places are held at a time.
    let limit: Int

    /// A file for each part of either side; a side so large that these are not enough is held in larger parts.
    private static let mostParts = 64

    /// - Parameter body: gets the line of either side, without its newline; nil where that side has none.
    func forEach(_ own: RowLines, _ theirs: RowLines, _ body: (ArraySlice<UInt8>?, ArraySlice<UInt8>?) throws -> Void) throws {
        let parts = min((theirs.count + limit - 1) / limit, Self.mostParts)
        guard hasPairs, parts > 1 else { return try join(own, theirs, body) }
        for (own, theirs) in zip(try cut(own, into: parts), try cut(theirs, into: parts)) { try join(own, theirs, body) }
    }

    private func cut(_ lines: RowLines, into count: Int) throws -> [RowLines] {
        let parts = try (0..<count).map { _ in try RowLines() }
        try forEachLine(lines) { key, _, line in try parts[Int(key % UInt64(count))].append(line) }
        return parts
    }

    private func join(_ own: RowLines, _ theirs: RowLines, _ body: (ArraySlice<UInt8>?, ArraySlice<UInt8>?) throws -> Void) throws {
        guard hasPairs else {
            try forEachLine(own) { try body($2.dropLast(), nil) }
            return try forEachLine(theirs) { try body(nil, $2.dropLast()) }
        }
        var places = LinePlaces()
        try forEachLine(theirs) { key, place, _ in places.insert(key, place) }
        places.sort()
        try forEachLine(own) { key, _, line in try body(line.dropLast(), places.take(key).map(theirs.line(at:))) }
        for place in places.left { try body(nil, theirs.line(at: place)) }
    }

    /// - Parameter body: gets the digest of the row's key, its place and its line.
    private func forEachLine(_ lines: RowLines, _ body: (UInt64, Int, ArraySlice<UInt8>) throws -> Void) throws {
        try lines.forEachBlock { place, lines in
            let digests = try reader.digests(of: lines)
            for (index, digest) in digests.enumerated() {
                let start = Int(digest.offset), end = index + 1 < digests.count ? Int(digests[index + 1].offset) : lines.count
                try body(digest.key, place + start, lines[start..<end])
            }
        }
    }
}

/// Where lines are, by the digests of their keys; each can be taken once.
private struct LinePlaces {
    private var entries: [(key: UInt64, place: Int)] = []
    /// At the first entry of each key: how many of that key were taken.
    private var taken: [UInt32] = []

    mutating func insert(_ key: UInt64, _ place: Int) { entries.append((key, place)) }

    mutating func sort() {
        entries.sort { ($0.key, $0.place) < ($1.key, $1.place) }
        taken = Array(repeating: 0, count: entries.count)
    }

    /// - Returns: the first line of that key that nobody took.
    mutating func take(_ key: UInt64) -> Int? {
        var first = 0, end = entries.count
        while first < end {
            let middle = (first + end) / 2
            if entries[middle].key < key { first = middle + 1 } else { end = middle }
        }
        guard first < entries.count, entries[first].key == key else { return nil }
        let next = first + Int(taken[first])
        guard next < entries.count, entries[next].key == key else { return nil }
        taken[first] += 1
        return entries[next].place
    }

    /// Lines that nobody took, in their order.
    var left: [Int] {
        var left: [Int] = [], first = 0
        for index in entries.indices {
            if index > 0, entries[index].key != entries[index - 1].key { first = index }
            if index - first >= Int(taken[first]) { left.append(entries[index].place) }
        }
        return left.sorted()
    }
}
