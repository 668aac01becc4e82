import RunCore

extension Plan {
    /// The plan as a document that reads back as the same plan. `needs` is always written out.
    package var document: PlanValue {
        var entries: [(String, PlanValue?)] = [
            ("reprise", .integer(language)), ("name", .string(name)), ("title", title.isEmpty ? nil : .string(title)),
            ("summary", summary.isEmpty ? nil : .string(summary)),
        ]
        if !parameters.isEmpty { entries.append(("parameters", map(parameters.map { ($0.name, $0.document) }))) }
        entries.append(
            (
                "limits",
                limits == Limits()
                    ? nil : .object(["per-host": .integer(limits.perHost), "total": .integer(limits.total)])
            ))
        entries.append(("allow", allow.isEmpty ? nil : .array(allow.map { .string($0.rawValue) })))
        entries.append(("steps", .array(steps.map { $0.document(withNeeds: true) })))
        entries.append(("finally", finally.isEmpty ? nil : .array(finally.map { $0.document(withNeeds: false) })))
        return map(entries)
    }

    /// One line without places and comments, the same for plans that mean the same: what the run's plan hash is taken of.
    package var canonicalJSON: String { document.canonicalJSON }
}

private func map(_ entries: [(String, PlanValue?)]) -> PlanValue {
    .map(entries.compactMap { key, value in value.map { MapEntry(key: key, value: Located($0)) } })
}

extension Parameter {
    fileprivate var document: PlanValue {
        let written: PlanValue?
        switch defaultValue {
        case .integer(let number): written = .integer(number)
        case .boolean(let flag): written = .boolean(flag)
        case .some(let value): written = .string(value.text)
        case nil: written = nil
        }
        return map([
            ("type", .string(kind.rawValue)), ("default", written),
            ("choices", choices.isEmpty ? nil : .array(choices.map { .string($0) })),
            ("required", isRequired ? .boolean(true) : nil), ("help", help.isEmpty ? nil : .string(help)),
            ("secret", isSecret ? .boolean(true) : nil),
        ])
    }
}

extension PlanStep {
    fileprivate func document(withNeeds: Bool) -> PlanValue {
        var undoDocument: PlanValue?
        switch undo {
        case .nothing: undoDocument = .string("none")
        case .action(let spec): undoDocument = .object(["kind": .string(spec.kind), "with": spec.with])
        case nil: break
        }
        return map([
            ("id", .string(id.rawValue)), ("kind", .string(kind)), ("title", title.isEmpty ? nil : .string(title)),
            ("on", on.isEmpty ? nil : .array(on.map { .string($0) })),
            ("needs", withNeeds ? .array(needs.map { .string($0.rawValue) }) : nil),
            ("timeout", timeout.map { .string(Quantity.text($0)) }), ("retry", retry?.document),
            ("on-error", onError == .stop ? nil : .string(onError.rawValue)), ("undo", undoDocument),
            ("approval", approval?.document),
            ("only", only.map { .string($0.rawValue) }), ("unless", unless?.document), ("phase", phase.map { .string($0) }),
            ("with", with == .map([]) ? nil : with),
        ])
    }
}

extension RetryPolicy {
    fileprivate var document: PlanValue {
        .object([
            "attempts": .integer(attempts), "initial": .string(Quantity.text(initial)), "factor": .double(factor),
            "maximum": .string(Quantity.text(maximum)),
        ])
    }
}

extension ApprovalSpec {
    fileprivate var document: PlanValue {
        .object([
            "message": .string(message), "show": show.isEmpty ? nil : .array(show.map { .string($0.rawValue) }),
            "approver-not-starter": approverNotStarter ? .boolean(true) : nil,
        ])
    }
}
