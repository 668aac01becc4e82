/// Reads the comments that pg_dump writes before every object of a plain SQL dump.
///
/// A dump's text is trusted no further than these comments go: a body that imitates one only shows as an object too many.
enum PlainDump {
    static func looksLikeOne(_ bytes: [UInt8]) -> Bool {
        let head = bytes.prefix(4096)
        guard !head.contains(0) else { return false }
        return String(decoding: head, as: UTF8.self).contains("-- PostgreSQL database dump")
    }

    static func read(_ bytes: [UInt8]) throws(ArchiveUnreadable) -> ArchiveTOC {
        var entries: [ArchiveEntry] = []
        var definition: [Substring] = []
        var server: String?
        var dump: String?
        var isClosed = false
        var isInRows = false
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)

        func finishEntry() {
            guard !entries.isEmpty else { return definition.removeAll() }
            let text = definition.filter { !$0.hasPrefix("\\restrict ") && !$0.hasPrefix("\\unrestrict ") && $0 != "--" }
            entries[entries.count - 1].complete(with: text.joined(separator: "\n"))
            definition.removeAll()
        }

        for line in lines {
            if isInRows {
                isInRows = line != "\\."
                continue
            }
            if let entry = entry(of: line, number: entries.count + 1) {
                finishEntry()
                entries.append(entry)
            } else if line.hasPrefix("-- PostgreSQL database dump complete") {
                isClosed = true
            } else if entries.isEmpty, line.hasPrefix("-- Dumped from database version ") {
                server = String(line.dropFirst("-- Dumped from database version ".count))
            } else if entries.isEmpty, line.hasPrefix("-- Dumped by pg_dump version ") {
                dump = String(line.dropFirst("-- Dumped by pg_dump version ".count))
            } else if entries.isEmpty, let setting = self.setting(line, number: entries.count + 1) {
                entries.append(setting)
            } else {
                definition.append(line)
                isInRows = line.hasPrefix("COPY ") && line.hasSuffix(" FROM stdin;") && entries.last?.kind == "TABLE DATA"
            }
        }
        finishEntry()
        guard isClosed, !isInRows else { throw .incomplete("the dump: its closing line is missing") }
        return ArchiveTOC(
            format: .plain, formatVersion: nil, compression: .none, serverVersion: server, dumpVersion: dump, databaseName: nil,
            createdLocalTime: nil, entries: entries, storedBytes: [:])
    }

    /// `-- Name: members; Type: TABLE; Schema: public; Owner: chms`, with `Data for Name` before data and `Tablespace` at the end.
    private static func entry(of line: Substring, number: Int) -> ArchiveEntry? {
        guard line.hasPrefix("-- Name: ") || line.hasPrefix("-- Data for Name: ") else { return nil }
        // From the right: a name may hold "; Type: ", what follows the name may not.
        let pattern = #/^-- (?:Data for )?Name: (.*); Type: ([^;]+); Schema: (.*?); Owner: (.*?)(?:; Tablespace: (.*))?$/#
        guard let match = line.wholeMatch(of: pattern) else { return nil }
        var entry = ArchiveEntry()
        entry.dumpID = number
        entry.tag = String(match.1)
        entry.kind = String(match.2)
        entry.schema = match.3 == "-" ? nil : String(match.3)
        entry.owner = match.4.isEmpty || match.4 == "-" ? nil : String(match.4)
        entry.tablespace = match.5.map(String.init)
        entry.hasData = entry.kind == "TABLE DATA" || entry.kind == "BLOBS"
        entry.section = entry.hasData ? .data : .none
        return entry
    }

    private static func setting(_ line: Substring, number: Int) -> ArchiveEntry? {
        var entry = ArchiveEntry()
        entry.dumpID = number
        if line.hasPrefix("SET client_encoding = ") {
            entry.kind = "ENCODING"
        } else {
            return nil
        }
        entry.tag = entry.kind
        entry.definition = String(line)
        entry.section = .preData
        return entry
    }
}

extension ArchiveEntry {
    fileprivate mutating func complete(with text: String) {
        if kind == "TABLE DATA" {
            copyStatement = text.split(separator: "\n").first { $0.hasPrefix("COPY ") }.map(String.init) ?? ""
        } else if definition.isEmpty {
            definition = text
        }
    }
}
