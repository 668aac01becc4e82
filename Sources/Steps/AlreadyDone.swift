internal import BlockingIO
package import PlanModel
internal import PostgreSQL
package import RunCore
internal import SSH

/// What a step's `unless` answered.
package struct AlreadyDone: Sendable, Hashable {
    /// The hosts of the step on which it is done already. Empty for an answer from a database.
    package let doneHosts: Set<String>
    /// Nothing of the step is left to do.
    package let isDone: Bool
    /// The answer as it is journaled.
    package let answer: JSONValue

    /// - Parameter answer: as `StepContext.alreadyDone` journals it.
    package init(_ answer: JSONValue) {
        let hosts = answer["hosts"]?.objectValue ?? [:]
        doneHosts = Set(hosts.filter { $0.value == .bool(true) }.keys)
        isDone = hosts.isEmpty ? answer["done"] == .bool(true) : doneHosts.count == hosts.count
        self.answer = answer
    }

    /// What becomes of a step that is left out. What a later attempt finds done may be the work of an earlier one, which undo then has to put
    /// back, and which services have to take up.
    package func outcome(ofAttempt attempt: AttemptNumber) -> StepOutcome {
        StepOutcome(evidence: ["already-done": answer], outputs: attempt > 1 ? ["changed": true] : [:], changed: attempt > 1)
    }

    /// The key under which the answer is journaled.
    package static let observationKey = "unless"
}

extension StepContext {
    /// Asks whether the step is already done, once for each attempt: the answer is journaled before anybody acts on it, so that a
    /// resumed attempt goes the way that it had begun. A process that dies before that asks again, which does no harm.
    ///
    /// - Throws: `StepFailed` where the check could not be carried out: that shows nothing, and least of all that the step is done.
    package func alreadyDone(_ unless: Unless) async throws -> AlreadyDone {
        AlreadyDone(
            try await decided(AlreadyDone.observationKey) {
                services.report(StepProgress("asking whether it is already done"))
                switch unless {
                case .script(let script): return ["hosts": .object(try await ask(script))]
                case .sql(let question): return try await ask(question)
                }
            })
    }

    /// The same attempt without the hosts on which the step is done already.
    package func without(_ found: AlreadyDone) -> StepContext {
        replacing(hosts: hosts.filter { !found.doneHosts.contains($0) })
    }

    // MARK: Scripts

    private func ask(_ script: String) async throws -> [String: JSONValue] {
        let place = try hosts.isEmpty ? replacing(hosts: [database().host]) : self
        let answers = try await place.onEachHost { host, part in
            let name = [AlreadyDone.observationKey, part].compactMap { $0 }.joined(separator: "-")
            let outcome = try await place.run(try await place.scriptJob(host, part: name, script: script))
            switch outcome.result.exitStatus {
            case 0: return true
            case 1: return false
            default: throw place.cannotTell(outcome, on: host)
            }
        }
        return Dictionary(uniqueKeysWithValues: answers.map { ($0.host, .bool($0.value)) })
    }

    private func cannotTell(_ outcome: DurableJobOutcome, on host: String) -> StepFailed {
        StepFailed(
            "unless.cannot-tell", "`unless` on \(host) cannot tell whether the step is already done: it ended with \(outcome.ending)",
            hints: [
                "the script ends with 0 where the step is done and with 1 where it is not; write `|| exit 1` after a command that says no otherwise",
                "nothing of the step was done; then: reprise retry \(run) \(step)",
            ],
            evidence: outcome.evidence)
    }

    /// The job that a script of the plan is: with the parameters in its environment, as the account and in the directory that the step names.
    func scriptJob(_ host: String, part: String?, script: String) async throws -> DurableJob {
        var job = DurableJob(host: host, part: part, script: .shell(script))
        job.environment = try await environment()
        job.runAs = optionalString("as")
        job.directory = optionalString("directory")
        return job
    }

    // MARK: Queries

    private func ask(_ question: Unless.SQLQuestion) async throws -> JSONValue {
        guard let database = inventory.database(question.database) else {
            throw StepRefused("steps.unknown-database", "the inventory has no database \(question.database)")
        }
        let connection = try await services.connect(database, name: question.name ?? database.database)
        let value = try await answer(to: question.sql, values: question.values ?? [], connection)
        await connection.close()
        // As PostgreSQL writes a boolean.
        guard let value, ["t", "f"].contains(value) else {
            throw StepFailed(
                "unless.cannot-tell", "`unless` cannot tell whether the step is already done: its query returned \(value ?? "NULL"), neither true nor false",
                hints: ["let the query return a boolean: SELECT EXISTS (…)", "nothing of the step was done; then: reprise retry \(run) \(step)"])
        }
        return ["done": .bool(value == "t")]
    }

    /// The one value of the query's one row.
    ///
    /// - Parameter values: for `$1`, `$2`, …
    func answer(to sql: String, values: [String] = [], _ connection: PostgresConnection) async throws -> String? {
        let result = try await readOnly(sql, values: values, connection)
        guard result.rows.count == 1, result.columns.count == 1 else {
            throw StepRefused(
                "sql-check.not-one-value",
                "a check must return one row with one column; this one returned \(counted(result.rows.count, "row")) with \(result.columns.count): \(sql)",
                exitStatus: .usage)
        }
        return result.rows[0].values[0]
    }

    /// A query of the plan's. A transaction that may only read keeps a mistaken plan from writing.
    func readOnly(_ sql: String, values: [String] = [], _ connection: PostgresConnection) async throws -> PostgresResult {
        let deadline = deadline ?? Deadline(after: .seconds(300))
        try await connection.execute("BEGIN READ ONLY", deadline: deadline)
        // People write table names as their database resolves them.
        try await connection.execute("SET LOCAL search_path TO DEFAULT", deadline: deadline)
        let result = try await connection.query(sql, values.map { .text($0) }, deadline: deadline)
        try await connection.execute("ROLLBACK", deadline: deadline)
        return result
    }
}
