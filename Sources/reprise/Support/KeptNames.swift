internal import BlockingIO
internal import Engine
internal import PlanModel
internal import PostgreSQL
internal import Reporting
internal import RunCore
internal import SSH
internal import Steps

/// Names that a swap will give to the databases that it replaces, and that others bear already: an earlier recovery keeps its own under the
/// same name. The swap would refuse, after the application was shut, the backup restored and a person asked.
struct KeptNames {
    let frozen: FrozenRun
    let preview: PlanPreview

    /// One that is taken.
    struct Taken: RepriseError {
        let step: String
        let name: String
        let database: DatabaseRef
        let code = "postgres-swap.name-taken"
        let exitStatus = ExitStatus.usage
        private var why: String {
            "step \(step) would keep the database that it replaces as \(name), and there is one of that name on \(database.host) already"
        }
        var message: String { "nothing was started, because \(why)" }
        var hints: [String] {
            [
                "give another name for what is kept: --param keep-as=… where the plan has that parameter",
                "or where nobody needs it any more, on \(database.host): DROP DATABASE \((try? SQLIdentifier(name).sql) ?? name)",
            ]
        }
        var finding: Finding { Finding(.missing, "\(database.host): database \(database.name)", why, hints: hints) }
    }

    /// Steps that ask first whether they are done are left out, as where there is no production that would be replaced.
    func taken(on host: String, _ connection: HostConnection) async throws -> [Taken] {
        guard let remote = connection.remote else { return [] }
        var found: [Taken] = []
        for step in preview.steps where step.kind == PostgresSwapStep.schema.name {
            guard let id = StepID(step.id), try frozen.step(id).unless == nil, let name = step.with["keep-as"]?.stringValue,
                let database = step.with["database"]?.stringValue.flatMap(frozen.inventory.database), database.host == host
            else { continue }
            let query = """
                select count(*) from pg_catalog.pg_database where datname in (\(try SQLLiteral(name).sql), \(try SQLLiteral(database.database).sql))
                """
            let answer = try await remote.run(database.psql(query), stdin: [], outputLimit: 65_536, deadline: Deadline(after: .seconds(30)))
            if answer.status == 0, answer.stdoutText.split(separator: "\n").first == "2" { found.append(Taken(step: step.id, name: name, database: database)) }
        }
        return found
    }
}
