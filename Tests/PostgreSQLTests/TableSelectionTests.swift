import PlanModel
import PostgresCluster
import TestSupport
import Testing

@testable import PostgreSQL

/// What comes out of archives that the real pg_dump has made, in every format that has a table of contents.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct TableSelectionTests {
    static let formats = ["custom.dump", "folder.dump/toc.dat", "tar.dump"]

    static func select(
        _ tables: [String], excluding excluded: [String] = [], into target: Selectable.Target = .empty, format: String = "custom.dump",
        _ adjust: (inout TableSelection.Wish) -> Void = { _ in }
    ) async throws -> (selection: TableSelection, archive: ArchiveTOC) {
        let archives = try await Selectable.archives.value
        let archive = try ArchiveTOC(bytes: archives.bytes(format))
        var wish = TableSelection.Wish(tables: try tables.map { try TablePattern($0) })
        wish.excluded = try excluded.map { try TablePattern($0) }
        adjust(&wish)
        let selection = try TableSelection(wish, from: archive, into: try await target.contents()) { word, names in
            var speller = Speller()
            return speller.nearest(to: word, among: names).map { [$0] } ?? []
        }
        return (selection, archive)
    }

    private static func said(_ selection: TableSelection, _ archive: ArchiveTOC) -> Set<String> {
        Set(selection.expected(of: archive).entries.map { "\($0.kind) \($0.tag)" })
    }

    private static func refusal(_ body: () async throws -> some Any) async throws -> SelectionRefused {
        do { _ = try await body() } catch let refused as SelectionRefused { return refused }
        Issue.record("nothing was refused")
        throw CancellationError()
    }

    @Test(arguments: formats)
    func everythingThatBelongsToATableComes(_ format: String) async throws {
        let (selection, archive) = try await Self.select(["app.members", "app.orgs"], format: format) { $0.createsFunctions = true }
        #expect(
            Self.said(selection, archive) == [
                "SCHEMA app", "ACL SCHEMA app", "EXTENSION citext", "COMMENT EXTENSION citext", "TYPE mood", "ACL TYPE mood", "DOMAIN phone", "FUNCTION half(integer)", "FUNCTION touch()",
                "TABLE orgs", "SEQUENCE orgs_id_seq", "SEQUENCE OWNED BY orgs_id_seq", "SEQUENCE SET orgs_id_seq", "DEFAULT orgs id", "TABLE DATA orgs",
                "CONSTRAINT orgs orgs_pkey", "CONSTRAINT orgs orgs_name_key",
                "TABLE members", "SEQUENCE members_id_seq", "SEQUENCE SET members_id_seq", "TABLE DATA members", "CONSTRAINT members members_pkey",
                "FK CONSTRAINT members members_org_fkey", "INDEX members_half", "COMMENT INDEX members_half", "TRIGGER members touch", "STATISTICS members_stat",
                "ROW SECURITY members", "POLICY members own", "POLICY members inorg", "RULE members nothing", "ACL TABLE members",
                "ACL COLUMN members.name", "COMMENT TABLE members", "COMMENT COLUMN members.name",
            ])
        #expect(selection.leftOut == [] && selection.linkIDs == [] && selection.impliedIDs == [])
        #expect(
            selection.alsoMade == [
                "schema app", "extension citext", "type app.mood", "domain app.phone", "function app.half(integer)", "function app.touch()",
            ])
        #expect(selection.dropStatements.last == "DROP SCHEMA app;\n" && selection.dropStatements.first == "DROP FUNCTION app.touch();\n")
        // What stands on them and was not asked for is named.
        #expect(Set(selection.notTaken).isSuperset(of: ["view app.v", "materialized view app.mv"]))
    }

    @Test func aKeyToATableThatIsNowhereIsLeftOutAndNamed() async throws {
        let (selection, archive) = try await Self.select(["app.att"])
        let said = Self.said(selection, archive)
        #expect(!said.contains("FK CONSTRAINT att att_member_fkey"))
        #expect(selection.leftOut.map(\.text) == ["foreign key att_member_fkey of app.att: it needs table app.members, neither chosen nor in the target"])
        #expect(said.isSuperset(of: [
            "TABLE att", "TABLE att_2024", "TABLE att_2025", "TABLE ATTACH att_2024", "INDEX ATTACH att_2024_pkey", "INDEX ATTACH att_2024_at_idx",
            "SEQUENCE att_id_seq", "SEQUENCE SET att_id_seq", "CONSTRAINT att_2024 att_2024_pkey", "INDEX att_2025_at_idx", "TABLE DATA att_2025",
        ]))
        #expect(Set(selection.dataTables.map { "\($0.name) of \($0.root)" }) == ["app.att_2024 of app.att", "app.att_2025 of app.att"])
        // The target is empty: what it has not cannot be a link.
        #expect(selection.linkIDs == [])
    }

    @Test func aPartBringsItsRootUnlessTheTargetHasIt() async throws {
        let (alone, _) = try await Self.select(["app.att_2024"])
        #expect(alone.tables.map { "\($0)" } == ["app.att", "app.att_2024", "app.att_2025"])
        let (less, _) = try await Self.select(["app.att_2024"], excluding: ["app.att_2025"])
        #expect(less.tables.map { "\($0)" } == ["app.att", "app.att_2024"])
        #expect(less.notTaken.contains("table app.att_2025"))
        let (part, archive) = try await Self.select(["app.att_20*"], excluding: ["app.att_2025"], into: .without("DROP TABLE app.att_2024"))
        #expect(part.tables.map { "\($0)" } == ["app.att_2024"])
        let names = Dictionary(archive.entries.map { ($0.dumpID, "\($0.kind) \($0.tag)") }, uniquingKeysWith: { first, _ in first })
        // Attached when it is whole; the root's indexes are then its own, and no attaching of indexes is left to do.
        #expect(part.linkIDs.map { names[$0] } == ["TABLE ATTACH att_2024"])
        #expect(Set(part.impliedIDs.map { names[$0] }) == ["INDEX ATTACH att_2024_pkey", "INDEX ATTACH att_2024_at_idx"])
    }

    @Test func keysToTablesOfTheTargetComeLastOrNotAtAll() async throws {
        let target = Selectable.Target.without("DROP TABLE app.members CASCADE; DROP FUNCTION app.touch() CASCADE")
        let (selection, archive) = try await Self.select(["app.members"], into: target)
        #expect(selection.linkIDs.map { id in archive.entries.first { $0.dumpID == id }?.tag } == ["members members_org_fkey"])
        #expect(selection.leftOut.map(\.text) == ["trigger touch of app.members: it needs function app.touch(), neither chosen nor in the target"])
        #expect(selection.alsoMade == [])
        #expect(Set(selection.notTaken).isSuperset(of: ["view app.v", "materialized view app.mv", "foreign key att_member_fkey of app.att"]))
        let (without, _) = try await Self.select(["app.members"], into: target) { $0.keepsKeysToTarget = false; $0.createsFunctions = true }
        #expect(without.linkIDs == [])
        #expect(without.leftOut.map(\.text) == ["foreign key members_org_fkey of app.members: it leads to table app.orgs, which is not among the chosen ones"])
        #expect(without.alsoMade == ["function app.touch()"])
    }

    @Test(arguments: formats)
    func oddNamesInheritanceAndLooseSequences(_ format: String) async throws {
        let (odd, archive) = try await Self.select(["Odd Schema.Mixed*"], format: format)
        #expect(
            Self.said(odd, archive) == [
                "SCHEMA Odd Schema", "TABLE Mixed Case", "SEQUENCE Mixed Case_Id_seq", "SEQUENCE OWNED BY Mixed Case_Id_seq", "SEQUENCE SET Mixed Case_Id_seq",
                "DEFAULT Mixed Case Id", "TABLE DATA Mixed Case", "CONSTRAINT Mixed Case Mixed Case_pkey",
            ])
        let (loose, _) = try await Self.select(["app.uses"], format: format)
        #expect(loose.alsoMade == ["schema app", "sequence app.loose"])
        let child = try await Self.refusal { try await Self.select(["app.child"], format: format) }
        #expect(child.message == "the tables cannot come whole: table app.child needs table app.parent")
        let (parent, _) = try await Self.select(["app.parent"], format: format)
        #expect(parent.notTaken == ["table app.child"])
        let (both, _) = try await Self.select(["app.child", "app.parent"], format: format)
        #expect(both.tables.count == 2 && both.notTaken == [])
    }

    @Test func whatIsNotWholeOrNotFreeIsRefused() async throws {
        let policy = try await Self.refusal { try await Self.select(["app.members"]) { $0.createsFunctions = true } }
        #expect(policy.message == "the tables cannot come whole: policy inorg of app.members needs table app.orgs")
        let function = try await Self.refusal { try await Self.select(["app.members", "app.orgs"]) }
        #expect(function.message.contains("table app.members needs function app.half(integer); index app.members_half"))
        let type = try await Self.refusal { try await Self.select(["app.members", "app.orgs"]) { $0.createsFunctions = true; $0.createsTypes = false } }
        #expect(type.message.contains("type app.mood") && type.message.contains("extension citext"))
        let there = try await Self.refusal { try await Self.select(["app.orgs"], into: .without("SELECT 1")) }
        #expect(there.code == "postgresql.selection-target-has-it" && there.message.contains("table app.orgs; "))
        // The name of one of its indexes is taken by something else.
        let index = try await Self.refusal {
            try await Self.select(["app.orgs"], into: .without("DROP TABLE app.orgs CASCADE; CREATE VIEW app.orgs_pkey AS SELECT 1"))
        }
        #expect(index.message.contains("constraint orgs_pkey of app.orgs"))
    }

    @Test func aPatternThatMatchesNothingNamesNearNames() async throws {
        func hints(_ pattern: String) async throws -> SelectionRefused { try await Self.refusal { try await Self.select([pattern]) } }
        #expect(try await hints("app.membres").hints == ["did you mean `app.members`?"])
        #expect(try await hints("members").hints == ["did you mean `app.members`?"])
        let view = try await hints("app.v")
        #expect(view.message == "`app.v` names no table of the backup, but the view app.v")
        let excluded = try await Self.refusal { try await Self.select(["app.*"], excluding: ["app.mambers"]) }
        #expect(excluded.hints == ["did you mean `app.members`?"])
        let all = try await Self.refusal { try await Self.select(["app.parent"], excluding: ["app.p*"]) }
        #expect(all.code == "postgresql.selection-all-excluded")
    }

    @Test(arguments: [
        ("members", "public", "members", true), ("members", "app", "members", false), ("app.m*", "app", "members", true), ("*.m?mbers", "x", "members", true),
        ("app.log_[0-9]", "app", "log_7", true), ("app.log_[!0-9]", "app", "log_7", false), ("app.*a*b*c", "app", "xxaxxbxxcxx", false),
        ("app.*a*b*c", "app", "xxaxxbxxbxxc", true), ("app.a.b", "app", "a.b", true), ("app.A*", "app", "abc", false), ("*.*", "public", "x", true),
        ("app.[]]", "app", "]", true), ("app.[a-]", "app", "-", true),
    ])
    func patternsAreThoseOfAShell(pattern: String, schema: String, name: String, matches: Bool) throws {
        #expect(try TablePattern(pattern).matches(schema: schema, name: name) == matches)
    }

    @Test(arguments: ["", ".", "app.", ".x", "app.[a", "app.[z-a]"])
    func badPatternsAreRefused(_ text: String) {
        #expect(throws: SelectionRefused.self) { try TablePattern(text) }
    }

    @Test func aPatternOfManyStarsIsQuick() throws {
        let pattern = try TablePattern("app." + String(repeating: "*a", count: 25) + "b")
        #expect(!pattern.matches(schema: "app", name: String(repeating: "a", count: 63)))
    }
}
