internal import BlockingIO
internal import PlanModel
internal import PostgreSQL
internal import RunCore

/// Compares the rows of a database with those of an archive, all of them.
///
/// First each table's text as a whole: a restored table comes in the order of its archive, and in the archive's own time zone the
/// text is the same to the byte. Only tables whose texts differ, be it for an order, a time zone or a changed byte, are read again
/// on both sides and compared row by row, whatever their order and time zone.
struct ContentVerification: Sendable {
    let context: StepContext
    let database: DatabaseRef
    /// The database to look at.
    let name: String
    /// Where the archive lies on the database's host.
    let archive: String

    /// What was changed on purpose since the restore.
    let settlement: Settlement?

    /// - Parameter backedUp: what a decode of the whole archive found.
    func compare(with backedUp: ContentSummary) async throws -> ContentComparison {
        let expected = settled(backedUp)
        let zone = try await timeZone()
        let whole = ContentHashJob.database(
            expecting: expected, environment: environment, applicationName: application, digest: .stream, timeZone: zone)
        let actual = try await context.hashContent(
            whole, host: database.host, part: "actual-content", runAs: database.superuser, "counting and hashing \(counted(expected.rows, "row")) of \(name)")
        let comparison = ContentComparison(expected: expected, actual: actual)
        let undecided = comparison.undecided
        guard !undecided.isEmpty else { return comparison }
        return try await compareRows(of: undecided, expected, actual)
    }

    private func compareRows(
        of tables: [QualifiedName], _ expected: ContentSummary, _ actual: ContentSummary
    ) async throws -> ContentComparison {
        let phase = "comparing the rows of \(counted(tables.count, "table")) one by one"
        let contents = try await context.contents(ofArchive: archive, host: database.host, part: "rows-contents", runAs: database.superuser)
        let expectedRows = try await context.hashContent(
            .archive(at: archive, contents: contents, tables: settlement?.sources(of: tables) ?? tables), host: database.host, part: "expected-rows",
            runAs: database.superuser, phase)
        let actualRows = try await context.hashContent(
            .database(expecting: expected, environment: environment, applicationName: application, tables: tables), host: database.host,
            part: "actual-rows", runAs: database.superuser, phase)
        return ContentComparison(expected: expected.adding(rowHashesOf: settled(expectedRows)), actual: actual.adding(rowHashesOf: actualRows))
    }

    private func settled(_ summary: ContentSummary) -> ContentSummary { settlement?.applied(to: summary) ?? summary }

    private var application: String { "reprise/\(context.run)" }

    private var environment: [String: String] {
        var environment = database.clientEnvironment
        // Taken as a name whatever it looks like: only arguments are read as connection strings.
        environment["PGDATABASE"] = name
        return environment
    }

    private func timeZone() async throws -> String {
        let connection = try await context.administer(database)
        let catalog = Catalog(connection)
        let zone = try await catalog.likelyTimeZone(ofDumpsOf: catalog.database(named: database.database))
        await connection.close()
        return zone
    }
}

/// For work that goes on side by side: what each part came to, without an end of one cutting off another.
func result<Value: Sendable>(_ body: () async throws -> Value) async -> Result<Value, any Error> {
    do { return .success(try await body()) } catch { return .failure(error) }
}
