internal import RunCore

/// The program that counts and hashes content on the database's own host, so that gigabytes need not cross the SSH link.
///
/// It needs perl with its core modules (Debian's `perl`, which `postgresql-common` brings), `pg_restore` for archives and `psql`
/// for databases. Every part is plain text; its configuration follows `__DATA__`.
enum HashProgram {
    static let text = [common, types, normal, stream, workers, archive, database, main].joined(separator: "\n") + "\n__DATA__\n"

    /// One line of configuration: a kind and its fields, in COPY's escapes.
    static func line(_ kind: String, _ fields: [String]) -> String {
        ([kind] + fields.map(escaped)).joined(separator: "\t") + "\n"
    }

    private static func escaped(_ text: String) -> String {
        text.escaping("\\", as: "\\\\").escaping("\t", as: "\\t").escaping("\n", as: "\\n").escaping("\r", as: "\\r")
    }
}
