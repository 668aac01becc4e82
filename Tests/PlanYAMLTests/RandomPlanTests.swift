import Foundation
import PlanModel
import PlanYAML
import RunCore
import TestSupport
import Steps
import Testing

@Suite struct RandomPlanTests {
    /// Texts that a careless writer or reader of YAML would mangle.
    private static let texts = [
        "", " ", "x", "yes", "no", "on", "null", "~", "0123", "1_000", "15", "1.5", "true", "- a", "a: b", "# c",
        "a # b", "'", "\"", "\\", "{{", "{ a", "[b]",
        "*a", "&a", "!t", "|", ">", "%", "@", "`", "ünï", "日本語", "👩‍👩‍👧", "a\nb", "a\nb\n", "a\n\n", "\na", " a\nb",
        "a \nb", "a\tb", "\ta\nb", "a\r\nb", "\u{85}x", "\u{2028}",
        "$(rm -rf /)", "; DROP TABLE x", "-rf", "../..", "set -e\nif x; then\n  y\nfi\n", "<<", "=", "---", "...",
        "? a", "a:", "\u{1}", "\u{7F}", "\u{FEFF}x", "2026-11-23",
    ]

    private struct Maker {
        var random: SeededGenerator

        mutating func text() -> String { RandomPlanTests.texts.randomElement(using: &random)! }
        mutating func value(_ depth: Int) -> PlanValue {
            switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &random) {
            case 0: return .integer(Int.random(in: Int.min...Int.max, using: &random))
            case 1: return .double(Double(Int.random(in: -1000...1000, using: &random)) / 8)
            case 2: return .boolean(Bool.random(using: &random))
            case 3: return .null
            case 4, 5: return .string(text())
            case 6: return .array((0..<Int.random(in: 0...4, using: &random)).map { _ in value(depth - 1) })
            default:
                let keys = Set((0..<Int.random(in: 0...4, using: &random)).map { _ in text() })
                return .map(keys.sorted().map { MapEntry(key: $0, value: Located(value(depth - 1))) })
            }
        }

