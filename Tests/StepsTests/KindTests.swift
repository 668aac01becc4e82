import Foundation
import ObjectStorage
import PlanModel
import PlanYAML
import RunCore
import Testing

@testable import Steps

@Suite struct KindTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test func thePlansThatComeWithReprisePassValidationAgainstTheRealStepKinds() throws {
        let inventory = try loadInventory(at: Self.root.path + "/inventory/lab.yaml").inventory
        let plans = try FileManager.default.contentsOfDirectory(atPath: Self.root.path + "/plans").filter { $0.hasSuffix(".yaml") }
        #expect(!plans.isEmpty)
        for plan in plans {
            let loaded = try loadPlan(at: Self.root.path + "/plans/\(plan)", kinds: StepRegistry.standard.schemas, inventory: inventory)
            #expect(loaded.warnings.isEmpty, "\(plan): \(loaded.warnings)")
        }
    }

    @Test func everyKindExplainsItselfAndItsFields() {
        for schema in StepRegistry.standard.schemas {
            #expect(!schema.summary.isEmpty)
            #expect(Set(schema.fields.map(\.name)).count == schema.fields.count, "\(schema.name) names a field twice")
        }
    }

    @Test func anUnknownKindIsNamedWithWhatToDo() {
        #expect(throws: StepRefused.self) { try StepRegistry.standard.make("postgres-teleport") }
    }

    @Test(arguments: [("latest", "latest"), ("name:database/db_1.dump.gz", "database/db_1.dump.gz"), ("before:2026-11-23T02:00:00Z", "before 2026-11-23T02:00:00Z")])
    func aBackupIsChosenByItsWords(text: String, shown: String) throws {
        #expect(try BackupChoice(text).description == shown)
    }

    @Test(arguments: ["", "newest", "name:", "before:", "before:yesterday", "latest "])
    func wordsThatChooseNothingAreRefused(text: String) {
        #expect(throws: StepRefused.self) { try BackupChoice(text) }
    }

    @Test func beforeAdmitsOnlyWhatIsOlder() throws {
        let choice = try BackupChoice("before:2026-11-23T02:00:00Z")
        let limit = try Date("2026-11-23T02:00:00Z", strategy: .iso8601)
        #expect(choice.admits(limit.addingTimeInterval(-1)))
        #expect(!choice.admits(limit))
    }

    @Test func whatNothingHasVerifiedIsToldFromWhatSomethingHas() {
        func version(sha256: String? = nil, md5: String? = nil) -> ObjectVersion {
            ObjectVersion(key: "files.tar", sizeBytes: 1, etag: "\"e\"", lastModified: .now, sha256: sha256, md5: md5)
        }
        #expect(FetchBackupStep.proof(version(), .none, isDecoded: false) == nil)
        #expect(FetchBackupStep.proof(version(sha256: "0"), .none, isDecoded: false) == "SHA-256 of the store")
        #expect(FetchBackupStep.proof(version(md5: "0"), .none, isDecoded: false) == "MD5 of the store")
        #expect(FetchBackupStep.proof(version(), .gzip, isDecoded: false) == "checksum of gzip")
        #expect(FetchBackupStep.proof(version(), .none, isDecoded: true) == "decode")
        #expect(FetchBackupStep.proof(version(md5: "0"), .none, isDecoded: true) == "decode", "an ETag is no witness where the content itself is")
    }

    @Test func onlyABackupThatIsNamedCannotBeAnotherOne() throws {
        #expect(try BackupChoice("latest").isOpen && BackupChoice("before:2026-11-23T02:00:00Z").isOpen)
        #expect(try !BackupChoice("name:database/db_1.dump.gz").isOpen)
    }

    @Test func theInventorysPatternRecognisesTheRunbooksNames() throws {
        let naming = try BackupNaming(store: StoreRef(name: "backups", kind: .directory(path: "/b", host: nil)), isDatabase: true)
        #expect(naming.time(of: "database/db_20261123_020000.dump.gz") != nil)
        #expect(naming.time(of: "files/files_20261123_020000.tar.gz") == nil)
    }
}

