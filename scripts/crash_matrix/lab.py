"""The lab as the matrix needs it: entering its hosts, and putting everything back to where a recovery begins."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LAB_DIR = Path(os.environ.get("REPRISE_LAB_DIR", "/var/lib/reprise-lab"))
# The template is the database as a recovery finds it.
PRODUCTION, DAMAGED, SCRATCH, TEMPLATE = "chms_production", "chms_damaged", "chms_restore", "chms_before"
APP = "/var/www/chms-production/backend"
EFFECTS = "/var/log/lab-effects/matrix"


class Deviation(Exception):
    """What the witnesses say differs from what must be."""


def host_pid(host):
    return (LAB_DIR / "hosts" / host / "init").read_text().split()[0]


def host_ip(host):
    return {"app1": "10.77.0.11", "db1": "10.77.0.12", "new1": "10.77.0.14", "new2": "10.77.0.15"}[host]


def in_host(host, *command, stdin=None, check=True):
    enter = ["nsenter", "-t", host_pid(host), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--", "/usr/bin/env", "-i",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
    done = subprocess.run([*enter, *command], input=stdin, text=True, capture_output=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"on {host}: {command[0]} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


def host_file(host, path):
    """A file of a host, as the machine sees it."""
    return Path(f"/proc/{host_pid(host)}/root{path}")


def sql(database, text, host="db1"):
    return in_host(host, "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "env", "PGAPPNAME=matrix",
                   "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, stdin=text)


def lab(*arguments):
    done = subprocess.run([ROOT / "scripts" / "lab", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: scripts/lab {' '.join(arguments)} failed: {done.stderr.strip()[-1000:]}")
    return done.stdout


CLEAN_HOST = r"""
find /proc/[0-9]*/fd /proc/[0-9]*/cwd -maxdepth 1 -lname '/var/lib/reprise/*' 2>/dev/null | cut -d / -f 3 | sort -u | xargs -r kill -KILL 2>/dev/null
rm -rf /var/lib/reprise /var/backups/reprise
find /var/log/lab-effects -mindepth 1 -delete
rm -f "$1"/storage/framework/down "$1"/storage/framework/maintenance.php
true"""

# What an earlier run left goes; the database comes back page by page, with the settings that no copy carries.
FRESH_DATABASE = f"""
SET client_min_messages = error;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('{PRODUCTION}', '{DAMAGED}', '{SCRATCH}') \\g /dev/null
DROP DATABASE IF EXISTS {SCRATCH} WITH (FORCE);
DROP DATABASE IF EXISTS {DAMAGED} WITH (FORCE);
DROP DATABASE IF EXISTS {PRODUCTION} WITH (FORCE);
CREATE DATABASE {PRODUCTION} TEMPLATE {TEMPLATE} OWNER chms_user STRATEGY file_copy;
ALTER DATABASE {PRODUCTION} SET timezone = 'Europe/London';
ALTER DATABASE {PRODUCTION} SET statement_timeout = '5min';
ALTER ROLE chms_user IN DATABASE {PRODUCTION} SET lock_timeout = '30s';
ALTER DATABASE {PRODUCTION} CONNECTION LIMIT 80;
COMMENT ON DATABASE {PRODUCTION} IS 'Church management, production';
REVOKE CONNECT ON DATABASE {PRODUCTION} FROM PUBLIC;
GRANT CONNECT ON DATABASE {PRODUCTION} TO chms_readonly;
SELECT oid FROM pg_database WHERE datname = '{PRODUCTION}';
"""


def prepare_database(break_it):
    """One backup and one database in trouble, of which each run gets a copy."""
    lab("reset")
    lab("backup")
    break_it()
    sql("postgres", f"""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{PRODUCTION}' \\g /dev/null
        ALTER DATABASE {PRODUCTION} RENAME TO {TEMPLATE};
        ALTER DATABASE {TEMPLATE} IS_TEMPLATE true;
        CHECKPOINT;""")
    # Checksum failures are the lab's doing, and no sign of a failing disk under the copies.
    sql(TEMPLATE, "SELECT pg_stat_reset()")


def fresh_database():
    """The lab as it was before the recovery. Returns the OID of the production database."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: in_host(host, "bash", "-uc", CLEAN_HOST, "clean", APP), ("app1", "db1")))
    return sql("postgres", FRESH_DATABASE).strip().splitlines()[-1]
