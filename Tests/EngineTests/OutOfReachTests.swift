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

        // It was alive all the time. A person who calls it not done gets a new attempt, and nothing of the old one beside it.
        host.mend()
        let again = Task {
            try await bench.drive([.doubtResolved(DoubtResolved(step: StepID("work")!, verdict: .notDone, by: "anna", reason: "a test"))])
        }
        try await eventually("the second attempt") { host.read("effects.log").contains("begun 2") }
        host.write("go")
        let last = try await again.value
        #expect(last.machine.state == .succeeded)
        #expect(host.read("effects.log") == "begun 1\nbegun 2\nended 2\n")
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
private final class CutHost: HostConnector {
    let folder: String
    private struct State {
        var isReachable = true
        var connections = 0
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

    var connections: Int { state.withLock { $0.connections } }

    func connect(_ name: String, _ inventory: Inventory) async throws -> HostConnection {
        guard state.withLock({ $0.isReachable }) else { throw Away() }
        let ledger = try await LocalJobLedger.open(
            options: LedgerOptions(stateDirectory: folder + "/ledger"), deadline: Deadline(after: .seconds(30)))
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

    func becomeAnotherMachine() { state.withLock { $0.machineID = "00000000000000000000000000000000" } }

    func mend() { state.withLock { $0.isReachable = true } }

    func read(_ name: String) -> String { (try? String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)) ?? "" }
    func write(_ name: String) { _ = FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: nil) }
}

private struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

private func eventually(_ what: String, seconds: Double = 60, _ condition: () -> Bool) async throws {
    let limit = ContinuousClock.now.advanced(by: .seconds(seconds))
    while !condition() {
        guard ContinuousClock.now < limit else { throw TestFailure("never came true: \(what)") }
        try await Task.sleep(for: .milliseconds(10))
    }
}

private struct Silence: RunObserver {
    func happened(_ event: RunEvent, _ machine: RunMachine) {}
    func progressed(_ step: StepID, _ progress: StepProgress) {}
    func wrote(_ step: StepID, isUndo: Bool, host: String, part: String?, _ output: JobOutput) {}
}

/// One run of one step that works until `go` is there, in a journal of its own.
private struct Bench {
    let host: CutHost
    let journal: SQLiteJournal
    let run = RunID("20261126-000000-away")!

    /// - Parameter then: shell, after an attempt has written that it begins.
    init(_ host: CutHost, then: String = ":", inDoubt: String = "ask") async throws {
        self.host = host
        let plan = """
            reprise: 1
            name: away
            steps:
              - id: work
                kind: command
                on: [orchestrator]
                timeout: 10m
                retry:
                  attempts: 3
                  initial: 1s
                  maximum: 1s
                with:
                  directory: \(host.folder)
                  in-doubt: \(inDoubt)
                  run: |
                    attempt=$(ls attempts | wc -l); attempt=$((attempt + 1)); touch attempts/$attempt
                    echo "begun $attempt" >> effects.log
                    \(then)
                    until [ -e go ]; do [ -e attempts ] || exit 1; sleep 0.05; done
                    echo "ended $attempt" >> effects.log

            """
        try FileManager.default.createDirectory(atPath: host.folder + "/attempts", withIntermediateDirectories: false)
        let path = host.folder + "/plan.yaml"
        try plan.write(toFile: path, atomically: true, encoding: .utf8)
        let loaded = try loadPlan(at: path, kinds: StepRegistry.standard.schemas, inventory: Inventory()).plan
        let binding = try #require(ParameterBinding.bind([], to: loaded).binding)
        let frozen = try FrozenRun(plan: loaded, inventory: Inventory(), parameters: binding, mode: .recovery, planPath: path)
        journal = try await SQLiteJournal.open(path: host.folder + "/state/journal.db")
        let (_, hold) = try await Engine.accept(frozen, as: run, by: .current, kinds: .standard, into: journal)
        try await journal.release(hold)
    }

    func drive(_ words: [RunEvent] = [], patience: Duration = .seconds(60)) async throws -> RunEnd {
        let hold = try await journal.acquire(run: run, operator: .current, takeOver: nil, atLeast: 0)
        let loaded = try await ResumableRun.load(run, from: journal)
        var settings = DriverSettings(operatorName: "test")
        settings.patience = patience
        let driver = RunDriver(
            loaded: loaded, hold: hold, journal: journal, kinds: .standard,
            hosts: HostPool(inventory: loaded.frozen.inventory, connector: host), adapters: Adapters(environment: [:]), redactor: Redactor(),
            observer: Silence(), settings: settings)
        return try await driver.drive(words: words)
    }

    /// Drives, and cuts the host off as soon as `condition` holds.
    func driveCutting(patience: Duration, when condition: () -> Bool) async throws -> RunEnd {
        let driving = Task { try await drive(patience: patience) }
        try await eventually("the moment to cut", condition)
        try await host.cut()
        return try await driving.value
    }
}
