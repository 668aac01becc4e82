/// Ansible's ranges in host names: `web[01:10]`, `db[a:f]`, `n[0:20:5]`, several in one name.
enum HostRange {
    static let mostHosts = 10_000

    /// Why a name is no range, as a sentence.
    struct Malformed: Error { let message: String }

    static func expand(_ pattern: String) throws(Malformed) -> [String] {
        var results = [""]
        var rest = pattern[...]
        while !rest.isEmpty {
            let literal = rest.prefix { $0 != "[" }
            rest = rest.dropFirst(literal.count)
            var next = results.map { $0 + literal }
            if rest.first == "[" {
                guard let close = rest.firstIndex(of: "]") else { throw Malformed(message: "`[` is not closed") }
                let items = try items(rest[rest.index(after: rest.startIndex)..<close])
                guard next.count * items.count <= mostHosts else {
                    throw Malformed(message: "the range stands for more than \(mostHosts) hosts")
                }
                next = next.flatMap { name in items.map { name + $0 } }
                rest = rest[rest.index(after: close)...]
            }
            results = next
        }
        return results
    }

    private static func items(_ range: Substring) throws(Malformed) -> [String] {
        let parts = range.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 || parts.count == 3 else {
            throw Malformed(message: "a range is written [first:last] or [first:last:step]")
        }
        let step = parts.count == 3 ? Int(parts[2]) : 1
        guard let step, step > 0 else { throw Malformed(message: "the step of a range is a number above 0") }
        if let first = number(parts[0]), let last = number(parts[1]) {
            let isPadded = parts[0].count > 1 && parts[0].hasPrefix("0")
            guard !isPadded || parts[0].count == parts[1].count else {
                throw Malformed(message: "both ends of a padded range have the same number of digits")
            }
            guard first <= last else { throw Malformed(message: "the range ends before it begins") }
            guard (last - first) / step < mostHosts else {
                throw Malformed(message: "the range stands for more than \(mostHosts) hosts")
            }
            return stride(from: first, through: last, by: step).map { value in
                let digits = String(value)
                return isPadded ? String(repeating: "0", count: max(0, parts[0].count - digits.count)) + digits : digits
            }
        }
        guard let first = letter(parts[0]), let last = letter(parts[1]), first <= last else {
            throw Malformed(message: "the ends of a range are two numbers or two letters, the smaller one first")
        }
        return stride(from: Int(first), through: Int(last), by: step).map { String(UnicodeScalar(UInt8($0))) }
    }

    private static func number(_ text: String) -> Int? {
        !text.isEmpty && text.utf8.count <= 9 && text.utf8.allSatisfy { (48...57).contains($0) } ? Int(text) : nil
    }

    private static func letter(_ text: String) -> UInt8? {
        guard text.utf8.count == 1, let byte = text.utf8.first, Name.isAlphanumeric(byte), !(48...57).contains(byte)
        else { return nil }
        return byte
    }
}
