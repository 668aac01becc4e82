internal import BlockingIO
package import PlanModel
internal import RunCore
internal import SSH

/// Looks which TCP ports of hosts are reached from outside: those that the plan names have to be, and of all others on which a host listens
/// none may be.
///
/// It dials and hangs up; nothing is sent. Evidence: for each host the ports that are reached and those that are not.
package struct PortCheckStep: StepKind {
    package static let schema = StepKindSchema(
        name: "port-check", summary: "looks from outside which ports of hosts are reached: those that are named, and no others",
        fields: [
            FieldSchema("open", .list(.record(portFields)), isRequired: true, help: "the TCP ports that have to be reached; no other one on which a host listens may be"),
            FieldSchema("from", .hostRef, help: "a host that looks, such as one of another network; without it this machine does"),
            FieldSchema("patience", .duration, default: .string("3s"), help: "a port that has not answered by then is not reached"),
        ], needsHost: true)

    private static let portFields = [
        FieldSchema("port", .integer, isRequired: true, range: 1...65535, help: "the port"),
        FieldSchema("on", .hostRef, help: "a host or group: the port is one of those of the step's hosts alone; of all of them without it"),
    ]

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let looked = try await context.onEachHost { host, _ in try await look(at: host, context) }.map(\.value)
        let evidence = JSONValue.object(Dictionary(uniqueKeysWithValues: looked.map { ($0.host, $0.evidence) }))
        let problems = looked.flatMap(\.problems)
        guard problems.isEmpty else {
            throw StepRefused(
                "port-check.mismatch", problems.joined(separator: "; "),
                hints: [
                    "a port that is open and not to be: close it with a firewall step, or name it under `open`; what listens there: ss -ltnp, on the host",
                    "a port that is not reached: see that its service runs and listens, and what is between", "then: reprise retry \(context.run) \(context.step)",
                ], exitStatus: .verificationMismatch, evidence: evidence)
        }
        return StepOutcome(evidence: evidence, outputs: ["summary": .string(looked.map(\.sentence).joined(separator: " "))])
    }

    private func look(at host: String, _ context: StepContext) async throws -> Look {
        let wanted = Set(try FirewallStep.rules(context.with["open"]?.arrayValue ?? [], on: host, context.inventory, step: context.step).map { Int($0.port) })
        let looker = context.optionalString("from"), patience = try context.duration("patience") ?? .seconds(3)
        guard host != looker else {
            throw StepRefused("port-check.itself", "\(host) cannot look at itself from outside", hints: ["name another host under `from`"], exitStatus: .usage)
        }
        let known = context.inventory.host(host), address = known?.address ?? host
        context.services.report(StepProgress("looking at the ports of \(host)"))
        let ports = wanted.union(try await Self.listening(on: host, context)).sorted()
        let answers =
            if let looker {
                try await Self.answers(from: looker, address, ports, patience, context)
            } else {
                try await Self.answers(address, ports, patience)
            }
        // Behind a jump host this machine need not reach the port by which it logs in.
        let login = looker == nil && known?.jump.isEmpty == false ? known?.port ?? 22 : nil
        return Look(host: host, address: address, looker: looker, wanted: wanted, login: login, answers: answers)
    }

    private static func listening(on host: String, _ context: StepContext) async throws -> Set<Int> {
        let asked = try await context.services.remote(host).run(ListeningPorts.command, stdin: [], outputLimit: 8 << 20, deadline: Deadline(after: .seconds(60)))
        guard asked.status == 0, asked.stdoutBytes == asked.stdout.count else {
            throw StepFailed("port-check.unknown", "\(host) does not tell on which ports it listens: /proc/net/tcp cannot be read")
        }
        return ListeningPorts.read(String(decoding: asked.stdout, as: UTF8.self))
    }

    // MARK: Dialling

    private static func answers(_ address: String, _ ports: [Int], _ patience: Duration) async throws -> [Int: PortAnswer] {
        try await withThrowingTaskGroup(of: (Int, PortAnswer).self) { group in
            var answers: [Int: PortAnswer] = [:]
            for (index, port) in ports.enumerated() {
                // Each is a thread that waits.
                if index >= 32, let (port, answer) = try await group.next() { answers[port] = answer }
                group.addTask { (port, try await PortAnswer.dialling(address, port: port, patience: patience)) }
            }
            for try await (port, answer) in group { answers[port] = answer }
            return answers
        }
    }

    /// As another host sees it: all ports at once, by the shell that every host has.
    private static func answers(
        from looker: String, _ address: String, _ ports: [Int], _ patience: Duration, _ context: StepContext
    ) async throws -> [Int: PortAnswer] {
        let seconds = max(1, Int((patience / .seconds(1)).rounded(.up)))
        let script = """
            for port in \(ports.map(String.init).joined(separator: " ")); do
                (status=0; timeout \(seconds) bash -c 'exec 3<>"/dev/tcp/$0/$1"' \(shellQuoted(address)) "$port" 2>/dev/null || status=$?; echo "$port $status") &
            done
            wait
            """
        let asked = try await context.services.remote(looker).run(
            script, stdin: [], outputLimit: 1 << 20, deadline: Deadline(after: patience + .seconds(60)))
        var answers: [Int: PortAnswer] = [:]
        for line in String(decoding: asked.stdout, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: " ").compactMap { Int($0) }
            // 127: there is no bash, 126: it may not be run; timeout says 124.
            guard fields.count == 2, ![126, 127].contains(fields[1]) else { continue }
            answers[fields[0]] = fields[1] == 0 ? .open : fields[1] == 124 ? .silent : .refused
        }
        guard answers.count == ports.count else {
            throw StepFailed(
                "port-check.no-look", "\(looker) cannot look at the ports of \(address): it needs bash and timeout",
                hints: ["name another host under `from`, or none, so that this machine looks"])
        }
        return answers
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "looking can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        context.hosts.flatMap { host in
            ["# on \(host): what it listens on", "ss -ltn", "# from \(context.optionalString("from") ?? "this machine"), for each of them and each that has to be open"]
                + ["timeout 3 bash -c 'exec 3<>/dev/tcp/\(context.inventory.host(host)?.address ?? host)/PORT' && echo open"]
        }
    }
}

