import PlanModel
import Testing

@testable import Steps

@Suite struct ProvisionTests {
    private func read(_ output: String) throws -> ProvisionedHost { try ProvisionStep.read(output, of: "new1", logs: "reprise logs RUN STEP") }

    @Test func theLastLineSaysWhereTheHostIs() throws {
        let said = """
            Apply complete! Resources: 1 added.
            {"address": "203.0.113.7", "port": 2222, "user": "debian", "host-keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 root@new1", "ecdsa-sha2-nistp256 AAAAE2Vj"]}

            """
        #expect(
            try read(said)
                == ProvisionedHost(
                    host: "new1", address: "203.0.113.7", port: 2222, user: "debian", hostKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "ecdsa-sha2-nistp256 AAAAE2Vj"]))
        #expect(try read(#"{"address": "new1.example.net", "host-keys": ["ssh-ed25519 AAAA"]}"#).port == nil)
    }

    /// A name or key becomes part of a known_hosts line and of a connection: nothing else may stand in it.
    @Test(arguments: [
        "", "done", "{}", #"{"address": "203.0.113.7"}"#, #"{"address": "203.0.113.7", "host-keys": []}"#,
        #"{"address": "-oProxyCommand=x", "host-keys": ["ssh-ed25519 AAAA"]}"#, #"{"address": "a b", "host-keys": ["ssh-ed25519 AAAA"]}"#,
        #"{"address": "h", "port": 0, "host-keys": ["ssh-ed25519 AAAA"]}"#, #"{"address": "h", "user": "a;b", "host-keys": ["ssh-ed25519 AAAA"]}"#,
        #"{"address": "h", "host-keys": ["ssh-ed25519 AAAA\nother ssh-ed25519 BBBB"]}"#, #"{"address": "h", "host-keys": ["AAAA"]}"#,
        #"{"address": "h", "host-keys": ["ssh-ed25519 AAAA", "x"]}"#,
    ])
    func whatSaysSomethingElseIsRefused(output: String) {
        let error = #expect(throws: StepRefused.self) { try read(output) }
        #expect(error?.code == "provision.unreadable" && error?.hints.contains { $0.contains("reprise logs RUN STEP") } == true)
    }

    @Test func whatIsKnownReplacesWhatTheInventoryGuessed() {
        let inventory = Inventory(hosts: [Host(name: "new1", address: "192.0.2.1", user: "root"), Host(name: "db1", address: "192.0.2.2")])
        let known = inventory.knowing([
            ProvisionedHost(host: "new1", address: "203.0.113.7", hostKeys: ["ssh-ed25519 AAAA"]), ProvisionedHost(host: "gone", address: "h", hostKeys: ["ssh-ed25519 AAAA"]),
        ])
        #expect(known.hosts.map(\.address) == ["203.0.113.7", "192.0.2.2"])
        #expect(known.host("new1")?.user == "root" && known.host("new1")?.hostKeys == ["ssh-ed25519 AAAA"] && known.host("db1")?.hostKeys == nil)
        #expect(known.endpoint(of: known.host("new1")!).hostKeys == ["ssh-ed25519 AAAA"])
    }
}
