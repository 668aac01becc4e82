import ArgumentParser
internal import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// What becomes of each kind of difference: the fields of the step `table-diff`, as options.
struct PolicyArguments: ParsableArguments {
    @Option(help: "Rows that the target does not have: insert or skip.") var missing: MergeRules.Missing = .insert
    @Option(help: ArgumentHelp("SQL over the columns of a missing row; only those for which it is true are inserted.", valueName: "sql")) var `where`: String?
    @Option(help: "Rows that both have with other values: keep-live, take-backup, fill-nulls, newest, or decide, which lists them.")
    var changed: MergeRules.Changed = .keepLive
    @Option(help: ArgumentHelp("For newest: the column that is later where it counts.", valueName: "column")) var newestBy: String?
    @Option(help: ArgumentHelp("A rule for one column: COLUMN=RULE. May be repeated.", valueName: "rule")) var column: [String] = []
    @Option(help: "Rows that the source does not have: keep or delete.") var extra: MergeRules.Extra = .keep
    @Option(help: ArgumentHelp("More than that is refused.", valueName: "rows")) var mostInserts: Int?
    @Option(help: ArgumentHelp("More than that is refused.", valueName: "rows")) var mostUpdates: Int?
    @Option(help: ArgumentHelp("More than that is refused; needed for --extra delete.", valueName: "rows")) var mostDeletes: Int?
    @Option(help: "Changed rows whose other unique values differ too: skip or merge.") var otherRows: MergeRules.OtherRows = .skip

    /// - Parameter base: how the tables are compared.
    func rules(over base: MergeRules) throws -> MergeRuleSet {
        var rules = base
        (rules.missing, rules.condition, rules.changed, rules.extra, rules.otherRows) = (missing, self.where, changed, extra, otherRows)
        (rules.mostInserts, rules.mostUpdates, rules.mostDeletes) = (mostInserts, mostUpdates, mostDeletes)
        rules.newestBy = try newestBy.map(SQLIdentifier.init)
        for word in column {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let rule = MergeRules.Changed(rawValue: parts[1]) else {
                let known = MergeRules.Changed.allCases.map(\.rawValue).joined(separator: ", ")
                throw Refusal("bad-rule", "\(printable(word)) is not COLUMN=RULE", hints: ["rules: \(known)"])
            }
            rules.columns[try SQLIdentifier(parts[0])] = rule
        }
        var set = MergeRuleSet()
        set.all = rules
        return set
    }
}

extension MergeRules.Missing: ExpressibleByArgument {}
extension MergeRules.Changed: ExpressibleByArgument {}
extension MergeRules.Extra: ExpressibleByArgument {}
extension MergeRules.OtherRows: ExpressibleByArgument {}
