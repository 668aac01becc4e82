internal import Engine
internal import RunCore
internal import Steps

/// The objects of a live view in JSON, one a line. Their fields only ever grow.
enum LiveJSON {
    private struct Event: Encodable {
        let type = "event"
        let time: String
        let run: String
        let kind: String
        let step: String?
        let attempt: Int?
        let runState: String
        let stepState: String?
        let sentence: String
        let event: JSONValue
    }

    private struct Progress: Encodable {
        let type = "progress"
        let time: String
        let run: String
        let step: String
        let phase: String
        let done: Int64?
        let total: Int64?
        let unit: String
        let perSecond: Double?
        let remainingSeconds: Double?
    }

    private struct Output: Encodable {
        let type = "output"
        let time: String
        let run: String
        let step: String
        let attempt: Int
        let host: String
        let part: String?
        let stream: String
        let text: String
    }

    static func event(_ event: RunEvent, _ machine: RunMachine, run: RunID, time: String) -> String {
        // The frozen plan and inventory would make one line of megabytes; `journal show` has them.
        let payload: JSONValue
        if case .accepted = event { payload = .null } else { payload = (try? EventCodec.value(event.payload)) ?? .null }
        return line(
            Event(
                time: time, run: run.rawValue, kind: event.kind, step: event.step?.rawValue, attempt: event.attempt,
                runState: machine.state.rawValue, stepState: event.step.flatMap { machine[$0]?.state.rawValue }, sentence: sentence(event),
                event: payload))
    }

    static func progress(_ step: StepID, _ meter: StepMeter, run: RunID, time: String) -> String {
        line(
            Progress(
                time: time, run: run.rawValue, step: step.rawValue, phase: meter.progress.phase, done: meter.progress.done,
                total: meter.progress.total, unit: meter.progress.unit.rawValue, perSecond: meter.rate,
                remainingSeconds: meter.remainingSeconds))
    }

    static func output(_ key: LogStore.Key, _ stream: LogStore.Stream, _ text: String, run: RunID, time: String) -> String {
        line(
            Output(
                time: time, run: run.rawValue, step: key.step.rawValue, attempt: key.attempt, host: key.host, part: key.part,
                stream: stream.rawValue, text: text))
    }

    private static func line(_ value: some Encodable) -> String {
        guard let bytes = try? EventCodec.json(value) else { return #"{"type":"error"}"# }
        return String(decoding: bytes, as: UTF8.self)
    }
}
