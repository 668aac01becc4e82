internal import BlockingIO
internal import Engine
internal import Foundation
internal import ObjectStorage
internal import PlanModel
internal import Reporting
internal import RunCore
internal import SSH
internal import Steps

/// One thing that was looked at before a run. Its fields only ever grow.
struct Finding: Encodable, Sendable {
    enum Verdict: String, Encodable, Sendable {
        case ok
        case warning
        case missing
        case unreachable
    }
    let verdict: Verdict
    let subject: String
    let text: String
    var hints: [String] = []

    init(_ verdict: Verdict, _ subject: String, _ text: String, hints: [String] = []) {
        self.verdict = verdict
        self.subject = subject
        self.text = text
        self.hints = hints
    }

    init(_ error: any Error, _ subject: String) {
        let known = error as? any RepriseError
        verdict = known?.exitStatus == .unreachable || known?.isTransient == true ? .unreachable : .missing
        self.subject = subject
        text = known?.message ?? "an unexpected failure: \(type(of: error))"
        hints = known?.hints ?? []
    }
}

/// Looks whether a run could start: reaches every host and store that the plan uses, and changes nothing.
struct Readiness {
    let frozen: FrozenRun
    let preview: PlanPreview
    let backups: SelectedBackups

    init(_ frozen: FrozenRun, preview: PlanPreview) {
        self.frozen = frozen
        self.preview = preview
        backups = SelectedBackups(frozen.inventory)
    }

    func check() async throws -> [Finding] {
        let hosts = Set(preview.steps.flatMap { $0.places(frozen.inventory) }).subtracting([Inventory.orchestrator]).sorted()
        let made = MadeHosts(preview, frozen.inventory)
        return Contradiction.all(in: preview, frozen.inventory).map(\.finding) + (await withTaskGroup(of: (Int, [Finding]).self) { group in
            for (index, host) in hosts.enumerated() { group.addTask { (index, await check(host, madeBy: made.makers[host]?.rawValue)) } }
            for (index, store) in stores.enumerated() { group.addTask { (hosts.count + index, await check(store: store)) } }
            group.addTask { (hosts.count + stores.count, await checkSecrets()) }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.flatMap(\.1)
        })
    }

    private var databases: [DatabaseRef] {
        let names = preview.steps.compactMap { $0.with["database"]?.stringValue }
        return Set(names).sorted().compactMap(frozen.inventory.database)
    }

    private var stores: [StoreRef] {
        Set(preview.steps.compactMap { $0.with["store"]?.stringValue }).sorted().compactMap(frozen.inventory.store)
    }

    // MARK: Hosts

    private static let leastFreeBytes = 1 << 30

    private func check(_ host: String, madeBy step: String?) async -> [Finding] {
        if let step { return [Finding(.ok, host, "step \(step) makes it; what it will lack cannot be seen before")] }
        do {
            let connection = try await Wiring.connector().connect(host, frozen.inventory)
            let facts = connection.facts
            var findings = [
                Finding(.ok, host, "\(facts.operatingSystem), \(facts.user), \(keeper(facts)), host key \(connection.hostKey ?? "none")")
            ]
            if let free = facts.stateFreeBytes {
                findings.append(
                    Finding(
                        free < Self.leastFreeBytes ? .warning : .ok, "\(host): disk", "\(bytesText(Int64(free))) free at \(facts.stateDirectory)"))
            }
            let drift = abs(facts.clockMilliseconds - now())
            if drift > 5000 {
                findings.append(Finding(.warning, "\(host): clock", "its clock differs from this machine's by \(durationText(Double(drift) / 1000))"))
            }
            findings += checkRights(host, facts)
            findings += await checkRoom(host, connection)
            for database in databases where database.host == host {
                if let step = clusterStep(on: host), !(await answers(database, connection)) {
                    findings.append(Finding(.ok, "\(host): database \(database.name)", "no server answers yet; step \(step) makes one"))
                    continue
                }
                if facts.perlVersion.isEmpty {
                    findings.append(Finding(.missing, host, "it has no perl, which the way to its databases needs", hints: ["on \(host): apt-get install perl"]))
                }
                findings += await check(database, connection)
                if !facts.perlVersion.isEmpty { findings += await checkWay(to: database, connection) }
                findings += await checkNeeds(database, connection)
                findings += await checkPublications(database, connection)
            }
            return findings + ((try? await KeptNames(frozen: frozen, preview: preview).taken(on: host, connection)) ?? []).map(\.finding)
        } catch {
            return [Finding(error, host)]
        }
    }

    func clusterStep(on host: String) -> String? {
        preview.steps.first { $0.kind == PostgresClusterStep.schema.name && $0.on.contains(host) }?.id
    }

