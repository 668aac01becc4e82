import ArgumentParser
internal import Engine
internal import Foundation
internal import PlanModel
internal import PlanYAML
internal import Reporting
internal import RunCore
internal import Steps

struct PlanGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Looks at plans: lists, shows, validates and draws them.", discussion: help(),
        subcommands: [PlanList.self, PlanShow.self, PlanValidate.self, PlanGraphCommand.self, PlanSchema.self])
}

struct PlanArgument: ParsableArguments {
    @Argument(help: "The plan: a file, or the name of a plan in ./plans.")
    var plan: String
}

struct PlanList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "The plans in ./plans.", discussion: help())
    @OptionGroup var options: GlobalOptions

    private struct Entry: Encodable {
        let name: String
        let path: String
        let title: String
        let steps: Int
        let isValid: Bool
    }

    func run() async throws {
        let entries = PlanFiles.names().map { name, path in
            guard let plan = try? loadPlan(at: path, kinds: StepRegistry.standard.schemas, inventory: nil).plan else {
                return Entry(name: name, path: path, title: "", steps: 0, isValid: false)
            }
            return Entry(name: name, path: path, title: plan.title, steps: plan.steps.count + plan.finally.count, isValid: true)
        }
        let table = Document.Table(
            [.init("NAME"), .init("STEPS", isNumber: true), .init("TITLE")],
            entries.map { entry in
                let title = entry.isValid ? entry.title : "REFUSED: see reprise plan validate \(entry.path)"
                return .init([entry.name, "\(entry.steps)", title], entry.isValid ? .normal : .bad)
            })
        try options.show(entries, entries.isEmpty ? "no plans in ./plans\n" : tableText(table, style: options.style))
    }
}

struct PlanShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "The steps of a plan in their order, with the values that they would have.",
        discussion: help("--runbook prints them as commands for hands, for the day on which the tool or its journal is not to be had."))
    @OptionGroup var plan: PlanArgument
    @OptionGroup var parameters: ParameterOptions
    @Flag(help: "The steps as commands for hands.") var runbook = false
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let prepared = try PreparedRun(plan.plan, parameters, options)
        if runbook {
            let book = try prepared.runbook()
            return try options.show(book, book.document.text(style: options.style))
        }
        let preview = try prepared.preview()
        try options.show(preview, preview.document.text(style: options.style))
    }
}

struct PlanValidate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Checks plans, and says for every problem where it is and what would be right.",
        discussion: help("Names of hosts, databases and stores are checked against the inventory, where there is one."))
    @Argument(help: "Plans: files, or names of plans in ./plans; default: all of ./plans.")
    var plans: [String] = []
    @OptionGroup var options: GlobalOptions

    private struct Result: Encodable {
        let path: String
        let inventory: String?
        let isValid: Bool
        let diagnostics: [Diagnostic]
    }

    func run() async throws {
        let paths = try plans.isEmpty ? PlanFiles.names().map(\.path) : plans.map(PlanFiles.locate)
        guard !paths.isEmpty else { throw Refusal("no-plans", "there are no plans in ./plans", hints: ["name a file"]) }
        var results: [Result] = []
        for path in paths { results.append(try validate(path)) }
        if options.json {
            try Console.writeJSON(results)
        } else {
            for result in results { show(result) }
        }
        try Ended.check(results.allSatisfy(\.isValid) ? .done : .usage)
    }

    private func validate(_ path: String) throws -> Result {
        let inventory = try PlanFiles(options: options).inventory(besidePlan: path)
        do {
            let loaded = try loadPlan(at: path, kinds: StepRegistry.standard.schemas, inventory: inventory?.inventory)
            return Result(
                path: path, inventory: inventory?.source.file, isValid: true, diagnostics: (inventory?.warnings ?? []) + loaded.warnings)
        } catch let refused as DocumentRefused {
            return Result(path: path, inventory: inventory?.source.file, isValid: false, diagnostics: refused.diagnostics)
        }
    }

    private func show(_ result: Result) {
        for diagnostic in result.diagnostics { Console.writeError(terminalSafe(diagnostic.description) + "\n") }
        let style = options.style
        let against = result.inventory.map { "against \($0)" } ?? "without an inventory: names of hosts and stores are not checked"
        let errors = result.diagnostics.errors.count
        let verdict = result.isValid ? style.paint("valid", .good) : style.paint("refused, \(counted(errors, "error"))", .bad)
        if !options.quiet || !result.isValid { Console.write("\(oneLine(result.path)): \(verdict) (\(oneLine(against)))\n") }
    }
}

struct PlanGraphCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "graph", abstract: "Draws which step needs which.", discussion: help())
    @OptionGroup var plan: PlanArgument
    @Option(help: "text, dot (Graphviz) or mermaid.")
    var format: Format = .text
    @OptionGroup var options: GlobalOptions

    enum Format: String, ExpressibleByArgument, CaseIterable { case text, dot, mermaid }

    private struct Graph: Encodable {
        struct Node: Encodable {
            let id: String
            let kind: String
            let needs: [String]
        }
        let plan: String
        let steps: [Node]
        let finally: [Node]
    }

    func run() async throws {
        let plan = try PlanFiles(options: options).load(plan.plan, requiresInventory: false).plan.plan
        let drawing = GraphDrawing(plan)
        func nodes(_ steps: [PlanStep]) -> [Graph.Node] {
            steps.map { Graph.Node(id: $0.id.rawValue, kind: $0.kind, needs: $0.needs.map(\.rawValue)) }
        }
        let text = switch format {
        case .text: drawing.text(isASCII: !options.style.usesUnicode)
        case .dot: drawing.dot()
        case .mermaid: drawing.mermaid()
        }
        try options.show(
            Graph(plan: plan.name, steps: nodes(plan.steps), finally: nodes(plan.finally)), text.hasSuffix("\n") ? text : text + "\n")
    }
}

struct PlanSchema: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "The JSON Schema of plans, for editors.",
        discussion: help(
            """
            Editors with the YAML language server: reprise plan schema > plan.schema.json, and as the first line of a plan
            # yaml-language-server: $schema=plan.schema.json
            """))
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        Console.write(planJSONSchema(kinds: StepRegistry.standard.schemas).json(indent: 2) + "\n")
    }
}
