/// A text with headings and tables, before it is known whether it becomes plain text, Markdown or HTML.
///
/// Its strings are raw: each renderer makes them safe for what it writes.
package struct Document: Sendable, Hashable {
    package enum Block: Sendable, Hashable {
        case heading(String)
        case paragraph(String, Style.Role = .normal)
        /// Pairs of a name and a value.
        case facts([Fact])
        case table(Table)
        case list([String])
        /// Commands or other text that keeps its line breaks.
        case code(String)
    }

    package struct Fact: Sendable, Hashable {
        package var name: String
        package var value: String
        package var role: Style.Role

        package init(_ name: String, _ value: String, _ role: Style.Role = .normal) {
            self.name = name
            self.value = value
            self.role = role
        }
    }

    package struct Table: Sendable, Hashable {
        package struct Column: Sendable, Hashable {
            package var title: String
            package var isNumber: Bool

            package init(_ title: String, isNumber: Bool = false) {
                self.title = title
                self.isNumber = isNumber
            }
        }
        package struct Row: Sendable, Hashable {
            package var cells: [String]
            package var role: Style.Role

            package init(_ cells: [String], _ role: Style.Role = .normal) {
                self.cells = cells
                self.role = role
            }
        }
        package var columns: [Column]
        package var rows: [Row]

        package init(_ columns: [Column], _ rows: [Row]) {
            self.columns = columns
            self.rows = rows
        }
    }

    package var title: String
    package var blocks: [Block]

    package init(title: String, blocks: [Block] = []) {
        self.title = title
        self.blocks = blocks
    }
}