    private func answers(_ database: DatabaseRef, _ connection: HostConnection) async -> Bool {
        let result = try? await connection.remote?.run(database.psql("select 1"), stdin: [], outputLimit: 4096, deadline: Deadline(after: .seconds(30)))
        return result?.status == 0
    }

    /// Steps that work as another user than the one who keeps the ledger there: only root can become somebody else.
    private func checkRights(_ host: String, _ facts: HostFacts) -> [Finding] {
        guard facts.userID != 0 else { return [] }
        return preview.steps.compactMap { step in
            let database = step.with["database"]?.stringValue.flatMap(frozen.inventory.database)
            guard step.places(frozen.inventory).contains(host), let user = workingUser(of: step, database), user != facts.user else { return nil }
            return Finding(
                .missing, "\(host): step \(step.id)", "it works as \(user), which the login \(facts.user) cannot become",
                hints: ["set ansible_become for \(host), and give \(facts.user) the sudo rights of docs/security.md; or log in as root"])
        }
    }

    private func workingUser(of step: StepPreview, _ database: DatabaseRef?) -> String? {
        switch step.kind {
        // It gives the backup to its owner, also where this machine carries it over.
        case "fetch-backup": "root"
        case "postgres-restore", "postgres-verify": database?.superuser
        // They set the host up: packages, services, what belongs to other accounts.
        case "packages", "service", "schedule", "firewall", "archive", "certificate", "postgres-cluster": "root"
        default: step.with["as"]?.stringValue
        }
    }

    /// Who keeps the ledger there.
    private func keeper(_ facts: HostFacts) -> String {
        facts.perlVersion.isEmpty ? "no perl: jobs are kept by its shell, more slowly" : "perl \(facts.perlVersion)"
    }

    // MARK: Databases

    /// Whether the server has what the backups need that the plan restores into it. One that is not there is its store's own finding.
    private func checkNeeds(_ database: DatabaseRef, _ connection: HostConnection) async -> [Finding] {
        let subject = "\(database.host): database \(database.name): backup"
        func restored(by kind: String) -> Set<String> {
            Set(
                preview.steps.filter { $0.kind == kind && $0.with["database"]?.stringValue == database.name }
                    .compactMap { $0.with["backup"]?.stringValue })
        }
        let whole = restored(by: PostgresRestoreStep.schema.name), all = whole.union(restored(by: TableRestoreStep.schema.name))
        guard let remote = connection.remote else { return [] }
        var findings: [Finding] = []
        for planned in PlannedBackup.all(preview, frozen.inventory) where all.contains(planned.step) {
            guard let (store, backup) = try? await backups.select(planned) else { continue }
            do {
                guard let contents = try await BackupNeeds.contents(of: backup.version, in: store) else {
                    let why = "the table of contents of \(backup.key) is longer than what was read of it; its needs are not known"
                    findings.append(Finding(.warning, subject, why))
                    continue
                }
                findings += try await BackupNeeds.check(contents, of: backup.key, database, on: remote, subject: subject, isWhole: whole.contains(planned.step))
            } catch {
                findings.append(Finding(error, subject))
            }
        }
        return findings
    }

    /// Reprise's own connections go by the way that the inventory says, and not by the host's psql.
    private func checkWay(to database: DatabaseRef, _ connection: HostConnection) async -> [Finding] {
        let via = database.via ?? .bridge
        let subject = "\(database.host): database \(database.name): via \(via.rawValue)"
        guard let remote = connection.remote else { return [] }
        let redactor = Redactor()
        do {
            try await askServer(of: database, frozen.inventory, remote, redactor)
            return [Finding(.ok, subject, "the server answers \(database.superuser)")]
        } catch {
            let finding = Finding(error, subject)
            return [Finding(finding.verdict, subject, redactor.redact(finding.text), hints: finding.hints.map { redactor.redact($0) })]
        }
    }

    /// Asks the server itself, as its superuser; one line for each answer.
    private func check(_ database: DatabaseRef, _ connection: HostConnection) async -> [Finding] {
        let subject = "\(database.host): database \(database.name)"
        guard let remote = connection.remote else { return [] }
        let query = """
            select current_setting('server_version'), current_setting('data_directory'), \
            coalesce((select pg_database_size(oid) from pg_database where datname = \(literal(database.database))), -1), \
            (select system_identifier from pg_control_system()), \
            coalesce((select string_agg(coalesce(nullif(datname, ''), 'what all databases share'), ', ') from pg_stat_database \
            where checksum_failures > 0 and datname is distinct from \(literal(database.database))), '-')
            """
        let command = """
            command -v pg_restore >/dev/null || echo 'tool|pg_restore'
            command -v psql >/dev/null || echo 'tool|psql'
            \(database.psql(query))
            """
        do {
            let result = try await remote.run(command, stdin: [], outputLimit: 65_536, deadline: Deadline(after: .seconds(30)))
            return try await read(result, database, subject, remote)
        } catch {
            return [Finding(error, subject)]
        }
    }

