package import PlanModel
internal import PostgreSQL
package import Reconcile
package import RunCore

/// The fields by which a plan says how tables are compared and merged.
package enum RuleFields {
    /// Of all tables, and of single ones.
    package static let all = [
        FieldSchema(
            "tables", .map(.record(fields(ofOneTable: true))), help: "for single tables, by name: the same rules, before those of all"),
    ] + fields(ofOneTable: false)

    /// - Parameter ofOneTable: without defaults: what is not said there is said for all tables.
    package static func fields(ofOneTable: Bool) -> [FieldSchema] {
        func standard(_ value: PlanValue) -> PlanValue? { ofOneTable ? nil : value }
        func choice<Rule: RawRepresentable<String> & CaseIterable>(_ rule: Rule.Type) -> FieldType { .choice(rule.allCases.map(\.rawValue)) }
        return [
            FieldSchema(
                "compare", choice(ComparisonMode.self), default: standard(.string("exact")),
                help: "what is stored, byte by byte, or what each type's own `=` says"),
            FieldSchema(
                "missing", choice(MergeRules.Missing.self), default: standard(.string("insert")), help: "rows of the backup that are not there"),
            FieldSchema("where", .text, help: "SQL over the columns of a missing row; only those for which it is true are inserted"),
            FieldSchema("since", .record(windowFields), help: "of the missing rows only those whose time lies within"),
            FieldSchema(
                "changed", choice(MergeRules.Changed.self), default: standard(.string("keep-live")), help: "rows that both have, with other values"),
            FieldSchema("newest-by", .identifier, help: "for `newest`: the column that is later where it counts, such as updated_at"),
            FieldSchema("columns", .map(choice(MergeRules.Changed.self)), help: "rules of single columns, before `changed`"),
            FieldSchema("extra", choice(MergeRules.Extra.self), default: standard(.string("keep")), help: "rows that the backup does not have"),
            FieldSchema("most-inserts", .integer, range: 0...1_000_000_000, help: "more than that stops the plan here"),
            FieldSchema("most-updates", .integer, range: 0...1_000_000_000),
            FieldSchema("most-deletes", .integer, default: standard(.integer(0)), range: 0...1_000_000_000),
            FieldSchema(
                "other-rows", choice(MergeRules.OtherRows.self), default: standard(.string("skip")),
                help: "changed rows whose other unique values differ too: somebody else's under the same number, or not"),
            FieldSchema(
                "large-objects", choice(MergeRules.LargeObjects.self), default: standard(.string("check")),
                help: "values of columns of type oid: large objects, which are merged with their rows, or other numbers"),
            FieldSchema(
                "drift", choice(MergeRules.Drift.self), default: standard(.string("refuse")),
                help: "tables whose columns have changed since the backup"),
            FieldSchema("key", .list(.identifier), help: "columns by which rows are told apart; without it the live table's own key"),
        ]
    }

    private static let windowFields = [
        FieldSchema("column", .identifier, isRequired: true, help: "such as updated_at"),
        FieldSchema("from", .string, help: "not before this; as PostgreSQL reads the column's type"),
        FieldSchema("to", .string, help: "before this"),
    ]

    /// - Parameter with: the fields of a step, and under `tables` those of single tables.
    /// - Throws: `ReconcileRefused`, `StepRefused` where a name is none.
    package static func read(_ with: [String: JSONValue]) throws -> MergeRuleSet {
        var rules = MergeRuleSet()
        rules.all = try MergeRules(with)
        for (name, fields) in with["tables"]?.objectValue ?? [:] {
            let table = try TableName.read(name)
            guard rules.tables.updateValue(try MergeRules(fields.objectValue ?? [:]), forKey: table) == nil else {
                throw ReconcileRefused("reconcile.table-twice", "there are rules for table \(table) twice")
            }
        }
        return rules
    }
}

extension MergeRules {
    fileprivate init(_ fields: [String: JSONValue]) throws {
        func choice<Rule: RawRepresentable<String>>(_ field: String, _ rule: Rule.Type = Rule.self) -> Rule? {
            fields[field]?.stringValue.flatMap(Rule.init)
        }
        func name(_ field: String) throws -> SQLIdentifier? { try fields[field]?.stringValue.map(SQLIdentifier.init) }
        self.init()
        compare = choice("compare")
        missing = choice("missing")
        condition = fields["where"]?.stringValue
        if let window = fields["since"]?.objectValue {
            since = TimeWindow(
                column: try SQLIdentifier(window["column"]?.stringValue ?? ""), from: window["from"]?.stringValue, to: window["to"]?.stringValue)
        }
        changed = choice("changed")
        newestBy = try name("newest-by")
        for (column, rule) in fields["columns"]?.objectValue ?? [:] {
            columns[try SQLIdentifier(column)] = rule.stringValue.flatMap(Changed.init)
        }
        extra = choice("extra")
        mostInserts = fields["most-inserts"]?.integerValue.map { Int($0) }
        mostUpdates = fields["most-updates"]?.integerValue.map { Int($0) }
        mostDeletes = fields["most-deletes"]?.integerValue.map { Int($0) }
        otherRows = choice("other-rows")
        largeObjects = choice("large-objects")
        drift = choice("drift")
        key = try fields["key"]?.arrayValue.map { try $0.map { try SQLIdentifier($0.plainText) } }
    }
}
