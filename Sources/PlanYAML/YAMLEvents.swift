internal import CYaml
import PlanModel

/// One event of libyaml's parser (the copy inside Yams), without its C memory.
///
/// The composer is ours, on events, because Yams' own follows aliases without a bound: it hashes keys that are aliases
/// (a few lines of YAML keep it busy for ever), and knows neither an alias's place nor a duplicate key's.
enum YAMLEvent {
    case documentStart
    case scalar(text: String, tag: String?, anchor: String?, isPlain: Bool)
    case listStart(tag: String?, anchor: String?)
    case mapStart(tag: String?, anchor: String?)
    case end
    case alias(String)
    case streamEnd
    case other
}

/// Reads events one by one. Not `Sendable`; lives inside one call.
final class YAMLEventReader {
    /// libyaml keeps pointers into it, so it has an address of its own.
    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    /// libyaml keeps a pointer to it, so it is allocated for as long as the parser.
    private let input: UnsafeMutableBufferPointer<UInt8>
    private let source: SourceText

    init(_ source: SourceText) {
        self.source = source
        input = .allocate(capacity: max(1, source.bytes.count))
        _ = input.initialize(from: source.bytes)
        // Fails only where memory is exhausted; then so does the first `next`.
        parser.initialize(to: yaml_parser_t())
        _ = yaml_parser_initialize(parser)
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, input.baseAddress, source.bytes.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        input.deallocate()
    }

    func next() throws(YAMLProblem) -> (event: YAMLEvent, mark: SourceMark) {
        var raw = yaml_event_t()
        guard yaml_parser_parse(parser, &raw) == 1 else { throw problem() }
        defer { yaml_event_delete(&raw) }
        return (Self.event(raw), mark(raw.start_mark))
    }

    private func mark(_ mark: yaml_mark_t) -> SourceMark {
        SourceMark(file: source.file, line: mark.line + 1, column: mark.column + 1)
    }

    private static func event(_ raw: yaml_event_t) -> YAMLEvent {
        switch raw.type {
        case YAML_DOCUMENT_START_EVENT: return .documentStart
        case YAML_SCALAR_EVENT:
            let scalar = raw.data.scalar
            let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            return .scalar(
                text: text, tag: string(scalar.tag), anchor: string(scalar.anchor),
                isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
        case YAML_SEQUENCE_START_EVENT:
            return .listStart(tag: string(raw.data.sequence_start.tag), anchor: string(raw.data.sequence_start.anchor))
        case YAML_MAPPING_START_EVENT:
            return .mapStart(tag: string(raw.data.mapping_start.tag), anchor: string(raw.data.mapping_start.anchor))
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return .end
        case YAML_ALIAS_EVENT: return .alias(string(raw.data.alias.anchor) ?? "")
        case YAML_STREAM_END_EVENT: return .streamEnd
        default: return .other
        }
    }

    private static func string(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        pointer.map { String(cString: $0) }
    }

    private func problem() -> YAMLProblem {
        let text = parser.pointee.problem.map { String(cString: $0) } ?? "cannot be read"
        let context = parser.pointee.context.map { String(cString: $0) } ?? ""
        let place =
            parser.pointee.error == YAML_READER_ERROR
            ? source.mark(atByte: parser.pointee.problem_offset) : mark(parser.pointee.problem_mark)
        return YAMLProblem(
            mark: place, problem: text, context: context,
            contextLine: context.isEmpty ? nil : parser.pointee.context_mark.line + 1)
    }
}

/// What libyaml says against a text.
struct YAMLProblem: Error {
    let mark: SourceMark
    let problem: String
    let context: String
    let contextLine: Int?

    func diagnostic(in source: SourceText) -> Diagnostic {
        if problem.hasPrefix("Maximum nesting level") {
            return Diagnostic(at: mark, code: "yaml.too-deep", "lists and maps are nested far too deep")
        }
        let line = source.line(mark.line) ?? ""
        let before = source.line(mark.line - 1) ?? ""
        var hints: [String] = []
        let indentation = line.prefix { $0 == " " || $0 == "\t" }
        if indentation.contains("\t") || problem.contains("tab")
            || problem.contains("cannot start any token") && before.hasPrefix("\t")
        {
            hints.append("YAML is indented with spaces; this line is indented with a tab")
        } else if line.contains("{{") {
            hints.append("a value that begins with a template must be in quotes: \"{{ … }}\"")
        } else if problem.contains("mapping values are not allowed") {
            hints.append("a text with `: ` in it must be in quotes; else check the indentation")
        } else if problem.contains("cannot start any token") {
            hints.append("a text that begins with `@`, `%` or a backquote must be in quotes")
        } else if problem.contains("unknown escape") {
            hints.append("write \\\\ for a backslash, or use single quotes")
        } else if problem.contains("end of stream") || problem.contains("document indicator") {
            hints.append("a quote, a bracket or a brace is not closed")
        } else if problem.contains("expected") {
            hints.append(
                "check the indentation of this line and of the one before, and that quotes and brackets are closed")
        }
        let began = contextLine.map { ", \(context) that begins in line \($0)" } ?? ""
        return Diagnostic(at: mark, code: "yaml.syntax", "this is not YAML: \(problem)\(began)", hints: hints)
    }
}
