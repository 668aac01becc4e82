import Foundation
import PlanModel
import PlanYAML
import RunCore
import Testing

@testable import Steps

/// The steps `log-ends` and `logs` of the plan for a whole server, run on this machine over logs of their own.
@Suite struct FullServerLogsTests {
    private let folder: TestFolder
    private let scripts: [String: String]
    private let environment: [String: String]

    init() throws {
        folder = try TestFolder()
        let plan = try loadPlan(at: KindTests.root.path + "/plans/full-server.yaml", kinds: StepRegistry.standard.schemas, inventory: nil).plan
        var scripts: [String: String] = [:]
        for step in plan.steps where ["log-ends", "logs"].contains(step.id.description) { scripts[step.id.description] = step.with["run"]?.value.string }
        self.scripts = scripts
        environment = [
            "NOTE": folder.file("note"), "APPLICATION": folder.file("app/*.log"), "NGINX": folder.file("nginx/*error.log*"), "PHP": folder.file("php*-fpm.log*"),
            "POSTGRESQL": folder.file("postgresql/*.log*"),
        ]
        for name in ["app/laravel.log", "postgresql/main.log"] { try folder.write("", to: name) }
    }

    private func run(_ step: String) throws -> ScriptOutcome { try runLocally(try #require(scripts[step]), environment, in: folder.path) }

    private func append(_ text: String, to name: String) throws { try folder.write((folder.text(name) ?? "") + text, to: name) }

    @Test func whatCameSinceIsReadAndWhatWasThereBeforeIsNot() throws {
        try append("production.ERROR: old\n", to: "app/laravel.log")
        #expect(try run("log-ends").status == 0)
        #expect(try run("logs").status == 0)
        try append("production.ERROR: new\n", to: "app/laravel.log")
        let found = try run("logs")
        #expect(found.status == 1 && found.complained.contains("\(folder.file("app/laravel.log")): production.ERROR: new\n"), "\(found)")
        #expect(!found.complained.contains("old"))
    }

    /// Whoever may write into the application's folder names the files there.
    @Test func aLogsNameIsNeitherAProgramNorALineOfItsOwn() throws {
        #expect(try run("log-ends").status == 0)
        let proof = folder.file("proof")
        try folder.write("touch \(proof) # a.ERROR: x\n", to: "app/a|e;#.log")
        try folder.write("b.ERROR: y\n", to: "app/b\nPostgreSQL: \u{1b}[2Jfine.log")
        try folder.write("c.ERROR: z\n", to: "app/c&\\1\\n.log")
        let found = try run("logs")
        #expect(!FileManager.default.fileExists(atPath: proof))
        #expect(found.status == 1 && found.complained.contains("a|e;#.log: touch") && found.complained.contains("app/c&\\1\\n.log: c.ERROR: z\n"), "\(found)")
        #expect(found.complained.contains("app/b?PostgreSQL: ?[2Jfine.log: b.ERROR: y\n"), "\(found)")
        for text in [found.said, found.complained] {
            #expect(!text.contains("\u{1b}") && !text.contains("\nPostgreSQL: \u{1b}") && text.components(separatedBy: "\nPostgreSQL: ?").count == 1, "\(found)")
        }
        #expect(found.said.split(separator: "\n").count == 4, "\(found)")
    }

    /// As Debian's logrotate does it with PostgreSQL's log: a copy under the other name, and the log emptied.
    @Test(arguments: [0, 3]) func aLogThatWasCopiedAndEmptiedGoesOnWhereItEnded(linesSince: Int) throws {
        try append("FATAL:  of last week\n", to: "postgresql/main.log")
        #expect(try run("log-ends").status == 0)
        try append("LOG:  still fine\n", to: "postgresql/main.log")
        try folder.write(try #require(folder.text("postgresql/main.log")), to: "postgresql/main.log.1")
        try empty("postgresql/main.log", then: String(repeating: "LOG:  all is well\n", count: linesSince))
        let clean = try run("logs")
        #expect(clean.status == 0, "\(clean)")
        // What was written between the note and the copy counts, and so does what came after it.
        try empty("postgresql/main.log", then: "FATAL:  after\n" + String(repeating: "LOG:  all is well\n", count: linesSince))
        try append("FATAL:  before\n", to: "postgresql/main.log.1")
        let found = try run("logs")
        #expect(found.status == 1 && found.complained.contains("FATAL:  after") && found.complained.contains("FATAL:  before") && !found.complained.contains("last week"), "\(found)")
    }

    private func empty(_ name: String, then text: String) throws {
        let log = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.file(name)))
        try log.truncate(atOffset: 0)
        try log.write(contentsOf: Data(text.utf8))
        try log.close()
    }

    @Test func aRenamedLogIsReadUnderItsOtherName() throws {
        try append("FATAL:  of last week\n", to: "postgresql/main.log")
        #expect(try run("log-ends").status == 0)
        try append("FATAL:  before\n", to: "postgresql/main.log")
        try FileManager.default.moveItem(atPath: folder.file("postgresql/main.log"), toPath: folder.file("postgresql/main.log.1"))
        try folder.write("FATAL:  after\n", to: "postgresql/main.log")
        let found = try run("logs")
        #expect(found.status == 1 && found.complained.contains("FATAL:  after") && found.complained.contains("FATAL:  before") && !found.complained.contains("last week"), "\(found)")
    }

    /// Only English words are looked for.
    @Test func theServersLogIsInEnglish() throws {
        let plan = try loadPlan(at: KindTests.root.path + "/plans/full-server.yaml", kinds: StepRegistry.standard.schemas, inventory: nil).plan
        let cluster = try #require(plan.steps.first { $0.kind == "postgres-cluster" })
        #expect(cluster.with["settings"]?.value["lc_messages"]?.value.string == "C")
    }
}
