import Glibc
import Testing

@testable import Steps

/// What is said of rules that others have put in force, run on this machine with an nft that keeps its rules in files.
@Suite(.enabled(if: geteuid() == 0, "SKIPPED: a firewall is managed by root")) struct OtherFirewallTests {
    private let folder: TestFolder

    init() throws {
        folder = try TestFolder()
        try folder.write("", to: "_lib_systemd_system/nftables.service")
        try folder.write(
            """
            #!/bin/sh
            cd '\(folder.path)'
            case "$*" in
                '-c -f '*) ;;
                '-f '*) cp "$2" loaded ;;
                '-s list table inet reprise') [ ! -e loaded ] || sed -n '/^table inet reprise {/,/^}/p' loaded | sed 's/^    /\\t/; s/^\\t    /\\t\\t/' ;;
                '-s list ruleset') cat others; [ ! -e loaded ] || "$0" -s list table inet reprise ;;
                *) echo "nft is asked for $*" >&2; exit 1 ;;
            esac

            """, to: "bin/nft", mode: 0o755)
    }

    private func warnings(others: String) throws -> [String] {
        try folder.write(others.replacing("    ", with: "\t"), to: "others")
        var script = firewallScript
        for path in ["/etc/nftables.conf", "/var/lib/reprise-firewall", "/etc/systemd/system", "/run/systemd/system", "/lib/systemd/system"] {
            script = script.replacing(path, with: folder.file(path.replacing("/", with: "_")))
        }
        let rules = [FirewallStep.Rule(port: 22, transport: "tcp", from: nil)]
        let environment = ["PATH": folder.file("bin") + ":/usr/sbin:/usr/bin:/sbin:/bin", "ALLOWED": "tcp 22 any", "REPLACE": "false"]
        let outcome = try runLocally(script, environment, stdin: Array(FirewallStep.ruleset(rules).utf8), in: folder.path)
        #expect(outcome.status == 0, "\(outcome)")
        return outcome.said.split(separator: "\n").filter { $0.hasPrefix("warning: ") }.map(String.init)
    }

    /// As ufw has it, by its policy, and as Oracle's images of Ubuntu, by the last rule.
    @Test(arguments: [
        "policy drop;\n        jump ufw-before-input", "policy accept;\n        tcp dport 22 counter packets 5 bytes 9 accept\n        counter packets 0 bytes 0 reject with icmp type host-prohibited",
    ])
    func aChainOfOthersThatLetsLessInIsNamed(rules: String) throws {
        let found = try warnings(others: "table ip filter {\n    chain INPUT {\n        type filter hook input priority filter; \(rules)\n    }\n}\n")
        #expect(found.count == 1 && found.first?.contains("the chain INPUT of the table ip filter") == true, "\(found)")
    }

    @Test(arguments: [
        "", "table ip filter {\n    chain FORWARD {\n        type filter hook forward priority filter; policy drop;\n    }\n    chain INPUT {\n        type filter hook input priority filter; policy accept;\n    }\n}\n",
        "table inet f2b {\n    chain f2b {\n        type filter hook input priority filter - 1; policy accept;\n        tcp dport 22 ip saddr @banned reject\n    }\n    chain other {\n        drop\n    }\n}\n",
    ])
    func whatLetsTheRestPassIsNotNamed(others: String) throws { #expect(try warnings(others: others) == []) }
}
