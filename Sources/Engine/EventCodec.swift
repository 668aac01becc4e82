internal import Foundation
package import Journal
package import RunCore

/// Events as the journal keeps them: the kind in a column of its own, the rest as JSON.
package enum EventCodec {
    package static func entry(_ event: RunEvent) throws -> JournalEntry {
        JournalEntry(kind: event.kind, step: event.step, attempt: event.attempt, payload: try JSONText.encode(event.payload))
    }

    /// - Throws: `UnknownEvent` for a kind that this version does not know, `DamagedEvent` where the payload cannot be read.
    package static func event(_ record: JournalRecord) throws -> RunEvent {
        let data = Data(record.payload)
        let event: RunEvent?
        do {
            event = try RunEvent(kind: record.kind) { try JSONDecoder().decode($0, from: data) }
        } catch {
            throw DamagedEvent(run: record.run, sequence: record.sequence, kind: record.kind)
        }
        guard let event else { throw UnknownEvent(run: record.run, sequence: record.sequence, kind: record.kind) }
        return event
    }

    /// The machine's state, for a snapshot.
    package static func snapshot(_ machine: RunMachine) throws -> [UInt8] { try JSONText.encode(machine) }

    /// With sorted keys: what is hashed or compared must come out the same in every version.
    package static func json(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(bytes))
    }

    /// Any encodable value as a `JSONValue`.
    package static func value(_ value: some Encodable) throws -> JSONValue {
        try decode(JSONValue.self, json(value))
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, from value: JSONValue) throws -> Value {
        try decode(type, json(value))
    }
}

package struct UnknownEvent: RepriseError {
    package let code = "journal.unknown-event"
    package let run: RunID
    package let sequence: Int64
    package let kind: String
    package var message: String { "record \(sequence) of run \(run) is a \(kind) event, which this version does not know" }
    package var hints: [String] { ["use the version of reprise that wrote the run, or a newer one"] }
    package var exitStatus: ExitStatus { .usage }
}

package struct DamagedEvent: RepriseError {
    package let code = "journal.damaged-event"
    package let run: RunID
    package let sequence: Int64
    package let kind: String
    package var message: String { "record \(sequence) of run \(run), a \(kind) event, cannot be read" }
    package var hints: [String] { ["check the journal with: reprise journal verify"] }
    package var exitStatus: ExitStatus { .usage }
}
