import Foundation
import PlanModel
import SSH
import Testing

@testable import Engine

@Suite struct SSHConnectorTests {
    /// A home folder of the test's own with an ssh configuration in it.
    private func withHome(_ config: String, _ body: (String) throws -> Void) throws {
        let home = FileManager.default.temporaryDirectory.path + "/reprise-home-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: home + "/.ssh", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: home) }
        try config.write(toFile: home + "/.ssh/config", atomically: true, encoding: .utf8)
        try body(home)
    }

    @Test func whatTheInventoryLeavesOpenComesFromTheSSHConfiguration() throws {
        let config = """
            Host db
              HostName 192.0.2.7
              User deploy
              Port 2222
              IdentityFile ~/.ssh/db_key
              ProxyJump gate@bastion:2200
            """
        try withHome(config) { home in
            let connector = SSHConnector(environment: ["HOME": home, "USER": "anna"])
            let target = connector.target(PlanModel.Host(name: "db"), Inventory(hosts: [PlanModel.Host(name: "db")]))
            #expect(target.host == "192.0.2.7")
            #expect(target.port == 2222)
            #expect(target.user == "deploy")
            #expect(target.identityFiles == [home + "/.ssh/db_key"])
            #expect(target.jump.map(\.host) == ["bastion"])
            #expect(target.jump.map(\.user) == ["gate"])
            #expect(target.jump.map(\.port) == [2200])
        }
    }

    @Test func theInventoryWinsOverTheSSHConfiguration() throws {
        try withHome("Host *\n  User nobody\n  Port 9\n") { home in
            let host = PlanModel.Host(name: "db1", address: "10.77.0.12", port: 22, user: "root", identityFile: "/keys/lab")
            let target = SSHConnector(environment: ["HOME": home]).target(host, Inventory(hosts: [host], knownHosts: ["/keys/known"]))
            #expect(target.user == "root")
            #expect(target.port == 22)
            #expect(target.identityFiles == ["/keys/lab"])
            #expect(target.knownHostsFiles == ["/keys/known"])
        }
    }
}
