"""plans/table-restore.yaml: rows that were lost come back into tables that people go on writing, and an undo takes them away again."""
import re

from .corruption import application, fresh  # noqa: F401
from .lab import PRODUCTION, ROOT, TEMPLATE, Deviation, prepare_database, sql
from .program import Program

PLAN = "table-restore"
# Kills in one recovery. Neighbours are spread over different recoveries: between two kills there is work.
KILLS_IN_CI = 28
SIDE_BY_SIDE = False
STATEMENTS = {
    "rescue schemas made": r'CREATE SCHEMA "?reprise_rescue_',
    "renames in all": r"ALTER DATABASE .* RENAME TO",
}
PROOFS = {"rescue": "rescue schemas made", "merge": "merges in the database"}
MAY_REPEAT = {
    # A schema that was made and not yet handed to the loading job is made anew: that is how this step is resolved.
    "rescue schemas made": r"table-restore\.after-make |job\.before-submit rescue#1 load$",
}
TABLES = ("members", "attendance_records")

# What people wrote since the backup, without the trigger that stamps the time, so that it is the same each time.
WORK = """
SET LOCAL session_replication_role = replica;
INSERT INTO members (id, organization_id, first_name, last_name, created_at, updated_at) VALUES (10001, 1, 'New', 'Person', '2026-01-01Z', '2026-01-01Z');
INSERT INTO attendance_records (id, member_id, service_id, method, checked_in_at) VALUES (15001, 10001, 1, 'qr', '2026-01-01Z');
UPDATE members SET remarks = 'moved house' WHERE id % 100 = 7;
SET LOCAL session_replication_role = origin;
"""
OVERWRITTEN = """
SET LOCAL session_replication_role = replica;
UPDATE members SET last_name = 'Mistake' WHERE id % 200 = 1 AND id <= 2000;
SET LOCAL session_replication_role = origin;
"""
LOST = "DELETE FROM members WHERE id % 100 = 0 AND id <= 2000;"
# Somebody writes while the orchestrator is dead: never part of the merge, and never lost.
MEANWHILE = """
INSERT INTO members (id, organization_id, first_name, last_name, created_at, updated_at)
VALUES (10002, 1, 'Written', 'Meanwhile', '2026-01-02Z', '2026-01-02Z') ON CONFLICT DO NOTHING;
INSERT INTO attendance_records (id, member_id, service_id, method, checked_in_at) VALUES (15002, 10002, 1, 'qr', '2026-01-02Z') ON CONFLICT DO NOTHING;
"""
HASH = "SELECT {}, pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::text, 7)) FROM {} AS t;\n"
CONTENT = "SET timezone = 'UTC';\n" + "".join(HASH.format(f"'{table}'", table) for table in TABLES)

# By whether the values that were overwritten come back too: what a merge must come to, found out before anything is lost.
ideal = {}


def prepare():
    prepare_database(lose_rows)


def lose_rows():
    for takes_back, writes in ((False, WORK + OVERWRITTEN), (True, without_updates(WORK))):
        ideal[takes_back] = sql(PRODUCTION, f"BEGIN; {writes} {MEANWHILE} {CONTENT} ROLLBACK;")
    sql(PRODUCTION, f"BEGIN; {WORK} {OVERWRITTEN} {LOST} COMMIT;")
    ideal["lost"] = sql(PRODUCTION, f"BEGIN; {MEANWHILE} {CONTENT} ROLLBACK;")


def without_updates(text):
    """Where the backup's values are taken, what people changed in rows of the backup goes too: that is what they were asked."""
    return re.sub(r"(?m)^UPDATE .*\n", "", text)


def programs(binary, folder):
    """As shipped, merging what is missing; and with the overwritten values, a person's word, and an undo at the end."""
    text = (ROOT / "plans" / f"{PLAN}.yaml").read_text()
    tables = f"tables={','.join(TABLES)}"
    updating, count = re.subn(r"(?m)^      restored: rescue$", r"\g<0>\n      disable-triggers: {members: [touch_members]}", text, count=1)
    assert count == 1, "the plan's diff has changed: adapt this script"
    return [
        Program(binary, folder, "as shipped", text, [tables, "approve=no"]),
        Program(binary, folder, "approved and undone", updating, [tables, "approve=yes", "changed=take-backup"], approves="approve-merge", undoes=True),
    ]


def meanwhile():
    sql(PRODUCTION, MEANWHILE)


def expect_merged():
    """Before it is undone: every value that was lost is there."""
    meanwhile()
    seen = sql(PRODUCTION, CONTENT)
    if seen != ideal[True]:
        raise Deviation(f"the merge did not bring back what was lost: {ideal[True].split()} expected, {seen.split()} seen")


def audit(query):
    """What `query` says of the audit; empty where there is none."""
    there = sql(PRODUCTION, "SELECT pg_catalog.to_regclass('reprise_audit.merges') IS NOT NULL").strip()
    return sql(PRODUCTION, query).strip() if there == "t" else ""


def counts(_program):
    return {"merges in the database": int(audit("SELECT pg_catalog.count(*) FROM reprise_audit.merges") or 0)}


def final_state(program, status):
    # Nobody wrote meanwhile where nothing was killed: as if somebody had.
    meanwhile()
    schemas = sql(PRODUCTION, r"SELECT nspname FROM pg_namespace WHERE nspname LIKE 'reprise\_%' ORDER BY 1").split()
    return {
        "content of the tables": sql(PRODUCTION, CONTENT),
        "schemas of Reprise": [name.replace(status["run"], "RUN") for name in schemas],
        "merges and undone ones": audit("SELECT pg_catalog.count(*), pg_catalog.count(undone_at) FROM reprise_audit.merges"),
        "changes in the audit": audit(
            """SET timezone = 'UTC'; SELECT table_name, operation, pg_catalog.count(*), pg_catalog.count(DISTINCT place),
               pg_catalog.sum(pg_catalog.hashtextextended((place, columns, before, after)::text, 7)) FROM reprise_audit.changes GROUP BY 1, 2 ORDER BY 1, 2"""),
        "skips in the audit": audit("SELECT table_name, reason, pg_catalog.count(*) FROM reprise_audit.skips GROUP BY 1, 2 ORDER BY 1, 2"),
        "triggers that are off": sql(PRODUCTION, "SELECT pg_catalog.count(*) FROM pg_trigger WHERE tgenabled = 'D'").strip(),
    }


def sound(program):
    undone = program.undoes
    return {
        "run state": "UNDONE" if undone else "SUCCEEDED", "content of the tables": ideal["lost" if undone else False],
        "merges and undone ones": "1|1" if undone else "1|0", "rescue schemas made": 1, "renames in all": 0, "triggers that are off": "0",
        "merges in the database": 1, "skips in the audit": "", "databases": sorted([PRODUCTION, "chms_seed", TEMPLATE]),
    }
