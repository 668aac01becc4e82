internal import BlockingIO
internal import PlanModel
internal import PostgreSQL

extension Catalog {
    /// An empty database with the encoding and locale of `database`, or of the archive where that one is gone.
    ///
    /// - Parameter connectionLimit: for who wants to know it again before it has a comment: nothing else is set by the statement that makes it.
    func createEmpty(
        _ name: String, like database: DatabaseRef, or contents: ArchiveTOC, connectionLimit: Int = -1, deadline: Deadline
    ) async throws {
        let model = try await self.database(named: database.database)
        var options = "TEMPLATE template0 CONNECTION LIMIT \(connectionLimit)"
        if let encoding = model?.encoding ?? contents.encoding { options += " ENCODING \(try SQLLiteral(encoding).sql)" }
        if let model {
            options += " LC_COLLATE \(try SQLLiteral(model.collate).sql) LC_CTYPE \(try SQLLiteral(model.ctype).sql)"
            if model.localeProvider == "icu", let locale = model.icuLocale { options += " LOCALE_PROVIDER icu ICU_LOCALE \(try SQLLiteral(locale).sql)" }
        }
        try await connection.execute("CREATE DATABASE \(try SQLIdentifier(name).sql) \(options)", deadline: deadline)
    }
}
