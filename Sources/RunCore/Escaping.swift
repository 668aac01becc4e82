extension String {
    /// With `text` in place of every `scalar`.
    ///
    /// A quote and a combining mark after it are one character to Swift, which is no quote and is not found by `replacing` or `split`; to
    /// servers, shells and files the quote is one. What is to be quoted is looked at scalar by scalar.
    package func escaping(_ scalar: Unicode.Scalar, as text: String) -> String {
        guard unicodeScalars.contains(scalar) else { return self }
        var result = UnicodeScalarView()
        for own in unicodeScalars {
            if own == scalar { result.append(contentsOf: text.unicodeScalars) } else { result.append(own) }
        }
        return String(result)
    }
}

/// Quotes `text` as one word of a POSIX shell, whatever it holds.
package func shellQuoted(_ text: String) -> String {
    "'" + text.escaping("'", as: #"'\''"#) + "'"
}
