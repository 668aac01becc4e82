import TestSupport
import Foundation
import RunCore

/// One run driven at random: a process that answers the machine's actions in any order, people who say anything at any time,
/// crashes that lose everything but the events. After each event the promises are checked.
struct RandomRun {
    struct Broken: Error, CustomStringConvertible {
        let description: String
    }

    /// What the process has in hand; a crash loses it.
    private enum Task {
        case start(StepID, AttemptNumber, isUndo: Bool)
        case running(StepID, AttemptNumber, isUndo: Bool)
        case ask(StepID)
        case timer(StepID)
    }

    let accepted: RunAccepted
    private(set) var machine: RunMachine
    private(set) var events: [RunEvent] = []
    private(set) var promises: Promises
    private var dice: SeededGenerator
    private var tasks: [Task] = []
    private var isAlive = false
    private var fence: Fence = 0
    /// Outcomes, in percent of a hundred: failure, then doubt.
    private let failing: Int, doubting: Int
    /// How often people speak while the run is under way, in percent of its events.
    private let talkative: Int
    private var wordsLeft: Int, crashesLeft: Int

    init(seed: UInt64) throws {
        dice = SeededGenerator(seed)
        accepted = .random(&dice)
        machine = try RunMachine(accepted)
        promises = Promises(accepted)
        failing = dice.pick([0, 2, 10, 40])
        doubting = dice.pick([0, 1, 15])
        talkative = dice.pick([4, 12, 30])
        wordsLeft = dice.pick([0, 2, 12, 40])
        crashesLeft = dice.pick([0, 1, 6])
    }

    /// Drives the run to where nothing can move it any more, and then a replay of its events.
    mutating func drive() throws {
        let bound = 4000
        while events.count < bound {
            if wordsLeft > 0, dice.chance(talkative) { try sayAnything() }
            if crashesLeft > 0, isAlive, dice.chance(4) { try crash() }
            if dice.chance(2) { try goThroughASnapshot() }
            if !isAlive {
                try takeUp()
            } else if !tasks.isEmpty {
                try advance()
            } else if machine.state.isSettled, wordsLeft == 0 {
                return try replay()
            } else if machine.state.isSettled {
                try sayAnything()
            } else {
                try answerAsAPerson()
            }
        }
        throw Broken(description: "the run did not end within \(bound) events: \(machine.state)")
    }

    // MARK: - The process

    private mutating func takeUp() throws {
        fence += 1
        isAlive = true
        _ = try take(.held(RunHeld(by: "ada", fence: fence)))
    }

    private mutating func crash() throws {
        crashesLeft -= 1
        tasks = []
        isAlive = false
        if dice.chance(40) { _ = try take(.released(RunReleased(by: "ada", reason: "detached"))) }
        // Other people may speak while nobody carries anything out.
        while wordsLeft > 0, dice.chance(60) { try sayAnything() }
    }

    private mutating func advance() throws {
        let position = dice.below(tasks.count)
        let task = tasks.remove(at: position)
        switch task {
        case .start(let step, let attempt, let isUndo):
            let event = RunEvent.attemptStarted(AttemptStarted(step: step, attempt: attempt, isUndo: isUndo, specHash: "0f"))
            // An operator's word may have withdrawn the start; the refused intent is then dropped.
            if try takeUnlessRefused(event, wantedWhile: isUndo ? promises.isUndoIssued(step) : promises.isIssued(step)) {
                tasks.append(.running(step, attempt, isUndo: isUndo))
            }
        case .ask(let step):
            _ = try takeUnlessRefused(.asked(step), wantedWhile: promises.isIssued(step))
        case .timer(let step):
            _ = try takeUnlessRefused(.due(step), wantedWhile: machine[step]!.waitsForRetry)
        case .running(let step, let attempt, let isUndo):
            if dice.chance(25) {
                let value = dice.pick([JSONValue.null, .number(2), .number(0.1), .integer(.max), "é\n", ["k": [true]]])
                try mustTake(.saw(step, attempt: attempt, isUndo: isUndo, dice.pick(["x", "y"]), value))
                tasks.append(task)
            } else {
                try mustTake(outcome(step, attempt, isUndo))
            }
        }
    }

    private mutating func outcome(_ step: StepID, _ attempt: AttemptNumber, _ isUndo: Bool) -> RunEvent {
        let roll = dice.below(100)
        if roll < doubting { return .doubted(step, attempt, isUndo: isUndo) }
        let isCancelled = !isUndo && promises.wasToldToEnd(step) && dice.chance(60)
        if isCancelled || roll < doubting + failing {
            let kind = isCancelled ? .cancelled : dice.pick([Failure.Kind.failed, .failed, .timedOut, .permanent, .cancelled])
            let jitter = Double(dice.below(5)) / 4
            return .attemptFailed(AttemptFailed(
                step: step, attempt: attempt, isUndo: isUndo, failure: Failure(kind: kind, code: "test", message: "broke"), jitter: jitter))
        }
        return .attemptSucceeded(AttemptSucceeded(
            step: step, attempt: attempt, isUndo: isUndo, evidence: ["rows": 1], outputs: ["p": "x"],
            warnings: dice.chance(4) ? ["odd"] : [], changed: dice.chance(80)))
    }

