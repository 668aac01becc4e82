internal import PostgreSQL
internal import RunCore

/// A CREATE TABLE statement as pg_dump writes it.
///
/// Whoever can write a backup can write anything into it, and the table is made by a superuser in the live database. So no part of the
/// statement is run as it stands: names, types, collations and NOT NULL are read and written anew. Defaults and conditions, which may
/// call any function, stay out: the rows bring their values, and have fulfilled what they had to. What a generated column is worked
/// out by stays in, since the server takes nothing there that has an effect.
struct TableDefinition {
    private let text: String
    init(_ text: String) { self.text = text }

    /// Its columns as a CREATE TABLE takes them, and from which tables it inherits more.
    ///
    /// - Throws: `ReconcileRefused` (`reconcile.odd-table`) where it is written in a way that is not understood.
    func parts(of original: QualifiedName) throws -> (columns: [String], parents: [QualifiedName]) {
        var reader = Reader(text)
        guard reader.skip("CREATE TABLE ") || reader.skip("CREATE UNLOGGED TABLE "), reader.name() == original, reader.skip(" (") else {
            throw ReconcileRefused("reconcile.odd-table", "the backup's definition of \(original) is none of columns, but of a type or of another server")
        }
        guard let columns = reader.columnDefinitions() else {
            throw ReconcileRefused(
                "reconcile.odd-table", "the backup defines a column of \(original) in a way that is not understood",
                hints: ["look at it: pg_restore --schema-only --table=\(shellQuoted(original.name.name)) --file=- ARCHIVE"])
        }
        guard reader.skip("\nINHERITS (") else { return (columns, []) }
        var parents: [QualifiedName] = []
        repeat {
            guard let parent = reader.name() else { throw ReconcileRefused("reconcile.odd-table", "the backup does not say from what \(original) inherits") }
            parents.append(parent)
        } while reader.skip(", ")
        return (columns, parents)
    }

    /// Reads SQL scalar by scalar, as the server does: to Swift's characters, a quote and a mark over it are no quote.
    struct Reader {
        fileprivate var scalars: Substring.UnicodeScalarView
        init(_ text: String) { scalars = text[...].unicodeScalars }

        var rest: Substring { Substring(scalars) }

        func begins(_ words: String) -> Bool { scalars.starts(with: words.unicodeScalars) }

        mutating func skip(_ words: String) -> Bool {
            guard begins(words) else { return false }
            scalars = scalars.dropFirst(words.unicodeScalars.count)
            return true
        }

        fileprivate mutating func take(while isWanted: (Unicode.Scalar) -> Bool) -> String {
            let taken = scalars.prefix(while: isWanted)
            scalars = scalars[taken.endIndex...]
            return String(taken)
        }

        /// `schema.name`, either of them quoted where it has to be.
        mutating func name() -> QualifiedName? {
            guard let schema = identifier(), skip("."), let name = identifier() else { return nil }
            return try? QualifiedName(schema: schema, name: name)
        }

        mutating func identifier() -> String? {
            guard skip("\"") else {
                let plain = take { $0.properties.isAlphabetic || $0.properties.numericType != nil || $0 == "_" || $0 == "$" }
                return plain.isEmpty ? nil : plain
            }
            var name = ""
            while true {
                name += take { $0 != "\"" }
                guard skip("\"") else { return nil }
                guard skip("\"") else { return name }
                name += "\""
            }
        }

        /// All up to the parenthesis that closes the one before; parentheses in quotes close nothing.
        ///
        /// - Returns: nil where it is not closed, or has what could be read in more than one way.
        mutating func parenthesised() -> String? {
            var inside = "", depth = 0
            while let item = item() {
                if item == "(" { depth += 1 }
                if item == ")" {
                    guard depth > 0 else { return inside }
                    depth -= 1
                }
                inside += item
            }
            return nil
        }

        /// A word, a quoted name, a literal or any other single sign, as it stands there.
        fileprivate mutating func item() -> String? {
            // Comments, and texts between dollars: pg_dump writes none into a table's definition.
            guard let first = scalars.first, !["$", "\\"].contains(first), !begins("--"), !begins("/*") else { return nil }
            if first == "\"" { return identifier().flatMap { try? SQLIdentifier($0).sql } }
            if first == "'" { return literal(isEscaped: false) }
            guard Self.beginsWord(first) else { return String(Character(scalars.removeFirst())) }
            let word = take { Self.beginsWord($0) || ("0"..."9").contains($0) || $0 == "$" }
            guard word.lowercased() == "e", scalars.first == "'" else { return word }
            return literal(isEscaped: true).map { word + $0 }
        }

