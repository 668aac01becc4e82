"""What is left after a recovery, told by those who know nothing of the program, and how it must be.

The witnesses are PostgreSQL's log and the store's access log, and what each plan's scene adds; the databases' content is read
through SQL, and the application is asked over HTTP.
"""
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from .lab import DAMAGED, LAB_DIR, PRODUCTION, Deviation, host_file, host_ip, sql

CONTENT = """
SET timezone = 'UTC';
SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 7)), 0) FROM %I.%I t', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'reprise\\_rescue\\_%'
      AND n.nspname <> 'reprise_audit' ORDER BY 1 \\gexec
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

    def __init__(self, scene, program):
        self.scene, self.program, self.address = scene, program, host_ip(program.host)
        self.pg = host_file(program.host, "/var/log/postgresql/postgresql-15-main.log")
        self.s3 = LAB_DIR / "s3" / "ops.log"
        self.git = LAB_DIR / "hosts" / "s3" / "console.log"
        self.starts = {path: path.stat().st_size if path.exists() else 0 for path in (self.pg, self.s3, self.git)}

    def _since(self, path):
        if not path.exists():
            return []
        start = self.starts[path]
        with open(path, "rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace").splitlines()

    def counts(self):
        ddl = [line for line in self._since(self.pg) if re.search(r"LOG:  (statement|execute [^:]*): ", line) and "app=matrix" not in line]

        def statements(pattern):
            return sum(1 for line in ddl if re.search(pattern, line))
        store = []
        for line in self._since(self.s3):
            try:
                store.append(json.loads(line))
            except ValueError:
                continue
        reads = [entry for entry in store if entry.get("operation") == "get_obj" and entry.get("user") == "lab-reader" and self._is_ours(entry)]
        writes = [entry for entry in store if entry.get("operation") in ("put_obj", "delete_obj", "complete_multipart", "init_multipart")]
        counts = {name: statements(pattern) for name, pattern in self.scene.STATEMENTS.items()}
        counts |= {"backup bytes read": sum(int(entry.get("bytes_sent") or 0) for entry in reads), "writes to the store": len(writes)}
        counts["visits to the code's server"] = sum(1 for line in self._since(self.git) if re.search(rf"Accepted publickey for git from {self.address} ", line))
        return counts | self.scene.counts(self.program)

    def _is_ours(self, entry):
        """Other recoveries go on at the same time where they have hosts of their own: what this machine reads for them is not told apart."""
        return not self.scene.SIDE_BY_SIDE or entry.get("remote_addr") == self.address


def application_answers(*where):
    return subprocess.run(["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", *where], capture_output=True, text=True).stdout


def final_state(scene, program, journal, production_oid):
    status = program.status(journal)
    more = scene.final_state(program, status)
    with ThreadPoolExecutor() as pool:
        health, content, outline = (pool.submit(*work) for work in (
            (application_answers, *scene.application(program)), (sql, PRODUCTION, CONTENT, program.host), (sql, "postgres", DATABASES, program.host)))
        verified = program.run(journal, "journal", "verify")[0]
        sessions, *databases = outline.result().split("\n")
    databases = dict(line.split(" ") for line in databases if line)
    claims = host_file(program.host, "/var/lib/reprise/claims")
    return {
        "run state": status["state"],
        "step states": {step["id"]: step["state"] for step in status["steps"]},
        "warnings of the run": len(status["warnings"]),
        "databases": sorted(databases),
        "the damaged database is kept": databases.get(DAMAGED) == production_oid,
        "content of production": content.result(),
        "application answers": health.result(),
        "sessions left": sessions,
        "claims left": sorted(path.name for path in claims.iterdir()) if claims.exists() else [],
        "journal verifies": verified,
    } | more


# Whatever the plan.
SOUND = {"application answers": "200", "journal verifies": 0, "writes to the store": 0, "sessions left": "0", "claims left": []}


def expect_sound(scene, program, state):
    """The undisturbed run itself is held against what must be, not only compared with."""
    for name, value in (SOUND | scene.sound(program)).items():
        if state[name] != value:
            raise Deviation(f"in the undisturbed run ({program.name}), {name}: {difference(value, state[name])}")


def compare(scene, expected, actual, died_at):
    """`actual` is the undisturbed run's state, but for what the kills at `died_at` may have added."""
    spare = {name: sum(1 for place in died_at for pattern in ([patterns] if isinstance(patterns, str) else patterns) if re.match(pattern, place))
             for name, patterns in scene.MAY_REPEAT.items()}
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
