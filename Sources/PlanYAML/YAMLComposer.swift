package import PlanModel

/// Bounds on what a document may become.
package struct YAMLLimits: Sendable {
    /// Lists and maps within each other.
    package var depth = 64
    /// Values in all, with what aliases stand for counted each time.
    package var nodes = 500_000

    package init() {}
}

/// A document as it was read.
package struct ComposedYAML: Sendable {
    /// nil where the text is no single document. Present in spite of duplicate or unusable keys, so that the rest can be
    /// checked in the same pass: use it only where `diagnostics` holds no error.
    package var root: Located?
    package var diagnostics: [Diagnostic]
    /// Values that could not be read; what else is said of them is of no use.
    package var broken: Set<SourceMark> = []
}

/// Reads one YAML document into a located tree, with every problem and its place. Never crashes, whatever the bytes:
/// they are bounded in size, depth and expansion, and nothing recurses.
package func composeYAML(_ source: SourceText, limits: YAMLLimits = YAMLLimits()) -> ComposedYAML {
    if let problem = source.problem() { return ComposedYAML(root: nil, diagnostics: source.explain([problem])) }
    var composer = YAMLComposer(source: source, limits: limits)
    do {
        try composer.run()
    } catch {
        composer.diagnostics.append(error.diagnostic)
        composer.root = nil
    }
    return ComposedYAML(
        root: composer.root, diagnostics: source.explain(composer.diagnostics.inReadingOrder()), broken: composer.broken
    )
}

private struct Stop: Error {
    let diagnostic: Diagnostic
}

private struct YAMLComposer {
    let source: SourceText
    let limits: YAMLLimits
    var diagnostics: [Diagnostic] = []
    var root: Located?
    var broken: Set<SourceMark> = []
    private var frames: [Frame] = []
    private var anchors: [String: Anchored] = [:]
    private var nodes = 0

    /// A list or map that is being read.
    private struct Frame {
        let isMap: Bool
        let mark: SourceMark
        let tag: String?
        let anchor: String?
        /// True: it stands where a key should; it is read and dropped.
        let isKey: Bool
        var items: [Located] = []
        var entries: [MapEntry] = []
        var keys: [String: SourceMark] = [:]
        var merged: Set<String> = []
        var mergedEntries: [MapEntry] = []
        var pendingKey: Key?
        var size = 1
        var height = 1
    }

    private enum Key {
        case name(String, SourceMark)
        case merge(SourceMark)
        /// Already reported.
        case refused
    }

    private struct Anchored {
        let value: Located
        let size: Int
        let height: Int
    }

    init(source: SourceText, limits: YAMLLimits) {
        self.source = source
        self.limits = limits
    }

    mutating func run() throws(Stop) {
        let reader = YAMLEventReader(source)
        var documents = 0
        while true {
            let event: YAMLEvent
            let mark: SourceMark
            do { (event, mark) = try reader.next() } catch { throw Stop(diagnostic: error.diagnostic(in: source)) }
            switch event {
            case .documentStart:
                documents += 1
                guard documents == 1 else {
                    throw stop(
                        mark, "yaml.many-documents", "a second document begins here",
                        ["one file holds one document: remove this `---` and what belongs to it"])
                }
            case .scalar(let text, let tag, let anchor, let isPlain):
                try scalar(text, tag, anchor, isPlain, mark)
            case .listStart(let tag, let anchor): try open(isMap: false, tag, anchor, mark)
            case .mapStart(let tag, let anchor): try open(isMap: true, tag, anchor, mark)
            case .end: try close()
            case .alias(let name): try alias(name, mark)
            case .streamEnd:
                if root == nil || root?.value == .null && root?.isPlain == true, diagnostics.isEmpty {
                    throw stop(SourceMark(file: source.file, line: 1, column: 1), "yaml.empty", "the file is empty", [])
                }
                return
            case .other: continue
            }
        }
    }

    private func stop(_ mark: SourceMark, _ code: String, _ message: String, _ hints: [String]) -> Stop {
        Stop(diagnostic: Diagnostic(at: mark, code: code, message, hints: hints))
    }

    private mutating func report(_ mark: SourceMark, _ code: String, _ message: String, _ hints: [String] = []) {
        diagnostics.append(Diagnostic(at: mark, code: code, message, hints: hints))
    }

    private var expectsKey: Bool {
        guard let frame = frames.last else { return false }
        return frame.isMap && frame.pendingKey == nil
    }

    private mutating func count(_ more: Int, at mark: SourceMark) throws(Stop) {
        nodes += more
        guard nodes <= limits.nodes else {
            throw stop(
                mark, "yaml.too-many-nodes",
                "the document holds more than \(limits.nodes) values once its aliases are followed",
                ["aliases (`*name`) that stand for lists of aliases grow without bound; write the values out"])
        }
    }

    // MARK: - Events

    private mutating func scalar(_ text: String, _ tag: String?, _ anchor: String?, _ isPlain: Bool, _ mark: SourceMark)
        throws(Stop)
    {
        try count(1, at: mark)
        let value = typed(text, tag, isPlain, mark)
        let located = Located(value, at: mark, isPlain: isPlain)
        if let anchor { anchors[anchor] = Anchored(value: located, size: 1, height: 0) }
        if expectsKey { return key(located, text, isPlain) }
        try add(located, size: 1, height: 0)
    }

