import RunCore

/// Turns a document into a plan, finding all problems in one pass.
///
/// - Parameters:
///   - document: the root of the file.
///   - kinds: every step kind of this program.
///   - inventory: nil: names of hosts, databases, stores and secrets are not checked.
/// - Returns: the plan, nil where there is any error; and the findings in reading order, warnings included.
package func validatePlan(document: Located, kinds: [StepKindSchema], inventory: Inventory?) -> (
    plan: Plan?, diagnostics: [Diagnostic]
) {
    var validation = PlanValidation(document: document)
    let plan = validation.run(kinds: kinds, inventory: inventory)
    let hasErrors = validation.findings.hasErrors
    return (hasErrors ? nil : plan, validation.findings.diagnostics.inReadingOrder())
}

private struct PlanValidation {
    let document: Located
    var findings = Findings()

    static let keys = ["reprise", "name", "title", "summary", "parameters", "limits", "allow", "steps", "finally"]

    init(document: Located) { self.document = document }

    mutating func run(kinds: [StepKindSchema], inventory: Inventory?) -> Plan? {
        if document.value.map != nil, document.value["steps"] == nil, document.value["all"] != nil {
            findings.error(
                "plan.not-a-plan", at: document.mark, "this is an inventory, not a plan",
                hints: ["pass it with --inventory"])
            return nil
        }
        guard let map = findings.map(document, "the plan", keys: Self.keys) else { return nil }
        var plan = Plan(name: readHead(map), steps: [])
        plan.title = findings.string(map["title"], "`title`") ?? ""
        plan.summary = findings.string(map["summary"], "`summary`") ?? ""
        plan.parameters = map["parameters"].map { findings.parameters($0.value) } ?? []
        plan.limits = readLimits(map["limits"])
        plan.allow = readAllow(map["allow"])

        let written = stepList(map["steps"], "steps")
        let last = stepList(map["finally"], "finally")
        if map["steps"] == nil {
            findings.error("plan.missing-field", at: document.mark, "the plan: `steps` is missing")
        } else if written.isEmpty, map["steps"]?.value.value == .list([]) {
            findings.error("plan.no-steps", at: map["steps"]!.keyMark, "the plan has no steps")
        }
        let names = (written + last).compactMap { $0.value["id"]?.value.string }
        let context = PlanContext(kinds: kinds, parameters: plan.parameters, stepNames: names, inventory: inventory)
        var reader = StepReader(context, findings)
        let steps = written.enumerated().map { reader.read($1, index: $0) }
        let finally = last.enumerated().map { reader.read($1, index: written.count + $0) }
        findings = reader.findings
        checkIDs((steps + finally).compactMap { $0 })
        plan.steps = resolveNeeds(steps, names: names, finallyNames: Set(finally.compactMap { $0?.step.id.rawValue }))
        plan.finally = finally.compactMap { refuseNeeds($0) }
        // Where a step could not be read, what others say of it cannot be judged.
        if (steps + finally).allSatisfy({ $0 != nil }),
            !findings.diagnostics.contains(where: { $0.code == "plan.duplicate-step" })
        {
            checkGraph(plan, reader.uses, context)
        }
        return plan
    }

    private mutating func readHead(_ map: [String: MapEntry]) -> String {
        if let entry = map["reprise"] {
            if let version = entry.value.value.integer {
                if version != Plan.currentLanguage {
                    findings.error(
                        "plan.language-version", at: entry.value.mark,
                        "the plan is written in version \(version) of the plan language; this program reads version \(Plan.currentLanguage)"
                    )
                }
            } else {
                findings.wrongType(
                    entry.value, "`reprise`", expected: "the version of the plan language",
                    hints: ["write `reprise: 1`"])
            }
        } else {
            findings.error(
                "plan.missing-field", at: document.mark, "the plan: `reprise` is missing",
                hints: ["begin the plan with `reprise: 1`, the version of the plan language"])
        }
        guard let entry = map["name"] else {
            findings.error("plan.missing-field", at: document.mark, "the plan: `name` is missing")
            return ""
        }
        guard let name = findings.string(entry, "`name`") else { return "" }
        if !Name.isPlain(name) {
            findings.error(
                "plan.bad-name", at: entry.value.mark, "`\(printable(name, limit: 60))` is no plan name",
                hints: [
                    "names hold a–z, 0–9, `-` and `_`, start with a letter and have 60 characters at most; free text goes into `title`"
                ])
        }
        return name
    }

    private mutating func readLimits(_ entry: MapEntry?) -> Plan.Limits {
        var limits = Plan.Limits()
        guard let entry, let map = findings.map(entry.value, "`limits`", keys: ["per-host", "total"]) else {
            return limits
        }
        limits.perHost = findings.integer(map["per-host"], "`limits`, `per-host`", in: 1...1000) ?? limits.perHost
        limits.total = findings.integer(map["total"], "`limits`, `total`", in: 1...1000) ?? limits.total
        return limits
    }

    private mutating func readAllow(_ entry: MapEntry?) -> [Plan.Allowance] {
        let known = Plan.Allowance.allCases.map(\.rawValue)
        return (findings.strings(entry, "`allow`") ?? []).compactMap { text, mark in
            if let allowance = Plan.Allowance(rawValue: text) { return allowance }
            findings.unknown(
                "plan.unknown-choice", at: mark, "`allow`: there is no guard `\(printable(text, limit: 60))`",
                word: text, among: known,
                what: "guards")
            return nil
        }
    }

