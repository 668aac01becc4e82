internal import BlockingIO
internal import Foundation

/// What this machine's name service says of a name: the same that its other programs are told, whether from a file or from DNS.
enum NameService {
    /// - Parameter asking: a program and its words, behind which the name comes, that says one address a line.
    /// - Returns: addresses in numbers, each once, in the order in which they were told; empty where it knows none.
    /// - Throws: `DeadlineExceeded`, `CancellationError`, `ChildOutput.CannotRun`.
    static func addresses(of name: String, deadline: Deadline, asking: [String] = ["getent", "ahosts", "--"]) async throws -> [String] {
        // The resolver itself blocks and cannot be called off; a program that asks it can be ended.
        try await withInterrupt { interrupt in
            try await DedicatedThread(name: "reprise-names").run {
                let asked = try ChildOutput(asking[0], asking.dropFirst() + [name], descriptors: [:])
                var said: [UInt8] = []
                try asked.read(interrupt, until: deadline, operation: "the name service") { said += $0.prefix(max(0, (64 << 10) - said.count)) }
                guard asked.waitForEnd() == 0 else { return [] }
                var addresses: [String] = []
                for line in String(decoding: said, as: UTF8.self).split(separator: "\n") {
                    guard let address = line.split(separator: " ").first.map(String.init), !addresses.contains(address) else { continue }
                    addresses.append(address)
                }
                return addresses
            }
        }
    }
}

/// Where people are led who ask for a site by its name, held against the address that was visited.
struct SiteLead: Hashable, Sendable {
    /// The site's name, without scheme and port.
    let name: String
    /// What was visited, as the plan says it.
    let visited: String
    /// Where the name leads; nil where the name service did not say in time.
    let addresses: [String]?
    /// Of the address that was visited.
    let own: [String]

    /// True if people are led to what was visited.
    var isHere: Bool { !Set(addresses ?? []).isDisjoint(with: own) }

    var sentence: String {
        guard let addresses else { return "the name service did not say where \(name) leads, so nobody knows whether people reach \(visited)" }
        guard !addresses.isEmpty else { return "the name service knows no address of \(name): people do not reach \(visited)" }
        guard isHere else { return "the name service leads \(name) to \(addresses.joined(separator: ", ")) and not to \(visited): people do not reach it" }
        let others = addresses.filter { !own.contains($0) }
        return "the name service leads \(name) to \(visited)" + (others.isEmpty ? "" : ", and also to \(others.joined(separator: ", "))")
    }

    /// - Parameter wish: `report`, `warn` or `require`.
    /// - Throws: where people must be led to what was visited and are not.
    func warnings(_ wish: String) throws(SiteMismatch) -> [String] {
        if isHere || wish == "report" { return [] }
        if wish == "warn" { return [sentence] }
        throw SiteMismatch(sentence, hints: ["let the name's record in DNS lead to \(visited); old answers are told until their time to live is over"])
    }

    /// - Parameters:
    ///   - site: scheme, name and port.
    ///   - connectTo: `ADDRESS` or `ADDRESS:PORT`.
    static func find(_ site: String, connectTo: String, deadline: Deadline) async throws -> SiteLead {
        let name = name(of: site), visited = host(connectTo)
        do {
            return SiteLead(
                name: name, visited: visited, addresses: try await NameService.addresses(of: name, deadline: deadline),
                own: try await NameService.addresses(of: visited, deadline: deadline))
        } catch let error where !(error is CancellationError) {
            return SiteLead(name: name, visited: visited, addresses: nil, own: [])
        }
    }

    static func name(of site: String) -> String { host(String(site.drop { $0 != "/" }.dropFirst(2))) }

    /// Without the port; an IPv6 address without its brackets.
    static func host(_ text: String) -> String {
        if text.hasPrefix("[") { return String(text.dropFirst().prefix { $0 != "]" }) }
        return text.filter { $0 == ":" }.count == 1 ? String(text.prefix { $0 != ":" }) : text
    }
}
