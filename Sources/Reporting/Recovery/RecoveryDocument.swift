internal import RunCore

extension RecoveryReport {
    /// The report as people read it.
    package var document: Document {
        var document = Document(title: "Recovery report: \(run.title.isEmpty ? run.plan : run.title)")
        document.blocks = outcome + backupBlocks + tableBlocks + proof + visitBlocks + timing
        document.blocks += stepBlocks + decisionBlocks + warningBlocks + timelineBlocks + journalBlocks
        return document
    }

    private var outcome: [Document.Block] {
        var blocks: [Document.Block] = [
            .facts([
                .init("result", run.state, role(ofRunState: run.state)), .init("run", run.run), .init("plan", "\(run.plan) (\(run.mode))"),
                .init("started", "\(run.startedAt) by \(run.startedBy)"),
                .init(isUndone ? "the run took" : "recovery time (RTO)", durationText(recoverySeconds)), loss,
            ] + run.parameters.sorted { $0.key < $1.key }.map { .init("parameter \($0.key)", $0.value) })
        ]
        for step in run.steps {
            if let (what, failure) = step.standingFailure {
                blocks.append(.paragraph("\(what) failed: \(failure.message)", .bad))
                if !failure.hints.isEmpty { blocks.append(.list(failure.hints)) }
            }
            if let doubt = step.doubt { blocks.append(.paragraph("\(step.id) is in doubt: \(doubt.message)", .attention)) }
        }
        if !isSettled, !run.next.isEmpty { blocks.append(.code(run.next.joined(separator: "\n"))) }
        return blocks
    }

    /// A merge of rows keeps what was written since the backup.
    private var loss: Document.Fact {
        let stays = "data written after the backup", swaps = run.steps.filter { $0.kind == "postgres-swap" }
        guard !isUndone else { return .init(stays, "stays: what the run did was taken back") }
        guard swaps.isEmpty || swaps.contains(where: { $0.stepState == .succeeded }) else { return .init(stays, "stays: the database was not replaced") }
        guard !run.steps.contains(where: { $0.kind == "table-merge" }) else {
            return .init(stays, "stays, but for values that the merge was told to overwrite")
        }
        return .init("data written after the backup is lost (RPO)", lossSeconds.map(durationText) ?? "unknown: no backup was chosen in this run")
    }

    private var isUndone: Bool { RunState(rawValue: run.state) == .undone }

    private var isSettled: Bool {
        switch RunState(rawValue: run.state) {
        case .succeeded, .succeededWithWarnings, .undone: true
        case .accepted, .running, .waiting, .pausing, .paused, .cancelling, .cancelled, .undoing, .failed, nil: false
        }
    }

    private var backupBlocks: [Document.Block] {
        guard !backups.isEmpty else { return [] }
        let rows = backups.map { backup in
            Document.Table.Row([
                backup.kind, [backup.store, backup.key].compactMap { $0 }.joined(separator: ": "), backup.time ?? "",
                backup.ageSeconds.map(durationText) ?? "", backup.sizeBytes.map(bytesText) ?? "", backup.sha256 ?? "",
            ])
        }
        return [
            .heading("Recovered from"),
            .table(.init(
                [.init("backup"), .init("key"), .init("made at"), .init("age at start", isNumber: true), .init("size", isNumber: true), .init("SHA-256")],
                rows)),
        ]
    }

    private var tableBlocks: [Document.Block] {
        tableSteps.isEmpty ? [] : [.heading("Single tables"), .list(tableSteps.map { "\($0.step): \($0.summary)" })]
    }

    private var proof: [Document.Block] {
        guard !tables.isEmpty else {
            if !tableSteps.isEmpty { return mergeProof }
            return [.heading("Proof"), .paragraph("No step of this run has compared tables with the backup so far.", .attention)]
        }
        let verdict: Document.Block =
            findings.isEmpty
            ? .paragraph("Exact row counts and content are equal to the backup's in every one of \(counted(tables.count, "comparison")).", .good)
            : .paragraph("What is there is not what the backup holds: \(counted(findings.count, "finding")).", .bad)
        let rows = tables.map { proof in
            Document.Table.Row([
                proof.step, proof.table, countText(proof.expectedRows), proof.actualRows.map { countText($0) } ?? "none",
                proof.verdict,
            ], proof.isEqual ? .normal : .bad)
        }
        return [.heading("Proof"), verdict] + (findings.isEmpty ? [] : [.list(findings)]) + [
            .table(.init(
                [.init("step"), .init("table"), .init("rows expected", isNumber: true), .init("rows found", isNumber: true), .init("content")],
                rows)),
        ]
    }

