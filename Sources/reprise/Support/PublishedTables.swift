internal import BlockingIO
internal import Engine
internal import PlanModel
internal import Reconcile
internal import Reporting
internal import RunCore
internal import SSH
internal import Steps

extension Readiness {
    /// Databases in which steps make tables that a publication of all tables would send on, though nobody said that it may.
    func checkPublications(_ database: DatabaseRef, _ connection: HostConnection) async -> [Finding] {
        let steps = preview.steps.filter {
            [TableRestoreStep.schema.name, PostgresRestoreTablesStep.schema.name].contains($0.kind) && $0.with["database"]?.stringValue == database.name
                && $0.with["published"]?.stringValue != "accept"
        }
        guard let remote = connection.remote else { return [] }
        var findings: [Finding] = []
        for name in Set(steps.map { $0.with["into"]?.stringValue ?? database.database }).sorted() {
            let query = "select 'p|' || unnest(publications) from (\(Publications.query)) q union all select 's|' || unnest(slots) from (\(Publications.query)) q"
            // Where it cannot be asked, the findings about its server say why, and the step asks again.
            guard let result = try? await remote.run(
                database.psql(query, in: name), stdin: [], outputLimit: 65_536, deadline: Deadline(after: .seconds(30))), result.status == 0
            else { continue }
            let lines = result.stdoutText.split(separator: "\n")
            func names(_ kind: String) -> [String] { lines.filter { $0.hasPrefix(kind) }.map { String($0.dropFirst(kind.count)) } }
            if let refusal = Publications.refusal(publications: names("p|"), slots: names("s|"), database: name) {
                findings.append(Finding(refusal, "\(database.host): database \(database.name): publications"))
            }
        }
        return findings
    }
}
