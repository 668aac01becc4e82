internal import Engine
internal import Foundation
internal import PostgreSQL
internal import Reconcile
internal import Reporting
internal import RunCore

/// How differences of a table are written.
struct DiffText {
    private let table: String
    /// As JSON: there may be millions of lines.
    private let quotedTable: String
    /// What was compared with is the source, and not the target.
    private let isTurned: Bool

    init(_ table: QualifiedName, isTurned: Bool) {
        self.table = "\(table)"
        quotedTable = Self.quoted("\(table)")
        self.isTurned = isTurned
    }

    func summary(_ rows: Narrowing.Progress?, _ way: String, _ drift: [String], _ counts: DiffCounts) -> String {
        let kinds = TableDiff.Kind.allCases.compactMap { kind in counts.rows[kind].map { "\(countText($0)) \(words(kind))" } }
        let read = rows.map { progress in
            let (source, target) = isTurned ? (progress.liveRows, progress.backupRows) : (progress.backupRows, progress.liveRows)
            return "\(countText(source)) rows against \(countText(target)), "
        }
        let notes = drift.map { "  note: \(oneLine($0))\n" }.joined()
        return "\(oneLine(table)): \(kinds.isEmpty ? "no differences" : kinds.joined(separator: ", ")) (\(read ?? "")\(way))\n\(notes)"
    }

    private func words(_ kind: TableDiff.Kind) -> String {
        switch turned(kind) {
        case .missing: "missing in the target"
        case .extra: "only in the target"
        case .changed: "changed"
        case .representation: "stored in another way"
        }
    }

    private func turned(_ kind: TableDiff.Kind) -> TableDiff.Kind {
        guard isTurned else { return kind }
        return kind == .missing ? .extra : kind == .extra ? .missing : kind
    }

    /// A changed row by what has changed, any other by all that it holds.
    func line(_ record: DiffRecord) -> String {
        let (source, target) = isTurned ? (record.live, record.backup) : (record.backup, record.live)
        let copies = record.rows > 1 ? ", \(record.rows) times" : ""
        let head = "\(words(record.kind))\(copies)\(record.key.map { ": \(fields($0).map(Self.shown).joined(separator: ", "))" } ?? "")"
        guard record.kind == .changed, let source, let target else {
            return "  \(oneLine("\(head); \(fields(source ?? target ?? "{}").map(Self.shown).joined(separator: ", "))"))\n"
        }
        let others = Dictionary(fields(target).map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        let changes = fields(source).filter { record.columns.contains($0.name) }.map { field in
            "\(Self.shown(field)) in the source, \(Self.shown((field.name, others[field.name] ?? nil)).dropFirst(field.name.count + 1)) in the target"
        }
        return "  \(oneLine("\(head); \(changes.joined(separator: "; "))"))\n"
    }

    private static let mostCharacters = 60

    private static func shown(_ field: (name: String, value: String?)) -> String {
        guard let value = field.value else { return "\(field.name)=NULL" }
        return "\(field.name)=\(value.count > mostCharacters ? value.prefix(mostCharacters) + "…" : value[...])"
    }

    /// In the order of their names: that of the columns is in `--json`.
    private func fields(_ object: String) -> [(name: String, value: String?)] {
        let found = (try? JSONDecoder().decode([String: String?].self, from: Data(object.utf8))) ?? [:]
        return found.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// One line: values as the types' own output functions write them.
    func json(_ record: DiffRecord) -> String {
        let (source, target) = isTurned ? (record.live, record.backup) : (record.backup, record.live)
        let fields: [(String, String?)] = [
            ("table", quotedTable), ("kind", "\"\(turned(record.kind).rawValue)\""), ("key", record.key), ("source", source), ("target", target),
            ("columns", record.columns.isEmpty ? nil : "[\(record.columns.map(Self.quoted).joined(separator: ","))]"),
            ("rows", record.rows == 1 ? nil : "\(record.rows)"),
        ]
        return "{\(fields.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }.joined(separator: ","))}\n"
    }

    private static func quoted(_ text: String) -> String {
        (try? EventCodec.json(text)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
    }
}
