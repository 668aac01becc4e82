/// Turns a document into an inventory, finding all problems in one pass.
///
/// Settings that Reprise cannot honour are warnings and become obstacles of the hosts that have them: an inventory with
/// one Windows host in it can still be used for the others.
///
/// - Returns: the inventory, nil where there is any error; and the findings in reading order.
package func validateInventory(document: Located) -> (inventory: Inventory?, diagnostics: [Diagnostic]) {
    var reader = InventoryReader()
    let inventory = reader.read(document)
    let hasErrors = reader.findings.hasErrors
    return (hasErrors ? nil : inventory, reader.findings.diagnostics.inReadingOrder())
}

private struct InventoryReader {
    var findings = Findings()
    private var groups: [String: Group] = [:]
    private var groupOrder: [String] = []
    private var hosts: [String: HostDraft] = [:]
    private var hostOrder: [String] = []
    /// Known once all groups are read.
    private var parents: [String: [String]] = [:]

    static let mostGroups = 2000
    /// How often hosts may be named in all; each may stand in several groups.
    static let mostMentions = 50_000
    private var mentions = 0

    private struct Group {
        var children: [String] = []
        var hosts: [String] = []
        var variables: [MapEntry] = []
        var mark: SourceMark
    }

    private struct HostDraft {
        var variables: [MapEntry] = []
        var mark: SourceMark
        var groups: [String] = []
    }

    mutating func read(_ document: Located) -> Inventory? {
        guard let entries = document.value.map else {
            findings.wrongType(document, "the inventory", expected: "a map with `all` and `reprise`")
            return nil
        }
        if document.value["steps"] != nil, document.value["all"] == nil {
            findings.error("inventory.not-an-inventory", at: document.mark, "this is a plan, not an inventory")
            return nil
        }
        register("all", at: document.mark)
        var inventory = Inventory()
        for entry in entries {
            if entry.key == "reprise" {
                findings.readReprise(entry.value, into: &inventory)
            } else {
                readGroup(entry.key, entry.value, at: entry.keyMark)
                if entry.key != "all" { addChild(entry.key, to: "all") }
            }
        }
        guard groups.count <= Self.mostGroups, hosts.count <= HostRange.mostHosts, mentions <= Self.mostMentions else {
            findings.error(
                "inventory.too-large", at: document.mark,
                "the inventory has more than \(HostRange.mostHosts) hosts, \(Self.mostMentions) mentions of hosts, or \(Self.mostGroups) groups"
            )
            return nil
        }
        guard let depth = depths() else { return nil }
        for name in groupOrder {
            for child in groups[name]?.children ?? [] { parents[child, default: []].append(name) }
        }
        inventory.hosts = hostOrder.map { build($0, depth) }
        var members: [String: [String]] = [:]
        for host in inventory.hosts { for group in host.groups { members[group, default: []].append(host.name) } }
        inventory.groups = groupOrder.map {
            HostGroup(name: $0, hosts: members[$0] ?? [], children: groups[$0]?.children ?? [])
        }
        findings.checkReferences(of: inventory)
        return inventory
    }

    // MARK: - Groups and hosts as written

    private mutating func register(_ group: String, at mark: SourceMark) {
        guard groups[group] == nil else { return }
        groups[group] = Group(mark: mark)
        groupOrder.append(group)
    }

    private mutating func addChild(_ child: String, to parent: String) {
        if groups[parent]?.children.contains(child) == false { groups[parent]?.children.append(child) }
    }

    private mutating func readGroup(_ name: String, _ located: Located, at mark: SourceMark) {
        guard Name.isHost(name), name != Inventory.orchestrator else {
            findings.error(
                "inventory.bad-name", at: mark, "`\(printable(name, limit: 60))` cannot be the name of a group",
                hints: nameHints(name))
            return
        }
        register(name, at: mark)
        // Past the limits the rest is left unread; `read` reports it.
        guard groups.count <= Self.mostGroups else { return }
        if located.value == .null { return }
        guard let map = findings.map(located, "group `\(name)`", keys: ["hosts", "children", "vars"]) else { return }
        if let hosts = map["hosts"] { readHosts(hosts.value, of: name) }
        if let variables = map["vars"] {
            let read = readVariables(variables.value, "group `\(name)`, `vars`")
            let merged = override(groups[name]?.variables ?? [], with: read)
            groups[name]?.variables = merged
        }
        if let children = map["children"], children.value.value != .null {
            guard let entries = children.value.value.map else {
                findings.wrongType(
                    children.value, "group `\(name)`, `children`", expected: "a map from names to groups",
                    hints: ["write `name:` instead of `- name`"])
                return
            }
            for entry in entries {
                readGroup(entry.key, entry.value, at: entry.keyMark)
                if groups[entry.key] != nil { addChild(entry.key, to: name) }
            }
        }
    }

    private mutating func readHosts(_ located: Located, of group: String) {
        if located.value == .null { return }
        guard let entries = located.value.map else {
            findings.wrongType(
                located, "group `\(group)`, `hosts`", expected: "a map from names to variables",
                hints: ["write `name:` instead of `- name`"])
            return
        }
        for entry in entries {
            let variables =
                entry.value.value == .null
                ? [] : readVariables(entry.value, "host `\(printable(entry.key, limit: 60))`")
            let names: [String]
            do { names = try HostRange.expand(entry.key) } catch {
                findings.error(
                    "inventory.bad-range", at: entry.keyMark, "`\(printable(entry.key, limit: 60))`: \(error.message)")
                continue
            }
            for name in names { add(host: name, variables, to: group, at: entry.keyMark) }
        }
    }

