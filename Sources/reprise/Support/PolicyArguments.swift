import ArgumentParser
internal import Engine
internal import Foundation
internal import PlanModel
internal import PlanYAML
internal import PostgreSQL
internal import Reconcile
internal import RunCore
internal import Steps

/// What becomes of each kind of difference: the fields of the step `table-diff`, as options or in a file.
struct PolicyArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A YAML file with fields of the step table-diff, among them `tables`, the rules of single tables. Options go before what it says of all tables.",
            valueName: "file"))
    var rules: String?
    @Option(help: "Rows that the target does not have: insert (without it) or skip.") var missing: MergeRules.Missing?
    @Option(help: ArgumentHelp("SQL over the columns of a missing row; only those for which it is true are inserted.", valueName: "sql")) var `where`: String?
    @Option(help: ArgumentHelp("COLUMN=VALUE: of the missing rows only those whose value is not before that.", valueName: "time")) var since: String?
    @Option(help: ArgumentHelp("COLUMN=VALUE: of the missing rows only those whose value is before that.", valueName: "time")) var before: String?
    @Option(help: "Rows that both have with other values: keep-live (without it), take-backup, fill-nulls, newest, or decide: see --decisions.")
    var changed: MergeRules.Changed?
    @Option(help: ArgumentHelp("For newest: the column that is later where it counts.", valueName: "column")) var newestBy: String?
    @Option(help: ArgumentHelp("A rule for one column: COLUMN=RULE. May be repeated.", valueName: "rule")) var column: [String] = []
    @Option(help: "Rows that the source does not have: keep (without it) or delete.") var extra: MergeRules.Extra?
    @Option(help: ArgumentHelp("More than that is refused.", valueName: "rows")) var mostInserts: Int?
    @Option(help: ArgumentHelp("More than that is refused.", valueName: "rows")) var mostUpdates: Int?
    @Option(help: ArgumentHelp("More than that is refused; needed for --extra delete.", valueName: "rows")) var mostDeletes: Int?
    @Option(help: "Changed rows whose other unique values differ too: skip (without it) or merge.") var otherRows: MergeRules.OtherRows?

    /// - Parameter base: how the tables are compared.
    func ruleSet(over base: MergeRules) throws -> MergeRuleSet {
        var set = MergeRuleSet()
        if let file = rules {
            set = try RuleFields.read(JSONValue(loadFields(at: file, what: "rules", fields: RuleFields.all)).objectValue ?? [:])
        }
        set.all = try said(base).over(set.all)
        return set
    }

    private func said(_ base: MergeRules) throws -> MergeRules {
        var rules = base
        (rules.missing, rules.condition, rules.changed, rules.extra, rules.otherRows) = (missing, self.where, changed, extra, otherRows)
        (rules.mostInserts, rules.mostUpdates, rules.mostDeletes) = (mostInserts, mostUpdates, mostDeletes)
        rules.newestBy = try newestBy.map(SQLIdentifier.init)
        rules.since = try window()
        for word in column {
            let known = MergeRules.Changed.allCases.map(\.rawValue).joined(separator: ", ")
            let (name, value) = try Self.parts(word, "RULE", hint: "rules: \(known)") { MergeRules.Changed(rawValue: $0) }
            rules.columns[name] = value
        }
        return rules
    }

    private func window() throws -> TimeWindow? {
        func bound(_ word: String?) throws -> (name: SQLIdentifier, value: String)? {
            try word.map { try Self.parts($0, "VALUE", hint: "such as updated_at=2026-11-01") { (text: String) -> String? in text.isEmpty ? nil : text } }
        }
        let (from, to) = try (bound(since), bound(before))
        guard let column = from?.name ?? to?.name else { return nil }
        guard to == nil || to!.name == column else {
            throw Refusal("two-windows", "--since and --before name two columns", hints: ["say both of one column, and anything else with --where"])
        }
        return TimeWindow(column: column, from: from?.value, to: to?.value)
    }

    /// COLUMN=SOMETHING
    private static func parts<Value>(
        _ word: String, _ what: String, hint: String, _ value: (String) -> Value?
    ) throws -> (name: SQLIdentifier, value: Value) {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let value = value(parts[1]) else {
            throw Refusal("bad-rule", "\(printable(word)) is not COLUMN=\(what)", hints: [hint])
        }
        return (try SQLIdentifier(parts[0]), value)
    }
}

extension MergeRules.Missing: ExpressibleByArgument {}
extension MergeRules.Changed: ExpressibleByArgument {}
extension MergeRules.Extra: ExpressibleByArgument {}
extension MergeRules.OtherRows: ExpressibleByArgument {}
