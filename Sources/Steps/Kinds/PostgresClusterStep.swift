package import PlanModel
package import RunCore

/// Makes a PostgreSQL cluster, or brings the one that is there into the wanted state. Never drops one but what was left half-made, or by a
/// restore that the host's going down cut off; and not even that where anybody has started it since.
package struct PostgresClusterStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "postgres-cluster", summary: "makes a PostgreSQL cluster with its locale, settings and access, and starts it",
        fields: [
            FieldSchema("version", .string, help: "the major version, such as 15; the newest that is installed without it"),
            FieldSchema("name", .identifier, default: .string("main"), help: "the cluster's name"),
            FieldSchema("port", .integer, default: .integer(5432), range: 1...65535),
            FieldSchema("locale", .string, default: .string("en_US.UTF-8"), help: "of a new cluster; made where the host does not know it"),
            FieldSchema("encoding", .string, default: .string("UTF8"), help: "of a new cluster"),
            FieldSchema("checksums", .boolean, default: .boolean(true), help: "data checksums"),
            FieldSchema("settings", .map(.any), help: "settings, in a file of their own; fsync and full_page_writes are refused"),
            FieldSchema("listen", .list(.string), help: "addresses to listen on; as it is without it"),
            FieldSchema(
                "access", .list(.record([
                    FieldSchema("database", .string, default: .string("all")),
                    FieldSchema("user", .string, default: .string("all")),
                    FieldSchema("from", .string, help: "an address range such as 10.0.0.5/32; through the unix socket without it"),
                    FieldSchema("method", .choice(["scram-sha-256", "peer", "cert", "reject"]), default: .string("scram-sha-256")),
                ])), help: "who may log in, from where and how: all of pg_hba.conf behind the superuser's own line; as it is without it"),
            FieldSchema("superuser", .account, default: .string("postgres"), help: "who may always log in through the unix socket"),
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        WantedState(script: ClusterProgram.make, environment: try Self.environment(context.with))
    }

    /// What a restore needs to make the cluster anew.
    package func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue] {
        ["cluster": .object(try Self.environment(context.with).mapValues { .string($0) })]
    }

    /// - Parameter with: the step's own fields.
    static func environment(_ with: [String: JSONValue]) throws -> [String: String] {
        func text(_ field: String, _ fallback: String) -> String { with[field]?.stringValue ?? fallback }
        let version = text("version", ""), name = text("name", "main")
        guard version.isEmpty || version.wholeMatch(of: #/\d{1,2}(\.\d)?/#) != nil else { throw refused("`version: \(version)` is no major version of PostgreSQL, such as 15") }
        guard name.wholeMatch(of: #/[a-z][a-z0-9_]*/#) != nil else { throw refused("`name: \(name)`: a cluster's name has small letters, digits and _ only") }
        let locale = text("locale", "en_US.UTF-8"), encoding = text("encoding", "UTF8")
        for word in [locale, encoding] where word.wholeMatch(of: #/[A-Za-z0-9_.@-]+/#) == nil { throw refused("`\(word)` is no name of a locale or encoding") }
        return [
            "CLUSTER_VERSION": version, "CLUSTER_NAME": name, "CLUSTER_PORT": "\(with["port"]?.integerValue ?? 5432)",
            "CLUSTER_LOCALE": locale, "CLUSTER_ENCODING": encoding, "CLUSTER_CHECKSUMS": with["checksums"]?.boolValue ?? true ? "1" : "0",
            "CLUSTER_SETTINGS": try settings(with), "CLUSTER_ACCESS": try access(with),
        ]
    }

    /// Lines of a file of settings, in the order of their names.
    private static func settings(_ with: [String: JSONValue]) throws -> String {
        var settings = (with["settings"]?.objectValue ?? [:]).mapValues(\.plainText)
        let listen = with["listen"]?.arrayValue?.compactMap(\.stringValue) ?? []
        if !listen.isEmpty { settings["listen_addresses"] = listen.joined(separator: ",") }
        let lines = try settings.sorted { $0.key < $1.key }.map { name, value in
            guard name.wholeMatch(of: #/[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?/#) != nil else { throw refused("`\(name)` is no name of a setting") }
            guard !["fsync", "full_page_writes"].contains(name.lowercased()) else {
                throw refused("a cluster is not made with `\(name)` of its own: a crash could destroy it; restores are fast without it")
            }
            return "\(name) = \(try quoted(value, "'"))"
        }
        return (["# Written by Reprise; settings of your own belong into another file here."] + lines).joined(separator: "\n")
    }

    private static func access(_ with: [String: JSONValue]) throws -> String {
        guard let records = with["access"]?.arrayValue else { return "" }
        let own = "local all \(try quoted(with["superuser"]?.stringValue ?? "postgres", "\"")) peer"
        let lines = try records.map { record in
            func word(_ field: String, _ fallback: String) throws -> String {
                let value = record[field]?.stringValue ?? fallback
                return value == "all" ? value : try quoted(value, "\"")
            }
            let method = record["method"]?.stringValue ?? "scram-sha-256"
            guard let from = record["from"]?.stringValue else {
                return "local \(try word("database", "all")) \(try word("user", "all")) \(method)"
            }
            guard from.wholeMatch(of: #/[0-9A-Fa-f.:]+\/\d{1,3}/#) != nil else { throw refused("`from: \(from)` is no range of addresses such as 10.0.0.5/32") }
            return "host \(try word("database", "all")) \(try word("user", "all")) \(from) \(method)"
        }
        return (["# Written by Reprise: the plan says who may log in.", own] + lines).joined(separator: "\n")
    }

    private static func quoted(_ text: String, _ quote: Unicode.Scalar) throws -> String {
        guard !text.contains(where: \.isNewline), !text.utf8.contains(0) else { throw refused("a value of a setting has one line") }
        return "\(quote)" + text.escaping(quote, as: "\(quote)\(quote)") + "\(quote)"
    }

    private static func refused(_ message: String) -> StepRefused {
        StepRefused("postgres-cluster.bad-value", message, exitStatus: .usage)
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let wanted = try? Self.environment(context.with) else { return [] }
        let version = wanted["CLUSTER_VERSION"].flatMap { $0.isEmpty ? nil : $0 } ?? "15", name = wanted["CLUSTER_NAME"] ?? "main"
        let lines = (wanted["CLUSTER_SETTINGS"] ?? "").split(separator: "\n").map(String.init)
        let access = (wanted["CLUSTER_ACCESS"] ?? "").split(separator: "\n").map(String.init)
        let folder = "/etc/postgresql/\(version)/\(name)", port = wanted["CLUSTER_PORT"] ?? "5432"
        let locale = wanted["CLUSTER_LOCALE"] ?? "", encoding = wanted["CLUSTER_ENCODING"] ?? ""
        let checksums = wanted["CLUSTER_CHECKSUMS"] == "1" ? " -- --data-checksums" : ""
        var commands = ["pg_createcluster \(version) \(name) --port \(port) --locale \(locale) --encoding \(encoding)\(checksums)"]
        commands += ["cat >\(folder)/conf.d/reprise.conf <<'END'"] + lines + ["END"]
        if !access.isEmpty { commands += ["cat >\(folder)/pg_hba.conf <<'END'"] + access + ["END"] }
        commands.append("pg_ctlcluster \(version) \(name) restart")
        return context.hosts.flatMap { ["# on \($0), as root:"] + commands }
    }
}
