/// What shows that a step is already done, so that it need not run.
package enum Unless: Hashable, Sendable {
    /// A script for the step's hosts: status 0 says that the step is done there, 1 that it is not.
    case script(String)
    /// A query for a database: its one value is true where the step is done, false where it is not.
    case sql(SQLQuestion)

    package struct SQLQuestion: Codable, Hashable, Sendable {
        /// The database's name in the inventory.
        package var database: String
        /// The database on that server; nil for the one of the inventory.
        package var name: String?
        package var sql: String
        /// What `$1`, `$2`, … in the query stand for; nil where the plan gives none.
        package var values: [String]?

        package init(database: String, name: String? = nil, sql: String, values: [String]? = nil) {
            self.database = database
            self.name = name
            self.sql = sql
            self.values = values
        }
    }

    /// The keys of the form with a query.
    static let questionFields = [
        FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
        FieldSchema("name", .identifier, help: "the database on that server, if it is another one"),
        FieldSchema("sql", .text, isRequired: true, help: "a query that returns true where the step is already done, else false"),
        FieldSchema("values", .list(.string), help: "what $1, $2, … in the query stand for"),
    ]

    /// With the templates of a query's `database`, `name` and `values` filled in. Scripts and the queries themselves take none.
    package func rendered(_ scope: TemplateScope) throws -> Unless {
        guard case .sql(var question) = self else { return self }
        let fields = try renderFields(document, schema: StepKindSchema(name: "unless", summary: "", fields: Self.questionFields), scope: scope)
        question.database = fields["database"]?.value.string ?? question.database
        question.name = fields["name"]?.value.string
        question.values = fields["values"]?.value.list?.compactMap(\.value.string)
        return .sql(question)
    }

    var document: PlanValue {
        switch self {
        case .script(let script): .string(script)
        case .sql(let question):
            .object([
                "database": .string(question.database), "name": question.name.map { .string($0) }, "sql": .string(question.sql),
                "values": question.values.map { .list($0.map { Located(.string($0)) }) },
            ])
        }
    }
}

/// A script is stored as its text, as it was before there were queries.
extension Unless: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let script = try? container.decode(String.self) {
            self = .script(script)
        } else {
            self = .sql(try container.decode(SQLQuestion.self))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .script(let script): try container.encode(script)
        case .sql(let question): try container.encode(question)
        }
    }
}