    private func read(
        _ result: ExecResult, _ database: DatabaseRef, _ subject: String, _ remote: any RemoteHost
    ) async throws -> [Finding] {
        let lines = result.stdoutText.split(separator: "\n").map { $0.split(separator: "|").map(String.init) }
        var findings = lines.filter { $0.first == "tool" && $0.count == 2 }.map {
            Finding(
                .missing, subject, "\($0[1]) is not installed on \(database.host)",
                hints: ["on \(database.host): apt-get install postgresql-client"])
        }
        guard result.status == 0, let answer = lines.last, answer.count == 5, let size = Int64(answer[2]) else {
            let why = oneLine(result.stderrText).isEmpty ? "exit status \(result.status)" : oneLine(result.stderrText)
            return findings + [Finding(.missing, subject, "the server does not answer: \(why)", hints: ["on \(database.host): pg_lsclusters"])]
        }
        findings.append(
            size < 0
                ? Finding(.warning, subject, "PostgreSQL \(answer[0]), which has no database \(database.database)")
                : Finding(.ok, subject, "PostgreSQL \(answer[0]), \(bytesText(size))"))
        if let drillGuard = frozen.drillGuard {
            do { try drillGuard.require(answer[3], of: database) } catch { findings.append(Finding(error, subject)) }
        }
        if answer[4] != "-" {
            findings.append(
                Finding(
                    .warning, "\(subject): disk", "pages of other databases failed their checksums too: \(oneLine(answer[4]))",
                    hints: ["it may be the disk: recover to another one", "a database that is kept as evidence is named under `known-damage` of postgres-check"]))
        }
        let storage = StorageEvidence(
            try await remote.run(
                "sh -c \(shellQuoted(StorageEvidence.script(folder: answer[1])))", stdin: [], outputLimit: 65_536, deadline: Deadline(after: .seconds(30))
            ).stdoutText)
        for reason in storage.reasonsAgainst(copyBytes: nil) {
            findings.append(
                Finding(.warning, "\(subject): disk", reason, hints: ["do not restore onto this disk: recover to another one, and leave this one as it is"]))
        }
        findings += storage.remarks(copyBytes: nil).notes.map { Finding(.ok, "\(subject): disk", $0) }
        if let free = storage.freeBytes {
            // The damaged database is there already; a restored one and its dump come beside it.
            let wanted = max(size, 0) * 2
            findings.append(
                Finding(
                    free < wanted ? .warning : .ok, "\(subject): disk",
                    "\(bytesText(free)) free at \(answer[1]), \(bytesText(wanted)) wanted for a restored copy and its dump"))
        }
        return findings
    }

    private func literal(_ text: String) -> String { "'" + text.escaping("'", as: "''") + "'" }

    // MARK: Stores

    private static let oldBackupSeconds = 26.0 * 3600

    private func check(store reference: StoreRef) async -> [Finding] {
        let planned = PlannedBackup.all(preview, frozen.inventory).filter { $0.store.name == reference.name }
        var findings: [Finding] = []
        // A store of files alone has no databases to look for.
        if planned.isEmpty || planned.contains(where: \.isDatabase) { findings.append(await newest(in: reference)) }
        for planned in planned {
            let subject = "store \(reference.name): step \(planned.step)"
            do {
                let (objects, backup) = try await backups.select(planned)
                let age = durationText(Date().timeIntervalSince(backup.time))
                findings.append(
                    Finding(
                        .ok, subject,
                        "its backup is there: \(backup.key), \(age) old, \(bytesText(backup.version.sizeBytes)) "
                            + "(chosen by `\(oneLine(planned.choice))`)"))
                if let given = planned.revision {
                    let revision = try await BackupRevision(of: backup.key, in: objects, orElse: given)
                    findings.append(Finding(.ok, subject, "the application's revision that belongs to it: \(revision.name), as the \(revision.source.rawValue) says"))
                }
            } catch {
                findings.append(Finding(error, subject))
            }
        }
        return findings
    }

    private func newest(in reference: StoreRef) async -> Finding {
        let subject = "store \(reference.name)"
        do {
            let store = try Wiring.store(reference, frozen.inventory)
            let backups = try await BackupNaming(store: reference, isDatabase: true).backups(in: store)
            guard let newest = backups.first else {
                let hint = "see: reprise backup list --store \(reference.name)"
                return Finding(.missing, subject, "no database backups in \(store.displayName)", hints: [hint])
            }
            let age = Date().timeIntervalSince(newest.time)
            return Finding(
                age > Self.oldBackupSeconds ? .warning : .ok, subject,
                "\(counted(backups.count, "backup")), the newest \(newest.object.key): \(durationText(age)) old, "
                    + bytesText(newest.object.sizeBytes))
        } catch {
            return Finding(error, subject)
        }
    }
}
