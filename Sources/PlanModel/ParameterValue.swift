/// A parameter's value with its type.
package enum ParameterValue: Codable, Hashable, Sendable {
    case string(String)
    /// An SQL identifier, unquoted.
    case identifier(String)
    case integer(Int)
    case boolean(Bool)
    case duration(Duration)
    /// The moment, and the text as it was given.
    case time(PlanTime, text: String)
    case choice(String)
    /// At least one text, none of them empty.
    case list([String])
    /// Where the secret is; never the secret.
    case secret(SecretReference)

    /// The value as a script's environment and a template inside text show it. A secret shows its reference.
    package var text: String {
        switch self {
        case .string(let text), .identifier(let text), .choice(let text), .time(_, let text): text
        case .integer(let number): String(number)
        case .boolean(let flag): flag ? "true" : "false"
        case .duration(let duration): Quantity.text(duration)
        case .list(let texts): texts.joined(separator: ",")
        case .secret(let reference): reference.description
        }
    }

    /// The value as a field takes it when a template is the whole of it.
    package var planValue: PlanValue {
        switch self {
        case .integer(let number): .integer(number)
        case .boolean(let flag): .boolean(flag)
        case .secret(let reference): .object(["secret": .string(reference.description)])
        case .list(let texts): .list(texts.map { Located(.string($0), at: .generated) })
        case .string, .identifier, .choice, .time, .duration: .string(text)
        }
    }
}

/// Where a secret is to be had. It is read at the last moment, on the orchestrator.
package enum SecretReference: Hashable, Sendable, CustomStringConvertible {
    case environment(String)
    /// The file's content without its last newline.
    case file(String)
    /// What the command prints on stdout, without its last newline.
    case command(String)

    /// `env:NAME`, `file:/path`, `command:words`; nil for anything else.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts[1].isEmpty, !parts[1].unicodeScalars.contains(where: isControl) else {
            return nil
        }
        switch parts[0] {
        case "env" where Name.isEnvironment(parts[1]): self = .environment(parts[1])
        case "file" where Name.isPath(parts[1]): self = .file(parts[1])
        case "command": self = .command(parts[1])
        default: return nil
        }
    }

    package var description: String {
        switch self {
        case .environment(let name): "env:\(name)"
        case .file(let path): "file:\(path)"
        case .command(let command): "command:\(command)"
        }
    }
}

extension SecretReference: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let reference = SecretReference(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a secret reference")
        }
        self = reference
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Parameter {
    /// Reads a value from the words of a command line or of a plan's default.
    ///
    /// - Returns: the value, or why it is none, as the rest of the sentence "parameter x …".
    ///   The refused text is not repeated: it may be a secret that was meant for another parameter.
    package func read(_ text: String) -> Result<ParameterValue, ParameterRefusal> {
        if text.unicodeScalars.contains("\0") { return .failure(.init("holds a NUL character")) }
        if isSecret {
            return SecretReference(text).map { .success(.secret($0)) }
                ?? .failure(.init("is secret: it takes env:NAME, file:/path or command:…, never the secret itself"))
        }
        func refuse(_ reason: String) -> Result<ParameterValue, ParameterRefusal> { .failure(.init(reason)) }
        switch kind {
        case .string: return .success(.string(text))
        case .identifier:
            return Name.isSQLIdentifier(text)
                ? .success(.identifier(text))
                : refuse("expects an SQL identifier of 1 to 63 bytes without control characters")
        case .integer:
            let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
            guard let number = Int(text), digits.allSatisfy({ $0.isASCII && $0.isNumber }) else {
                return refuse("expects a whole number")
            }
            return .success(.integer(number))
        case .boolean:
            switch text.lowercased() {
            case "true", "yes", "on": return .success(.boolean(true))
            case "false", "no", "off": return .success(.boolean(false))
            default: return refuse("expects true or false (yes, no, on and off do too)")
            }
        case .duration:
            return Quantity.duration(text).map { .success(.duration($0)) }
                ?? refuse("expects a duration such as 30s, 5m or 1h30m")
        case .time:
            return PlanTime(text).map { .success(.time($0, text: text)) }
                ?? refuse("expects a time with its offset from UTC, such as 2026-11-23T02:14:07Z")
        case .list:
            let texts = text.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmingSpaces) }
            return texts.contains("") ? refuse("expects words with commas between them, such as members,users") : .success(.list(texts))
        case .choice:
            return choices.contains(text)
                ? .success(.choice(text)) : refuse("expects one of \(choices.joined(separator: ", "))")
        }
    }
}

/// Why a text is no value of a parameter, as the rest of the sentence "parameter x …".
package struct ParameterRefusal: Error, Hashable, Sendable {
    package let reason: String
    init(_ reason: String) { self.reason = reason }
}
