import ArgumentParser
internal import Foundation
internal import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// What becomes of each kind of difference: the fields of the step `table-diff`, as options.
struct PolicyArguments: ParsableArguments {
    @Option(help: "Rows that the target does not have: insert or skip.") var missing: Missing = .insert
    @Option(help: ArgumentHelp("SQL over the columns of a missing row; only those for which it is true are inserted.", valueName: "sql")) var `where`: String?
    @Option(help: "Rows that both have with other values: keep-live, take-backup, fill-nulls or newest.") var changed: Rule = .keepLive
    @Option(help: ArgumentHelp("For newest: the column that is later where it counts.", valueName: "column")) var newestBy: String?
    @Option(help: ArgumentHelp("A rule for one column: COLUMN=RULE. May be repeated.", valueName: "rule")) var column: [String] = []
    @Option(help: "Rows that the source does not have: keep or delete.") var extra: Extra = .keep
    @Option(help: ArgumentHelp("More than that is refused.", valueName: "rows")) var mostInserts: Int?
    @Option(help: ArgumentHelp("More than that is refused.", valueName: "rows")) var mostUpdates: Int?
    @Option(help: ArgumentHelp("More than that is refused; needed for --extra delete.", valueName: "rows")) var mostDeletes = 0
    @Option(help: "Changed rows whose other unique values differ too: skip or merge.") var otherRows: OtherRows = .skip

    enum Missing: String, ExpressibleByArgument, CaseIterable { case insert, skip }
    enum Extra: String, ExpressibleByArgument, CaseIterable { case keep, delete }
    enum OtherRows: String, ExpressibleByArgument, CaseIterable { case skip, merge }
    enum Rule: String, ExpressibleByArgument, CaseIterable {
        case keepLive = "keep-live", takeBackup = "take-backup", fillNulls = "fill-nulls", newest
    }

    func policy() throws -> MergePolicy {
        var policy = MergePolicy()
        policy.missing = missing == .skip ? .skip : .insert(where: self.where)
        policy.changed = try rule(changed)
        for word in column {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let named = Rule(rawValue: parts[1]) else {
                throw Refusal("bad-rule", "\(printable(word)) is not COLUMN=RULE", hints: ["rules: \(Rule.allCases.map(\.rawValue).joined(separator: ", "))"])
            }
            policy.columns[try SQLIdentifier(parts[0])] = try rule(named)
        }
        policy.deletesExtra = extra == .delete
        (policy.mostInserts, policy.mostUpdates, policy.mostDeletes) = (mostInserts, mostUpdates, mostDeletes)
        policy.mergesOtherRows = otherRows == .merge
        return policy
    }

    private func rule(_ rule: Rule) throws -> MergePolicy.Changed {
        switch rule {
        case .keepLive: return .keepLive
        case .takeBackup: return .takeBackup
        case .fillNulls: return .fillNulls
        case .newest:
            guard let newestBy else { throw Refusal("newest-by-what", "newest needs --newest-by: the column that is later where it counts") }
            return .newest(try SQLIdentifier(newestBy))
        }
    }
}