    // MARK: - People

    private mutating func sayAnything() throws {
        wordsLeft -= 1
        let step = dice.pick(accepted.spec.steps).id
        let words: [RunEvent] = [
            .pause, .pause, .pause, .pause, .cancel, .cancel, .undo, .undo, .skip(step), .skip(step), .retry(step), .retry(step), .approved(step, by: dice.pick(["ada", "bob"])),
            .denied(step), .resolved(step, .done), .resolved(step, .notDone), .accepted(accepted), .began(step, 1 + dice.below(3)),
            .due(step), .asked(step), .done(step, 99), .undoBegan(step, 9),
        ]
        var event = dice.pick(words)
        // Most words are about a step that they fit, else they would nearly all be refused.
        if dice.chance(45), let fitting = fittingWord() { event = fitting }
        if ["attempt-started", "approval-requested", "retry-due"].contains(event.kind) {
            // As an engine would say it, but out of turn: only the refusal is of interest.
            var copy = machine
            if (try? copy.apply(event)) != nil { return }
        }
        _ = try take(event)
    }

    private mutating func fittingWord() -> RunEvent? {
        guard let record = machine.steps.filter({ $0.state != .queued && $0.state != .running && $0.state != .succeeded }).randomElement(using: &dice)
        else { return nil }
        let step = record.spec.id
        if record.undo.state == .inDoubt { return .resolved(step, dice.pick([.done, .notDone])) }
        return switch record.state {
        case .waiting: dice.pick([.approved(step), .denied(step), .skip(step)])
        case .inDoubt: dice.pick([.resolved(step, .done), .resolved(step, .notDone), .skip(step)])
        case .failed, .timedOut, .cancelled, .failedIgnored: dice.pick([.retry(step), .retry(step), .skip(step)])
        case .queued, .running, .succeeded, .skipped, .undone: nil
        }
    }

    /// What the run waits for; without it nothing would ever move.
    private mutating func answerAsAPerson() throws {
        if machine.state == .paused { return try takeUp() }
        if let record = machine.steps.first(where: { $0.state == .inDoubt || $0.undo.state == .inDoubt }) {
            return try mustTake(.resolved(record.spec.id, dice.pick([.done, .notDone])))
        }
        if let record = machine.steps.first(where: { $0.state == .waiting }) {
            return try mustTake(dice.chance(85) ? .approved(record.spec.id, by: "bob") : .denied(record.spec.id))
        }
        throw Broken(description: "nothing is in hand, nobody is asked, and the run is \(machine.state)")
    }

    // MARK: - Events

    private mutating func mustTake(_ event: RunEvent) throws {
        if try !take(event) { throw Broken(description: "refused: \(event)") }
    }

    private mutating func takeUnlessRefused(_ event: RunEvent, wantedWhile isWanted: Bool) throws -> Bool {
        let isTaken = try take(event)
        if isTaken != isWanted { throw Broken(description: "\(event) was \(isTaken ? "taken" : "refused")") }
        return isTaken
    }

    /// - Returns: false where the machine refused the event, and did not change.
    private mutating func take(_ event: RunEvent) throws -> Bool {
        let before = machine
        let actions: [Action]
        do {
            actions = try machine.apply(event)
        } catch {
            guard machine == before else { throw Broken(description: "the refused \(event) changed the machine") }
            return false
        }
        events.append(event)
        try promises.check(event, actions, before, machine)
        if isAlive { for action in actions { receive(action) } }
        return true
    }

    private mutating func receive(_ action: Action) {
        switch action {
        case .startAttempt(let step, let attempt, let isUndo): tasks.append(.start(step, attempt, isUndo: isUndo))
        case .resumeAttempt(let step, let attempt, let isUndo): tasks.append(.running(step, attempt, isUndo: isUndo))
        case .cancelAttempt: break
        case .askApproval(let step): tasks.append(.ask(step))
        case .wakeUp(let step, _): tasks.append(.timer(step))
        }
    }

    // MARK: - Replay

    /// From here on the run goes on as a process that read it from a snapshot.
    private mutating func goThroughASnapshot() throws {
        let copy = try JSONDecoder().decode(RunMachine.self, from: try JSONEncoder().encode(machine))
        guard copy == machine else { throw Broken(description: "a snapshot gives another machine") }
        machine = copy
    }

    private func replay() throws {
        var fromMemory = try RunMachine(accepted), fromJournal = fromMemory
        for event in events {
            _ = try fromMemory.apply(event)
            let data = try JSONEncoder().encode(event.payload)
            guard let read = try RunEventCodecTests.decode(event.kind, data), read == event else {
                throw Broken(description: "\(event) is read back otherwise than it was written")
            }
            _ = try fromJournal.apply(read)
        }
        guard fromMemory == machine, fromJournal == machine else { throw Broken(description: "a replay gives another machine") }
    }
}