/// What was seen of one host.
private struct Look {
    let host: String
    let address: String
    /// nil: this machine looked.
    let looker: String?
    let wanted: Set<Int>
    /// A wanted port that may be out of reach.
    let login: Int?
    let answers: [Int: PortAnswer]

    private var open: [Int] { answers.filter { $0.value == .open }.keys.sorted() }
    private var shut: [Int] { answers.filter { $0.value != .open }.keys.sorted() }
    private var place: String { host == address ? host : "\(host) (\(address))" }
    private var seenFrom: String { looker ?? "this machine" }

    var problems: [String] {
        let unwanted = open.filter { !wanted.contains($0) }, missing = shut.filter { wanted.contains($0) && $0 != login }
        let tooMuch = unwanted.isEmpty ? [] : ["\(place): open to \(seenFrom), and not one of `open`: \(list(unwanted))"]
        return tooMuch + missing.map { port in
            let why = answers[port] == .refused ? "it refuses: nothing listens there, or a firewall says no" : "nobody answers: a firewall drops it, or it is another host"
            return "\(place): port \(port) is not reached from \(seenFrom); \(why)"
        }
    }

    var sentence: String {
        "\(place): reached from \(seenFrom): \(list(open))" + (shut.isEmpty ? "." : "; not reached, though it listens there: \(list(shut)).")
    }

    var evidence: JSONValue {
        ["address": .string(address), "from": .string(seenFrom), "open": numbers(open), "not-reached": numbers(shut)]
    }

    private func numbers(_ ports: [Int]) -> JSONValue { .array(ports.map { .integer(Int64($0)) }) }
    private func list(_ ports: [Int]) -> String { ports.isEmpty ? "none" : ports.map(String.init).joined(separator: ", ") }
}
