package import BlockingIO
internal import RunCore

/// The ledger of a remote host, through one long-lived program on an exec channel.
package struct RemoteJobLedger: JobLedger {
    let connection: LedgerConnection

    /// Puts the ledger's program on the host and starts it. Nothing is installed there; only the state folder is made.
    package static func open(on host: any RemoteHost, options: LedgerOptions = LedgerOptions(), deadline: Deadline) async throws -> RemoteJobLedger {
        let program = LedgerProgram(options: options)
        let channel = try await host.openChannel(command: program.command, deadline: deadline)
        return RemoteJobLedger(
            connection: try await .open(channel: channel, hostName: host.hostName, program: program, deadline: deadline))
    }
}

/// The same ledger on this machine, for steps that run on the orchestrator itself: the same program, as a child process.
package struct LocalJobLedger: JobLedger {
    let connection: LedgerConnection

    package static func open(options: LedgerOptions = LedgerOptions(), deadline: Deadline) async throws -> LocalJobLedger {
        let program = LedgerProgram(options: options)
        let channel = try LocalProcessChannel(shellCommand: program.command)
        return LocalJobLedger(
            connection: try await .open(channel: channel, hostName: "this machine", program: program, deadline: deadline))
    }
}

/// What both have in common: everything after the program's start.
protocol ConnectedLedger: JobLedger {
    var connection: LedgerConnection { get }
}

extension RemoteJobLedger: ConnectedLedger {}
extension LocalJobLedger: ConnectedLedger {}

extension ConnectedLedger {
    package var conversation: ObjectIdentifier { ObjectIdentifier(connection) }

    package func announce(_ ticket: FenceTicket) async throws -> FenceTicket? {
        let answer = try await connection.request("announce") { $0.add(ticket) }
        return SSH.ticket(answer.frame.fields("seen."))
    }

    package func submit(_ spec: JobSpec, deadline: Deadline) async throws -> JobVerdict {
        let name = spec.id.description
        let answer = try await connection.request("submit", subscribing: name, timeout: deadline.remaining) { $0.add(spec) }
        let verdict = try JobVerdict(answer.frame)
        switch verdict {
        case .running, .orphan: connection.leave(answer.id, of: name)
        case .finished, .neverRan, .absent, .inDoubt: connection.forget(answer.id)
        }
        return verdict
    }

    package func probe(_ id: JobID) async throws -> JobVerdict {
        try JobVerdict(await connection.request("probe") { $0.add("job", id.description) }.frame)
    }

    package func follow(
        _ id: JobID, stdoutOffset: Int = 0, stderrOffset: Int = 0, onOutput: @escaping @Sendable (JobOutput) -> Void,
        deadline: Deadline? = nil
    ) async throws -> JobVerdict {
        let name = id.description
        if let gathered = connection.adoptSubscription(of: name) {
            if stdoutOffset == 0, stderrOffset == 0 {
                return try JobVerdict(
                    await connection.follow(gathered.sid, gathered.subscription, isGathered: true, deadline: deadline, onOutput: onOutput))
            }
            connection.drop(gathered.sid)
        }
        let answer = try await connection.request("follow", subscribing: name) { frame in
            frame.add("job", name)
            frame.add("out", stdoutOffset)
            frame.add("err", stderrOffset)
        }
        let verdict = try JobVerdict(answer.frame)
        guard verdict != .absent, let subscription = connection.subscription(answer.id) else {
            connection.forget(answer.id)
            return verdict
        }
        return try JobVerdict(
            await connection.follow(answer.id, subscription, isGathered: false, deadline: deadline, onOutput: onOutput))
    }

    /// Submits and follows in one round trip: the shortest way to a job's result.
    package func run(
        _ spec: JobSpec, onOutput: @escaping @Sendable (JobOutput) -> Void = { _ in }, deadline: Deadline
    ) async throws -> JobVerdict {
        switch try await submit(spec, deadline: deadline) {
        case .running, .orphan: try await follow(spec.id, onOutput: onOutput, deadline: deadline)
        case let verdict: verdict
        }
    }

    package func cancel(_ id: JobID, ticket: FenceTicket, grace: Duration) async throws -> JobVerdict {
        let answer = try await connection.request("cancel", timeout: grace + .seconds(60)) { frame in
            frame.add("job", id.description)
            frame.add("grace", milliseconds(grace))
            frame.add(ticket)
        }
        return try JobVerdict(answer.frame)
    }

    package func output(_ id: JobID, stream: JobStream, offset: Int, limit: Int) async throws -> [UInt8] {
        let answer = try await connection.request("output") { frame in
            frame.add("job", id.description)
            frame.add("stream", stream.rawValue)
            frame.add("offset", offset)
            frame.add("limit", min(limit, 32 << 20))
        }
        return answer.frame.bytes("data") ?? []
    }

    package func claim(resource: String, ticket: FenceTicket) async throws {
        _ = try await connection.request("claim") { frame in
            frame.add("resource", resource)
            frame.add(ticket)
        }
    }

    package func releaseClaim(resource: String, ticket: FenceTicket) async throws -> Bool {
        try await release(resource) { $0.add(ticket) }
    }

    package func releaseClaim(resource: String, ofLostRun run: RunID) async throws -> Bool {
        try await release(resource) { $0.add("run", run.rawValue) }
    }

    private func release(_ resource: String, _ fill: (inout LedgerFrame) -> Void) async throws -> Bool {
        let answer = try await connection.request("release") { frame in
            frame.add("resource", resource)
            fill(&frame)
        }
        return answer.frame.text("released") == "1"
    }

