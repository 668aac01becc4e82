"""plans/full-server.yaml: a bare host becomes the serving application, and a second run over it changes nothing."""
import hashlib
import os
import re
import socket
import stat
from concurrent.futures import ThreadPoolExecutor

from .lab import EFFECTS, LAB_DIR, PRODUCTION, ROOT, SCRATCH, host_file, host_ip, in_host, lab, sql
from .program import Program
from .witnesses import CONTENT

PLAN = "full-server"
SITE = "chms.example.org"
# A recovery from a bare host takes a minute. So two hosts are recovered side by side, and each of them dies at half of the places.
SIDE_BY_SIDE = True
# For CI: the head's file, and the note that a job was seen at work, which a job that ended while nobody looked leaves out. Both are
# the same code for every step, and are died at in the other plans.
LEFT_OUT_IN_CI = re.compile(r"journal\.after-head |journal\.\S+ observed \S+ submitted:")
# What a kill takes off the way is not visited again: where several records are committed at once, only one of them is died at.
ENOUGH_IN_CI = 0.9
STATEMENTS = {
    "restores (CREATE TABLE members)": r"CREATE TABLE public\.members \(",
    "scratch databases made": rf'CREATE DATABASE "?{SCRATCH}"?',
    "rename scratch to production": rf'ALTER DATABASE "?{SCRATCH}"? RENAME TO "?{PRODUCTION}"?',
    "renames in all": r"ALTER DATABASE .* RENAME TO",
}
# Steps that leave a file; it is there where the journal calls them done.
FILES = {
    "cluster-folder": "/etc/postgresql-common", "no-default-cluster": "/etc/postgresql-common/createcluster.conf",
    "cluster": "/etc/postgresql/15/main/conf.d/reprise.conf", "code-host": "/etc/ssh/ssh_known_hosts", "site-folder": "/var/www/chms-production",
    "code": "/var/www/chms-production/backend/artisan", "environment": "/var/www/chms-production/backend/.env",
    "files": "/var/www/chms-production/backend/storage/app/public/uploads/welcome.txt", "files-mark": "/var/www/chms-production/.files-restored",
    "issuers": "/etc/ssl/chms-issuers.pem", "certificate": "/etc/ssl/chms/fullchain.pem", "site": "/etc/nginx/sites-available/chms",
    "scheduler": "/etc/cron.d/chms-scheduler", "firewall": "/etc/nftables.conf",
}
PROOFS = {step: f"file of {step}" for step in FILES} | {
    "database-packages": "postgresql-15 installed", "application-packages": "nginx-light installed", "fetch": "backup bytes read",
    "restore": "restores (CREATE TABLE members)", "name": "rename scratch to production",
    "dependencies": "effect dependencies", "caches": "effect caches",
}
MAY_REPEAT = {
    # An empty scratch database, made and not yet handed to pg_restore, is made anew: that is how this step is resolved.
    "scratch databases made": r"restore\.(before-mark|after-mark) |job\.before-submit restore#1 restore$",
    # The log has a statement when it begins. One in a transaction that was never committed changed nothing.
    "rename scratch to production": r"swap\.renamed ",
    "renames in all": r"swap\.renamed ",
}
SERVICES = ("cron", "nginx", "php8.2-fpm", "postgresql")


def prepare():
    lab("reset")
    lab("backup")


def fresh(program):
    lab("factory", program.host)


def application(program):
    return ["--cacert", str(LAB_DIR / "tls" / "ca.pem"), "--resolve", f"{SITE}:443:{host_ip(program.host)}", f"https://{SITE}/api/health"]


def witnessed(text):
    """The shipped plan; commands that change something note it on their host, and the new server logs its statements."""
    for step in ("dependencies", "caches"):
        text, count = re.subn(rf"(?s)(  - id: {step}\n.*?\n      run: )(\|\n        )?", rf"\1|\n        echo {step} >>{EFFECTS}\n        ", text, count=1)
        assert count == 1, f"step {step} has no run:"
    text, count = re.subn(r"(?m)^      settings:$", '\\g<0>\n        log_statement: ddl\n        log_line_prefix: "%m [%p] app=%a "', text, count=1)
    assert count == 1, "the plan's cluster has changed: adapt this script"
    return text


def programs(binary, folder):
    """The same recovery of two hosts. Both bear one name in their inventories, so that their places are the same."""
    text = witnessed((ROOT / "plans" / f"{PLAN}.yaml").read_text())
    made = []
    for host in ("new1", "new2"):
        inventory = folder / f"inventory-{host}.yaml"
        inventory.write_text((ROOT / "inventory" / "new-server" / "lab.yaml").read_text().replace(host_ip("new1"), host_ip(host)))
        made.append(Program(binary, folder, f"on {host}", text, [f"address={host_ip(host)}"], host=host, inventory=inventory))
    return made


def meanwhile():
    """Nobody works with a server that is not there yet."""


def expect_merged():
    """Nothing is undone here."""


def lines_of(host, path):
    file = host_file(host, path)
    return file.read_text(errors="replace").splitlines() if file.exists() else []


def counts(program):
    """What dpkg and apt have logged, the effects of commands, and the files of which the journal may say that they are there."""
    dpkg, effects = lines_of(program.host, "/var/log/dpkg.log"), lines_of(program.host, EFFECTS)
    installs = [line.split(" ")[3] for line in dpkg if re.match(r"\S+ \S+ install ", line)]
    done = [line.split(" ")[4] for line in dpkg if " status installed " in line]
    return {
        "packages installed": len(set(installs)),
        "packages installed again": len(installs) - len(set(installs)),
        "packages upgraded or removed": sum(1 for line in dpkg if re.match(r"\S+ \S+ (upgrade|remove|purge) ", line)),
        "runs of apt that installed": sum(1 for line in lines_of(program.host, "/var/log/apt/history.log") if line.startswith("Install: ")),
    } | {f"{name} installed": int(any(package.split(":")[0] == name for package in done)) for name in ("postgresql-15", "nginx-light")} \
      | {f"effect {name}": effects.count(name) for name in ("dependencies", "caches")} \
      | {f"file of {step}": int(os.path.lexists(host_file(program.host, path))) for step, path in FILES.items()}


