/// Restores a selection in one transaction that counts its rows, and leaves its mark, before it commits.
///
/// PostgreSQL's own programs do it on the host: pg_restore writes SQL, psql carries it out between two parts of our own. What is in
/// the way, a row that is missing, or an archive that ends too early rolls all of it back.
package struct SelectionRestore: Sendable {
    package let selection: TableSelection
    /// Names who does it, such as run and step: one restore leaves one mark.
    package let id: String
    /// Rows of each table in the archive, where they are known.
    package let expectedRows: [QualifiedName: Int]
    /// How long to wait for tables of the target that are in use, where foreign keys or partitions tie new ones to them.
    package let lockTimeoutMilliseconds: Int

    package init(_ selection: TableSelection, id: String, expectedRows: [QualifiedName: Int], lockTimeout: Duration) {
        self.selection = selection
        self.id = id
        self.expectedRows = expectedRows
        let parts = lockTimeout.components
        lockTimeoutMilliseconds = max(1, Int(parts.seconds) * 1000 + Int(parts.attoseconds / 1_000_000_000_000_000))
    }

    /// What the script reads on its standard input: names never stand in its text.
    package func input() throws -> String { try beginning() + ending() }

    /// A script for `sh`. Ends with 0 only where everything was committed.
    ///
    /// - Parameters:
    ///   - archive, database: as words of the shell, quoted.
    ///   - isTar: pg_restore goes round for ever in a tar file that is cut off, so its members are walked first.
    package func script(archive: String, database: String, isTar: Bool) throws -> String {
        let split = try beginning().utf8.count
        let walk = isTar ? "tar --force-local -tf \(archive) > /dev/null || exit 80" : ":"
        return """
            set -u
            export LC_ALL=C
            work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT || exit 73
            export work
            cat > "$work/input" && head -c \(split) "$work/input" > "$work/begin.sql" && tail -c +\(split + 1) "$work/input" > "$work/end.sql" || exit 73
            \(walk)
            \(Self.list(selection.entryIDs, "list"))
            \(Self.list(selection.linkIDs, "links"))
            : > "$work/links.sql"
            if [ -s "$work/links" ]; then
                pg_restore --use-list="$work/links" --file="$work/links.raw" -- \(archive) || exit 81
                # Whoever works with the tables that these lead to must not wait behind us for ever.
                sed 's/^SET lock_timeout = 0;$/SET lock_timeout = \(lockTimeoutMilliseconds);/' "$work/links.raw" > "$work/links.sql" || exit 73
            fi
            { pg_restore --verbose --use-list="$work/list" --file=- -- \(archive); echo "$?" > "$work/restored"; } \\
                | psql -X -q -w -o /dev/null -v ON_ERROR_STOP=1 --single-transaction -f "$work/begin.sql" -f - -f "$work/end.sql" -f "$work/links.sql" -d \(database)
            """
    }

    private static func list(_ ids: [Int], _ name: String) -> String {
        ids.isEmpty ? ": > \"$work/\(name)\"" : "printf '%s\\n' \(ids.map { "'\($0);'" }.joined(separator: " ")) > \"$work/\(name)\" || exit 73"
    }

    // MARK: Our own part of the transaction

    private func beginning() throws -> String { "\(try SelectionMark.lock(id));\n" }

    /// pg_restore's end and the counts are looked at before anything is tied to what people use.
    private func ending() throws -> String {
        let id = try SQLLiteral(id).sql
        let roots = Dictionary(selection.dataTables.map { ($0.name, $0.root) }, uniquingKeysWith: { first, _ in first })
        let counts = try selection.tables.map { table in
            let values = try [table.schema.name, table.name.name, "\(roots[table] ?? table)"].map { try SQLLiteral($0).sql }.joined(separator: ", ")
            let expected = expectedRows[table].map(String.init) ?? "NULL"
            return """
                INSERT INTO reprise_audit.restored_tables (restore, schema_name, table_name, root, rows, expected)
                    SELECT \(id), \(values), pg_catalog.count(*), \(expected) FROM ONLY \(table.sql);

                """
        }
        return """
            \\set restored `cat "$work/restored"`
            SELECT pg_catalog.set_config('reprise.restored', :'restored', true), pg_catalog.set_config('reprise.restore', \(id), true);
            DO $$ BEGIN
                IF pg_catalog.current_setting('reprise.restored') <> '0' THEN RAISE EXCEPTION 'reprise: pg_restore did not come to the end of the archive'; END IF;
            END $$;
            \(SelectionMark.tables)
            INSERT INTO reprise_audit.restores (id, selection) VALUES (\(id), \(try SQLLiteral(SelectionMark.text(selection)).sql));
            \(counts.joined())
            DO $$ DECLARE wrong text; BEGIN
                SELECT pg_catalog.string_agg(pg_catalog.format('%s: the backup holds %s rows, and %s were loaded', root, expected, rows), '; ' ORDER BY root) INTO wrong
                FROM (SELECT root, pg_catalog.sum(rows) AS rows, pg_catalog.sum(expected) AS expected FROM reprise_audit.restored_tables
                      WHERE restore = pg_catalog.current_setting('reprise.restore') GROUP BY root) AS counted WHERE rows <> expected;
                IF wrong IS NOT NULL THEN RAISE EXCEPTION 'reprise: %', wrong; END IF;
            END $$;

            """
    }
}
