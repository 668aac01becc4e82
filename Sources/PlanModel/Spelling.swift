/// Finds the right spelling that is nearest to a wrong one.
///
/// Work is bounded over its lifetime, so that ten thousand wrong names among ten thousand right ones stay quick;
/// past the bound it suggests nothing.
package struct Speller {
    private var remainingComparisons: Int

    package init(comparisons: Int = 20_000) { remainingComparisons = comparisons }

    /// - Returns: the candidate with the smallest distance, the first of several; nil where none is near
    ///   (more than a third of the word's length away, or equal) and none begins with the word.
    package mutating func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let letters = Array(word.lowercased().unicodeScalars)
        guard !letters.isEmpty, letters.count <= 80 else { return nil }
        let limit = max(1, (letters.count + 1) / 3)
        var best: (name: String, distance: Int)?
        // An abbreviation is far away by letters: `int` for `integer`.
        var abbreviated: String?
        for candidate in candidates where candidate != word {
            guard remainingComparisons > 0 else { break }
            remainingComparisons -= 1
            let count = candidate.unicodeScalars.count
            if abbreviated == nil, letters.count >= 3, count > letters.count,
                candidate.lowercased().hasPrefix(word.lowercased())
            {
                abbreviated = candidate
            }
            guard abs(count - letters.count) <= limit else { continue }
            let distance = editDistance(letters, Array(candidate.lowercased().unicodeScalars))
            if distance <= limit, distance < (best?.distance ?? .max) { best = (candidate, distance) }
        }
        return best?.name ?? abbreviated
    }

    /// The hint `did you mean …`, or else the list of what there is where it is short.
    package mutating func hints(for word: String, among candidates: [String], what: String) -> [String] {
        if let near = nearest(to: word, among: candidates) { return ["did you mean `\(printable(near))`?"] }
        guard !candidates.isEmpty, candidates.count <= 30 else { return [] }
        return ["\(what): \(candidates.map { printable($0) }.joined(separator: ", "))"]
    }
}

/// The Damerau–Levenshtein distance in its optimal-string-alignment form: insertions, deletions, substitutions
/// and swaps of neighbours, no part edited twice.
func editDistance(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar]) -> Int {
    if left.isEmpty || right.isEmpty { return max(left.count, right.count) }
    var beforePrevious = [Int](repeating: 0, count: right.count + 1)
    var previous = Array(0...right.count)
    var current = previous
    for i in 1...left.count {
        current[0] = i
        for j in 1...right.count {
            let cost = left[i - 1] == right[j - 1] ? 0 : 1
            var value = min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost)
            if i > 1, j > 1, left[i - 1] == right[j - 2], left[i - 2] == right[j - 1] {
                value = min(value, beforePrevious[j - 2] + 1)
            }
            current[j] = value
        }
        (beforePrevious, previous, current) = (previous, current, beforePrevious)
    }
    return previous[right.count]
}