        /// Escaped, so that it is no template.
        mutating func plainText() -> String { text().replacing("{{", with: #"\{{"#) }

        mutating func step(_ index: Int) -> PlanStep {
            let needs =
                index == 0
                ? []
                : (0..<Int.random(in: 0...3, using: &random)).map { _ in Int.random(in: 0..<index, using: &random) }
            var step = PlanStep(id: StepID("s\(index)")!, kind: "command", on: ["db1"])
            step.needs = Set(needs).sorted().map { StepID("s\($0)")! }
            step.title = text()
            step.timeout =
                Bool.random(using: &random) ? .milliseconds(Int.random(in: 1...10_000_000, using: &random)) : nil
            step.retry =
                Bool.random(using: &random)
                ? RetryPolicy(attempts: Int.random(in: 1...100, using: &random), factor: 1.5) : nil
            step.onError = PlanStep.OnError.allCases.randomElement(using: &random)!
            step.undo = [
                nil, .nothing, .action(UndoSpec(kind: "command", with: .object(["run": .string(plainText())]))),
            ].randomElement(using: &random)!
            step.approval =
                Bool.random(using: &random)
                ? ApprovalSpec(message: plainText(), approverNotStarter: Bool.random(using: &random)) : nil
            step.unless = [nil, .script(plainText()), .sql(.init(database: "production", sql: plainText()))].randomElement(using: &random)!
            step.phase = [nil, "web", "on", "15", "a: b", "日本語"].randomElement(using: &random)!
            step.inDoubt = [nil, .ask, .rerun, .verify(script: plainText())].randomElement(using: &random)!
            var fields: [(String, PlanValue)] = [("run", .string(plainText()))]
            switch step.inDoubt {
            case .ask: fields.append(("in-doubt", "ask"))
            case .rerun: fields.append(("in-doubt", "rerun"))
            case .verify(let script): fields += [("in-doubt", "verify"), ("verify", .string(script))]
            case nil: break
            }
            step.with = .map(fields.map { MapEntry(key: $0.0, value: Located($0.1)) })
            return step
        }

        mutating func plan() -> Plan {
            var plan = Plan(name: "random", title: text(), summary: text(), steps: [])
            plan.parameters = [
                Parameter(name: "s", defaultValue: .string(text())),
                Parameter(name: "i", kind: .integer, defaultValue: .integer(-5)),
                Parameter(
                    name: "t", kind: .time,
                    defaultValue: .time(PlanTime("2026-11-23T02:14:07Z")!, text: "2026-11-23T02:14:07Z")),
                Parameter(name: "c", kind: .choice, choices: ["no", "yes"], help: text()),
                Parameter(name: "pw", isRequired: true, isSecret: true),
            ]
            plan.limits = Plan.Limits(perHost: Int.random(in: 1...9, using: &random))
            plan.steps = (0..<Int.random(in: 1...12, using: &random)).map { step($0) }
            plan.allow = Bool.random(using: &random) ? [.sameCluster] : []
            return plan
        }
    }

    @Test func everyPlanReadsBackAsItself() throws {
        let seed = seed("everyPlanReadsBackAsItself")
        var maker = Maker(random: SeededGenerator(seed))
        for round in 0..<300 {
            let plan = maker.plan()
            let text = writeYAML(plan.document)
            let (again, diagnostics) = readPlan(source(text), kinds: registry, inventory: labInventory)
            #expect(found(diagnostics).filter { !$0.contains("NUL") } == [], "seed \(seed), round \(round)\n\(text)")
            #expect(again == plan, "seed \(seed), round \(round)\n\(text)")
            let frozen = try JSONDecoder().decode(Plan.self, from: try JSONEncoder().encode(plan))
            #expect(frozen == plan, "seed \(seed), round \(round)")
            #expect(again?.canonicalJSON == plan.canonicalJSON)
        }
    }

    @Test func everyValueReadsBackAsItself() throws {
        let seed = seed("everyValueReadsBackAsItself")
        var maker = Maker(random: SeededGenerator(seed))
        for round in 0..<2000 {
            let value = PlanValue.object(["value": maker.value(4)])
            let text = writeYAML(value)
            let composed = composeYAML(source(text))
            #expect(composed.root?.value == value, "seed \(seed), round \(round)\n\(text)")
            let frozen = try JSONDecoder().decode(PlanValue.self, from: try JSONEncoder().encode(value))
            #expect(frozen == value && frozen.canonicalJSON == value.canonicalJSON, "seed \(seed), round \(round)")
            // JSON is YAML but for what YAML calls ambiguous, so the reader must take it too.
            #expect(composeYAML(source(value.json(indent: 1))).root?.value == value, "seed \(seed), round \(round)")
        }
    }

    /// Whatever happens to the bytes, there is a plan or there are errors with places inside the file.
    @Test(arguments: ["plans/db-corruption.yaml", "inventory/production.example.yaml"])
    func brokenBytesGiveAPlanOrLocatedErrors(file: String) throws {
        let seed = seed("brokenBytesGiveAPlanOrLocatedErrors")
        var random = SeededGenerator(seed)
        let good = Array(try #require(FileManager.default.contents(atPath: checkout + "/" + file)))
        let tokens = [
            "{{", "}}", "&a ", "*a", "- ", ": ", "? ", "<<: ", "[", "]", "{", "}", "\t", "\n", "\"", "'", "|", "!x ",
            "%", "---\n", "\u{0}", "é",
        ].map { Array($0.utf8) }
        var readable = 0
        for round in 0..<1500 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let position = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: position)
                case 2: bytes.insert(contentsOf: tokens.randomElement(using: &random)!, at: position)
                case 3:
                    bytes.removeSubrange(
                        position..<min(bytes.count, position + Int.random(in: 1...400, using: &random)))
                default:
                    let end = min(bytes.count, position + Int.random(in: 1...200, using: &random))
                    bytes.insert(contentsOf: bytes[position..<end], at: Int.random(in: 0..<bytes.count, using: &random))
                }
                if bytes.isEmpty { bytes = [0x0A] }
            }
            let text = SourceText(bytes, file: "p.yaml")
            let asPlan = readPlan(text, kinds: StepRegistry.standard.schemas, inventory: labInventory)
            let asInventory = readInventory(text)
            #expect((asPlan.plan == nil) == !asPlan.diagnostics.errors.isEmpty, "seed \(seed), round \(round)")
            #expect(
                (asInventory.inventory == nil) == !asInventory.diagnostics.errors.isEmpty,
                "seed \(seed), round \(round)")
            let diagnostics = asPlan.diagnostics + asInventory.diagnostics
            #expect(
                diagnostics.allSatisfy {
                    $0.mark.file == "p.yaml" && (1...bytes.count + 1).contains($0.mark.line) && $0.mark.column >= 1
                }, "seed \(seed), round \(round)")
            #expect(
                diagnostics.allSatisfy { !$0.description.unicodeScalars.contains { isControl($0) && $0 != "\n" } },
                "seed \(seed), round \(round)")
            if let plan = asPlan.plan { #expect(PlanGraph(plan).topologicalOrder() != nil) }
            if asPlan.plan != nil || asInventory.inventory != nil { readable += 1 }
        }
        print("\(readable) of 1500 could still be read")
        #expect(readable > 0 && readable < 1500)
    }
}