    private mutating func add(host name: String, _ variables: [MapEntry], to group: String, at mark: SourceMark) {
        guard Name.isHost(name), name != Inventory.orchestrator else {
            findings.error(
                "inventory.bad-name", at: mark, "`\(printable(name, limit: 60))` cannot be the name of a host",
                hints: nameHints(name))
            return
        }
        mentions += 1
        guard mentions <= Self.mostMentions else { return }
        if hosts[name] == nil {
            hosts[name] = HostDraft(mark: mark)
            hostOrder.append(name)
        }
        let merged = override(hosts[name]?.variables ?? [], with: variables)
        hosts[name]?.variables = merged
        if hosts[name]?.groups.contains(group) == false { hosts[name]?.groups.append(group) }
    }

    private func nameHints(_ name: String) -> [String] {
        if name == Inventory.orchestrator { return ["`orchestrator` means the machine that Reprise itself runs on"] }
        return [
            "names hold letters, digits, `.`, `_` and `-` and start with a letter or digit; an address goes into `ansible_host`"
        ]
    }

    private mutating func readVariables(_ located: Located, _ what: String) -> [MapEntry] {
        if located.value == .null { return [] }
        guard let entries = located.value.map else {
            findings.wrongType(located, what, expected: "a map of variables")
            return []
        }
        for entry in entries where !AnsibleConnection.isConnectionKey(entry.key) {
            guard let reason = AnsibleConnection.unreadable(entry.value) else { continue }
            findings.warning(
                "inventory.unread-value", at: entry.value.mark,
                "\(what): `\(printable(entry.key, limit: 60))` holds \(reason), which Reprise does not read")
        }
        return entries
    }

    /// Later values take the place of earlier ones; the order is that of first definition.
    private func override(_ entries: [MapEntry], with others: [MapEntry]) -> [MapEntry] {
        if entries.isEmpty { return others }
        var result = entries
        var index = Dictionary(entries.enumerated().map { ($1.key, $0) }) { first, _ in first }
        for other in others {
            if let position = index[other.key] {
                result[position] = other
            } else {
                index[other.key] = result.count
                result.append(other)
            }
        }
        return result
    }

    // MARK: - Inheritance

    /// How far below `all` each group is, by the longest way; nil where groups contain each other.
    private mutating func depths() -> [String: Int]? {
        var missing: [String: Int] = [:]
        for group in groups.values { for child in group.children { missing[child, default: 0] += 1 } }
        var depth: [String: Int] = [:]
        var ready = groupOrder.filter { missing[$0] == nil }
        for name in ready { depth[name] = 0 }
        var done = 0
        while let name = ready.popLast() {
            done += 1
            for child in groups[name]?.children ?? [] {
                depth[child] = max(depth[child] ?? 0, (depth[name] ?? 0) + 1)
                missing[child]! -= 1
                if missing[child] == 0 { ready.append(child) }
            }
        }
        guard done < groups.count else { return depth }
        let knotted = groupOrder.filter { (missing[$0] ?? 0) > 0 }
        let cycle = oneCycle(among: Set(knotted), from: knotted[0])
        findings.error(
            "inventory.group-cycle", at: groups[cycle[0]]!.mark,
            cycle.count == 1
                ? "group `\(cycle[0])` is its own child"
                : "groups contain each other: \((cycle + [cycle[0]]).joined(separator: " → "))")
        return nil
    }

    /// Every group in `members` has a parent in it, so walking up from any must come round.
    private func oneCycle(among members: Set<String>, from start: String) -> [String] {
        var parent: [String: String] = [:]
        for name in groupOrder where members.contains(name) {
            for child in groups[name]?.children ?? [] where members.contains(child) && parent[child] == nil {
                parent[child] = name
            }
        }
        var path = [start]
        var position = [start: 0]
        while let next = parent[path[path.count - 1]] {
            if let first = position[next] {
                let cycle = Array(path[first...].reversed())
                let start = groupOrder.lazy.compactMap { cycle.firstIndex(of: $0) }.first ?? 0
                return Array(cycle[start...] + cycle[..<start])
            }
            position[next] = path.count
            path.append(next)
        }
        return [start]
    }

    private mutating func build(_ name: String, _ depth: [String: Int]) -> Host {
        let draft = hosts[name]!
        let belongs = ancestors(of: draft.groups)
        // Ansible's order: from the top down, then by `ansible_group_priority`, then by name; later ones win.
        let ordered = belongs.sorted { left, right in
            (depth[left] ?? 0, priority(left), left) < (depth[right] ?? 0, priority(right), right)
        }
        var variables: [MapEntry] = []
        for group in ordered { variables = override(variables, with: groups[group]?.variables ?? []) }
        variables = override(variables, with: draft.variables)
        var host = Host(name: name, groups: ordered, variables: variables, mark: draft.mark)
        var connection = AnsibleConnection()
        connection.apply(to: &host)
        findings.add(connection.warnings)
        findings.add(host.obstacles)
        return host
    }

    private func priority(_ group: String) -> Int {
        groups[group]?.variables.first { $0.key == "ansible_group_priority" }?.value.value.integer ?? 1
    }

    private func ancestors(of direct: [String]) -> Set<String> {
        var found = Set(direct).union(["all"])
        var open = direct
        while let name = open.popLast() {
            for parent in parents[name] ?? [] where found.insert(parent).inserted { open.append(parent) }
        }
        return found
    }
}
