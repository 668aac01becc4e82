package import PlanModel
package import RunCore

/// Keeps one entry of cron, as a file of its own in `/etc/cron.d`, or takes it away.
///
/// Written as by `file`. Throws `StepRefused` where the times are none, the account is missing or the host has no cron; a cron that does not
/// run is a warning. Evidence: the file.
package struct ScheduleStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "schedule", summary: "keeps an entry of cron on hosts, or takes it away",
        fields: [
            FieldSchema("name", .string, isRequired: true, help: "the file in /etc/cron.d: letters, digits, - and _"),
            FieldSchema("when", .string, help: "the five fields of cron, or @daily and the like"),
            FieldSchema("user", .account, help: "who runs it; root without it"),
            FieldSchema("run", .text, help: "the command, one line, for /bin/sh"),
            FieldSchema("absent", .boolean, help: "true: there is no such entry"),
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        var state = try Self.wish(context).state(context)
        if context.boolean("absent", default: false) { return state }
        state.script = Self.checks + state.script
        state.environment["SCHEDULE_USER"] = context.optionalString("user") ?? "root"
        return state
    }

    /// What cron needs to take the entry up; before anything is written.
    private static let checks = WantedState.words + #"""
        [ -d /etc/cron.d ] && command -v cron >/dev/null || refuse 'this host has no cron: install it with a step of kind packages'
        id -u -- "$SCHEDULE_USER" >/dev/null 2>&1 || refuse "this host has no account $SCHEDULE_USER: make it first, or install the package that brings it"
        service cron status >/dev/null 2>&1 </dev/null || echo 'warning: cron does not run there, so nothing will run by this entry; start it with a step of kind service'

        """#

    private static func wish(_ context: StepContext) throws -> FileWish {
        let path = "/etc/cron.d/\(try name(context))"
        if context.boolean("absent", default: false) { return FileWish(path: path, thing: .absent, mode: "0644") }
        return FileWish(path: path, thing: .file(content: Array(try content(context).utf8), isSecret: false), mode: "0644", owner: "root", group: "root")
    }

    /// Cron passes over files with any other character in their names, without a word.
    private static func name(_ context: StepContext) throws -> String {
        let name = try context.string("name")
        guard !name.isEmpty, name.utf8.count <= 100, name.unicodeScalars.allSatisfy({ $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || $0 == "-" || $0 == "_") })
        else {
            throw StepRefused(
                "schedule.bad-name", "step \(context.step): `\(name.prefix(60))` is no name that cron reads",
                hints: ["letters, digits, `-` and `_`; cron passes over files with a dot in their name"], exitStatus: .usage)
        }
        return name
    }

    private static func content(_ context: StepContext) throws -> String {
        let when = try context.string("when"), command = try context.string("run").trimmed
        guard CronTimes.isValid(when) else {
            throw StepRefused(
                "schedule.bad-times", "step \(context.step): `\(when.prefix(80))` are no times of cron",
                hints: ["five fields: minute, hour, day of the month, month, day of the week, such as \"0 2 * * *\"; or @hourly, @daily, @weekly, @monthly, @reboot"],
                exitStatus: .usage)
        }
        guard !command.isEmpty, !command.contains(where: \.isNewline) else {
            throw StepRefused(
                "schedule.bad-command", "step \(context.step): `run` must be one line",
                hints: ["write a script with a step of kind file, and run that"], exitStatus: .usage)
        }
        return """
            # Kept by the plan that recovers this host; what is changed here by hand is written over.
            SHELL=/bin/sh
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
            \(when.split(separator: " ").joined(separator: " ")) \(context.optionalString("user") ?? "root") \(escaped(command))

            """
    }

    /// To cron a `%` is the end of the line; `\%` is a percent sign.
    static func escaped(_ command: String) -> String {
        command.escaping("%", as: #"\%"#)
    }

    package func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue] {
        ["path": .string("/etc/cron.d/\(try Self.name(context))")]
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let wish = try? Self.wish(context) else { return [] }
        let place = ["# on \(context.hosts.joined(separator: ", ")), as root:"]
        guard case .file(let content, _) = wish.thing else { return place + wish.manualCommands() }
        return place + ["cat >\(wish.path) <<'CRON'"] + String(decoding: content, as: UTF8.self).split(separator: "\n").map(String.init) + ["CRON"]
    }
}

/// The times of cron's entries.
enum CronTimes {
    private static let words: Set<String> = ["@reboot", "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"]
    private static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    private static let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    static func isValid(_ text: String) -> Bool {
        if words.contains(text) { return true }
        let fields = text.split(separator: " ")
        let ranges = [0...59, 0...23, 1...31, 1...12, 0...7]
        guard fields.count == 5, !text.contains(where: { $0.isWhitespace && $0 != " " }) else { return false }
        return zip(fields, ranges).enumerated().allSatisfy { index, pair in
            isField(pair.0, in: pair.1, names: index == 3 ? months : index == 4 ? days : [], first: index == 3 ? 1 : 0)
        }
    }

    /// A list of `*`, numbers, names and ranges, each of them with a step or not.
    private static func isField(_ text: Substring, in range: ClosedRange<Int>, names: [String], first: Int) -> Bool {
        func number(_ word: Substring) -> Int? {
            if let index = names.firstIndex(of: word.lowercased()) { return index + first }
            guard word.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let value = Int(word), range.contains(value) else { return nil }
            return value
        }
        return text.split(separator: ",", omittingEmptySubsequences: false).allSatisfy { item in
            let parts = item.split(separator: "/", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count) else { return false }
            if parts.count == 2 { guard let step = Int(parts[1]), step > 0, !parts[1].hasPrefix("+") else { return false } }
            if parts[0] == "*" { return true }
            let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false).map(number)
            switch ends.count {
            case 1: return ends[0] != nil && parts.count == 1
            case 2: return if let low = ends[0], let high = ends[1] { low <= high } else { false }
            default: return false
            }
        }
    }
}
