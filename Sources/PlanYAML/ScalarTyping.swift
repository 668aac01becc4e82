import PlanModel

/// What a plain scalar means: YAML 1.2's core schema, without the forms that its versions read differently.
///
/// `yes`, `no`, `on`, `off`, `0123`, `1_000`, `0x1F`, `1:30` and dates stay the text that was written: whoever expects
/// another type says so, with a hint.
func plainValue(_ text: String) -> PlanValue {
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return .boolean(true)
    case "false", "False", "FALSE": return .boolean(false)
    default: break
    }
    let bytes = Array(text.utf8.prefix(40))
    guard let first = bytes.first, (48...57).contains(first) || first == 43 || first == 45 || first == 46,
        bytes.count < 40
    else {
        return .string(text)
    }
    if isInteger(bytes) { return Int(text).map { .integer($0) } ?? .string(text) }
    if isDecimal(bytes), let number = Double(text), number.isFinite { return .double(number) }
    return .string(text)
}

/// `0`, `15`, `-3`; no leading zeros, no plus sign.
private func isInteger(_ bytes: [UInt8]) -> Bool {
    let digits = bytes.first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...]
    guard let first = digits.first, digits.allSatisfy({ (48...57).contains($0) }) else { return false }
    return first != UInt8(ascii: "0") || digits.count == 1
}

/// `1.5`, `-0.25`, `1e3`, `2.5e-3`: digits before the point, and after it where there is one.
private func isDecimal(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    func dropDigits() -> Int {
        let count = rest.prefix { (48...57).contains($0) }.count
        rest = rest.dropFirst(count)
        return count
    }
    if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
    let startsWithZero = rest.first == UInt8(ascii: "0")
    let whole = dropDigits()
    guard whole > 0, !startsWithZero || whole == 1 else { return false }
    if rest.first == UInt8(ascii: ".") {
        rest = rest.dropFirst()
        guard dropDigits() > 0 else { return false }
    }
    if let exponent = rest.first, exponent == UInt8(ascii: "e") || exponent == UInt8(ascii: "E") {
        rest = rest.dropFirst()
        if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { rest = rest.dropFirst() }
        guard dropDigits() > 0 else { return false }
    }
    return rest.isEmpty
}
