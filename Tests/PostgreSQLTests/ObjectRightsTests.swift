import Testing

@testable import PostgreSQL

/// Owners and rights of large objects, in both forms in which archives have them.
struct ObjectRightsTests {
    private func entry(_ id: Int, _ kind: String, _ tag: String, _ definition: String = "", owner: String? = nil, _ dependencies: [Int] = []) -> ArchiveEntry {
        var entry = ArchiveEntry()
        (entry.dumpID, entry.kind, entry.tag, entry.definition, entry.owner, entry.dependencies) = (id, kind, tag, definition, owner, dependencies)
        entry.hasData = kind == "BLOBS"
        return entry
    }

    private func archive(_ entries: [ArchiveEntry]) -> ArchiveTOC {
        ArchiveTOC(
            format: .custom, formatVersion: nil, compression: .none, serverVersion: nil, dumpVersion: nil, databaseName: nil, createdLocalTime: nil,
            entries: entries, storedBytes: [:])
    }

    @Test func eachObjectHasAnEntry() {
        let archive = archive([
            entry(1, "BLOB", "16385", "SELECT pg_catalog.lo_create('16385');\n", owner: "app"), entry(2, "BLOB", "16386", owner: "other"),
            entry(3, "ACL", "LARGE OBJECT 16385", "REVOKE ALL ON LARGE OBJECT 16385 FROM app;\nGRANT SELECT,UPDATE ON LARGE OBJECT 16385 TO \"to \"\"x\" WITH GRANT OPTION;\n\n", [1]),
            entry(4, "ACL", "TABLE t", "GRANT SELECT ON TABLE t TO app;", [1]), entry(5, "BLOBS", "BLOBS"),
        ])
        #expect(archive.objectDataIDs == [5])
        #expect(archive.objectRights[16386] == ObjectRights(owner: "other"))
        #expect(
            archive.objectRights[16385] == ObjectRights(
                owner: "app",
                grants: [
                    .init(isGiven: false, privileges: ["ALL"], role: "app", withGrantOption: false),
                    .init(isGiven: true, privileges: ["SELECT", "UPDATE"], role: "to \"x", withGrantOption: true),
                ]))
    }

    @Test func objectsOfOneOwnerAndTheSameRightsHaveAnEntryTogether() {
        let archive = archive([
            entry(1, "BLOB METADATA", "16385..16386", "16385\n16386\n", owner: "app"),
            entry(2, "ACL", "LARGE OBJECTS 16385..16386", "GRANT SELECT ON LARGE OBJECT 16385 TO PUBLIC;\n", [1]),
            entry(3, "BLOBS", "16385..16386"), entry(4, "BLOBS", "16400"),
        ])
        let rights = ObjectRights(owner: "app", grants: [.init(isGiven: true, privileges: ["SELECT"], role: nil, withGrantOption: false)])
        #expect(archive.objectRights == [16385: rights, 16386: rights])
        #expect(archive.objectDataIDs == [3, 4])
    }
}
