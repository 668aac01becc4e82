internal import BlockingIO
internal import PostgreSQL
internal import RunCore

/// The statements that write into a live table, be it to merge or to take a merge back.
extension TableDiff {
    /// A CTE `l`: the live rows of all that is to be written, with their images, locked in the order of their keys.
    ///
    /// Whoever is about to hang something on one of them has done so before its lock is had, or waits. Only a later statement sees it.
    var lockedRows: String {
        let keys = pair.key!.columns.map { "t.\($0.sql)" }.joined(separator: ", ")
        return """
            l AS MATERIALIZED (
                SELECT \(keys), \(sql.wholeImage("t")) AS "reprise image" FROM \(pair.live.from) AS t
                WHERE EXISTS (SELECT FROM \(table.sql) AS d WHERE d.verdict IN ('insert', 'update', 'delete') AND \(isAbout("t")))
                ORDER BY \(sql.order("t")) FOR UPDATE OF t)
            """
    }

    /// Why a row is left alone that is not as it was agreed to, as SQL.
    static let changedSince = RowSQL.text("changed since the preview")

    /// Locks the live rows of all that is to be written, and holds them against the images that were agreed to. A row to be inserted must
    /// still not be there.
    func lockAndSkipChanged(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        let skipped = try await connection.execute(skippingChanged(wholeLiveImage, Self.changedSince), deadline: deadline)
        try await noteVerdicts(of: skipped, connection, deadline: deadline)
    }

    /// - Parameters:
    ///   - image: what the live row of a difference `d` has to hold; NULL: there has to be none.
    ///   - reason: why it is left alone where it does not.
    func skippingChanged(_ image: String, _ reason: String) -> String {
        """
        WITH \(lockedRows),
             x AS (SELECT d.seq FROM \(table.sql) AS d LEFT JOIN l ON \(isAbout("l"))
                   WHERE d.verdict IN ('insert', 'update', 'delete') AND l."reprise image" IS DISTINCT FROM (\(image)))
        UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(reason) FROM x WHERE d.seq = x.seq
        """
    }

    /// - Parameter source: differences `d` with the backup's rows `b`.
    func inserting(from source: String) -> String {
        """
        INSERT INTO \(pair.live.name.sql) (\(sql.list(sql.columnNames))) OVERRIDING SYSTEM VALUE
        SELECT \(sql.list(sql.columnNames, of: "b")) FROM \(source) WHERE d.verdict = 'insert' ORDER BY d.seq
        """
    }

    /// Of tables with a key; nil where no column may be written.
    var updating: String? {
        let sets = pair.columns.enumerated().filter { !$1.isIdentityAlways }.map { index, column in
            "\(column.name.sql) = CASE WHEN d.take[\(index + 1)] THEN b.\(column.name.sql) ELSE t.\(column.name.sql) END"
        }
        guard !sets.isEmpty else { return nil }
        return """
            UPDATE \(pair.live.from) AS t SET \(sets.joined(separator: ", "))
            FROM \(withBackup) WHERE d.verdict = 'update' AND \(isAbout("t"))
            """
    }

    /// Whether there is a difference of which that is to be done.
    func has(_ verdict: Verdict, _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> Bool {
        try await connection.query(
            "SELECT EXISTS (SELECT FROM \(table.sql) WHERE verdict = '\(verdict)') AS there", deadline: deadline
        ).only().bool("there")
    }

    // MARK: Whether it was done

    var triggerHints: [String] {
        [
            "triggers that fire on it: \(pair.live.triggers.map(\.description).joined(separator: ", "))",
            "name those under `disable-triggers`, or with --disable-trigger",
        ]
    }

    /// - Parameter result: what becomes of the whole transaction otherwise.
    /// - Throws: `ReconcileRefused` where not as many rows were written as should be.
    func requireEqual(_ done: Int, _ planned: Int, _ what: String, orNothingWas result: String) throws {
        guard done == planned else {
            throw ReconcileRefused(
                "reconcile.swallowed",
                "\(counted(planned, "row")) of \(pair.live.name) \(planned == 1 ? "was" : "were") to be \(what), and \(countText(done)) "
                    + "\(done == 1 ? "was" : "were"): a trigger or a rule takes them away; nothing was \(result)",
                hints: triggerHints, exitStatus: .verificationMismatch)
        }
    }
}
