package import PostgreSQL

/// Tables that are made for a comparison: beside the live ones, or for this session alone.
extension QualifiedName {
    /// The schema of a session's own temporary tables: nothing of it is written for others to see, or stays.
    package static func temporary(_ name: String) throws -> QualifiedName { try QualifiedName(schema: "pg_temp", name: name) }

    var isTemporary: Bool { schema.name == "pg_temp" }

    /// The beginning of the statement that makes it. No crash of the server needs to be outlived: it is made anew.
    var creation: String { "CREATE \(isTemporary ? "" : "UNLOGGED ")TABLE \(sql)" }
}
