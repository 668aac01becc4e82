import Foundation
import PlanModel
import PlanYAML
import PostgreSQL
import Reconcile
import RunCore
import Testing

@testable import Steps

/// How a plan says what becomes of differences.
@Suite struct RuleFieldsTests {
    private func table(_ name: String) throws -> QualifiedName { try QualifiedName(schema: "public", name: name) }

    @Test func rulesAreReadForAllTablesAndForSingleOnes() throws {
        let rules = try RuleFields.read([
            "compare": "semantic", "missing": "insert", "where": "id > 3", "changed": "newest", "newest-by": "updated_at", "extra": "delete",
            "most-deletes": 7, "other-rows": "merge", "drift": "common-columns", "key": ["a", "b"], "columns": ["email": "decide"],
            "tables": ["members": ["changed": "keep-live", "since": ["column": "at", "from": "2026-11-01"], "most-inserts": 5, "most-updates": 6]],
        ])
        #expect(rules.all.compare == .semantic && rules.all.condition == "id > 3" && rules.all.drift == .commonColumns)
        #expect(try rules.all.key == ["a", "b"].map(SQLIdentifier.init))
        let policy = try rules.all.policy()
        #expect(try policy.changed == .newest(SQLIdentifier("updated_at")) && policy.deletesExtra && policy.mostDeletes == 7 && policy.mergesOtherRows)
        let members = try #require(try rules.tables[table("members")]), own = try members.over(rules.all).policy()
        #expect(own.changed == .keepLive && own.mostInserts == 5 && own.mostUpdates == 6 && own.missing == .insert(where: "id > 3"))
        #expect(try own.since == TimeWindow(column: SQLIdentifier("at"), from: "2026-11-01", to: nil))
        #expect(try own.columns == [SQLIdentifier("email"): .decide])
    }

    @Test func aTableThatIsNamedTwiceIsRefused() {
        #expect(throws: ReconcileRefused.self) { try RuleFields.read(["tables": ["members": [:], "public.members": [:]]]) }
    }

    /// A default of a single table would go before what the plan says of all.
    @Test func singleTablesHaveNoDefaults() {
        #expect(RuleFields.fields(ofOneTable: true).allSatisfy { $0.defaultValue == nil })
        #expect(RuleFields.fields(ofOneTable: false).contains { $0.defaultValue != nil })
    }

    /// What is off during a merge stands where the preview is made, so that who agrees to it reads it.
    @Test func triggersAreNamedWhereAPersonIsShownThem() {
        #expect(TableDiffStep.schema.field(named: "disable-triggers") != nil && TableMergeStep.schema.field(named: "disable-triggers") == nil)
        #expect(TableUndoStep.schema.field(named: "disable-triggers") != nil)
    }

    @Test(arguments: [
        ("changed: take-bakcup", "take-backup"), ("most-inserts: many", "a whole number"), ("newest_by: x", "newest-by"), ("since: {from: x}", "`column` is missing"),
        ("columns: {email: newset}", "newest"),
    ])
    func everyFieldOfASingleTableIsChecked(field: String, words: String) throws {
        let plan = """
            reprise: 1
            name: x
            steps:
              - id: fetch
                kind: fetch-backup
                on: db1
                with: {store: backups}
              - id: rescue
                kind: table-restore
                with: {database: production, backup: fetch, tables: [members]}
              - id: diff
                kind: table-diff
                with:
                  database: production
                  restored: rescue
                  tables:
                    members:
                      \(field)

            """
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("reprise-\(UUID().uuidString).yaml")
        try plan.write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let inventory = try loadInventory(at: KindTests.root.path + "/inventory/lab.yaml").inventory
        let refused = #expect(throws: (any Error).self) { try loadPlan(at: file.path, kinds: StepRegistry.standard.schemas, inventory: inventory) }
        #expect(refused.map { "\($0)" }?.contains(words) == true, "\(refused.map { "\($0)" } ?? "")")
    }
}
