package import PostgreSQL

/// How the rows of a table are compared and merged, as people write it in a plan or on the command line. nil: not said.
package struct MergeRules: Sendable, Hashable {
    package enum Missing: String, Sendable, CaseIterable { case insert, skip }
    package enum Changed: String, Sendable, CaseIterable {
        case keepLive = "keep-live"
        case takeBackup = "take-backup"
        case fillNulls = "fill-nulls"
        case newest, decide
    }
    package enum Extra: String, Sendable, CaseIterable { case keep, delete }
    package enum OtherRows: String, Sendable, CaseIterable { case skip, merge }
    package enum LargeObjects: String, Sendable, CaseIterable { case check, ignore }
    package enum Drift: String, Sendable, CaseIterable {
        case refuse
        case commonColumns = "common-columns"
    }

    package var compare: ComparisonMode?
    package var missing: Missing?
    /// SQL over the columns of a missing row.
    package var condition: String?
    package var since: TimeWindow?
    package var changed: Changed?
    package var newestBy: SQLIdentifier?
    package var columns: [SQLIdentifier: Changed] = [:]
    package var extra: Extra?
    package var mostInserts: Int?
    package var mostUpdates: Int?
    package var mostDeletes: Int?
    package var otherRows: OtherRows?
    package var largeObjects: LargeObjects?
    package var drift: Drift?
    /// The columns by which rows are told apart; nil: the live table's own key.
    package var key: [SQLIdentifier]?

    package init() {}

    /// What is said here, and where nothing is, what `base` says.
    package func over(_ base: MergeRules) -> MergeRules {
        var rules = MergeRules()
        rules.compare = compare ?? base.compare
        rules.missing = missing ?? base.missing
        rules.condition = condition ?? base.condition
        rules.since = since ?? base.since
        rules.changed = changed ?? base.changed
        rules.newestBy = newestBy ?? base.newestBy
        rules.columns = base.columns.merging(columns) { $1 }
        rules.extra = extra ?? base.extra
        rules.mostInserts = mostInserts ?? base.mostInserts
        rules.mostUpdates = mostUpdates ?? base.mostUpdates
        rules.mostDeletes = mostDeletes ?? base.mostDeletes
        rules.otherRows = otherRows ?? base.otherRows
        rules.largeObjects = largeObjects ?? base.largeObjects
        rules.drift = drift ?? base.drift
        rules.key = key ?? base.key
        return rules
    }

    /// - Throws: `ReconcileRefused` where `newest` is said and not by what.
    package func policy() throws -> MergePolicy {
        var policy = MergePolicy()
        policy.missing = missing == .skip ? .skip : .insert(where: condition)
        policy.since = since
        policy.changed = try Self.rule(changed ?? .keepLive, newestBy)
        policy.columns = try columns.mapValues { try Self.rule($0, newestBy) }
        policy.newestBy = newestBy
        policy.deletesExtra = extra == .delete
        policy.mostInserts = mostInserts
        policy.mostUpdates = mostUpdates
        policy.mostDeletes = mostDeletes ?? 0
        policy.mergesOtherRows = otherRows == .merge
        policy.ignoresLargeObjects = largeObjects == .ignore
        return policy
    }

    private static func rule(_ changed: Changed, _ newestBy: SQLIdentifier?) throws -> MergePolicy.Changed {
        switch changed {
        case .keepLive: return .keepLive
        case .takeBackup: return .takeBackup
        case .fillNulls: return .fillNulls
        case .decide: return .decide
        case .newest:
            guard let newestBy else {
                throw ReconcileRefused("reconcile.newest-by-what", "`newest` needs `newest-by`: the column that is later where it counts")
            }
            return .newest(newestBy)
        }
    }
}

/// The rules of all tables of a merge: those of single tables over those of all.
package struct MergeRuleSet: Sendable, Hashable {
    package var all = MergeRules()
    package var tables: [QualifiedName: MergeRules] = [:]

    package init() {}

    /// - Throws: `ReconcileRefused` where there are rules for a table that is none of these.
    package func requireTables(_ known: [QualifiedName]) throws {
        guard let name = tables.keys.sorted().first(where: { !known.contains($0) }) else { return }
        throw ReconcileRefused(
            "reconcile.rules-for-nothing", "there are rules for table \(name), which is not one of those that are compared",
            hints: ["these are: \(known.map(\.description).sorted().joined(separator: ", "))"])
    }

    /// - Parameter isFollowed: the table is there for the parents of rows of others alone.
    /// - Throws: `ReconcileRefused` where the rules speak of columns that are not there, or the two shapes cannot be compared.
    package func diff(
        backup: TableShape, live: TableShape, isFollowed: Bool = false, into table: QualifiedName, scope: QualifiedName? = nil
    ) throws -> TableDiff {
        let own = tables[live.name] ?? MergeRules(), rules = own.over(all)
        let pair = try TablePair(backup: backup, live: live, key: rules.key, toleratesDrift: rules.drift == .commonColumns)
        var policy = try rules.policy()
        let there = Set(pair.columns.map(\.name))
        // What is said of all tables holds for those that have the column.
        policy.columns = policy.columns.filter { there.contains($0.key) || own.columns[$0.key] != nil }
        let diff = TableDiff(pair, policy: policy, mode: rules.compare ?? .exact, isFollowed: isFollowed, into: table, scope: scope)
        try diff.requireColumns()
        return diff
    }

    /// - Throws: `ReconcileRefused` where a column of which something is said for all tables is in none of them.
    package func requireUsed(in diffs: [TableDiff]) throws {
        let there = Set(diffs.flatMap { $0.pair.columns.map(\.name) })
        guard let name = all.columns.keys.sorted().first(where: { !there.contains($0) }) else { return }
        throw ReconcileRefused("reconcile.no-column", "`columns` has a rule for column \(name), which none of the tables has")
    }
}

extension TableDiff {
    /// - Throws: `ReconcileRefused` where the policy speaks of a column that is not compared.
    func requireColumns() throws {
        let rules = [policy.changed] + policy.columns.values
        let newest = rules.compactMap { if case .newest(let name) = $0 { name } else { nil } }
        let spoken = policy.columns.keys.sorted() + newest + [policy.since?.column].compactMap { $0 }
        // Types such as json and point have no equality, and others, such as xid, have one and no order.
        let ordered = newest + [policy.since?.column].compactMap { $0 }
        if !isFollowed, let name = ordered.first(where: { name in pair.columns.contains { $0.name == name && ($0.equality == nil || $0.hasNoOrder == true) } }) {
            throw ReconcileRefused(
                "reconcile.no-order", "there is a rule by what is later in column \(name) of \(pair.live.name), whose type \(pair.live.column(name)?.type ?? "") knows no order",
                hints: ["name a column of times, numbers or texts"])
        }
        // Where nothing is compared but what is not there, nothing is chosen by a column either.
        guard !isFollowed, let name = spoken.first(where: { name in !pair.columns.contains { $0.name == name } }) else { return }
        throw ReconcileRefused(
            "reconcile.no-column", "there is a rule by column \(name), which \(pair.live.name) and its backup do not both have",
            hints: [
                "they have: \(pair.columns.map(\.name.description).joined(separator: ", "))",
                "what holds for single tables only is said under `tables`",
            ])
    }
}
