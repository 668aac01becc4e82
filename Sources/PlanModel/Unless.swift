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

        package init(database: String, name: String? = nil, sql: String) {
            self.database = database
            self.name = name
            self.sql = sql
        }
    }

    /// The keys of the form with a query.
    static let questionFields = [
        FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
        FieldSchema("name", .identifier, help: "the database on that server, if it is another one"),
        FieldSchema("sql", .text, isRequired: true, help: "a query that returns true where the step is already done, else false"),
    ]

    /// With the templates of a query's `database` and `name` filled in. Scripts and queries take none.
    package func rendered(_ scope: TemplateScope) throws -> Unless {
        guard case .sql(var question) = self else { return self }
        let fields = try renderFields(document, schema: StepKindSchema(name: "unless", summary: "", fields: Self.questionFields), scope: scope)
        question.database = fields["database"]?.value.string ?? question.database
        question.name = fields["name"]?.value.string
        return .sql(question)
    }

    var document: PlanValue {
        switch self {
        case .script(let script): .string(script)
        case .sql(let question):
            .object([
                "database": .string(question.database), "name": question.name.map { .string($0) }, "sql": .string(question.sql),
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
