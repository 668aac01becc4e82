import Foundation
import Testing

/// What a person at a terminal meets. Needs util-linux's `script`, which Debian always has.
@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/script"), "no terminal can be made without /usr/bin/script"))
struct TerminalTests {
    private func state(_ program: Program) async throws -> String? {
        try #require(try await program.run("status", "--json").json() as? [String: Any])["state"] as? String
    }

    @Test func anApprovalIsAskedForAtTheTerminalAndTheRunGoesOn() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        let running = try program.startOnTerminal(["start", "small"])
        try await Program.wait(for: "the question") { running.outputSoFar.contains("decide later: ") }
        #expect(running.outputSoFar.contains("shall we go on?"))
        running.type("ask\n")
        let result = try await running.result()
        #expect(result.status == 0, "\(result.output)")
        #expect(result.output.contains("\u{1B}[32m"))
        #expect(program.read("effects.log") == "first\nslow\nlast\n")
    }

    @Test func anApprovalCanBeLeftForLaterAndYesDoesNotStandForIt() async throws {
        let program = try Program.withSmallPlan()
        try program.write("", to: "go")
        let running = try program.startOnTerminal(["start", "small", "--yes"])
        try await Program.wait(for: "the question") { running.outputSoFar.contains("decide later: ") }
        running.type("yes\n")
        #expect(try await running.result().status == 5)
        #expect(try await state(program) == "WAITING")
        #expect(program.read("effects.log") == "first\nslow\n")
    }

    @Test func noColorMeansNoColour() async throws {
        let program = try Program.withSmallPlan()
        let environments: [[String: String]] = [["NO_COLOR": "1"], [:]]
        for (environment, arguments) in zip(environments, [["plan", "list"], ["plan", "list", "--no-color"]]) {
            let result = try await program.startOnTerminal(arguments, environment: environment).result()
            #expect(result.output.contains("small"))
            #expect(!result.output.contains("\u{1B}"))
        }
        #expect(try await program.startOnTerminal(["plan", "list"]).result().output.contains("\u{1B}"))
    }

    /// A plan that would swap a database, on a host where nobody listens.
    private func withDestructivePlan() throws -> Program {
        let program = try Program()
        try program.write(
            """
            all:
              hosts:
                db1: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_user: nobody}
            reprise:
              known-hosts: [\(program.folder)/known_hosts]
              databases:
                production: {host: db1, database: chms_production}

            """, to: "inventory/here.yaml")
        try program.write("", to: "known_hosts")
        try program.write(
            """
            reprise: 1
            name: swap
            steps:
              - id: swap
                kind: postgres-swap
                on: [db1]
                with: {database: production, scratch: restored, keep-as: damaged}

            """, to: "plans/swap.yaml")
        return program
    }

    @Test func whatIsDestroyedHasToBeTypedByItsName() async throws {
        let program = try withDestructivePlan()
        let refused = try program.startOnTerminal(["start", "swap"])
        try await Program.wait(for: "the question") { refused.outputSoFar.contains("Type its name to go on: ") }
        #expect(refused.outputSoFar.contains("chms_production"))
        refused.type("yes\n")
        #expect(try await refused.result().status == 2)
        #expect(try await program.run("list", "--json").output == "[]\n")

        let typed = try program.startOnTerminal(["start", "swap"])
        try await Program.wait(for: "the question") { typed.outputSoFar.contains("Type its name to go on: ") }
        typed.type("chms_production\n")
        #expect(try await typed.result().status == 4)
        #expect(try await state(program) == "FAILED")
    }

    @Test func withoutATerminalSomethingDestructiveNeedsYes() async throws {
        let program = try withDestructivePlan()
        let refused = try await program.run("start", "swap")
        #expect(refused.status == 2)
        #expect(refused.errors.contains("chms_production") && refused.errors.contains("--yes"))
        let object = try await program.run("start", "swap", "--json").errors
        #expect(object.contains("cli.needs-yes"))
        let dry = try await program.run("start", "swap", "--dry-run")
        #expect(dry.status == 0 && dry.output.contains("DESTRUCTIVE"))
        // Nobody listens on the host: the run fails as unreachable.
        let started = try await program.run("start", "swap", "--yes")
        #expect(started.status == 4, "\(started.output)")
        #expect(try await program.run("check", "swap").status == 4)
        #expect(try await program.run("claims", "list").status == 4)
    }
}
