internal import Foundation
internal import Synchronization
package import RunCore

/// Knows the secrets that this process has seen, and takes them out of everything that is stored or shown.
///
/// A secret is found as it is, as base64, percent-encoded and as inside a JSON string. Values shorter than 4 bytes are not looked for:
/// replacing every `a` would hide nothing and ruin everything.
package final class Redactor: Sendable {
    package static let mark = "[redacted]"
    private let needles = Mutex<[String]>([])

    package init() {}

    package func register(_ secret: String) {
        guard secret.utf8.count >= 4 else { return }
        var forms = [secret]
        let bytes = Data(secret.utf8)
        // The base64 of a text that starts elsewhere in a longer one differs in its first and last characters only.
        forms.append(bytes.base64EncodedString().replacingOccurrences(of: "=", with: ""))
        for shift in 1...2 {
            let padded = (Data(repeating: 0, count: shift) + bytes).base64EncodedString()
            forms.append(String(padded.dropFirst(4).prefix(while: { $0 != "=" }).dropLast(1)))
        }
        if let encoded = secret.addingPercentEncoding(withAllowedCharacters: .alphanumerics) { forms.append(encoded) }
        forms += secret.split(whereSeparator: \.isNewline).map(String.init)
        needles.withLock { needles in
            needles = Set(needles + forms.filter { $0.utf8.count >= 4 }).sorted { $0.utf8.count > $1.utf8.count }
        }
    }

    package var isEmpty: Bool { needles.withLock(\.isEmpty) }

    package func redact(_ text: String) -> String {
        let needles = needles.withLock { $0 }
        return needles.reduce(text) { $1.utf8.count <= $0.utf8.count ? $0.replacingOccurrences(of: $1, with: Self.mark) : $0 }
    }

    package func redact(_ value: JSONValue) -> JSONValue {
        isEmpty ? value : value.mapStrings(redact)
    }

    /// The event without secrets: what is journaled, and so also what the machine sees.
    func redact(_ event: RunEvent) throws -> RunEvent {
        guard !isEmpty else { return event }
        let payload = try EventCodec.value(event.payload)
        let clean = redactContent(of: payload)
        guard clean != payload else { return event }
        guard let result = try RunEvent(kind: event.kind, decode: { try EventCodec.decode($0, from: clean) }) else { return event }
        return result
    }

    /// Everything but the event's own shape and the plan's own names. A password that is also the name of a step is no secret where
    /// the step is named, and without that name the event could not be read.
    private func redactContent(of payload: JSONValue) -> JSONValue {
        guard case .object(let members) = payload else { return redact(payload) }
        return .object(
            Dictionary(uniqueKeysWithValues: members.map { key, value in
                if Self.structure.contains(key) { return (key, value) }
                return (key, key == "failure" ? redactContent(of: value) : redact(value))
            }))
    }

    private static let structure: Set<String> = ["step", "host", "key", "kind", "code", "verdict", "specHash", "machineID", "hostKey"]
}
