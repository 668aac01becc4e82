package import BlockingIO
package import PostgreSQL

extension RescueTables {
    /// The merge of these tables with the live ones, by the rules that people gave. Nothing is compared yet.
    ///
    /// - Throws: `ReconcileRefused` where rules and tables do not fit together.
    package func plan(
        _ rules: MergeRuleSet, followingParents: Bool = false, _ connection: PostgresConnection, deadline: Deadline
    ) async throws -> MergePlan {
        guard followsParents || !followingParents else {
            throw ReconcileRefused(
                "reconcile.no-parents", "parents are to be followed, and their tables were not loaded",
                hints: ["say `parents: follow` in the table-restore step as well"])
        }
        let wanted = tables.filter { followingParents || !$0.isFollowed }
        try rules.requireTables(wanted.map(\.live))
        var diffs: [TableDiff] = []
        for (index, table) in wanted.enumerated() {
            let into = try QualifiedName(schema: schema.name, name: "reprise diff \(index)")
            let backup = try await TableShape.read(table.rescue, connection, deadline: deadline)
            do {
                let live = try await TableShape.read(table.live, connection, deadline: deadline)
                var diff = try rules.diff(backup: backup, live: live, isFollowed: table.isFollowed, into: into)
                if !diff.policy.ignoresLargeObjects, !diff.objectColumns.isEmpty { diff.objects = objects }
                if diff.pair.key != nil || !table.isFollowed { diffs.append(diff) }
            } catch let error as ReconcileRefused where error.code == "reconcile.no-table" && table.isFollowed {
                // What is no table any more is nobody's parent either.
                continue
            }
        }
        try rules.requireUsed(in: diffs.filter { !$0.isFollowed })
        return try MergePlan(diffs, followingParents: followingParents)
    }
}
