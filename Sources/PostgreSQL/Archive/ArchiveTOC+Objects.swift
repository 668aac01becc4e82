/// What an archive says of a large object beside its content.
package struct ObjectRights: Sendable, Hashable, Codable {
    package var owner: String?
    /// In the order in which they are to be given and taken.
    package var grants: [Grant] = []

    package init(owner: String? = nil, grants: [Grant] = []) { (self.owner, self.grants) = (owner, grants) }

    package struct Grant: Sendable, Hashable, Codable {
        /// False: taken away.
        package let isGiven: Bool
        /// `SELECT`, `UPDATE`, or `ALL` for both.
        package let privileges: [String]
        /// nil: everybody.
        package let role: String?
        package let withGrantOption: Bool

        package init(isGiven: Bool, privileges: [String], role: String?, withGrantOption: Bool) {
            (self.isGiven, self.privileges, self.role, self.withGrantOption) = (isGiven, privileges, role, withGrantOption)
        }
    }
}

extension ArchiveTOC {
    /// The entries that hold the large objects' contents.
    package var objectDataIDs: [Int] { entries.filter { $0.kind == "BLOBS" && $0.hasData }.map(\.dumpID) }

    /// Owners and rights of the large objects, by their numbers.
    ///
    /// Archives up to PostgreSQL 16 have an entry for each object, later ones one for all that have the same owner and rights.
    package var objectRights: [UInt32: ObjectRights] {
        var rights: [UInt32: ObjectRights] = [:], numbers: [Int: [UInt32]] = [:]
        for entry in entries where entry.kind == "BLOB" || entry.kind == "BLOB METADATA" {
            let own = (entry.kind == "BLOB" ? entry.tag : entry.definition).split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) }
            numbers[entry.dumpID] = own
            for number in own { rights[number] = ObjectRights(owner: entry.owner) }
        }
        for entry in entries where entry.kind == "ACL" && entry.tag.hasPrefix("LARGE OBJECT") {
            let grants = entry.definition.split(separator: "\n").compactMap { ObjectRights.Grant(String($0)) }
            for number in entry.dependencies.lazy.compactMap({ numbers[$0] }).first ?? [] { rights[number]?.grants += grants }
        }
        return rights
    }
}

extension ObjectRights.Grant {
    /// - Parameter statement: `GRANT SELECT ON LARGE OBJECT 16385 TO reader WITH GRANT OPTION;` or REVOKE … FROM; nil for any other.
    init?(_ statement: String) {
        var words = SQLWords.tokens(statement)[...]
        guard let verb = words.popFirst(), verb.isWord("GRANT") || verb.isWord("REVOKE") else { return nil }
        var privileges: [String] = []
        while let word = words.popFirst(), !word.isWord("ON") {
            if word.kind == .word { privileges.append(word.text.uppercased()) }
        }
        guard !privileges.isEmpty, privileges.allSatisfy({ ["ALL", "SELECT", "UPDATE"].contains($0) }),
            let place = words.firstIndex(where: { $0.isWord("TO") || $0.isWord("FROM") }), place + 1 < words.endIndex, words[place + 1].isName
        else { return nil }
        let role = words[place + 1]
        self.init(
            isGiven: verb.isWord("GRANT"), privileges: privileges, role: role.isWord("PUBLIC") ? nil : role.text,
            withGrantOption: words[place...].contains { $0.isWord("OPTION") })
    }
}
