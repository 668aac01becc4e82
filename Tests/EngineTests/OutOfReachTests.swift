import BlockingIO
import Foundation
import Glibc
import Journal
import PlanModel
import PlanYAML
import RunCore
import SSH
import Steps
import Synchronization
import Testing

@testable import Engine

/// Hosts that go out of reach and come back: this machine's real ledger, on connections that a test can end.
@Suite struct OutOfReachTests {
    @Test func aConnectionThatTookTheFailedOnesPlaceIsLeftAlone() async throws {
        let host = try CutHost()
        let pool = HostPool(inventory: Inventory(), connector: host)
        let first = try await pool.connection("h") { _ in }
        // Two steps met the same failure; the second one is late.
        await pool.forget("h", failed: first.ledger.conversation)
        let second = try await pool.connection("h") { _ in }
        await pool.forget("h", failed: first.ledger.conversation)
        #expect(try await second.ledger.runs().isEmpty)
        #expect(try await pool.connection("h") { _ in }.ledger.conversation == second.ledger.conversation)
        await pool.close()
    }

    @Test func aStepWhoseConnectionAnotherOneClosedGoesOn() async throws {
        let host = try CutHost()
        let connection = try await host.connect("h", Inventory())
        let waiting = Task { try await connection.ledger.follow(job, stdoutOffset: 0, stderrOffset: 0, onOutput: { _ in }, deadline: nil) }
        await connection.close()
        do {
            _ = try await waiting.value
        } catch {
            #expect((error as? any RepriseError)?.isTransient == true, "\(error)")
        }
        await #expect { _ = try await connection.ledger.probe(job) } throws: { ($0 as? any RepriseError)?.isTransient == true }
    }

    private let job = JobID(run: RunID("r")!, step: StepID("s")!, attempt: 1)!

    /// A host that stays away while a job runs on it says nothing about the job: no failure, no second attempt.
    @Test func aJobOnAHostThatStaysAwayIsInDoubtAndNotTriedAgain() async throws {
        let host = try CutHost()
        let bench = try await Bench(host)
        let end = try await bench.driveCutting(patience: .milliseconds(600)) { host.read("effects.log") == "begun 1\n" }
        #expect(end.machine.state == .waiting)
        let record = try #require(end.machine[StepID("work")!])
        #expect(record.state == .inDoubt && record.attempt == 1)
        #expect(record.doubt?.evidence["ledger"]?.stringValue == "unreachable")

        host.mend()
        try await expectASecondAttemptOnceTheFirstHasEnded(bench)
    }

    /// The first attempt was alive all the time. A person who calls it not done gets a new one, and nothing of the old one beside it.
    private func expectASecondAttemptOnceTheFirstHasEnded(_ bench: Bench) async throws {
        let again = Task {
            try await bench.drive([.doubtResolved(DoubtResolved(step: StepID("work")!, verdict: .notDone, by: "anna", reason: "a test"))])
        }
        try await eventually("the second attempt") { bench.host.read("effects.log").contains("begun 2") }
        #expect(bench.host.read("ledger/jobs/\(bench.run).work.1/result").contains("cancelled=1\n"))
        bench.host.write("go")
        let last = try await again.value
        #expect(last.machine.state == .succeeded)
        #expect(bench.host.read("effects.log") == "begun 1\nbegun 2\nended 2\n")
    }

    /// Nor does a host that answers and refuses: it lets nobody in any more, its ledger can be entered by others, or what it knows of the
    /// job is damaged. None of that says that the job is not alive.
    @Test(arguments: CutHost.Refusal.allCases)
    func aJobOnAHostThatRefusesAfterTheCutIsInDoubtAndNotTriedAgain(_ refusal: CutHost.Refusal) async throws {
        let host = try CutHost()
        let bench = try await Bench(host)
        let driving = Task { try await bench.drive() }
        try await eventually("the job") { host.read("effects.log") == "begun 1\n" }
        host.refuse(refusal, bench.run)
        try await host.cut()
        host.mend()
        let end = try await driving.value
        #expect(end.machine.state == .waiting)
        let record = try #require(end.machine[StepID("work")!])
        #expect(record.state == .inDoubt && record.attempt == 1)
        #expect(record.doubt?.evidence["because"]?.stringValue == refusal.code, "\(record)")
        host.admitAgain()
        try await expectASecondAttemptOnceTheFirstHasEnded(bench)
    }

