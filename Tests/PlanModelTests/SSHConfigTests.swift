import PlanModel
import Testing

@Suite struct SSHConfigTests {
    private let text = """
        # before any Host: for all
        IdentitiesOnly yes
        Host db1 db2
            HostName %h.example.net
            User=deploy
            Port 2222
            IdentityFile "~/.ssh/id ed25519"
        host !db3 db*
            user other
            ProxyJump ops@bastion:2200,second
            IdentityFile ~/.ssh/db
        Host bastion
            ProxyJump none
        Match user x
            Port 9
        Host *
            UserKnownHostsFile ~/.ssh/known_hosts /etc/ssh/known # both
            ProxyJump everywhere
            Port 22
        """

    @Test func theFirstMatchingValueWins() {
        let (config, warnings) = SSHConfig.parse(text, file: "config")
        let db1 = config.settings(for: "db1")
        #expect(db1.hostName == "db1.example.net" && db1.user == "deploy" && db1.port == 2222)
        #expect(db1.identityFiles == ["~/.ssh/id ed25519", "~/.ssh/db"])
        #expect(db1.jump == [JumpHost(user: "ops", host: "bastion", port: 2200), JumpHost(host: "second")])
        #expect(db1.knownHosts == ["~/.ssh/known_hosts", "/etc/ssh/known"])
        let db3 = config.settings(for: "db3")
        #expect(db3.user == nil && db3.hostName == nil && db3.port == 22 && db3.jump == [JumpHost(host: "everywhere")])
        #expect(config.settings(for: "bastion").jump == [])
        #expect(config.settings(for: "DB9").user == "other")
        #expect(
            warnings.map(\.description) == [
                "config:14:1: warning: `Match` is not evaluated; what follows it is left out [ssh-config.match]\nHINT: use `Host` for the hosts of the inventory"
            ])
    }

    @Test func whatIsNotUnderstoodIsNamedAndLeftOut() {
        let (config, warnings) = SSHConfig.parse(
            "Host a\n Port x\n User -root\n ProxyCommand nc\n Include other\n HostName $(id)\n IdentityFile \"x\nHost",
            file: "c")
        #expect(config.settings(for: "a") == SSHConfig.Entry())
        #expect(warnings.map(\.mark.line) == [2, 3, 4, 5, 6, 7, 8])
    }

    @Test func patternsMatchAsInOpenSSH() {
        func entry(_ pattern: String, _ host: String) -> Bool {
            SSHConfig.parse("Host \(pattern)\n User x\n", file: "c").config.settings(for: host).user != nil
        }
        #expect(
            entry("*", "a") && entry("a*c", "abbc") && entry("a?c", "abc") && entry("*.x", "a.b.x")
                && entry("a*b*c", "aXbXbXc"))
        #expect(
            !entry("a?c", "ac") && !entry("a", "ab") && !entry("!a", "b") && !entry("* !a", "a") && !entry("a*b", "abc")
        )
        #expect(!entry(String(repeating: "a*", count: 40) + "b", String(repeating: "a", count: 400)))
    }

    @Test func theInventoryWinsOverTheConfiguration() {
        let config = SSHConfig.parse(
            "Host db1 10.0.0.1\n User conf\n Port 2222\n IdentityFile ~/.ssh/conf\n ProxyJump b\n", file: "c"
        ).config
        let inventory = Inventory(
            hosts: [
                Host(name: "db1"), Host(name: "x", address: "10.0.0.1", port: 22, user: "inv", identityFile: "/k"),
            ], knownHosts: ["/kh"])
        let plain = inventory.endpoint(of: inventory.hosts[0], config: config)
        #expect(
            plain
                == HostEndpoint(
                    address: "db1", port: 2222, user: "conf", identityFiles: ["~/.ssh/conf"],
                    jump: [JumpHost(host: "b")], knownHosts: ["/kh"]))
        let given = inventory.endpoint(of: inventory.hosts[1], config: config)
        #expect(given.port == 22 && given.user == "inv" && given.identityFiles == ["/k"])
        #expect(inventory.endpoint(ofJump: JumpHost(user: "u", host: "db1", port: 1), config: config).port == 1)
    }
}