    package func claims() async throws -> [Claim] {
        try await items("claims").compactMap { item in
            guard let run = item.text("run").flatMap({ RunID($0) }) else { return nil }
            return Claim(
                resource: item.text("resource") ?? "", run: run, holder: item.text("holder") ?? "", operator: item.text("operator") ?? "",
                claimedAtMilliseconds: item.integer("at") ?? 0)
        }
    }

    package func runs() async throws -> [HostRun] {
        try await items("runs").compactMap { item in
            guard let ticket = ticket(item.fields("")) else { return nil }
            return HostRun(ticket: ticket, announcedAtMilliseconds: item.integer("at") ?? 0, jobCount: item.integer("jobs") ?? 0)
        }
    }

    package func jobs(of run: RunID) async throws -> [HostJob] {
        try await items("jobs") { $0.add("run", run.rawValue) }.compactMap { item in
            // The record's own `job` comes first and is the same.
            guard let id = item.text("job").flatMap({ JobID(directoryName: $0) }) else { return nil }
            return HostJob(
                id: id, verdict: try JobVerdict(item), specHash: item.text("spec") ?? "", fence: item.integer("fence") ?? 0,
                journalSequence: item.integer("sequence") ?? 0, journalHead: item.text("head") ?? "",
                submittedAtMilliseconds: item.integer("at") ?? 0)
        }
    }

    private func items(_ verb: String, _ fill: (inout LedgerFrame) -> Void = { _ in }) async throws -> [LedgerFrame] {
        try await connection.request(verb, fill).frame.all("item").compactMap { LedgerFrame(body: $0) }
    }

    package func hostFacts() async throws -> HostFacts {
        let frame = try await connection.request("facts").frame
        return HostFacts(
            machineID: frame.text("machine-id") ?? "", bootID: frame.text("boot-id") ?? "", operatingSystem: frame.text("os") ?? "",
            operatingSystemID: frame.text("os-id") ?? "", operatingSystemVersion: frame.text("os-version") ?? "",
            kernel: frame.text("kernel") ?? "", architecture: frame.text("machine") ?? "", perlVersion: frame.text("perl") ?? "",
            user: frame.text("user") ?? "", userID: frame.integer("uid") ?? -1, stateDirectory: frame.text("state") ?? "",
            stateFreeBytes: frame.integer("free"), tools: Set((frame.text("tools") ?? "").split(separator: " ").map(String.init)),
            clockMilliseconds: frame.integer("clock-ms") ?? 0)
    }

    package func close() async { await connection.close() }
}

func milliseconds(_ duration: Duration) -> Int64 {
    let parts = duration.components
    return parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000
}

extension LedgerFrame {
    mutating func add(_ ticket: FenceTicket) {
        add("run", ticket.run.rawValue)
        add("fence", ticket.fence)
        add("holder", ticket.holder)
        add("operator", ticket.operator)
        add("sequence", ticket.journalSequence)
        add("head", ticket.journalHead)
    }

    mutating func add(_ spec: JobSpec) {
        add("job", spec.id.description)
        add("spec", spec.specHash)
        add(spec.fence)
        switch spec.script {
        case .shell(let text):
            add("kind", "shell")
            add("script", text)
        case .argv(let words):
            add("kind", "argv")
            for word in words { add("arg", word) }
        }
        for (name, value) in spec.environment.sorted(by: { $0.key < $1.key }) { add("env", "\(name)=\(value)") }
        if let stdin = spec.stdin { add("stdin", stdin) }
        add("user", spec.runAs ?? "")
        add("directory", spec.workingDirectory ?? "")
        add("timeout", spec.timeout.map { String(milliseconds($0)) } ?? "")
        add("grace", milliseconds(spec.killGrace))
        add("linger", milliseconds(spec.leftBehindWait))
        add("limit", spec.outputLimit)
    }
}

extension JobVerdict {
    init(_ frame: LedgerFrame) throws {
        switch frame.text("verdict") {
        case "finished": self = .finished(JobResult(frame.fields("r.")))
        case "running": self = .running
        case "orphan": self = .orphan(holders: frame.all("holder").map { printable($0) })
        case "never": self = .neverRan
        case "absent": self = .absent
        case "doubt": self = .inDoubt(evidence: frame.fields("e."))
        case let other: throw LedgerError("garbled", "the ledger answered with the unknown verdict \(printable(Array((other ?? "").utf8)))")
        }
    }
}

extension JobResult {
    fileprivate init(_ fields: [String: String]) {
        func number<Number: FixedWidthInteger>(_ key: String) -> Number { fields[key].flatMap { Number($0) } ?? 0 }
        func text(_ key: String) -> String? { fields[key].flatMap { $0.isEmpty ? nil : $0 } }
        self.init(
            exitStatus: fields["exit"].flatMap { Int($0) }, signal: fields["signal"].flatMap { Int($0) },
            timedOut: fields["timed-out"] == "1", cancelled: fields["cancelled"] == "1", stdoutBytes: number("stdout-bytes"),
            stderrBytes: number("stderr-bytes"), stdoutKeptBytes: number("stdout-kept"), stderrKeptBytes: number("stderr-kept"),
            outputLostBytes: number("stdout-lost") + number("stderr-lost"), stdoutSHA256: text("stdout-sha256"),
            stderrSHA256: text("stderr-sha256"), startedAtMilliseconds: number("started"), endedAtMilliseconds: number("ended"),
            durationMilliseconds: number("duration"), bootID: fields["boot"] ?? "", execError: text("exec-error"),
            leftBehind: fields["left-behind"].map { $0.split(separator: "\0").map(String.init) } ?? [])
    }
}