    private mutating func typed(_ text: String, _ tag: String?, _ isPlain: Bool, _ mark: SourceMark) -> PlanValue {
        let standard = "tag:yaml.org,2002:"
        guard let tag, tag != "!" else { return isPlain && tag == nil ? plainValue(text) : .string(text) }
        guard tag.hasPrefix(standard) else { return .opaque(tag: tag) }
        let value = plainValue(text)
        switch (tag.dropFirst(standard.count), value) {
        case ("str", _): return .string(text)
        case ("int", .integer), ("bool", .boolean), ("null", .null), ("float", .double): return value
        case ("float", .integer(let number)): return .double(Double(number))
        case ("int", _), ("bool", _), ("null", _), ("float", _):
            report(mark, "yaml.bad-tag", "`\(printable(text, limit: 40))` is no \(tag.dropFirst(standard.count))")
            return .null
        default: return .opaque(tag: "!!" + tag.dropFirst(standard.count))
        }
    }

    private mutating func open(isMap: Bool, _ tag: String?, _ anchor: String?, _ mark: SourceMark) throws(Stop) {
        try count(1, at: mark)
        guard frames.count < limits.depth else {
            throw stop(mark, "yaml.too-deep", "lists and maps are nested deeper than \(limits.depth)", [])
        }
        let isKey = expectsKey
        if isKey {
            let parent = frames[frames.count - 1].mark
            let isTemplate = isMap && parent.line == mark.line && parent.column + 1 == mark.column
            if isTemplate { broken.insert(parent) }
            report(
                isTemplate ? parent : mark, "yaml.bad-key", "a \(isMap ? "map" : "list") cannot be a key",
                isTemplate ? ["a template must be in quotes: \"{{ … }}\""] : ["keys are texts"])
        }
        frames.append(Frame(isMap: isMap, mark: mark, tag: tag, anchor: anchor, isKey: isKey))
    }

    private mutating func close() throws(Stop) {
        var frame = frames.removeLast()
        frame.entries += frame.mergedEntries.filter { frame.keys[$0.key] == nil }
        let isForeign = frame.tag.map { $0 != "!" && !$0.hasPrefix("tag:yaml.org,2002:") } ?? false
        let value: PlanValue =
            isForeign ? .opaque(tag: frame.tag!) : frame.isMap ? .map(frame.entries) : .list(frame.items)
        let located = Located(value, at: frame.mark)
        if let anchor = frame.anchor {
            anchors[anchor] = Anchored(value: located, size: frame.size, height: frame.height)
        }
        if frame.isKey {
            frames[frames.count - 1].pendingKey = .refused
            return
        }
        try add(located, size: frame.size, height: frame.height)
    }

    private mutating func alias(_ name: String, _ mark: SourceMark) throws(Stop) {
        guard let anchored = anchors[name] else {
            throw stop(
                mark, "yaml.unknown-alias", "the alias `*\(printable(name, limit: 60))` refers to nothing before it",
                ["a text that begins with `*` must be in quotes"])
        }
        try count(anchored.size, at: mark)
        guard frames.count + anchored.height <= limits.depth else {
            throw stop(mark, "yaml.too-deep", "lists and maps are nested deeper than \(limits.depth)", [])
        }
        if expectsKey {
            report(mark, "yaml.bad-key", "an alias cannot be a key", ["write the key out"])
            frames[frames.count - 1].pendingKey = .refused
            return
        }
        var located = anchored.value
        located.mark = mark
        try add(located, size: anchored.size, height: anchored.height)
    }

    // MARK: - Maps and lists

    private mutating func key(_ located: Located, _ text: String, _ isPlain: Bool) {
        let index = frames.count - 1
        guard let name = located.value.string else {
            report(
                located.mark, "yaml.bad-key",
                "the key `\(printable(text, limit: 40))` is \(located.value.typeName), not text",
                located.value == .null ? [] : ["put it in quotes"])
            frames[index].pendingKey = .refused
            return
        }
        if isPlain, name == "<<" {
            frames[index].pendingKey = .merge(located.mark)
        } else if let first = frames[index].keys[name] {
            report(
                located.mark, "yaml.duplicate-key", "the key `\(printable(name, limit: 60))` stands here twice",
                ["it was first written at \(first)"])
            frames[index].pendingKey = .refused
        } else {
            frames[index].keys[name] = located.mark
            frames[index].pendingKey = .name(name, located.mark)
        }
    }

    private mutating func add(_ located: Located, size: Int, height: Int) throws(Stop) {
        guard let index = frames.indices.last else {
            root = located
            return
        }
        frames[index].size += size
        frames[index].height = max(frames[index].height, height + 1)
        guard frames[index].isMap else {
            frames[index].items.append(located)
            return
        }
        switch frames[index].pendingKey {
        case .name(let name, let mark): frames[index].entries.append(MapEntry(key: name, at: mark, value: located))
        case .merge(let mark): merge(located, at: mark)
        case .refused, nil: break
        }
        frames[index].pendingKey = nil
    }

    /// `<<: *defaults`: the keys of one map or of a list of maps, where they are not written here.
    /// What is written after `<<` must override too, so those keys are only looked at when the map is closed.
    private mutating func merge(_ located: Located, at mark: SourceMark) {
        let maps = located.value.map != nil ? [located] : located.value.list ?? []
        guard !maps.isEmpty, maps.allSatisfy({ $0.value.map != nil }) else {
            report(mark, "yaml.bad-merge", "`<<` takes a map or a list of maps")
            return
        }
        let index = frames.count - 1
        for entry in maps.flatMap({ $0.value.map ?? [] })
        where frames[index].keys[entry.key] == nil && !frames[index].merged.contains(entry.key) {
            frames[index].merged.insert(entry.key)
            frames[index].mergedEntries.append(entry)
        }
    }
}