    /// The same where it is a later process that is refused, which did not see the job begin.
    @Test func aResumedAttemptOnAHostThatRefusesIsInDoubtAndNotTriedAgain() async throws {
        let host = try CutHost()
        let bench = try await Bench(host)
        let first = try await bench.driver()
        let driving = Task { try await first.drive() }
        try await eventually("the job") { host.read("effects.log") == "begun 1\n" }
        first.detach(reason: "a test")
        let left = try await driving.value
        #expect(left.isDetached && left.machine[StepID("work")!]?.state == .running)
        host.refuse(.letsNobodyIn, bench.run)
        let end = try await bench.drive()
        let record = try #require(end.machine[StepID("work")!])
        #expect(end.machine.state == .waiting && record.state == .inDoubt && record.attempt == 1, "\(record)")
        host.admitAgain()
        try await expectASecondAttemptOnceTheFirstHasEnded(bench)
    }

    /// What the host refuses when it is first asked has not begun, and that is no doubt.
    @Test func aFirstRequestThatTheHostRefusesIsAFailure() async throws {
        let host = try CutHost()
        let end = try await Bench(host, with: "as: nobody-of-this-name").drive()
        let record = try #require(end.machine[StepID("work")!])
        #expect(end.machine.state == .failed && record.attempt == 1)
        #expect(record.failure?.code == "ledger.no-user" && record.failure?.kind == .permanent, "\(record)")
        #expect(host.read("effects.log").isEmpty)
    }

    /// A request of the first attempt that comes to the host during the second starts nothing, although the host has never heard of it.
    @Test func aRequestOfAnEarlierAttemptThatComesLateStartsNothing() async throws {
        let host = try CutHost()
        let bench = try await Bench(host)
        try await host.cut()
        let driving = Task { try await bench.drive(patience: .zero) }
        try await eventually("the first try") { host.knocks >= 1 }
        host.mend()
        try await eventually("the job") { host.read("effects.log") == "begun 1\n" }
        let ledger = try await host.connect("orchestrator", Inventory()).ledger
        let running = try #require(try await ledger.jobs(of: bench.run).first { $0.verdict == .running })
        #expect(running.id.attempt > 1)
        let ticket = try #require(try await ledger.runs().first).ticket
        for attempt in 1..<running.id.attempt {
            let id = try #require(JobID(run: bench.run, step: running.id.step, attempt: attempt))
            let late = JobSpec(id: id, script: .shell("touch \(host.folder)/late"), specHash: running.specHash, fence: ticket)
            do {
                let verdict = try await ledger.submit(late, deadline: Deadline(after: .seconds(30)))
                guard case .finished(let result) = verdict else { throw TestFailure("attempt \(attempt) is \(verdict)") }
                #expect(result.cancelled)
            } catch let error as LedgerError {
                #expect(error.code == "ledger.superseded" && attempt < running.id.attempt - 1, "\(error)")
            }
        }
        await ledger.close()
        host.write("go")
        #expect(try await driving.value.machine.state == .succeeded)
        #expect(host.read("effects.log") == "begun 1\nended 1\n")
        #expect(!FileManager.default.fileExists(atPath: host.folder + "/late"))
    }

    /// What may be alive on one host is not run again because the step failed on another.
    @Test func aDoubtOnOneHostIsNotHiddenByAFailureOnAnother() async throws {
        let host = try CutHost()
        let bench = try await Bench(
            host, on: ["orchestrator", "second"], run: "case $0 in */second/*) echo done >> effects.log; kill -KILL $PPID; exit 1 ;; esac; exit 3")
        let end = try await bench.drive()
        let record = try #require(end.machine[StepID("work")!])
        #expect(end.machine.state == .waiting && record.state == .inDoubt && record.attempt == 1, "\(record)")
        #expect(host.read("effects.log") == "done\n")
    }

