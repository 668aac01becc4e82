import Testing

/// A plan and an inventory that call one database by two names.
@Suite struct DatabaseNameTests {
    private let plan = "\(Program.checkout)/plans/full-server.yaml"

    private func program(database: String) throws -> Program {
        let program = try Program()
        try program.write(
            """
            all:
              vars: {database_address: 127.0.0.1, database_listens: localhost, application_network: 127.0.0.1/32, ansible_user: root}
              children:
                app: {hosts: {fresh: {ansible_host: 192.0.2.1}}}
                db: {hosts: {fresh: {}}}
            reprise:
              databases:
                production: {host: fresh, database: \(database)}
              stores:
                backups: {kind: directory, path: "\(program.folder)"}
              secrets:
                app-key: env:NONE
                database-password: env:NONE
                reporting-password: env:NONE
                deploy-key: env:NONE
                code-host-keys: env:NONE
                certificate: env:NONE
                certificate-issuers: env:NONE
                visitor-password: env:NONE
                certificate-key: env:NONE

            """, to: "inventory/here.yaml")
        return program
    }

    @Test func anotherNameThanTheInventorysIsFoundBeforeAnythingStarts() async throws {
        let program = try program(database: "parish")
        let started = try await program.run("start", plan, "--yes", "--inventory", "inventory/here.yaml")
        #expect(started.status == 2, "\(started.output) \(started.errors)")
        #expect(started.errors.contains(#"the plan calls the database "chms_production", and the inventory's production is "parish""#), "\(started.errors)")
        #expect(started.errors.contains("with --param where the plan has it as a parameter"))
        #expect(try await program.run("status").output.isEmpty, "nothing was started")
        let fine = try await program.run("start", plan, "--yes", "--inventory", "inventory/here.yaml", "--param", "database=parish")
        #expect(!fine.errors.contains("the plan calls the database"), "\(fine.errors)")
    }

    @Test func theDryRunShowsTheNameThatIsGivenAndNoOther() async throws {
        let shown = try await program(database: "parish").run("start", plan, "--dry-run", "--inventory", "inventory/here.yaml", "--param", "database=parish")
        #expect(shown.status == 0, "\(shown.errors)")
        #expect(shown.output.contains("parish") && !shown.output.contains("chms_production"))
    }
}
