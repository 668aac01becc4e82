internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// Makes the roles that a backup needs: the dump of one database does not hold them.
///
/// One transaction looks and makes what is missing, so it can be repeated after any crash. Passwords come from the secret store; the
/// server is given only what it keeps of them.
package struct PostgresRolesStep: StepKind {
    package static let schema = StepKindSchema(
        name: "postgres-roles", summary: "makes the roles that a backup's objects belong to, with passwords from the secret store",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory; its server gets the roles"),
            FieldSchema("backup", .stepRef, help: "the fetch-backup step: its owners and everybody who is granted something"),
            FieldSchema("roles", .list(.identifier), help: "more roles"),
            FieldSchema("passwords", .map(.secretRef), help: "secrets by role; such a role may log in"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        var names = Set(context.strings("roles"))
        if let path = try backup(context)?["path"]?.stringValue {
            let contents = try await context.contents(ofArchive: path, host: database.host, part: "contents", runAs: database.superuser)
            names.formUnion(contents.roles)
        }
        let secrets = (context.with["passwords"]?.objectValue ?? [:]).compactMapValues(\.stringValue)
        let wanted = WantedRoles(names: names.union(secrets.keys), secrets: secrets)
        let done = try await wanted.make(on: database, context)
        let summary = done.isEmpty ? "\(database.host): unchanged" : "\(database.host): \(done.joined(separator: ", "))"
        return StepOutcome(
            evidence: ["changed": .array(done.map { .string($0) }), "roles": .integer(Int64(wanted.names.count))],
            outputs: [
                "summary": .string(summary), "roles": .array(wanted.names.sorted().map { .string($0) }),
                "passwords": .object(secrets.mapValues { .string($0) }),
            ], changed: context.attempt > 1 || !done.isEmpty)
    }

    private func backup(_ context: StepContext) throws -> [String: JSONValue]? {
        context.with["backup"] == nil ? nil : try context.outputs(ofStepIn: "backup")
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "it looks before it makes a role, and can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database() else { return [] }
        let secrets = (context.with["passwords"]?.objectValue ?? [:]).keys.sorted()
        return ["# on \(database.host), as \(database.superuser): the owners and grantees that the backup names, and"]
            + secrets.map { "createuser --pwprompt \(shellQuoted($0))" }
    }
}

/// Roles that a server must have. Holds the names of secrets, and no secret.
struct WantedRoles: Sendable {
    let names: Set<String>
    /// Names of secrets, by role.
    let secrets: [String: String]

    init(names: Set<String>, secrets: [String: String]) { (self.names, self.secrets) = (names, secrets) }

    /// As a `postgres-roles` step left them.
    init(_ outputs: [String: JSONValue]) {
        names = Set(outputs["roles"]?.arrayValue?.compactMap(\.stringValue) ?? [])
        secrets = (outputs["passwords"]?.objectValue ?? [:]).compactMapValues(\.stringValue)
    }

    /// - Returns: what was changed, for people.
    func make(on database: DatabaseRef, _ context: StepContext) async throws -> [String] {
        var passwords: [String: String] = [:]
        for (role, secret) in secrets { passwords[role] = try await context.services.secret(secret) }
        let connection = try await context.administer(database)
        try await context.requireDrillable(connection, database)
        let deadline = Deadline(after: .seconds(60))
        let wanted = names.filter { !$0.hasPrefix("pg_") && $0 != database.superuser }.sorted(), known = passwords
        let done = try await connection.transaction(deadline: deadline) { connection in
            // What the server keeps of a password does not belong into its log either.
            try await connection.execute("SET LOCAL log_statement = 'none'", deadline: deadline)
            try await connection.execute("SET LOCAL log_min_duration_statement = -1", deadline: deadline)
            var done: [String] = []
            for role in wanted { done += try await Self.make(role, password: known[role], connection, deadline) }
            return done
        }
        await connection.close()
        return done
    }

    private static func make(_ role: String, password: String?, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> [String] {
        var done: [String] = []
        let name = try SQLIdentifier(role).sql
        let query = "SELECT rolcanlogin::text AS login, coalesce(rolpassword, '') AS kept FROM pg_catalog.pg_authid WHERE rolname = $1"
        var found = try await connection.query(query, [.text(role)], deadline: deadline).rows.first
        if found == nil {
            try await connection.execute("CREATE ROLE \(name)", deadline: deadline)
            done.append("role \(role) made")
            found = try await connection.query(query, [.text(role)], deadline: deadline).rows.first
        }
        guard let password, let found else { return done }
        let knows = ScramVerifier.matches(try found.string("kept"), password: password)
        if try found.string("login") != "true" || !knows {
            let kept = knows ? "" : " PASSWORD \(try SQLLiteral(ScramVerifier(password: password).text).sql)"
            try await connection.execute("ALTER ROLE \(name) LOGIN\(kept)", deadline: deadline)
            done.append(knows ? "role \(role) may log in" : "password of \(role) set")
        }
        return done
    }
}
