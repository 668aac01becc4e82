/// What a server knows about the state of its storage.
extension Catalog {
    package struct ChecksumFailures: Sendable, Hashable, Codable {
        /// nil for what all databases share.
        package let database: String?
        package let failures: Int64
        package let last: String?
    }

    /// Pages that were read and whose checksum was wrong, since statistics were last reset. Empty also where checksums are off.
    package func checksumFailures() async throws -> [ChecksumFailures] {
        try await ask(
            """
            SELECT CASE WHEN datid <> 0 THEN datname::pg_catalog.text END AS name, checksum_failures AS failures, checksum_last_failure AS last
            FROM pg_catalog.pg_stat_database WHERE checksum_failures > 0 ORDER BY 1
            """
        ).map { try ChecksumFailures(database: $0.optionalString("name"), failures: $0.integer("failures"), last: $0.optionalString("last")) }
    }

    /// Reads every shared catalog to its end.
    ///
    /// - Returns: for each that cannot be read, its name and what the server says.
    package func unreadableSharedCatalogs() async throws -> [String] {
        var result: [String] = []
        for row in try await ask(
            "SELECT relname AS name FROM pg_catalog.pg_class WHERE relisshared AND relkind = 'r' AND relnamespace = 'pg_catalog'::pg_catalog.regnamespace ORDER BY 1"
        ) {
            let name = try QualifiedName(schema: "pg_catalog", name: row.string("name"))
            do {
                // Of whole rows, so that the table itself is read and not one of its indexes.
                _ = try await ask("SELECT pg_catalog.count(t.*) FROM \(name.sql) t")
            } catch let error as PostgresError where ["XX001", "XX002", "58030", "58P01"].contains(error.sqlState) {
                result.append("\(name): \(error.primary)")
            }
        }
        return result
    }
}