# ---- What is left ----

# What living does, and what this recovery alone knows: logs, caches, sessions, the server's own files, the ledger of jobs.
LIVING = re.compile(
    r"(var/log|var/cache|var/tmp|var/lib/apt/(lists|periodic)|var/lib/reprise|var/lib/postgresql/15/main|var/lib/php/sessions|var/lib/nginx|var/lib/lab|root/\.local|tmp|run"
    r"|var/www/chms-production/backend/storage/(framework|logs))(/|$)")
# Of these each host has its own: keys, names, times of checking out, names that are thrown like dice.
OWN = re.compile(
    r"etc/(hostname|machine-id|shadow-?|ssh/ssh_host_.*|ssl/private/ssl-cert-snakeoil\.key|ssl/certs/.*)|var/lib/dpkg/.*|var/lib/systemd/.*|var/lib/reprise-postgresql/15-main\.made"
    r"|var/www/chms-production/backend/(\.git/.*|vendor/(autoload\.php|composer/.*))")

DICED = re.compile(r"var/www/chms-production/backend/(\.git|vendor/composer)/|etc/ssl/certs/[0-9a-f]{8}\.\d ")


def walk(host):
    """Every file of the host that its image does not have: path and lstat."""
    upper = LAB_DIR / "hosts" / host / "upper"
    for folder, names, files in os.walk(upper):
        place = os.path.relpath(folder, upper)
        names[:] = [name for name in names if not LIVING.match(os.path.normpath(f"{place}/{name}"))]
        for name in files + names:
            path = os.path.normpath(f"{place}/{name}")
            if not LIVING.match(path):
                yield path, upper / path, os.lstat(upper / path)


def tree(host):
    """Owner, mode and content of every file."""
    def told(entry):
        path, file, status = entry
        if OWN.fullmatch(path) and not stat.S_ISDIR(status.st_mode):
            what = "its own"
        elif stat.S_ISREG(status.st_mode):
            what = hashlib.sha256(file.read_bytes()).hexdigest()
        else:
            what = os.readlink(file) if stat.S_ISLNK(status.st_mode) else ""
        return f"{path} {status.st_uid}:{status.st_gid} {status.st_mode:o} {what}"

    with ThreadPoolExecutor() as pool:
        lines = pool.map(told, walk(host))
        # Of these the very names are other ones each time.
        return "\n".join(sorted(re.sub(r"^(var/backups/reprise/)[^/ ]+", r"\1RUN", line) for line in lines if not DICED.match(line)))


def touched(host):
    """Changes with every change of a file, also with one that leaves its content."""
    return {path: status.st_ctime_ns for path, _, status in walk(host) if not stat.S_ISDIR(status.st_mode)}


def is_open(host, port):
    try:
        socket.create_connection((host_ip(host), port), 2).close()
        return True
    except OSError:
        return False


def second_run(program):
    """The same plan again, with a journal of its own: what was done, and what it changed of files and rows."""
    journal = program.new_journal("second run")
    before, rows = touched(program.host), sql(PRODUCTION, CONTENT, program.host)
    code = program.call(program.start, journal)
    after = touched(program.host)
    return {
        "exit status": code,
        "not unchanged": sorted(step["id"] for step in program.status(journal)["steps"] if step["changed"] or step["state"] != "SUCCEEDED"),
        "files": sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)),
        "rows": rows == sql(PRODUCTION, CONTENT, program.host),
    }


def final_state(program, status):
    host = program.host
    with ThreadPoolExecutor() as pool:
        services = pool.map(lambda name: in_host(host, "sh", "-c", f"service {name} status >/dev/null 2>&1; echo $?").strip(), SERVICES)
        ports = pool.map(lambda port: is_open(host, port), (22, 80, 443, 5432))
        state = {
            "files of the host": tree(host),
            "packages of the host": in_host(host, "dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n"),
            "what dpkg finds half done": in_host(host, "dpkg", "--audit", check=False),
            "firewall": in_host(host, "nft", "list", "ruleset"),
            "services that run": dict(zip(SERVICES, services)),
            "open ports": dict(zip((22, 80, 443, 5432), ports)),
            "roles": sql("postgres", "SELECT rolname, rolsuper, rolcanlogin, rolpassword IS NOT NULL FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 1", host),
            "settings of the server": sql("postgres", "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'autovacuum', 'wal_level', 'data_checksums')", host),
        }
    return state | {"second run": second_run(program)}


def sound(program):
    return {
        "run state": "SUCCEEDED", "databases": [PRODUCTION], "packages installed again": 0,
        "what dpkg finds half done": "", "restores (CREATE TABLE members)": 1, "scratch databases made": 1,
        "rename scratch to production": 1, "renames in all": 1, "effect dependencies": 1, "effect caches": 1,
        "services that run": dict.fromkeys(SERVICES, "0"), "open ports": {22: True, 80: True, 443: True, 5432: False},
        # What only looks is done each time.
        "second run": {"exit status": 0, "not unchanged": ["app-key", "database-is-safe", "log-ends", "logs", "ports", "visit"], "files": [], "rows": True},
    } | {f"file of {step}": 1 for step in FILES}
