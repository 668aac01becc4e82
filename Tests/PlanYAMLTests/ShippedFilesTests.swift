import Foundation
import PlanModel
import PlanYAML
import RunCore
import Steps
import Testing

@Suite struct ShippedFilesTests {
    /// The server's plan is the same for one host and for two.
    @Test(arguments: [
        ("db-corruption", "lab"), ("db-corruption", "production.example"), ("full-server", "new-server/lab"), ("full-server", "new-server/two-hosts"),
        // Whatever the database's host is called.
        ("db-corruption", "new-server/two-hosts"), ("table-restore", "lab"), ("table-restore", "production.example"), ("table-restore", "new-server/two-hosts"),
        ("tables-into-database", "lab"), ("tables-into-database", "production.example"), ("tables-into-database", "new-server/two-hosts"),
    ])
    func thePlansFitTheShippedInventories(plan: String, inventory: String) throws {
        let inventory = try loadInventory(at: "\(checkout)/inventory/\(inventory).yaml")
        #expect(inventory.warnings.isEmpty)
        let loaded = try loadPlan(at: "\(checkout)/plans/\(plan).yaml", kinds: StepRegistry.standard.schemas, inventory: inventory.inventory)
        #expect(loaded.warnings.isEmpty)
        for group in Set(loaded.plan.steps.flatMap(\.on)) { #expect(inventory.inventory.hosts(on: group)?.count == 1, "\(group)") }
    }

    /// What hangs on a host, such as an init script that waits for an answer, would be waited for forever.
    @Test func everyStepButAPersonsWordHasADeadline() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(checkout)/plans").filter { $0.hasSuffix(".yaml") }
        #expect(names.count >= 5)
        for name in names {
            let plan = try loadPlan(at: "\(checkout)/plans/\(name)", kinds: StepRegistry.standard.schemas, inventory: nil).plan
            for step in plan.steps + plan.finally where step.kind != "approval" { #expect(step.timeout != nil, "\(name): \(step.id)") }
        }
    }

    /// A server that is restarted under a comparison, or while the loaded tables are dropped, stops nobody's recovery; a merge is tried again
    /// by its own mark.
    @Test(arguments: ["table-restore", "table-from-database"])
    func stepsThatCanBeDoneAgainAreTriedAgain(plan: String) throws {
        let plan = try loadPlan(at: "\(checkout)/plans/\(plan).yaml", kinds: StepRegistry.standard.schemas, inventory: nil).plan
        for step in plan.steps where !["approval", "table-merge"].contains(step.kind) { #expect((step.retry?.attempts ?? 1) > 1, "\(step.id)") }
    }

    private func upstream(_ id: StepID, in plan: Plan) -> Set<StepID> {
        (plan.step(id)?.needs ?? []).reduce(into: []) { $0.formUnion(upstream($1, in: plan).union([$1])) }
    }

    /// What an application encrypts with a wrong key cannot be read together with what the right one wrote.
    @Test func nothingOfTheApplicationRunsBeforeTheKeyIsProven() throws {
        let plan = try loadPlan(at: "\(checkout)/plans/full-server.yaml", kinds: StepRegistry.standard.schemas, inventory: nil).plan
        let key = try #require(StepID("app-key"))
        for later in ["environment", "caches", "migrations", "php", "web", "scheduler"] {
            #expect(try upstream(#require(StepID(later)), in: plan).contains(key), "\(later)")
        }
        #expect(try upstream(key, in: plan).contains(#require(StepID("name"))))
    }

    /// Over a host with an earlier installation, a cached configuration would send it to the database of then.
    @Test func nothingOfTheApplicationAsksTheDatabaseBeforeItsConfigurationIsReadAnew() throws {
        let plan = try loadPlan(at: "\(checkout)/plans/full-server.yaml", kinds: StepRegistry.standard.schemas, inventory: nil).plan
        for later in ["migrations", "php", "scheduler"] {
            #expect(try upstream(#require(StepID(later)), in: plan).contains(#require(StepID("caches"))), "\(later)")
        }
    }

    /// By its name a second run knows that the database is there: a name that stands somewhere as text would be forgotten there.
    @Test func theDatabaseOfTheServersPlanHasTheNameThatIsGiven() throws {
        let loaded = try loadPlan(at: "\(checkout)/plans/full-server.yaml", kinds: StepRegistry.standard.schemas, inventory: nil).plan
        let binding = try #require(ParameterBinding.bind(["database=o'Brien"], to: loaded).binding)
        let variables = ["database_address", "database_listens", "application_network"].map { MapEntry(key: $0, value: Located(.string("here"))) }
        let scope = TemplateScope(parameters: binding, hosts: [Host(name: "here", variables: variables)], output: { _, name in .string(name) })
        var named: Set<String> = []
        for step in loaded.steps + loaded.finally {
            let schema = try #require(StepRegistry.standard.schemas.first { $0.name == step.kind })
            var texts = texts(in: try renderFields(step.with, schema: schema, scope: scope))
            switch try step.unless?.rendered(scope) {
            case .script(let script): texts.append(script)
            case .sql(let question): texts += [question.sql, question.name ?? ""] + (question.values ?? [])
            case nil: break
            }
            #expect(!texts.contains { $0.contains("chms_production") }, "step \(step.id)")
            if texts.contains(where: { $0.contains("o'Brien") || $0.contains("$PARAM_DATABASE") }) { named.insert(step.id.rawValue) }
        }
        #expect(named == ["fetch", "restore", "verify", "settle", "name", "app-key", "environment", "visit"])
    }

    private func texts(in value: PlanValue) -> [String] {
        switch value {
        case .string(let text): [text]
        case .list(let items): items.flatMap { texts(in: $0.value) }
        case .map(let entries): entries.flatMap { texts(in: $0.value.value) }
        default: []
        }
    }

    @Test func theCorruptionPlanDoesThingsInTheRightOrder() throws {
        let plan = try loadPlan(at: "\(checkout)/plans/db-corruption.yaml", kinds: StepRegistry.standard.schemas, inventory: labInventory)
            .plan
        let order = try #require(PlanGraph(plan).topologicalOrder()).map(\.rawValue)
        func index(_ id: String) throws -> Int { try #require(order.firstIndex(of: id)) }
        #expect(try index("check-server") < index("restore"))
        #expect(try index("verify-scratch") < index("settle"))
        #expect(try index("settle") < index("approve-swap"))
        #expect(try index("approve-swap") < index("swap"))
        #expect(try index("maintenance-on") < index("swap"))
        #expect(try index("verify-production") < index("maintenance-off"))
        #expect(plan.steps.first { $0.id.rawValue == "fetch" }?.needs == [])
        #expect(plan.steps(in: .drill).map(\.id.rawValue) == ["check-server", "fetch", "restore", "verify-scratch"])
        guard case .action(let undo) = plan.steps[0].undo else {
            Issue.record("maintenance mode cannot be undone")
            return
        }
        #expect(undo.with["run"]?.value == "php artisan up")
    }

    @Test func theApprovalIsAskedForUnlessTheOperatorWaivedIt() throws {
        let plan = try loadPlan(at: "\(checkout)/plans/db-corruption.yaml", kinds: StepRegistry.standard.schemas, inventory: labInventory)
            .plan
        let step = try #require(plan.step(StepID("approve-swap")!))
        let schema = try #require(StepRegistry.standard.schemas.first { $0.name == "approval" })
        for (words, isRequired) in [([], true), (["approve=no"], false), (["approve=yes"], true)] {
            let binding = try #require(ParameterBinding.bind(words, to: plan).binding)
            let fields = try renderFields(step.with, schema: schema, scope: TemplateScope(parameters: binding))
            #expect(fields["required"]?.value == .boolean(isRequired))
            #expect(fields["message"]?.value.string?.contains("chms_damaged") == true)
        }
    }

    @Test func theLabInventoryLeadsToTheLab() throws {
        let db = try #require(labInventory.host("db1"))
        let endpoint = labInventory.endpoint(of: db)
        #expect(endpoint.address == "10.77.0.12" && endpoint.port == 22 && endpoint.user == "root")
        #expect(endpoint.identityFiles == ["/var/lib/reprise-lab/ssh/id_ed25519"])
        #expect(endpoint.knownHosts == ["/var/lib/reprise-lab/ssh/known_hosts"])
        #expect(labInventory.hosts(on: "app")?.map(\.name) == ["app1"])
        guard case .s3(let place) = labInventory.store("backups")?.kind else {
            Issue.record("no S3 store")
            return
        }
        #expect(place.usesPathStyle && place.bucket == "chms-backups" && place.endpoint == "http://10.77.0.10:7480")
    }
}
