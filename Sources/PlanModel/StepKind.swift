/// What a step kind accepts. Declared by the kind itself; plans are validated and the JSON Schema is made from it.
package struct StepKindSchema: Hashable, Sendable {
    package var name: String
    package var summary: String
    package var fields: [FieldSchema]
    /// True: `on` must say where. False: the kind finds its place itself (a database's host, the orchestrator).
    package var needsHost: Bool
    /// True: where `on` names several hosts, the step is refused.
    package var worksOnOneHost: Bool
    /// True: it overwrites or removes what cannot be had back without a backup.
    package var isDestructive: Bool
    /// The field that names a host of the inventory that the step makes; nil for kinds that make none.
    package var makesHostIn: String?
    /// Fields that people look for here and that another kind has: where each belongs.
    package var elsewhere: [String: String]

    package init(
        name: String, summary: String, fields: [FieldSchema], needsHost: Bool = false, worksOnOneHost: Bool = false,
        isDestructive: Bool = false, makesHostIn: String? = nil, elsewhere: [String: String] = [:]
    ) {
        self.name = name
        self.summary = summary
        self.fields = fields
        self.needsHost = needsHost
        self.worksOnOneHost = worksOnOneHost
        self.isDestructive = isDestructive
        self.makesHostIn = makesHostIn
        self.elsewhere = elsewhere
    }

    package func field(named name: String) -> FieldSchema? { fields.first { $0.name == name } }

    /// The field that names the database on whose host the kind works; nil for kinds that work elsewhere.
    package var databaseField: FieldSchema? { fields.first { $0.type == .databaseRef } }
}

/// One field under `with:`.
package struct FieldSchema: Hashable, Sendable {
    package var name: String
    package var type: FieldType
    package var isRequired: Bool
    /// Filled in while rendering.
    package var defaultValue: PlanValue?
    package var help: String
    /// For integers; nil: any.
    package var range: ClosedRange<Int>?
    /// True: the field's texts may be replaced by `{secret: NAME}`, which is resolved at the last moment and redacted.
    package var allowsSecret: Bool

    package init(
        _ name: String, _ type: FieldType, isRequired: Bool = false, default defaultValue: PlanValue? = nil,
        range: ClosedRange<Int>? = nil, allowsSecret: Bool = false, help: String = ""
    ) {
        self.name = name
        self.type = type
        self.isRequired = isRequired
        self.defaultValue = defaultValue
        self.range = range
        self.allowsSecret = allowsSecret
        self.help = help
    }
}

/// The type of a field, as it is after templates are filled in.
package indirect enum FieldType: Hashable, Sendable {
    /// Text with templates; no NUL.
    case string
    /// A script: taken literally, without templates; parameters reach it as `PARAM_…`.
    case text
    /// An SQL identifier, unquoted; see `Name.isSQLIdentifier`.
    case identifier
    /// A login name on a host.
    case account
    /// An absolute path on a host.
    case path
    case integer
    case number
    case boolean
    /// `30s`, `5m`, `1h30m`.
    case duration
    /// `64MB`; powers of 1024.
    case bytes
    case choice([String])
    case list(FieldType)
    /// A map from any text to values of one type.
    case map(FieldType)
    /// A map with these keys and no others.
    case record([FieldSchema])
    case hostRef
    case databaseRef
    case storeRef
    /// A step that this one needs, directly or through others.
    case stepRef
    /// A name under `reprise: secrets:` or a reference (`env:NAME`, `file:/path`, `command:…`).
    case secretRef
    /// Any structure; texts may hold templates.
    case any

    /// The rest of the sentence "expected …".
    package var expectation: String {
        switch self {
        case .string: "text"
        case .text: "a script"
        case .identifier: "an SQL identifier"
        case .account: "a login name"
        case .path: "an absolute path"
        case .integer: "a whole number"
        case .number: "a number"
        case .boolean: "true or false"
        case .duration: "a duration such as 30s, 5m or 1h30m"
        case .bytes: "a size such as 512kB, 64MB or 2GB"
        case .choice(let choices): "one of \(choices.joined(separator: ", "))"
        case .list(let element): "a list, each \(element.expectation)"
        case .map, .record: "a map"
        case .hostRef: "the name of a host"
        case .databaseRef: "the name of a database in the inventory"
        case .storeRef: "the name of a store in the inventory"
        case .stepRef: "the id of a step"
        case .secretRef: "the name of a secret in the inventory, or env:NAME, file:/path or command:…"
        case .any: "a value"
        }
    }
}