        private static func beginsWord(_ scalar: Unicode.Scalar) -> Bool {
            ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || scalar == "_" || scalar.value >= 0x80
        }

        /// A backslash is one, as our sessions are set to read it. In literals that say otherwise there is none: pg_dump writes no such.
        private mutating func literal(isEscaped: Bool) -> String? {
            var literal = "'"
            guard skip("'") else { return nil }
            while true {
                literal += take { $0 != "'" && !(isEscaped && $0 == "\\") }
                guard skip("'") else { return nil }
                literal += "'"
                guard skip("'") else { return literal }
                literal += "'"
            }
        }
    }
}

extension TableDefinition.Reader {
    /// Columns and constraints up to the parenthesis that closes the one before; only the columns are handed on.
    fileprivate mutating func columnDefinitions() -> [String]? {
        var columns: [String] = []
        skipSpace()
        while !skip(")") {
            if skip("CONSTRAINT ") || skip("NOT NULL ") {
                guard skipElement() else { return nil }
            } else {
                guard let column = columnDefinition() else { return nil }
                columns.append(column)
            }
            _ = skip(",")
            skipSpace()
        }
        return columns
    }

    private mutating func skipSpace() { while skip(" ") || skip("\n") {} }

    private var isAtEndOfElement: Bool { rest.isEmpty || begins(",") || begins(")") }

    private mutating func skipElement() -> Bool {
        while !isAtEndOfElement {
            guard skipItem() else { return false }
        }
        return !rest.isEmpty
    }

    private mutating func skipItem() -> Bool { skip("(") ? parenthesised() != nil : item() != nil }

    private mutating func columnDefinition() -> String? {
        guard let name = identifier(), var column = try? SQLIdentifier(name).sql, skip(" "), let type = type() else { return nil }
        column += " \(type)"
        skipSpace()
        while !isAtEndOfElement {
            if skip("COLLATE ") {
                guard let collation = self.name() else { return nil }
                column += " COLLATE \(collation.sql)"
            } else if skip("GENERATED ALWAYS AS (") {
                guard let expression = parenthesised() else { return nil }
                column += " GENERATED ALWAYS AS (\(expression))\(skip(" STORED") ? " STORED" : "")"
            } else if skip("NOT NULL") {
                column += " NOT NULL"
            } else if !skipItem() {
                return nil
            }
            skipSpace()
        }
        return rest.isEmpty ? nil : column
    }

    /// What may follow a type's name after a space, and nothing that a column's definition goes on with.
    private static let furtherWords: Set<String> = [
        "precision", "varying", "with", "without", "time", "zone", "year", "to", "month", "day", "hour", "minute", "second",
    ]

    /// As `format_type` writes it: a name, a modifier in parentheses, an array's brackets; nothing that would be worked out.
    private mutating func type() -> String? {
        guard var type = typeName() else { return nil }
        while skip(".") {
            guard let name = typeName() else { return nil }
            type += ".\(name)"
        }
        while true {
            if skip("[]") {
                type += "[]"
            } else if skip("(") {
                guard let modifier = modifier() else { return nil }
                type += "(\(modifier))"
            } else if let word = Self.furtherWords.first(where: { follows($0) }) {
                _ = skip(" \(word)")
                type += " \(word)"
            } else {
                return type
            }
        }
    }

    private func follows(_ word: String) -> Bool {
        guard begins(" \(word)"), let next = scalars.dropFirst(word.unicodeScalars.count + 1).first else { return false }
        return !(next.properties.isAlphabetic || next == "_" || next == "$" || ("0"..."9").contains(next))
    }

    private mutating func typeName() -> String? {
        if begins("\"") { return identifier().flatMap { try? SQLIdentifier($0).sql } }
        let word = take { ("a"..."z").contains($0) || ("0"..."9").contains($0) || $0 == "_" || $0 == "$" }
        return word.isEmpty ? nil : word
    }

    /// `10,2` or `Point,4326`.
    private mutating func modifier() -> String? {
        let text = take {
            ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0) || ["_", ",", "-", " ", "."].contains($0)
        }
        return skip(")") ? text : nil
    }
}

extension TableDefinition.Reader {
    /// ` (a, "B", c)`; a table without columns has none of it.
    mutating func columns() -> [SQLIdentifier]? {
        guard skip(" (") else { return [] }
        var columns: [SQLIdentifier] = []
        repeat {
            guard let name = identifier(), let column = try? SQLIdentifier(name) else { return nil }
            columns.append(column)
        } while skip(", ")
        return skip(")") ? columns : nil
    }
}
