/// What names may look like. A name that fails here is refused; it is never repaired and never interpreted.
package enum Name {
    /// Lowercase words: plan names, parameter names, store, database and secret names of the inventory.
    /// 1 to 60 characters of `a–z`, `0–9`, `-`, `_`, starting with a letter.
    package static func isPlain(_ text: String) -> Bool {
        guard let first = text.utf8.first, (97...122).contains(first), text.utf8.count <= 60 else { return false }
        return text.utf8.allSatisfy { isLowerOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
    }

    /// Host and group names of an inventory: letters, digits, `.`, `_`, `-`, starting with a letter or digit, without `..`.
    package static func isHost(_ text: String) -> Bool {
        guard let first = text.utf8.first, isAlphanumeric(first), text.utf8.count <= 253, !text.contains("..") else {
            return false
        }
        return text.utf8.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
    }

    /// A host name or a numeric address, IPv6 with or without a zone.
    package static func isAddress(_ text: String) -> Bool {
        guard let first = text.utf8.first, isAlphanumeric(first) || first == UInt8(ascii: ":"), text.utf8.count <= 253
        else { return false }
        return !text.contains("..") && text.utf8.allSatisfy { isAlphanumeric($0) || "._-:%".utf8.contains($0) }
    }

    /// A login name: `[A-Za-z_][A-Za-z0-9._-]*`, 32 bytes at most.
    package static func isAccount(_ text: String) -> Bool {
        guard let first = text.utf8.first, isAlphanumeric(first) || first == UInt8(ascii: "_"), text.utf8.count <= 32
        else { return false }
        return text.utf8.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
    }

    /// An SQL identifier as the server stores it, before quoting: 1 to 63 bytes, anything but control characters.
    /// Capitals, quotes, spaces and reserved words are legal: whoever builds SQL quotes it, always.
    package static func isSQLIdentifier(_ text: String) -> Bool {
        (1...63).contains(text.utf8.count) && !text.unicodeScalars.contains(where: isControl)
    }

    /// An absolute path (or one under `~/`) without `..` components and control characters. Spaces and quotes are literal.
    package static func isPath(_ text: String) -> Bool {
        guard text.hasPrefix("/") || text.hasPrefix("~/"), text.utf8.count <= 4095 else { return false }
        return !text.unicodeScalars.contains(where: isControl) && !text.split(separator: "/").contains("..")
    }

    /// An S3 bucket: 3 to 63 of `a–z`, `0–9`, `.`, `-`, beginning and ending with a letter or digit.
    package static func isBucket(_ text: String) -> Bool {
        guard (3...63).contains(text.utf8.count), let first = text.utf8.first, let last = text.utf8.last else {
            return false
        }
        return isLowerOrDigit(first) && isLowerOrDigit(last) && !text.contains("..")
            && text.utf8.allSatisfy { isLowerOrDigit($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
    }

    /// `http://` or `https://`, a host, and no user, password, space or control character.
    package static func isHTTPURL(_ text: String) -> Bool {
        guard let scheme = ["http://", "https://"].first(where: text.hasPrefix), text.utf8.count <= 2048 else {
            return false
        }
        let authority = text.dropFirst(scheme.count).prefix { !"/?#".contains($0) }
        return !authority.isEmpty && !authority.contains("@") && !authority.hasPrefix("-")
            && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    /// An environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
    package static func isEnvironment(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(48...57).contains(first) else { return false }
        return text.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "_") }
    }

    static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isLowerOrDigit(byte) || (65...90).contains(byte)
    }

    static func isLowerOrDigit(_ byte: UInt8) -> Bool {
        (97...122).contains(byte) || (48...57).contains(byte)
    }
}
