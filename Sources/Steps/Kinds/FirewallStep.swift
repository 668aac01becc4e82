internal import Glibc
package import PlanModel
internal import RunCore

/// Lets in what the plan allows and drops everything else that comes from outside, with nftables, now and after every boot.
///
/// The rules are a table of their own, replaced in one transaction; other tables are left alone. Throws `StepRefused` where the rules would
/// lock out the connection by which the step works, where nft refuses them, and where somebody else wrote the file. Evidence: how many rules.
package struct FirewallStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "firewall", summary: "lets in what the plan allows on hosts and drops everything else, with nftables",
        fields: [
            FieldSchema(
                "allow", .list(.record(ruleFields)), isRequired: true, help: "what is let in; answers to what the host itself asked, its own loopback and ICMP always are"),
            FieldSchema("replace", .boolean, help: "true: also where /etc/nftables.conf was written by somebody else"),
        ], needsHost: true)

    private static let ruleFields = [
        FieldSchema("port", .integer, isRequired: true, range: 1...65535, help: "the port that is open"),
        FieldSchema("protocol", .choice(["tcp", "udp"]), default: .string("tcp"), help: "tcp or udp"),
        FieldSchema("from", .string, help: "an address or network, such as 10.0.0.0/8; anybody without it"),
        FieldSchema("on", .hostRef, help: "a host or group: the rule is for those of the step's hosts alone; for all of them without it"),
    ]

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        let rules = try Self.rules(on: host, context)
        let allowed = rules.map { "\($0.transport) \($0.port) \($0.from ?? "any")" }.joined(separator: "\n")
        let replace = context.boolean("replace", default: false)
        return WantedState(
            script: firewallScript, environment: ["ALLOWED": allowed, "REPLACE": "\(replace)"], stdin: Array(Self.ruleset(rules).utf8))
    }

    struct Rule: Hashable {
        let port: Int64
        let transport: String
        let from: String?
    }

    private static func rules(on host: String, _ context: StepContext) throws -> [Rule] {
        try rules(context.with["allow"]?.arrayValue ?? [], on: host, context.inventory, step: context.step)
    }

    /// What the entries of `allow` let in on one of the step's hosts.
    static func rules(_ allow: [JSONValue], on host: String, _ inventory: Inventory, step: StepID) throws -> [Rule] {
        try allow.filter { isFor(host, $0, inventory) }.map { entry in
            let from = entry["from"]?.stringValue
            if let from, !isNetwork(from) {
                throw StepRefused(
                    "firewall.bad-network", "step \(step): `\(from.prefix(60))` is neither an address nor a network",
                    hints: ["write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"], exitStatus: .usage)
            }
            guard let port = entry["port"]?.integerValue else {
                throw StepRefused("firewall.no-port", "step \(step): an entry of `allow` has no port", exitStatus: .usage)
            }
            return Rule(port: port, transport: entry["protocol"]?.stringValue ?? "tcp", from: from)
        }
    }

    private static func isFor(_ host: String, _ entry: JSONValue, _ inventory: Inventory) -> Bool {
        guard let name = entry["on"]?.stringValue else { return true }
        return inventory.hosts(on: name)?.contains { $0.name == host } ?? false
    }

    static func isNetwork(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count) else { return false }
        let family = parts[0].contains(":") ? AF_INET6 : AF_INET
        var room = in6_addr()
        guard inet_pton(family, String(parts[0]), &room) == 1 else { return false }
        guard parts.count == 2 else { return true }
        guard let length = Int(parts[1]), parts[1] == "\(length)" else { return false }
        return (0...(family == AF_INET ? 32 : 128)).contains(length)
    }

    static func ruleset(_ rules: [Rule]) -> String {
        let lines = rules.map { rule in
            let source = rule.from.map { "\($0.contains(":") ? "ip6" : "ip") saddr \($0) " } ?? ""
            return "        \(source)\(rule.transport) dport \(rule.port) accept"
        }
        return """
            #!/usr/sbin/nft -f
            # Kept by the plan that recovers this host; what is changed here by hand is written over.
            # The first two lines make room for the table as it is below, whether there is one or not, in one transaction.
            table inet reprise
            delete table inet reprise
            table inet reprise {
                chain input {
                    type filter hook input priority filter; policy drop;
                    ct state established,related accept
                    # Connections that are older than the rules: the kernel tracks them only from now on, and takes what the other side sends
                    # for a new one. None can be opened by it: that takes a packet with SYN alone.
                    tcp flags & (syn | ack) == ack accept
                    ct state invalid drop
                    iif lo accept
                    # ICMP and ICMPv6, by number: a bare host has no /etc/protocols.
                    meta l4proto { 1, 58 } accept
                    ip6 saddr fe80::/10 udp dport 546 accept

            """ + lines.joined(separator: "\n") + "\n    }\n}\n"
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        context.hosts.flatMap { host -> [String] in
            guard let rules = try? Self.rules(on: host, context) else { return [] }
            return ["# on \(host), as root; keep the port open by which you came:", "cat >/etc/nftables.conf <<'RULES'"]
                + Self.ruleset(rules).split(separator: "\n").map(String.init)
                + ["RULES", "nft -c -f /etc/nftables.conf && nft -f /etc/nftables.conf && systemctl enable nftables"]
        }
    }
}
