import PlanModel

/// Step kinds to make mistakes with; those that there are, `StepRegistry.standard` has.
let registry: [StepKindSchema] = [
    StepKindSchema(
        name: "command", summary: "Run a script on hosts",
        fields: [
            FieldSchema("run", .text, isRequired: true), FieldSchema("as", .account),
            FieldSchema("environment", .map(.string), allowsSecret: true), FieldSchema("directory", .path),
            FieldSchema("expect-exit", .list(.integer), range: 0...255),
            FieldSchema("in-doubt", .choice(["ask", "rerun", "verify"])), FieldSchema("verify", .text),
        ], needsHost: true, elsewhere: ["script": "put it under `run`"]),
    StepKindSchema(
        name: "fetch-backup", summary: "Choose a backup, fetch it and decode it",
        fields: [
            FieldSchema("store", .storeRef, isRequired: true),
            FieldSchema("kind", .choice(["database", "files"]), default: .string("database")),
            FieldSchema("choose", .string, default: .string("latest")), FieldSchema("to", .path),
            FieldSchema("via", .choice(["host", "orchestrator"]), default: .string("host")),
            FieldSchema("minimum-size", .bytes),
            FieldSchema("verify-archive", .boolean, default: .boolean(true)),
        ], needsHost: true, worksOnOneHost: true),
    StepKindSchema(
        name: "postgres-check", summary: "Look at the storage",
        fields: [FieldSchema("database", .databaseRef, isRequired: true), FieldSchema("known-damage", .list(.identifier))]),
    StepKindSchema(
        name: "postgres-settle", summary: "Hold jobs, revoke sessions",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true), FieldSchema("scratch", .identifier),
            FieldSchema("jobs", .choice(["hold", "drop", "run"])), FieldSchema("job-tables", .list(.string)),
            FieldSchema("access", .choice(["revoke", "keep"])), FieldSchema("access-tables", .list(.string)),
        ]),
    StepKindSchema(
        name: "postgres-restore", summary: "Restore a backup into a scratch database",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true), FieldSchema("backup", .stepRef, isRequired: true),
            FieldSchema("scratch", .identifier), FieldSchema("jobs", .integer, range: 1...256),
            FieldSchema("tolerate", .list(.string)), FieldSchema("settings", .map(.any)),
        ], isDestructive: true),
    StepKindSchema(
        name: "postgres-verify", summary: "Compare a database with the backup",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true), FieldSchema("name", .identifier),
            FieldSchema("backup", .stepRef), FieldSchema("settled", .stepRef),
            FieldSchema("structure", .boolean), FieldSchema("content", .boolean), FieldSchema("orphans", .boolean),
            FieldSchema("sequences", .boolean), FieldSchema("amcheck", .choice(["auto", "require", "off"])),
        ]),
    StepKindSchema(
        name: "postgres-swap", summary: "Swap the scratch database with production",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true), FieldSchema("scratch", .identifier),
            FieldSchema("keep-as", .identifier), FieldSchema("sequence-margin", .integer, range: 0...Int.max),
            FieldSchema("copy-settings", .boolean),
        ], isDestructive: true),
    StepKindSchema(
        name: "approval", summary: "Wait for a person",
        fields: [
            FieldSchema("message", .string), FieldSchema("show", .list(.stepRef)),
            FieldSchema("approver-not-starter", .boolean),
            FieldSchema("required", .boolean, default: .boolean(true)),
        ]),
    StepKindSchema(
        name: "http-check", summary: "Ask a web address until it answers as expected",
        fields: [
            FieldSchema("url", .string, isRequired: true), FieldSchema("status", .integer, range: 100...599),
            FieldSchema("body-contains", .string), FieldSchema("json", .map(.any)), FieldSchema("within", .duration),
            FieldSchema("from", .hostRef),
        ]),
    StepKindSchema(
        name: "sql-check", summary: "Ask the database questions with known answers",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true), FieldSchema("name", .identifier),
            FieldSchema(
                "checks",
                .list(
                    .record([
                        FieldSchema("sql", .text, isRequired: true), FieldSchema("expect", .any),
                        FieldSchema("at-least", .number),
                        FieldSchema("at-most", .number), FieldSchema("help", .string),
                    ])), isRequired: true),
        ]),
]