    /// Threat 25: the supervisor is killed while its command lives. Nobody knows the outcome before the command has ended, and then
    /// it is a doubt; nothing is run twice.
    @Test func aJobWhoseSupervisorIsKilledIsWaitedForAndThenInDoubt() async throws {
        let host = try CutHost()
        let bench = try await Bench(host)
        let witness = Witness { host.read("effects.log") }
        let driving = Task { try await bench.drive(observer: witness) }
        try await eventually("the job") { host.read("effects.log") == "begun 1\n" }
        let supervisor = try #require(host.supervisor(of: bench.job))
        #expect(kill(supervisor, SIGKILL) == 0)
        let ledger = try await host.connect("orchestrator", Inventory()).ledger
        try await eventually("the orphan") {
            if case .orphan(let holders) = try await ledger.probe(bench.job) { !holders.isEmpty } else { false }
        }
        await ledger.close()
        host.write("go")
        let end = try await driving.value
        #expect(witness.seen == ["begun 1\nended 1\n"], "an outcome was journaled while the command was at work")
        let record = try #require(end.machine[StepID("work")!])
        #expect(end.machine.state == .waiting && record.state == .inDoubt && record.attempt == 1, "\(record)")
        #expect(record.doubt?.evidence["rebooted"]?.stringValue == "no")
        #expect(host.read("effects.log") == "begun 1\nended 1\n")
    }

    /// Threat 10: another machine, or one with another key, answers under the host's name in the middle of a run.
    @Test func aHostThatHasBecomeAnotherMachineIsGivenNothingToDo() async throws {
        let host = try CutHost()
        let bench = try await Bench(host)
        #expect(try await bench.driveCutting(patience: .milliseconds(300)) { host.read("effects.log") == "begun 1\n" }.machine.state == .waiting)
        host.mend()
        host.becomeAnotherMachine()
        let end = try await bench.drive([
            .doubtResolved(DoubtResolved(step: StepID("work")!, verdict: .notDone, by: "anna", reason: "a test"))
        ])
        #expect(end.machine.state == .failed)
        let failure = try #require(end.machine[StepID("work")!]?.failure)
        #expect(failure.code == "host.changed" && failure.kind == .permanent)
        #expect(failure.message.contains("another machine"))
        host.write("go")
        #expect(host.read("effects.log").hasPrefix("begun 1\n") && !host.read("effects.log").contains("begun 2"))
    }

    /// A doubt that the plan itself resolves begins the step anew before the first attempt has reported its end, which is not the
    /// second one's.
    @Test func aStepThatIsBegunAnewAtOnceIsDrivenToItsEnd() async throws {
        let host = try CutHost()
        // The first attempt takes its supervisor with it: nobody can say how it ended.
        let bench = try await Bench(host, then: "[ $attempt != 1 ] || { kill -KILL $PPID; exit 1; }", inDoubt: "rerun")
        let driving = Task { try await bench.drive() }
        try await eventually("the second attempt") { host.read("effects.log").contains("begun 2") }
        host.write("go")
        let end = try await driving.value
        #expect(end.machine.state == .succeeded)
        #expect(host.read("effects.log") == "begun 1\nbegun 2\nended 2\n")
    }

    /// A short cut changes nothing: the same attempt is found again.
    @Test func aJobOnAHostThatComesBackIsFoundAgain() async throws {
        let host = try CutHost()
        let bench = try await Bench(host)
        let driving = Task { try await bench.drive() }
        try await eventually("the job") { host.read("effects.log") == "begun 1\n" }
        try await host.cut()
        host.mend()
        try await eventually("a new connection") { host.connections >= 2 }
        host.write("go")
        let end = try await driving.value
        #expect(end.machine.state == .succeeded)
        #expect(host.read("effects.log") == "begun 1\nended 1\n")
    }
}

@Suite struct LeakedWordTests {
    /// A password that is also the name of a step, or a word of the event's own, keeps no event from being written.
    @Test(arguments: ["work", "permanent", "step", "failure"])
    func aSecretThatIsAWordOfThePlanHidesInTextOnly(_ secret: String) throws {
        let redactor = Redactor()
        redactor.register(secret)
        let failure = Failure(kind: .permanent, code: "step.failed", message: "the word is \(secret)")
        let event = RunEvent.attemptFailed(AttemptFailed(step: StepID("work")!, attempt: 1, failure: failure))
        guard case .attemptFailed(let clean) = try redactor.redact(event) else {
            Issue.record("another event")
            return
        }
        #expect(clean.step == StepID("work"))
        #expect(clean.failure.kind == .permanent)
        #expect(clean.failure.message == "the word is \(Redactor.mark)")
    }
}

// MARK: -

/// This machine, as a host that can be cut off.
final class CutHost: HostConnector {
    let folder: String
    private struct State {
        var isReachable = true
        var refusal: Refusal?
        var connections = 0
        var knocks = 0
        var machineID: String?
    }
    private let state = Mutex(State())

