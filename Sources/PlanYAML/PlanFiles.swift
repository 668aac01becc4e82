internal import PlanModel
internal import RunCore

/// Puts the files that lie beside a plan into it, where a step names one by `from-file`: what a run carries is then whole, whatever becomes
/// of the files. A `file` takes them as they are, a `template` with its places to fill in.
struct PlanFiles {
    /// Of the plan, with a `/` at its end; empty: the current one.
    let folder: String
    /// The field that takes a file's text, by kind.
    let targets: [String: String]
    private(set) var problems: [Diagnostic] = []

    static let key = "from-file"
    static let mostBytes = 256 << 10

    init(besides plan: String, kinds: [StepKindSchema]) {
        folder = plan.lastIndex(of: "/").map { String(plan[...$0]) } ?? ""
        targets = Dictionary(
            uniqueKeysWithValues: kinds.filter { $0.field(named: Self.key) != nil }.map { ($0.name, $0.field(named: "content") == nil ? "template" : "content") })
    }

    mutating func filled(_ document: Located) -> Located {
        replacing(document, ["steps", "finally"]) { files, list in
            guard let items = list.value.list else { return list }
            return Located(.list(items.map { files.step($0) }), at: list.mark)
        }
    }

    /// The same for what takes it back.
    private mutating func step(_ step: Located) -> Located {
        action(replacing(step, ["undo"]) { files, undo in files.action(undo) })
    }

    private mutating func action(_ action: Located) -> Located {
        guard let kind = action.value["kind"]?.value.string, let target = targets[kind], let with = action.value["with"] else { return action }
        let entry = with.value.map?.first { $0.key == Self.key }
        if entry == nil, target == "template", with.value.map != nil, with.value[target] == nil {
            problem("plan.missing-field", with.mark, "a step of kind template needs `template` or `from-file`")
        }
        guard let entry, let name = entry.value.value.string, let text = read(name, entry.value.mark) else { return action }
        if with.value[target] != nil { problem("plan.twice", entry.keyMark, "`\(target)` and `from-file` exclude each other") }
        return replacing(action, ["with"]) { _, with in
            let kept = (with.value.map ?? []).filter { $0.key != Self.key && $0.key != target }
            let literal = target == "content" ? Self.escaped(text) : text
            return Located(.map(kept + [MapEntry(key: target, at: entry.keyMark, value: Located(.string(literal), at: entry.value.mark))]), at: with.mark)
        }
    }

    private mutating func replacing(_ map: Located, _ keys: Set<String>, _ change: (inout PlanFiles, Located) -> Located) -> Located {
        guard var entries = map.value.map else { return map }
        for index in entries.indices where keys.contains(entries[index].key) { entries[index].value = change(&self, entries[index].value) }
        return Located(.map(entries), at: map.mark, isPlain: map.isPlain)
    }

    /// Braces that are no template.
    static func escaped(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        var rest = text.unicodeScalars[...]
        while let scalar = rest.first {
            if rest.starts(with: "{{".unicodeScalars) {
                result.append(contentsOf: #"\{{"#.unicodeScalars)
                rest = rest.dropFirst(2)
            } else {
                result.append(scalar)
                rest = rest.dropFirst()
            }
        }
        return String(result)
    }

    private mutating func read(_ name: String, _ mark: SourceMark) -> String? {
        guard !name.isEmpty, !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else {
            return problem("plan.bad-path", mark, "`from-file`: `\(printable(name, limit: 80))` does not lie in the plan's folder", ["name it relative to the plan"])
        }
        do {
            let bytes = try readFile(folder + name, what: "file")
            guard bytes.count <= Self.mostBytes else {
                return problem("plan.file-too-large", mark, "`from-file`: \(printable(name, limit: 80)) is larger than \(Self.mostBytes >> 10) kB", ["large files belong into a backup or a repository"])
            }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                return problem("plan.not-text", mark, "`from-file`: \(printable(name, limit: 80)) is no text in UTF-8")
            }
            return text
        } catch {
            return problem("plan.no-file", mark, error.message, ["`from-file` is relative to the plan's own folder"])
        }
    }

    @discardableResult
    private mutating func problem(_ code: String, _ mark: SourceMark, _ message: String, _ hints: [String] = []) -> String? {
        problems.append(Diagnostic(.error, at: mark, code: code, message, hints: hints))
        return nil
    }
}
