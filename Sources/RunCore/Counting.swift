/// `2,400,000`.
package func countText(_ count: some BinaryInteger) -> String {
    let digits = String(count.magnitude)
    var groups: [Substring] = []
    var rest = digits[...]
    while rest.count > 3 {
        groups.insert(rest.suffix(3), at: 0)
        rest = rest.dropLast(3)
    }
    groups.insert(rest, at: 0)
    return (count < 0 ? "-" : "") + groups.joined(separator: ",")
}

/// `1 step`, `3 steps`.
package func counted(_ count: some BinaryInteger, _ noun: String, plural: String? = nil) -> String {
    "\(countText(count)) \(count == 1 ? noun : plural ?? noun + "s")"
}
