import Foundation
import RunCore
import Testing

@testable import Steps

/// What a cluster's fields become, before anything reaches a host.
@Suite struct ClusterFieldTests {
    @Test func settingsAreLinesWithTheirValuesInQuotes() throws {
        let made = try PostgresClusterStep.environment([
            "settings": ["work_mem": "64MB", "search_path": "it's", "max_connections": 50, "a.b": true], "listen": ["localhost", "10.0.0.5"],
        ])
        #expect(
            made["CLUSTER_SETTINGS"]?.split(separator: "\n").dropFirst().map(String.init)
                == ["a.b = 'true'", "listen_addresses = 'localhost,10.0.0.5'", "max_connections = '50'", "search_path = 'it''s'", "work_mem = '64MB'"])
    }

    @Test(arguments: ["fsync", "full_page_writes", "FSYNC"])
    func noClusterIsMadeThatACrashCouldDestroy(name: String) {
        #expect(throws: StepRefused.self) { try PostgresClusterStep.environment(["settings": .object([name: "off"])]) }
    }

    @Test(arguments: ["a b", "work_mem = 1\nfsync", "", "a.b.c", "#x"])
    func whatIsNoNameOfASettingIsRefused(name: String) {
        #expect(throws: StepRefused.self) { try PostgresClusterStep.environment(["settings": .object([name: "1"])]) }
    }

    @Test func aValueCannotBeginALineOfItsOwn() {
        #expect(throws: StepRefused.self) { try PostgresClusterStep.environment(["settings": ["work_mem": "1'\nfsync = 'off"]]) }
    }

    @Test func accessKeepsTheSuperuserInAndQuotesNames() throws {
        let made = try PostgresClusterStep.environment([
            "access": [["user": "all", "from": "10.0.0.5/32"], ["database": "a \"b\" c", "user": "app user", "method": "peer"]]
        ])
        #expect(
            made["CLUSTER_ACCESS"]?.split(separator: "\n").dropFirst().map(String.init)
                == ["local all \"postgres\" peer", "host all all 10.0.0.5/32 scram-sha-256", "local \"a \"\"b\"\" c\" \"app user\" peer"])
        #expect(try PostgresClusterStep.environment([:])["CLUSTER_ACCESS"] == "", "left as it is")
    }

    @Test(arguments: ["10.0.0.5", "samenet", "10.0.0.5/32 trust", "::1/128\nhost all all all trust"])
    func whatIsNoRangeOfAddressesIsRefused(range: String) {
        #expect(throws: StepRefused.self) { try PostgresClusterStep.environment(["access": [["from": .string(range)]]]) }
    }

    @Test(arguments: [["version": "15; id"], ["name": "../main"], ["name": "Main"], ["locale": "de_DE.UTF-8; id"], ["encoding": "UTF 8"]] as [[String: JSONValue]])
    func wordsThatWouldBeMoreThanNamesAreRefused(fields: [String: JSONValue]) {
        #expect(throws: StepRefused.self) { try PostgresClusterStep.environment(fields) }
    }

    @Test func whatBelongsToABackupIsReadFromTheFileBesideIt() throws {
        let facts = try BackupFacts(json: Array(#"{"application-revision": "6c56db7", "server-version": "150014", "more": [1]}"#.utf8), of: "db")
        #expect(facts.revision == "6c56db7")
        #expect(try BackupFacts(json: Array("{}".utf8), of: "db").revision == nil)
    }

    @Test(arguments: ["", "[]", "not json", #"{"application-revision": "--upload-pack=id"}"#, #"{"application-revision": "a b"}"#])
    func aFileThatSaysNothingUsableIsRefused(text: String) {
        #expect(throws: StepRefused.self) { try BackupFacts(json: Array(text.utf8), of: "db") }
    }
}
