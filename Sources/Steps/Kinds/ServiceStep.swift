package import PlanModel
internal import RunCore

/// Sees to it that a service runs or does not, is enabled at boot or not, and has taken up the configuration that lies on the host.
///
/// Steps under `restart-when` and `reload-when` that write a file are answered for by what the file holds now and held when the service last
/// took it up, so that a restart which a crash prevented is made up for; of other steps it counts whether they changed anything in this run.
/// Throws `StepRefused` where the host has no such service, `StepFailed` where it does not come up. Evidence: whether it runs.
package struct ServiceStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "service", summary: "starts, stops, enables a service on hosts, and restarts it where its configuration changed",
        fields: [
            FieldSchema("name", .string, isRequired: true, help: "as systemd or /etc/init.d has it"),
            FieldSchema("state", .choice(["running", "stopped"]), help: "running unless `enabled` alone is given"),
            FieldSchema("enabled", .boolean, help: "whether it starts at boot; without it this stays as it is"),
            FieldSchema("restart-when", .list(.stepRef), help: "steps after whose changes a running service is restarted"),
            FieldSchema("reload-when", .list(.stepRef), help: "steps after whose changes a running service is reloaded"),
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        let restart = try Self.causes(context, "restart-when"), reload = try Self.causes(context, "reload-when")
        let environment = [
            "SERVICE": try Self.name(context), "STATE": Self.state(context) ?? "",
            "ENABLED": context.with["enabled"]?.boolValue.map { $0 ? "yes" : "no" } ?? "",
            "RESTART_PATHS": restart.paths.joined(separator: "\n"), "RESTART_NOW": restart.isCertain ? "1" : "",
            "RELOAD_PATHS": reload.paths.joined(separator: "\n"), "RELOAD_NOW": reload.isCertain ? "1" : "",
        ]
        return WantedState(script: serviceScript, environment: environment)
    }

    private static func state(_ context: StepContext) -> String? {
        context.optionalString("state") ?? (context.with["enabled"] == nil ? "running" : nil)
    }

    static func name(_ context: StepContext) throws -> String {
        let name = try context.string("name")
        try requireName(name, context)
        return name
    }

    /// - Throws: `StepRefused` (`service.bad-name`) where it is none that a shell could be handed.
    static func requireName(_ name: String, _ context: StepContext) throws {
        let isName = name.unicodeScalars.allSatisfy { $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "@._:-".unicodeScalars.contains($0)) }
        guard isName, let first = name.first, first != "-", first != ".", name.utf8.count <= 200 else {
            throw StepRefused(
                "service.bad-name", "step \(context.step): `\(name.prefix(60))` is no name of a service",
                hints: ["names hold letters, digits and `@._:-`"], exitStatus: .usage)
        }
    }

    /// What the steps of a field left: the files that they wrote, and whether one that wrote none changed anything.
    private static func causes(_ context: StepContext, _ field: String) throws -> (paths: [String], isCertain: Bool) {
        var paths: [String] = [], isCertain = false
        for id in context.strings(field).compactMap({ StepID($0) }) {
            let outputs = context.outputs[id] ?? [:]
            if let path = outputs["path"]?.stringValue { paths.append(path) } else { isCertain = isCertain || outputs["changed"] == .bool(true) }
        }
        return (paths.sorted(), isCertain)
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let name = try? Self.name(context) else { return [] }
        var commands = ["# on \(context.hosts.joined(separator: ", ")), as root:"]
        switch Self.state(context) {
        case "running": commands.append("service \(name) \(context.with["restart-when"] == nil ? "start" : "restart")")
        case "stopped": commands.append("service \(name) stop")
        default: break
        }
        if let enabled = context.with["enabled"]?.boolValue { commands.append("update-rc.d \(name) \(enabled ? "defaults" : "disable")") }
        return commands
    }
}
