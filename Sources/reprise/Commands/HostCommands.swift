import ArgumentParser
internal import Engine
internal import PlanModel
internal import PlanYAML
internal import Reporting
internal import RunCore
internal import SSH

struct ClaimsGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "claims", abstract: "What runs have reserved on hosts, also runs of other journals.", discussion: help(),
        subcommands: [ClaimsList.self, ClaimsRelease.self])
}

/// Reaches hosts of the inventory outside of any run.
struct Hosts {
    let inventory: Inventory

    init(_ options: GlobalOptions) throws {
        inventory = try PlanFiles(options: options).requiredInventory(besidePlan: nil).inventory
    }

    /// The hosts that `names` stand for; all of them where there are none.
    func named(_ names: [String]) throws -> [String] {
        guard !names.isEmpty else { return inventory.hosts.map(\.name) }
        return try names.flatMap { name in
            if name == Inventory.orchestrator { return [name] }
            guard let hosts = inventory.hosts(on: name) else {
                var speller = Speller()
                throw Refusal(
                    "unknown-host", "the inventory has no host \(printable(name))",
                    hints: speller.hints(for: name, among: inventory.hosts.map(\.name) + inventory.groups.map(\.name), what: "hosts and groups"))
            }
            return hosts.map(\.name)
        }
    }

    /// Gives `body` the ledger of a host. The connection is held until `body` has ended: without it the ledger hears nothing.
    func withLedger<Value: Sendable>(of host: String, _ body: (any JobLedger) async throws -> Value) async throws -> Value {
        let connection = try await Wiring.connector().connect(host, inventory)
        do {
            let value = try await body(connection.ledger)
            await connection.close()
            return value
        } catch {
            await connection.close()
            throw error
        }
    }
}

struct ClaimsList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "The claims on hosts of the inventory.", discussion: help())
    @Argument(help: "Hosts or groups; default: all.") var hosts: [String] = []
    @OptionGroup var options: GlobalOptions

    private struct Entry: Encodable {
        let host: String
        let resource: String
        let run: String
        let by: String
        let since: String
    }

    func run() async throws {
        let reach = try Hosts(options)
        var entries: [Entry] = []
        for host in try reach.named(hosts) {
            for claim in try await reach.withLedger(of: host, { try await $0.claims() }) {
                entries.append(
                    Entry(
                        host: host, resource: claim.resource, run: claim.run.rawValue, by: claim.operator,
                        since: timestamp(claim.claimedAtMilliseconds)))
            }
        }
        let table = Document.Table(
            [.init("HOST"), .init("WHAT"), .init("RUN"), .init("SINCE"), .init("BY")],
            entries.map { .init([$0.host, $0.resource, $0.run, $0.since, $0.by]) })
        try options.show(entries, entries.isEmpty ? "no claims\n" : tableText(table, style: options.style))
    }
}

struct ClaimsRelease: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Takes a claim off a host: for a run whose journal is lost.",
        discussion: help("Make sure that nobody drives the run any more. Asks for the resource's name to be typed, or takes --yes."))
    @Argument(help: "The host.") var host: String
    @Argument(help: "What is claimed.") var resource: String
    @Argument(help: ArgumentHelp("The run that claims it, by its whole id.", valueName: "run")) var run_: String
    @Flag(help: "Stands for typing the resource's name.") var yes = false
    @OptionGroup var options: GlobalOptions

    private struct Released: Encodable {
        let host: String
        let resource: String
        let wasClaimed: Bool
    }

    func run() async throws {
        guard let run = RunID(run_) else { throw Refusal("bad-run", "that is no id of a run") }
        let reach = try Hosts(options)
        guard let name = try reach.named([host]).first else { throw Refusal("unknown-host", "there is no host of that name") }
        try await Confirmation.require(
            [resource], isGiven: yes, what: "releasing a claim on \(name)", does: "lets other runs work where run \(run) may still be at work",
            hints: ["look first: reprise adopt \(name) \(run)"])
        let was = try await reach.withLedger(of: name) { try await $0.releaseClaim(resource: resource, ofLostRun: run) }
        try options.show(
            Released(host: name, resource: resource, wasClaimed: was),
            was ? "released \(oneLine(resource)) on \(name)\n" : "\(oneLine(resource)) was not claimed on \(name)\n")
    }
}

struct CompletionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completions", abstract: "A completion script for a shell.",
        discussion: help("bash: reprise completions bash > ~/.local/share/bash-completion/completions/reprise"))
    @Argument(help: "bash, zsh or fish.") var shell: Shell

    enum Shell: String, ExpressibleByArgument, CaseIterable { case bash, zsh, fish }

    func run() async throws {
        let known: CompletionShell = switch shell {
        case .bash: .bash
        case .zsh: .zsh
        case .fish: .fish
        }
        Console.write(Reprise.completionScript(for: known) + "\n")
    }
}

struct VersionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "The version of this program.", discussion: help())
    @OptionGroup var options: GlobalOptions

    private struct Answer: Encodable { let version: String }

    func run() async throws {
        try options.show(Answer(version: Version.text), "reprise \(Version.text)\n")
    }
}
