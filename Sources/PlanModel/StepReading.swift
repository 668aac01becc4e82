import RunCore

/// Reads steps; what they say of each other is checked afterwards, when all are known.
struct StepReader {
    let context: PlanContext
    var findings: Findings
    var uses: [StepUse] = []
    /// Where the step that is being read runs; nil where that is not known: without an inventory, and where a parameter says it.
    private var hosts: [Host]?

    static let keys = [
        "id", "kind", "title", "on", "needs", "timeout", "retry", "on-error", "undo", "approval", "only", "unless",
        "phase", "with",
    ]

    init(_ context: PlanContext, _ findings: Findings) {
        self.context = context
        self.findings = findings
    }

    /// A step with the needs as they were written; `needs` is nil where the file has none.
    struct Written {
        var step: PlanStep
        var needs: [(id: String, mark: SourceMark)]?
        var needsMark: SourceMark?
    }

    mutating func read(_ located: Located, index: Int) -> Written? {
        guard let entries = located.value.map else {
            findings.wrongType(located, "step \(index + 1)", expected: "a map")
            return nil
        }
        let label =
            located.value["id"]?.value.string.map { "step `\(printable($0, limit: 60))`" } ?? "step \(index + 1)"
        let kindName = located.value["kind"]?.value.string
        let schema = kindName.flatMap { context.kinds[$0] }
        var misplaced: [String: String] = [:]
        for field in schema?.fields ?? [] where !Self.keys.contains(field.name) {
            misplaced[field.name] = "put it under `with:`"
        }
        guard let map = findings.map(located, label, keys: Self.keys, misplaced: misplaced) else { return nil }

        let id = readID(map["id"], label, mark: entries.first?.keyMark ?? located.mark)
        var step = PlanStep(
            id: id ?? StepID("unnamed")!, kind: kindName ?? "", mark: map["id"]?.value.mark ?? located.mark)
        step.title = findings.string(map["title"], "\(label), `title`") ?? ""
        step.on = readOn(map["on"], label)
        hosts = hosts(on: step.on)
        step.timeout = findings.duration(map["timeout"], "\(label), `timeout`")
        step.retry = readRetry(map["retry"], label)
        step.onError = findings.choice(map["on-error"], "\(label), `on-error`", of: PlanStep.OnError.self) ?? .stop
        step.only = findings.choice(map["only"], "\(label), `only`", of: RunMode.self)
        step.phase = readPhase(map["phase"], label)
        step.approval = readApproval(map["approval"], label, index: index)
        step.unless = readUnless(map["unless"], label, index: index, isPlaced: map["on"] != nil || schema?.databaseField != nil)
        step.undo = readUndo(map["undo"], label, index: index)
        readKind(
            &step, map, schema, label, index: index, mark: located.mark,
            elsewhere: Set(entries.map(\.key)).intersection(misplaced.keys))
        let needs = map["needs"].map { entry in
            (findings.strings(entry, "\(label), `needs`") ?? []).map { (id: $0.text, mark: $0.mark) }
        }
        return id == nil ? nil : Written(step: step, needs: needs, needsMark: map["needs"]?.keyMark)
    }

    private mutating func readID(_ entry: MapEntry?, _ label: String, mark: SourceMark) -> StepID? {
        guard let entry else {
            findings.error(
                "plan.missing-field", at: mark, "\(label): `id` is missing",
                hints: ["give every step a short name of its own"])
            return nil
        }
        guard let text = findings.string(entry, "\(label), `id`") else { return nil }
        guard let id = StepID(text) else {
            findings.error(
                "plan.bad-name", at: entry.value.mark, "`\(printable(text, limit: 60))` is no step id",
                hints: ["ids hold a–z, 0–9, `-` and `_`, start with a letter or digit and have 60 characters at most"])
            return nil
        }
        return id
    }