    init() throws {
        var template = Array("/var/tmp/reprise-cut-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("no folder") }
        folder = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for _ in 0..<100 where FileManager.default.fileExists(atPath: folder) {
            try? FileManager.default.removeItem(atPath: folder)
            usleep(5000)
        }
    }

    struct Away: RepriseError {
        let code = "test.away"
        let message = "the host is away"
        let hints: [String] = []
        var exitStatus: RunCore.ExitStatus { .unreachable }
        var isTransient: Bool { true }
    }

    /// Why the host does nothing more for us although it can be reached.
    enum Refusal: String, CaseIterable {
        case letsNobodyIn = "test.refused"
        case ledgerUnsafe = "ledger.state-unsafe"
        case specDamaged = "ledger.spec-damaged"
        var code: String { rawValue }
    }

    struct Refused: RepriseError {
        let code = Refusal.letsNobodyIn.code
        let message = "the host lets nobody in"
        let hints: [String] = []
    }

    var connections: Int { state.withLock { $0.connections } }
    /// How often a connection was asked for.
    var knocks: Int { state.withLock { $0.knocks } }

    func connect(_ name: String, _ inventory: Inventory) async throws -> HostConnection {
        let (isReachable, refusal) = state.withLock { state in
            state.knocks += 1
            return (state.isReachable, state.refusal)
        }
        guard isReachable else { throw Away() }
        if refusal == .letsNobodyIn { throw Refused() }
        let place = name == "second" ? "/second/ledger" : "/ledger"
        let ledger = try await LocalJobLedger.open(
            options: LedgerOptions(stateDirectory: folder + place), deadline: Deadline(after: .seconds(30)))
        state.withLock { $0.connections += 1 }
        var facts = try await ledger.hostFacts()
        if let other = state.withLock({ $0.machineID }) { facts.machineID = other }
        return HostConnection(remote: nil, ledger: ledger, facts: facts, hostKey: nil, close: { await ledger.close() })
    }

    /// Ends the servers of this machine's ledger, which are children of this process, and lets nobody in. Supervisors live on.
    func cut() async throws {
        state.withLock { $0.isReachable = false }
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let process = pid_t(name), let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline"),
                String(decoding: line, as: UTF8.self).contains(folder + "/ledger"),
                let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8),
                status.contains("PPid:\t\(getpid())\n")
            else { continue }
            kill(process, SIGKILL)
        }
    }

    /// From the next connection on; what is open stays open.
    func refuse(_ refusal: Refusal, _ run: RunID) {
        state.withLock { $0.refusal = refusal }
        switch refusal {
        case .letsNobodyIn: break
        case .ledgerUnsafe: chmod("\(folder)/ledger", 0o755)
        case .specDamaged: truncate("\(folder)/ledger/jobs/\(run).work.1/spec", 0)
        }
    }

    func admitAgain() {
        state.withLock { $0.refusal = nil }
        chmod("\(folder)/ledger", 0o700)
    }

    /// The process that alone holds the job's first lock.
    func supervisor(of job: JobID) -> pid_t? {
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { pid_t($0) } ?? []
        return processes.first { process in
            let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd")) ?? []
            return descriptors.contains {
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/fd/\($0)")) == "\(folder)/ledger/jobs/\(job)/L1"
            }
        }
    }

    func becomeAnotherMachine() { state.withLock { $0.machineID = "00000000000000000000000000000000" } }

    func mend() { state.withLock { $0.isReachable = true } }

    func read(_ name: String) -> String { (try? String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)) ?? "" }
    func write(_ name: String) { _ = FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: nil) }
}

private struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

private func eventually(_ what: String, seconds: Double = 120, _ condition: () async throws -> Bool) async throws {
    let limit = ContinuousClock.now.advanced(by: .seconds(seconds))
    while try await !condition() {
        guard ContinuousClock.now < limit else { throw TestFailure("never came true: \(what)") }
        try await Task.sleep(for: .milliseconds(10))
    }
}

private struct Silence: RunObserver {
    func happened(_ event: RunEvent, _ machine: RunMachine) {}
    func progressed(_ step: StepID, _ progress: StepProgress) {}
    func wrote(_ step: StepID, isUndo: Bool, host: String, part: String?, _ output: JobOutput) {}
}

