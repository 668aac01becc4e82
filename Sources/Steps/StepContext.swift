package import BlockingIO
package import ObjectStorage
package import PlanModel
package import PostgreSQL
package import RunCore
package import SSH

/// All that one attempt of a step is given. A value: it holds no state of the attempt.
package struct StepContext: Sendable {
    package let run: RunID
    package let step: StepID
    package let attempt: AttemptNumber
    package let isUndo: Bool
    /// An earlier process began this attempt; what it did must be found out, not done again.
    package let isResumed: Bool
    package let isDrill: Bool
    /// A drill may use the cluster that production runs on: the plan says so.
    package let allowsSameCluster: Bool
    /// The inventory names of the hosts that the step runs on; `orchestrator` is this machine.
    package let hosts: [String]
    /// The step's `with:`, rendered and of the types that the kind's schema declares.
    package let with: [String: JSONValue]
    /// The plan's parameters, for the environment of scripts.
    package let parameters: [String: JSONValue]
    package let inventory: Inventory
    /// Environment variables of scripts whose values are secrets.
    package let secretParameters: [String: SecretReference]
    /// Outputs of the steps that have succeeded so far.
    package let outputs: StepOutputs
    /// When the step's time is up; nil where the plan sets no limit.
    package let deadline: Deadline?
    /// SHA-256 of the step as rendered, in hex.
    package let specHash: String
    package let services: any StepServices

    package init(
        run: RunID, step: StepID, attempt: AttemptNumber, isUndo: Bool, isResumed: Bool, isDrill: Bool, allowsSameCluster: Bool = false,
        hosts: [String], with: [String: JSONValue], parameters: [String: JSONValue], inventory: Inventory,
        secretParameters: [String: SecretReference], outputs: StepOutputs, deadline: Deadline?, specHash: String, services: any StepServices
    ) {
        self.run = run
        self.step = step
        self.attempt = attempt
        self.isUndo = isUndo
        self.isResumed = isResumed
        self.isDrill = isDrill
        self.allowsSameCluster = allowsSameCluster
        self.hosts = hosts
        self.with = with
        self.parameters = parameters
        self.inventory = inventory
        self.secretParameters = secretParameters
        self.outputs = outputs
        self.deadline = deadline
        self.specHash = specHash
        self.services = services
    }

    package static let orchestrator = "orchestrator"

    /// The same attempt on other hosts.
    func replacing(hosts: [String]) -> StepContext {
        StepContext(
            run: run, step: step, attempt: attempt, isUndo: isUndo, isResumed: isResumed, isDrill: isDrill, allowsSameCluster: allowsSameCluster,
            hosts: hosts, with: with,
            parameters: parameters, inventory: inventory, secretParameters: secretParameters, outputs: outputs, deadline: deadline,
            specHash: specHash, services: services)
    }

    /// A choice that a resumed attempt must make again as it was made the first time.
    ///
    /// The first call journals what `choose` returns before it returns it; later calls, in whatever process, return the same.
    package func decided(_ key: String, _ choose: () async throws -> JSONValue) async throws -> JSONValue {
        if let known = await services.observed(key) { return known }
        let value = try await choose()
        try await services.observe(key, value)
        return value
    }
}

/// What a step may use of the world; bound to one attempt and to the run's fence. The engine implements it.
package protocol StepServices: Sendable {
    /// The job ledger of a host, on a live connection that has shown its host key and accepted the run's fence.
    func ledger(_ host: String) async throws -> any JobLedger
    /// - Throws: `StepRefused` for the orchestrator itself, which needs no connection.
    func remote(_ host: String) async throws -> any RemoteHost
    /// Closes the connection to which `failed` belongs, so that the next use makes a new one. One that has taken its place already is
    /// left alone: other steps may be using it.
    func forgetConnection(_ host: String, _ failed: any JobLedger) async
    func store(_ name: String) async throws -> any ObjectStore
    /// A connection as the inventory's administrative role to the database `name` on the server of `database`.
    func connect(_ database: DatabaseRef, name: String) async throws -> PostgresConnection
    /// The value of a secret: of a reference (`env:`, `file:`, `command:`), or of the inventory's secret of that name.
    /// Registered for redaction before it is returned.
    func secret(_ name: String) async throws -> String
    var ticket: FenceTicket { get async }

    /// A fact that this attempt journaled, in this process or an earlier one.
    func observed(_ key: String) async -> JSONValue?
    /// The latest fact of that name that the step's earlier attempts journaled; in an undo, that the attempts did which it takes back.
    func observedBefore(_ key: String) async -> JSONValue?
    /// Durable when it returns.
    func observe(_ key: String, _ value: JSONValue) async throws

    /// How long a host that was reached before may be out of reach until the step gives it up.
    var patience: Duration { get }

    /// Why the attempt is being ended from outside, if it is.
    var ending: StepEnded.Cause? { get async }
    func report(_ progress: StepProgress)
    /// Output of a job, to be kept and shown; offsets are bytes from the job's start, so that repeats can be dropped.
    func output(host: String, part: String?, _ output: JobOutput)
}

extension StepServices {
    package var patience: Duration { .seconds(600) }
}

/// How far a step has come.
package struct StepProgress: Sendable, Hashable {
    /// What is going on, for example "restoring members".
    package var phase: String
    package var done: Int64?
    package var total: Int64?
    package var unit: Unit

    package enum Unit: String, Sendable, Hashable, Codable { case bytes, rows, items }

    package init(_ phase: String, done: Int64? = nil, total: Int64? = nil, unit: Unit = .items) {
        self.phase = phase
        self.done = done
        self.total = total
        self.unit = unit
    }
}
