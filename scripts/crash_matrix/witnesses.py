"""What is left after a recovery, told by those who know nothing of the program, and how it must be.

The witnesses are PostgreSQL's log, the store's access log, and the effect logs on the hosts, to which the plan's command
steps append; the databases' content is read through SQL, and the application is asked over HTTP.
"""
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from .lab import DAMAGED, EFFECTS, LAB_DIR, PRODUCTION, SCRATCH, TEMPLATE, Deviation, host_file, sql

CONTENT = """
SET timezone = 'UTC';
SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 7)), 0) FROM %I.%I t', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 \\gexec
SELECT 'sequence', schemaname, sequencename, last_value FROM pg_sequences ORDER BY 2, 3;
SELECT 'objects', relkind, count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') GROUP BY 2 ORDER BY 2;
SELECT 'constraint', conname, convalidated FROM pg_constraint ORDER BY 2;
SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 2;
SELECT 'database', pg_get_userbyid(datdba), datacl, datconnlimit, datallowconn, pg_encoding_to_char(encoding), datcollate, shobj_description(oid, 'pg_database')
FROM pg_database WHERE datname = current_database();
SELECT 'setting', coalesce(r.rolname, '-'), s.setconfig FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 2;
"""

DATABASES = """
SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'reprise%';
SELECT datname || ' ' || oid FROM pg_database WHERE datname LIKE 'chms%' ORDER BY 1;
"""


class Witnesses:
    """Where each log stood when a run began, and what was added since."""

    def __init__(self):
        self.pg = host_file("db1", "/var/log/postgresql/postgresql-15-main.log")
        self.s3 = LAB_DIR / "s3" / "ops.log"
        self.pg_start, self.s3_start = self.pg.stat().st_size, self.s3.stat().st_size

    @staticmethod
    def _since(path, start):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace").splitlines()

    def counts(self):
        ddl = [line for line in self._since(self.pg, self.pg_start) if re.search(r"LOG:  (statement|execute [^:]*): ", line) and "app=matrix" not in line]

        def statements(pattern):
            return sum(1 for line in ddl if re.search(pattern, line))
        store = []
        for line in self._since(self.s3, self.s3_start):
            try:
                store.append(json.loads(line))
            except ValueError:
                continue
        reads = [entry for entry in store if entry.get("operation") == "get_obj" and entry.get("user") == "lab-reader"]
        writes = [entry for entry in store if entry.get("operation") in ("put_obj", "delete_obj", "complete_multipart", "init_multipart")]
        counts = {
            "rename production to damaged": statements(rf'ALTER DATABASE "?{PRODUCTION}"? RENAME TO "?{DAMAGED}"?'),
            "rename scratch to production": statements(rf'ALTER DATABASE "?{SCRATCH}"? RENAME TO "?{PRODUCTION}"?'),
            "renames in all": statements(r"ALTER DATABASE .* RENAME TO"),
            "restores (CREATE TABLE members)": statements(r"CREATE TABLE public\.members \("),
            "scratch databases made": statements(rf'CREATE DATABASE "?{SCRATCH}"?'),
            "backup bytes read": sum(int(entry.get("bytes_sent") or 0) for entry in reads),
            "writes to the store": len(writes),
        }
        for host in ("app1", "db1"):
            lines = file_lines(host, EFFECTS)
            counts |= {f"effect {name}": lines.count(name) for name in ("maintenance-on", "maintenance-off") if host == "app1"}
            counts[f"effects on {host}"] = len(lines)
        return counts


def file_lines(host, path):
    file = host_file(host, path)
    return file.read_text().split("\n")[:-1] if file.exists() else []


def application_answers():
    return subprocess.run(["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "http://10.77.0.11/api/health"],
                          capture_output=True, text=True).stdout


def final_state(program, journal, damaged_oid):
    with ThreadPoolExecutor() as pool:
        health, content, outline = (pool.submit(*work) for work in (
            (application_answers,), (sql, PRODUCTION, CONTENT), (sql, "postgres", DATABASES)))
        status, verified = program.status(journal), program.run(journal, "journal", "verify")[0]
        sessions, *databases = outline.result().split("\n")
    databases = dict(line.split(" ") for line in databases if line)
    claims = host_file("db1", "/var/lib/reprise/claims")
    return {
        "run state": status["state"],
        "step states": {step["id"]: step["state"] for step in status["steps"]},
        "warnings of the run": len(status["warnings"]),
        "databases": sorted(databases),
        "the damaged database is kept": databases.get(DAMAGED) == damaged_oid,
        "content of production": content.result(),
        "application answers": health.result(),
        "sessions left": sessions,
        "claims left": sorted(path.name for path in claims.iterdir()) if claims.exists() else [],
        "journal verifies": verified,
    }


def expect_sound(state):
    """The undisturbed run itself is held against what must be, not only compared with."""
    sound = {
        "run state": "SUCCEEDED", "the damaged database is kept": True, "application answers": "200", "journal verifies": 0,
        "rename production to damaged": 1, "rename scratch to production": 1, "renames in all": 2,
        "restores (CREATE TABLE members)": 1, "scratch databases made": 1, "writes to the store": 0,
        "effect maintenance-on": 1, "effect maintenance-off": 1, "effects on app1": 2, "effects on db1": 0, "sessions left": "0",
        "claims left": [], "databases": sorted([PRODUCTION, DAMAGED, "chms_seed", TEMPLATE]),
    }
    for name, value in sound.items():
        if state[name] != value:
            raise Deviation(f"in the undisturbed run, {name}: {value} expected, {state[name]} seen")


# What a kill may add, and why; each only once for each kill. Everything else must be as in the undisturbed run.
MAY_REPEAT = {
    # An empty scratch database, made and not yet handed to pg_restore, is made anew: that is how this step is resolved.
    "scratch databases made": r"restore\.(before-mark|after-mark) |job\.before-submit restore#1 restore$",
    # The log has a statement when it begins. One in a transaction that was never committed changed nothing.
    "rename production to damaged": r"swap\.renamed ",
    "rename scratch to production": rf"swap\.renamed {SCRATCH}$",
}


def compare(expected, actual, died_at):
    """`actual` is the undisturbed run's state, but for what the kills at `died_at` may have added."""
    spare = {name: sum(1 for place in died_at if re.match(pattern, place)) for name, pattern in MAY_REPEAT.items()}
    spare["renames in all"] = spare["rename production to damaged"] + spare["rename scratch to production"]
    for name, wanted in expected.items():
        seen = actual[name]
        if name == "backup bytes read":
            # Ranged and resumed: never less than the object, and never a second whole one.
            good = wanted <= seen < 2 * wanted
        elif name in spare:
            good = wanted <= seen <= wanted + spare[name]
        else:
            good = seen == wanted
        if not good:
            raise Deviation(f"{name}: {difference(wanted, seen)}")


def difference(wanted, seen):
    if isinstance(wanted, dict):
        return {key: seen.get(key) for key in wanted if seen.get(key) != wanted[key]}
    if isinstance(wanted, str) and "\n" in wanted:
        return sorted(set(seen.splitlines()) ^ set(wanted.splitlines()))[:4]
    return f"{wanted} expected, {seen} seen"