/// Looks at something in the moment in which an attempt's outcome has been journaled.
private final class Witness: RunObserver {
    private let look: @Sendable () -> String
    private let looks = Mutex<[String]>([])

    init(_ look: @escaping @Sendable () -> String) { self.look = look }

    var seen: [String] { looks.withLock { $0 } }

    func happened(_ event: RunEvent, _ machine: RunMachine) {
        switch event {
        case .attemptSucceeded, .attemptFailed, .attemptDoubted: looks.withLock { $0.append(look()) }
        default: break
        }
    }
    func progressed(_ step: StepID, _ progress: StepProgress) {}
    func wrote(_ step: StepID, isUndo: Bool, host: String, part: String?, _ output: JobOutput) {}
}

/// One run of one step that works until `go` is there, in a journal of its own.
private struct Bench {
    let host: CutHost
    let journal: SQLiteJournal
    let run = RunID("20261126-000000-away")!

    var job: JobID { JobID(run: run, step: StepID("work")!, attempt: 1)! }

    /// - Parameters:
    ///   - hosts: `orchestrator` and `second`, which are both this machine with a ledger each.
    ///   - then: shell, after an attempt has written that it begins.
    ///   - run: the whole script, in place of the one that works until `go` is there.
    ///   - with: one more field of the step.
    init(
        _ host: CutHost, on hosts: [String] = ["orchestrator"], then: String = ":", run script: String? = nil, inDoubt: String = "ask",
        with more: String = ""
    ) async throws {
        self.host = host
        let works = """
            attempt=$(ls attempts | wc -l); attempt=$((attempt + 1)); touch attempts/$attempt
                    echo "begun $attempt" >> effects.log
                    \(then)
                    until [ -e go ]; do [ -e attempts ] || exit 1; sleep 0.05; done
                    echo "ended $attempt" >> effects.log
            """
        let plan = """
            reprise: 1
            name: away
            steps:
              - id: work
                kind: command
                on: [\(hosts.joined(separator: ", "))]
                timeout: 10m
                retry:
                  attempts: 3
                  initial: 1s
                  maximum: 1s
                with:
                  directory: \(host.folder)
                  in-doubt: \(inDoubt)
                  \(more)
                  run: |
                    \(script ?? works)

            """
        try FileManager.default.createDirectory(atPath: host.folder + "/attempts", withIntermediateDirectories: false)
        let path = host.folder + "/plan.yaml"
        try plan.write(toFile: path, atomically: true, encoding: .utf8)
        let known = host.folder + "/inventory.yaml"
        try "all:\n  hosts:\n    second: {}\n".write(toFile: known, atomically: true, encoding: .utf8)
        let inventory = try loadInventory(at: known).inventory
        let loaded = try loadPlan(at: path, kinds: StepRegistry.standard.schemas, inventory: inventory).plan
        let binding = try #require(ParameterBinding.bind([], to: loaded).binding)
        let frozen = try FrozenRun(plan: loaded, inventory: inventory, parameters: binding, mode: .recovery, planPath: path)
        journal = try await SQLiteJournal.open(path: host.folder + "/state/journal.db")
        let (_, hold) = try await Engine.accept(frozen, as: run, by: .current, kinds: .standard, into: journal)
        try await journal.release(hold)
    }

    func drive(_ words: [RunEvent] = [], patience: Duration = .seconds(60), observer: any RunObserver = Silence()) async throws -> RunEnd {
        try await driver(patience: patience, observer: observer).drive(words: words)
    }

    func driver(patience: Duration = .seconds(60), observer: any RunObserver = Silence()) async throws -> RunDriver {
        let hold = try await journal.acquire(run: run, operator: .current, takeOver: nil, atLeast: 0)
        let loaded = try await ResumableRun.load(run, from: journal)
        var settings = DriverSettings(operatorName: "test")
        settings.patience = patience
        return RunDriver(
            loaded: loaded, hold: hold, journal: journal, kinds: .standard,
            hosts: HostPool(inventory: loaded.frozen.inventory, connector: host), adapters: Adapters(environment: [:]), redactor: Redactor(),
            observer: observer, settings: settings)
    }

    /// Drives, and cuts the host off as soon as `condition` holds.
    func driveCutting(patience: Duration, when condition: () -> Bool) async throws -> RunEnd {
        let driving = Task { try await drive(patience: patience) }
        try await eventually("the moment to cut", condition)
        try await host.cut()
        return try await driving.value
    }
}
