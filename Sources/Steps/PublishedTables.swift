internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// What steps have in common that make tables in the live database, for themselves or for what they remember.
extension StepContext {
    /// The field of such a step.
    package static let publishedField = FieldSchema(
        "published", .choice(["refuse", "accept"]), default: .string("refuse"),
        help: "where a publication of all tables would send what is made in the database to subscribers, which stop at tables that they lack")

    /// - Parameter name: the database in which tables are made.
    /// - Throws: `ReconcileRefused` where somebody who subscribes to all tables would get those, unless that was accepted.
    func requireUnpublished(_ name: String, of database: DatabaseRef) async throws {
        guard optionalString("published") != "accept" else { return }
        let connection = try await services.connect(database, name: name)
        try await Publications.requireUnread(connection, deadline: deadline ?? Deadline(after: .seconds(60)))
        await connection.close()
    }
}