@Suite struct JudgementTests {
    @Test func anSQLValueIsHeldAgainstWhatItMustBe() {
        #expect(SQLCheckStep.problem("3", ["at-least": 1]) == nil)
        #expect(SQLCheckStep.problem("0", ["at-least": 1]) != nil)
        #expect(SQLCheckStep.problem("5", ["at-most": 4]) != nil)
        #expect(SQLCheckStep.problem("0", ["expect": 0]) == nil)
        #expect(SQLCheckStep.problem("t", ["expect": "t"]) == nil)
        #expect(SQLCheckStep.problem(nil, ["expect": "t"]) != nil)
        #expect(SQLCheckStep.problem(nil, ["at-least": 0]) != nil, "NULL is no number")
        #expect(SQLCheckStep.problem("many", ["at-least": 0]) != nil)
    }

    @Test func whatToWriteAboutADatabaseThatIsKeptIsValidYAML() throws {
        #expect(PostgresCheckStep.knownDamageHint([], known: [], step: "check-server").contains("`known-damage`"))
        let hint = PostgresCheckStep.knownDamageHint(["chms_damaged", #"My "old" db\1"#, "no"], known: ["evidence"], step: "check-server")
        let line = try #require(hint.split(separator: "`").map(String.init).first { $0.hasPrefix("known-damage: [") })
        let plan = """
            reprise: 1
            name: x
            steps:
              - id: check-server
                kind: postgres-check
                with:
                  database: production
                  \(line)

            """
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("reprise-\(UUID().uuidString).yaml")
        try plan.write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let inventory = try loadInventory(at: KindTests.root.path + "/inventory/lab.yaml").inventory
        let loaded = try loadPlan(at: file.path, kinds: StepRegistry.standard.schemas, inventory: inventory)
        let written = try #require(loaded.plan.steps[0].with.map?.first { $0.key == "known-damage" }?.value.value)
        guard case .list(let names) = written else { return #expect(Bool(false), "\(written)") }
        #expect(names.map(\.value) == ["evidence", "chms_damaged", #"My "old" db\1"#, "no"].map { .string($0) })
    }

    @Test func anHTTPAnswerIsHeldAgainstWhatItMustBe() {
        let healthy = Array(#"{"status":"ok","members":3}"#.utf8)
        let wish: [String: JSONValue] = ["status": 200, "json": ["status": "ok"], "body-contains": "members"]
        #expect(HTTPCheckStep.problem(200, healthy, wish) == nil)
        #expect(HTTPCheckStep.problem(503, healthy, wish) != nil)
        #expect(HTTPCheckStep.problem(200, Array("<html>".utf8), wish) != nil)
        #expect(HTTPCheckStep.problem(200, Array(#"{"status":"down","members":0}"#.utf8), wish) != nil)
    }

    @Test func everyErrorOfARestoreIsFoundWithItsRemedy() {
        let log = """
            pg_restore: connecting to database for restore
            pg_restore: creating TABLE "public.members"
            pg_restore: error: could not execute query: ERROR:  role "chms_user" does not exist
            Command was: ALTER TABLE public.members OWNER TO chms_user;
            psql:/x.sql:12: ERROR:  syntax error at or near "x"
            ERROR:  could not extend file "base/5/1": No space left on device
            pg_restore: warning: errors ignored on restore: 1
            """
        let errors = RestoreErrors.read(log)
        #expect(errors == [#"could not execute query: ERROR:  role "chms_user" does not exist"#, #"syntax error at or near "x""#, #"could not extend file "base/5/1": No space left on device"#])
        #expect(RestoreErrors.remedies(errors).contains { $0.contains("roles") } && RestoreErrors.remedies(errors).contains { $0.contains("make room") })
    }

    @Test func aDatabaseNameIsNeverReadAsAConnectionString() {
        #expect(connectionString("it's \\ a name") == #"dbname='it\'s \\ a name'"#)
    }
}
