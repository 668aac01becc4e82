import Foundation
import Glibc
import Testing

/// The day on which the journal is lost, with this machine's own ledger.
@Suite struct AdoptTests {
    private func json(_ result: Program.Result) throws -> [[String: Any]] {
        try #require(try result.json() as? [[String: Any]], "\(result.errors)")
    }

    /// A run whose slow step is at work on this machine, while its orchestrator and its journal are gone.
    private func withLostRun(_ body: (Program, _ run: String) async throws -> Void) async throws {
        let program = try Program.withSmallPlan()
        let running = try program.start(["start", "small"])
        try await Program.wait(for: "the slow step") { !program.read("begun").isEmpty }
        running.signal(SIGKILL)
        _ = try await running.result()
        let run = try #require(try json(try await program.run("list", "--json")).first?["run"] as? String)
        try FileManager.default.moveItem(atPath: "\(program.folder)/state", toPath: "\(program.folder)/kept")
        #expect(try await program.run("list").output == "no runs yet\n")
        try await body(program, run)
    }

    @Test func aLostRunIsClosedAndItsJournalFoundAgainCanDoNothing() async throws {
        try await withLostRun { program, run in
            let known = try json(try await program.run("adopt", "orchestrator", "--json"))
            #expect(known.map { $0["run"] as? String } == [run])
            #expect(known[0]["closed"] == nil || known[0]["closed"] is NSNull)
            let jobs = try json(try await program.run("adopt", "orchestrator", String(run.dropLast(2)), "--json"))
            #expect(jobs.map { $0["verdict"] as? String } == ["ended with status 0", "running"])

            let close = ["adopt", "orchestrator", run, "--close", "--reason", "the laptop burned"]
            let unconfirmed = try await program.start(close).result()
            #expect(unconfirmed.status == 2)
            #expect(unconfirmed.errors.contains("--yes") && !unconfirmed.errors.contains("--dry-run"))
            let alive = try await program.start(close + ["--yes"]).result()
            #expect(alive.status == 1)
            #expect(alive.errors.contains("\(run).slow.1") && alive.errors.contains("--end-jobs"))
            #expect(try json(try await program.run("adopt", "orchestrator", run, "--json"))[1]["verdict"] as? String == "running")

            let closed = try await program.start(close + ["--yes", "--end-jobs", "--json"]).result()
            #expect(closed.status == 0, "\(closed.errors)")
            #expect(try json(closed)[0]["endedJobs"] as? [String] == ["\(run).slow.1"])
            #expect(try await program.run("adopt", "orchestrator").output.contains("closed: the laptop burned"))

            // The journal turns up again.
            let found = try await program.run("resume", "--journal", "kept/reprise/journal.sqlite")
            #expect(found.status != 0)
            #expect((found.output + found.errors).contains("the laptop burned"), "\(found.output)\(found.errors)")
            #expect(program.read("effects.log") == "first\n")

            // A new run is not in its way.
            try program.write("", to: "go")
            let fresh = try await program.run("start", "small")
            #expect(fresh.status == 5, "\(fresh.errors)")
            #expect(program.read("effects.log") == "first\nfirst\nslow\n")
        }
    }

    @Test func whatHasEndedIsClosedWithoutFurtherAsking() async throws {
        try await withLostRun { program, run in
            try program.write("", to: "go")
            try await Program.wait(for: "the slow step's end") { program.read("effects.log").contains("slow") }
            try await Program.wait(for: "its result") {
                let jobs = (try? FileManager.default.contentsOfDirectory(atPath: "\(program.folder)/ledger/jobs/\(run).slow.1")) ?? []
                return jobs.contains("result")
            }
            let closed = try await program.run("adopt", "orchestrator", run, "--close", "--reason", "gone", "--yes")
            #expect(closed.status == 0, "\(closed.errors)")
            #expect(closed.output.contains("is closed on orchestrator") && closed.output.contains("reprise plan show PLAN --runbook"))
            #expect(try await program.run("plan", "show", "small", "--runbook").output.contains("effects.log"))
        }
    }

    /// By hand a claim is released only for the run that is named: what another run has reserved since is that one's.
    @Test func aClaimIsReleasedByHandOnlyForTheRunThatHasIt() async throws {
        try await withLostRun { program, run in
            let resource = "database:5432:chms"
            let file = "ledger/claims/" + resource.utf8.map { String(format: "%02x", $0) }.joined()
            let record = "resource=\(resource)\nat=1\nrun=\(run)\nholder=h\noperator=mary\nend\n"
            try program.write(record, to: file)
            let wrong = try await program.run("claims", "release", "orchestrator", resource, "20261123-030000-rival", "--yes")
            #expect(wrong.status == 7, "\(wrong.output)\(wrong.errors)")
            #expect(wrong.output.isEmpty && wrong.errors.contains("is claimed by run \(run) of mary"), "\(wrong.errors)")
            #expect(wrong.errors.contains("HINT: "))
            #expect(program.read(file) == record)
            let right = try await program.run("claims", "release", "orchestrator", resource, run, "--yes")
            #expect(right.status == 0 && right.output == "released \(resource) on orchestrator\n", "\(right.output)\(right.errors)")
            #expect(program.read(file).isEmpty)
            #expect(try await program.run("claims", "list", "orchestrator").output == "no claims\n")
            try program.write("", to: "go")
        }
    }

    @Test(arguments: [
        (["adopt"], "HOST"), (["adopt", "orchestrator", "--close", "--reason", "x"], "needs the run"),
        (["adopt", "orchestrator", "r", "--close"], "needs --reason"), (["adopt", "orchestrator", "r", "--end-jobs"], "belong to --close"),
        (["adopt", "orchestrator", "2026"], "knows no run 2026"), (["adopt", "orchestra"], "has no host orchestra"),
    ])
    func wrongUseIsNamed(arguments: [String], says: String) async throws {
        let program = try Program.withSmallPlan()
        let result = try await program.start(arguments).result()
        #expect(result.status == 2)
        #expect(result.output.isEmpty)
        #expect(result.errors.contains(says) || result.errors.lowercased().contains(says.lowercased()), "\(result.errors)")
    }
}