    private mutating func readPhase(_ entry: MapEntry?, _ label: String) -> String? {
        guard let entry, let text = findings.string(entry, "\(label), `phase`") else { return nil }
        guard !text.isEmpty, text.utf8.count <= 40, !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            findings.error(
                "plan.bad-value", at: entry.value.mark, "\(label): `phase` is no word of at most 40 bytes",
                hints: ["one word for what the step belongs to, such as application; or leave it out, then its kind decides"])
            return nil
        }
        return text
    }

    private mutating func readKind(
        _ step: inout PlanStep, _ map: [String: MapEntry], _ schema: StepKindSchema?, _ label: String, index: Int,
        mark: SourceMark,
        elsewhere: Set<String>
    ) {
        guard let entry = map["kind"] else {
            findings.error(
                "plan.missing-field", at: mark, "\(label): `kind` is missing",
                hints: ["kinds: \(context.kindNames.joined(separator: ", "))"])
            return
        }
        guard let name = findings.string(entry, "\(label), `kind`") else { return }
        guard let schema else {
            findings.unknown(
                "plan.unknown-kind", at: entry.value.mark, "\(label): there is no kind `\(printable(name, limit: 60))`",
                word: name,
                among: context.kindNames, what: "kinds")
            return
        }
        if schema.needsHost, step.on.isEmpty, map["on"] == nil {
            findings.error(
                "plan.missing-field", at: mark, "\(label): `on` is missing",
                hints: ["say where it runs: a host, a group, or orchestrator"])
        }
        if schema.worksOnOneHost, let hosts, Set(hosts.map(\.name)).count > 1 {
            let names = hosts.map(\.name).joined(separator: ", ")
            findings.error(
                "plan.several-hosts", at: map["on"]?.value.mark ?? mark, "\(label): \(schema.name) works on one host, and `on` names several: \(names)",
                hints: ["name one of them, or write a step for each"])
        }
        step.with = readWith(map["with"], schema, label, index: index, mark: mark, elsewhere: elsewhere)
        step.inDoubt = readInDoubt(step.with, label)
    }

    private mutating func readWith(
        _ entry: MapEntry?, _ schema: StepKindSchema, _ label: String, index: Int, mark: SourceMark,
        elsewhere: Set<String>
    ) -> PlanValue {
        var located = entry?.value ?? Located(.map([]), at: mark)
        if located.value == .null { located.value = .map([]) }
        var misplaced = schema.elsewhere
        for key in Self.keys where schema.field(named: key) == nil {
            misplaced[key] = "it belongs to the step itself: put it two columns to the left"
        }
        checkFields(label, index: index) {
            $0.checkRecord(
                located, "\(label), `with`", fields: schema.fields, misplaced: misplaced, elsewhere: elsewhere)
        }
        return located.value.map == nil ? .map([]) : located.value
    }

    /// Runs a check of fields and keeps which steps it mentioned.
    private mutating func checkFields(_ label: String, index: Int, _ check: (inout FieldValidator) -> Void) {
        var validator = FieldValidator(context, Findings(), hosts: hosts)
        validator.findings.speller = findings.speller
        check(&validator)
        findings.add(validator.findings.diagnostics)
        findings.speller = validator.findings.speller
        uses += validator.mentioned.map { StepUse(step: index, target: $0.target, mark: $0.mark, what: $0.what) }
    }

    private mutating func readOn(_ entry: MapEntry?, _ label: String) -> [String] {
        guard let entry, let names = findings.strings(entry, "\(label), `on`") else { return [] }
        if names.isEmpty {
            findings.error("plan.missing-field", at: entry.value.mark, "\(label), `on`: the list is empty")
        }
        for (text, mark) in names {
            if Template.isNeeded(text) {
                checkOnTemplate(text, at: mark, label)
            } else if let index = context.inventory {
                _ = findings.usableHosts(text, at: mark, "\(label), `on`", index)
            } else if !Name.isHost(text) {
                findings.error(
                    "plan.bad-name", at: mark,
                    "\(label), `on`: `\(printable(text, limit: 60))` is no name of a host or group")
            }
        }
        return names.map(\.text)
    }

    private func hosts(on names: [String]) -> [Host]? {
        guard let inventory = context.inventory else { return nil }
        var result: [Host] = []
        for name in names {
            guard !Template.isNeeded(name), let hosts = inventory.hosts(on: name) else { return nil }
            result += hosts
        }
        return result
    }

    private mutating func checkOnTemplate(_ text: String, at mark: SourceMark, _ label: String) {
        let field = FieldSchema("on", .string, isRequired: true)
        var validator = FieldValidator(context, Findings())
        validator.checkTemplate(text, Located(.string(text), at: mark), "\(label), `on`", .string, field)
        findings.add(validator.findings.diagnostics)
        let references = (try? Template(text))?.references ?? []
        let isOnlyParameters = references.allSatisfy { if case .parameter = $0 { true } else { false } }
        if !isOnlyParameters {
            findings.error(
                "plan.bad-template", at: mark, "\(label), `on`: only parameters can be used here",
                hints: ["write {{ params.NAME }}"])
        }
    }

    private mutating func readRetry(_ entry: MapEntry?, _ label: String) -> RetryPolicy? {
        guard let entry else { return nil }
        let what = "\(label), `retry`"
        if entry.value.value.integer != nil {
            return findings.integer(entry, what, in: 1...100).map { RetryPolicy(attempts: $0) }
        }
        guard let map = findings.map(entry.value, what, keys: ["attempts", "initial", "factor", "maximum"]) else {
            return nil
        }
        guard map["attempts"] != nil else {
            findings.error(
                "plan.missing-field", at: entry.value.mark, "\(what): `attempts` is missing",
                hints: ["attempts in all, the first included"])
            return nil
        }
        var policy = RetryPolicy(attempts: findings.integer(map["attempts"], "\(what), `attempts`", in: 1...100) ?? 1)
        policy.initial = findings.duration(map["initial"], "\(what), `initial`") ?? policy.initial
        policy.maximum = findings.duration(map["maximum"], "\(what), `maximum`") ?? max(policy.maximum, policy.initial)
        if let factor = map["factor"] {
            switch factor.value.value {
            case .integer(let number) where (1...100).contains(number): policy.factor = Double(number)
            case .double(let number) where (1...100).contains(number): policy.factor = number
            default:
                findings.error(
                    "plan.out-of-range", at: factor.value.mark,
                    "\(what), `factor`: expected a number between 1 and 100, found \(found(factor.value))")
            }
        }
        if policy.maximum < policy.initial, let maximum = map["maximum"] {
            findings.error("plan.out-of-range", at: maximum.value.mark, "\(what): `maximum` is shorter than `initial`")
        }
        return policy
    }

    private mutating func readApproval(_ entry: MapEntry?, _ label: String, index: Int) -> ApprovalSpec? {
        guard let entry else { return nil }
        let what = "\(label), `approval`"
        let fields = [
            FieldSchema("message", .string, isRequired: true, help: "what the person is asked"),
            FieldSchema("show", .list(.stepRef)), FieldSchema("approver-not-starter", .boolean),
        ]
        if let text = entry.value.value.string {
            checkFields(label, index: index) { $0.check(entry.value, what, .string, fields[0]) }
            return ApprovalSpec(message: text)
        }
        if entry.value.value == .boolean(false) { return nil }
        if entry.value.value == .boolean(true) { return ApprovalSpec(message: "") }
        guard entry.value.value.map != nil else {
            findings.wrongType(entry.value, what, expected: "text, true, or a map with `message`")
            return nil
        }
        checkFields(label, index: index) { $0.checkRecord(entry.value, what, fields: fields) }
        return ApprovalSpec(
            message: entry.value.value["message"]?.value.string ?? "",
            show: (entry.value.value["show"]?.value.list ?? []).compactMap { $0.value.string.flatMap { StepID($0) } },
            approverNotStarter: entry.value.value["approver-not-starter"]?.value.boolean ?? false)
    }

    /// - Parameter isPlaced: the step says where it works, so that a script has a place to run in.
    private mutating func readUnless(_ entry: MapEntry?, _ label: String, index: Int, isPlaced: Bool) -> Unless? {
        guard let entry else { return nil }
        let what = "\(label), `unless`"
        if entry.value.value.map != nil {
            checkFields(label, index: index) { $0.checkRecord(entry.value, what, fields: Unless.questionFields) }
            guard let database = entry.value.value["database"]?.value.string, let sql = entry.value.value["sql"]?.value.string else { return nil }
            return .sql(
                .init(
                    database: database, name: entry.value.value["name"]?.value.string, sql: sql,
                    values: entry.value.value["values"]?.value.list?.compactMap(\.value.string)))
        }
        guard let script = entry.value.value.string else {
            findings.wrongType(entry.value, what, expected: "a script, or a map with `database` and `sql`")
            return nil
        }
        checkFields(label, index: index) { $0.check(entry.value, what, .text, FieldSchema("unless", .text, isRequired: true)) }
        if !isPlaced {
            findings.error(
                "plan.missing-field", at: entry.keyMark, "\(what): nothing says where the script runs",
                hints: ["add `on` with a host, a group, or orchestrator"])
        }
        return .script(script)
    }

    private mutating func readUndo(_ entry: MapEntry?, _ label: String, index: Int) -> Undo? {
        guard let entry else { return nil }
        let what = "\(label), `undo`"
        if entry.value.value == .string("none") { return .nothing }
        guard entry.value.value.map != nil else {
            findings.wrongType(entry.value, what, expected: "none, or a map with `kind` and `with`")
            return nil
        }
        let kindName = entry.value.value["kind"]?.value.string
        let schema = kindName.flatMap { context.kinds[$0] }
        var misplaced: [String: String] = [:]
        for field in schema?.fields ?? [] { misplaced[field.name] = "put it under `with:`" }
        guard let map = findings.map(entry.value, what, keys: ["kind", "with"], misplaced: misplaced) else {
            return nil
        }
        var step = PlanStep(id: StepID("undo")!, kind: kindName ?? "", on: ["orchestrator"])
        let elsewhere = Set((entry.value.value.map ?? []).map(\.key)).intersection(misplaced.keys)
        let withPlace = map.merging(["on": entry]) { first, _ in first }
        readKind(&step, withPlace, schema, what, index: index, mark: entry.value.mark, elsewhere: elsewhere)
        return .action(UndoSpec(kind: step.kind, with: step.with, mark: entry.value.mark))
    }

    /// `in-doubt` and `verify` of kinds that are made up of a script.
    private mutating func readInDoubt(_ with: PlanValue, _ label: String) -> InDoubt? {
        let verify = with["verify"]?.value.string
        switch with["in-doubt"]?.value.string {
        case "ask": break
        case "rerun": break
        case "verify":
            guard let verify else {
                findings.error(
                    "plan.missing-field", at: with["in-doubt"]!.mark,
                    "\(label), `with`: `in-doubt: verify` needs a script under `verify`",
                    hints: ["status 0 says that the step is done, 1 that it is not, anything else that it cannot tell"])
                return nil
            }
            return .verify(script: verify)
        default: return nil
        }
        return with["in-doubt"]?.value.string == "ask" ? .ask : .rerun
    }
}