    private mutating func stepList(_ entry: MapEntry?, _ what: String) -> [Located] {
        guard let entry else { return [] }
        guard let items = entry.value.value.list else {
            findings.wrongType(
                entry.value, "`\(what)`", expected: "a list of steps", hints: ["each step starts with `- id:`"])
            return []
        }
        guard items.count <= Plan.mostSteps else {
            findings.error(
                "plan.too-many-steps", at: entry.keyMark,
                "`\(what)`: \(items.count) steps are more than \(Plan.mostSteps)")
            return []
        }
        return items
    }

    private mutating func checkIDs(_ steps: [StepReader.Written]) {
        var seen: [StepID: SourceMark] = [:]
        for written in steps {
            if let first = seen[written.step.id] {
                findings.error(
                    "plan.duplicate-step", at: written.step.mark, "the step id `\(written.step.id)` is used twice",
                    hints: ["it was first used at \(first)"])
            } else {
                seen[written.step.id] = written.step.mark
            }
        }
    }

    /// Fills in the step before where `needs` is missing, and names unknown ones.
    private mutating func resolveNeeds(_ steps: [StepReader.Written?], names: [String], finallyNames: Set<String>)
        -> [PlanStep]
    {
        let known = Set(names)
        var result: [PlanStep] = []
        for written in steps {
            guard let written else { continue }
            var step = written.step
            if let needs = written.needs {
                for (text, mark) in needs {
                    let label = "step `\(step.id)`, `needs`"
                    if finallyNames.contains(text) {
                        findings.error(
                            "plan.needs-finally", at: mark, "\(label): `\(text)` stands under `finally` and runs last")
                    } else if !known.contains(text) {
                        findings.unknown(
                            "plan.unknown-step", at: mark, "\(label): there is no step `\(printable(text, limit: 60))`",
                            word: text,
                            among: names, what: "steps")
                    } else if let id = StepID(text), !step.needs.contains(id) {
                        step.needs.append(id)
                    }
                }
            } else if let previous = result.last {
                step.needs = [previous.id]
            }
            result.append(step)
        }
        return result
    }

    private mutating func refuseNeeds(_ written: StepReader.Written?) -> PlanStep? {
        if let written, let mark = written.needsMark {
            findings.error(
                "plan.needs-finally", at: mark,
                "step `\(written.step.id)`: steps under `finally` run in order and take no `needs`")
        }
        return written?.step
    }

    private mutating func checkGraph(_ plan: Plan, _ uses: [StepUse], _ context: PlanContext) {
        let graph = PlanGraph(plan)
        let marks = Dictionary(plan.steps.map { ($0.id, $0.mark) }) { first, _ in first }
        let cycles = graph.cycles()
        for cycle in cycles {
            let first = cycle.min { marks[$0]! < marks[$1]! }!
            let start = cycle.firstIndex(of: first)!
            let path = (Array(cycle[start...]) + cycle[..<start] + [first]).map(\.rawValue)
            let shown =
                path.count <= 12 ? path : Array(path.prefix(6)) + ["… \(path.count - 9) more …"] + path.suffix(3)
            findings.error(
                "plan.cycle", at: marks[first]!,
                cycle.count == 1
                    ? "step `\(first)` needs itself" : "steps need each other: \(shown.joined(separator: " → "))",
                hints: ["read → as \"needs\"; take one of them out"])
        }
        guard cycles.isEmpty else { return }
        checkUses(plan, graph, uses)
        checkMadeHosts(plan, marks, context)
    }

    /// Where parameters say on which hosts a step runs, it is `start` and `check` that know.
    private mutating func checkMadeHosts(_ plan: Plan, _ marks: [StepID: SourceMark], _ context: PlanContext) {
        var seen: Set<MadeHosts.Hasty> = []
        for mode in RunMode.allCases {
            for hasty in MadeHosts(plan.steps(in: mode), context.kinds, context.inventory).hasty where seen.insert(hasty).inserted {
                findings.error(MadeHosts.Hasty.code, at: marks[hasty.step]!, hasty.message, hints: [hasty.hint])
            }
        }
    }

    /// A step may only mention results of steps that are certain to come before it, in every mode in which it runs.
    private mutating func checkUses(_ plan: Plan, _ graph: PlanGraph, _ uses: [StepUse]) {
        var index: [String: Int] = [:]
        for (position, step) in (plan.steps + plan.finally).enumerated() { index[step.id.rawValue] = position }
        let all = plan.steps + plan.finally
        let pairs = uses.compactMap { use in index[use.target].map { (use: use, target: $0) } }
        let inner = pairs.filter { $0.use.step < plan.steps.count && $0.target < plan.steps.count }
        let isUpstream = graph.uses(inner.map { ($0.use.step, $0.target) })
        for (pair, isFine) in zip(inner, isUpstream) where !isFine {
            findings.error(
                "plan.not-upstream", at: pair.use.mark,
                "\(pair.use.what): step `\(pair.use.target)` is not certain to have run before",
                hints: ["add `\(pair.use.target)` to `needs` of step `\(all[pair.use.step].id)`"])
        }
        for pair in pairs {
            if pair.target >= plan.steps.count, pair.target >= pair.use.step {
                findings.error(
                    "plan.not-upstream", at: pair.use.mark, "\(pair.use.what): step `\(pair.use.target)` runs later")
            }
            guard let only = all[pair.target].only, all[pair.use.step].only != only else { continue }
            findings.error(
                "plan.other-mode", at: pair.use.mark,
                "\(pair.use.what): step `\(pair.use.target)` runs in mode \(only.rawValue) only, and this one in others too"
            )
        }
    }
}