    /// Whole tables are counted and compared by the step that restores them.
    private var mergeProof: [Document.Block] {
        guard run.state != RunState.undone.rawValue, tableSteps.contains(where: { $0.kind == "table-merge" }) else { return [] }
        guard let proof = tableSteps.last(where: { $0.kind == "table-proof" }) else {
            return [.heading("Proof"), .paragraph("No step of this run has compared once more after the merge so far.", .attention)]
        }
        return [.heading("Proof"), .paragraph("Compared once more after the merge: all is as it was to be. \(proof.summary)", .good)]
    }

    /// What was seen of sites from outside, also that nobody is led to them yet.
    private var visitBlocks: [Document.Block] {
        let found = run.steps.filter { $0.kind == "site-check" }.flatMap { step in
            (step.evidence["found"]?.arrayValue ?? []).compactMap(\.stringValue).map { "\(step.id): \($0)" }
        }
        return found.isEmpty ? [] : [.heading("Seen from outside"), .list(found)]
    }

    private var timing: [Document.Block] {
        guard !phases.isEmpty else { return [] }
        let rows = phases.map {
            Document.Table.Row([$0.name, durationText($0.criticalSeconds), durationText($0.seconds), durationText($0.workSeconds), $0.steps.joined(separator: ", ")])
        }
        return [
            .heading("Where the time went"),
            .table(.init(
                [.init("phase"), .init("of the recovery time", isNumber: true), .init("under way", isNumber: true), .init("steps added up", isNumber: true), .init("steps")],
                rows + idleRows + [.init(["recovery time (RTO)", durationText(recoverySeconds), "", "", ""])])),
            .paragraph(
                "Steps run side by side. \u{201C}Of the recovery time\u{201D} is the chain of steps of which each waited for the one before: it adds up to the recovery time, and only what is shorter there makes the next recovery shorter. \u{201C}Under way\u{201D} is the wall clock while a step of the phase ran; \u{201C}steps added up\u{201D} counts what ran side by side more than once."),
        ] + chain
    }

    private var idleRows: [Document.Table.Row] {
        var rows: [Document.Table.Row] = []
        if waitingSeconds > 0 { rows.append(.init(["waiting for people", durationText(criticalIdle.waitingSeconds), durationText(waitingSeconds), "", ""])) }
        if interruptedSeconds > 0 {
            rows.append(.init(["nobody drove the run", durationText(criticalIdle.interruptedSeconds), durationText(interruptedSeconds), "", ""], .attention))
        }
        if criticalIdle.betweenSeconds > 0 { rows.append(.init(["between steps", durationText(criticalIdle.betweenSeconds), "", "", ""])) }
        return rows
    }

    /// Steps that took next to nothing say nothing.
    private var chain: [Document.Block] {
        let told = criticalPath.filter { $0.seconds >= max(0.1, recoverySeconds / 1000) }
        guard told.count > 1 else { return [] }
        return [.paragraph("The chain: " + told.map { "\($0.step) \(durationText($0.seconds))" }.joined(separator: " \u{2192} ") + ".")]
    }

    private var stepBlocks: [Document.Block] {
        let rows = run.steps.map { step in
            Document.Table.Row([
                step.id, step.stepState.word, "\(step.attempt)", step.seconds.map(durationText) ?? "", step.on.joined(separator: ", "),
                step.changed || step.stepState != .succeeded || step.kind == "approval" ? step.title : "\(step.title) (unchanged: it was done already)",
            ], step.stepState.role == .good ? .normal : step.stepState.role)
        }
        return [
            .heading("Steps"),
            .table(.init(
                [.init("step"), .init("state"), .init("attempts", isNumber: true), .init("time", isNumber: true), .init("on"), .init("what it does")],
                rows)),
        ]
    }

    private var decisionBlocks: [Document.Block] {
        guard !decisions.isEmpty else { return [] }
        let rows = decisions.map { Document.Table.Row([$0.time, $0.step ?? "", $0.what, $0.by, $0.reason]) }
        return [.heading("Who decided what"), .table(.init([.init("time"), .init("step"), .init("what"), .init("who"), .init("why")], rows))]
    }

    private var warningBlocks: [Document.Block] {
        run.warnings.isEmpty ? [] : [.heading("Warnings"), .list(run.warnings)]
    }

    private var timelineBlocks: [Document.Block] {
        // Facts noted along the way are for the machine; they are in the JSON and in `reprise journal show`.
        let told = timeline.filter { $0.kind != "observed" }
        let rows = told.map { Document.Table.Row(["\($0.sequence)", $0.time, $0.sentence]) }
        return [.heading("Timeline"), .table(.init([.init("#", isNumber: true), .init("time"), .init("what happened")], rows))]
    }

    private var journalBlocks: [Document.Block] {
        [
            .heading("Journal"),
            .facts([.init("records", countText(run.events)), .init("head (SHA-256)", run.journalHead)]),
            .paragraph("Keep the head elsewhere: with it `reprise journal verify` proves later that nothing of this account was changed."),
        ]
    }
}
