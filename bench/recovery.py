"""The whole recovery of a large database, against the runbook's commands by hand."""
import json
import os
import re
import subprocess
from measuring import BUILD, ROOT, Bench, load, median, run, spread, timed

ROWS = int(os.environ.get("REPRISE_BENCH_ROWS", 2_000_000))
LABSCRIPT = ROOT / "scripts" / "lab"

# The runbook's commands as they have to be for them to work, with the time after each.
RUNBOOK = r"""
set -euo pipefail
cd /var/lib/postgresql
now() { echo "at=$1 $(date +%s.%N)"; }
now start
aws --endpoint-url "$ENDPOINT" s3 cp --only-show-errors "s3://chms-backups/$KEY" runbook.dump.gz
now fetch
gunzip -f runbook.dump.gz
chown postgres: runbook.dump
now gunzip
runuser -u postgres -- createdb -T template0 -E "$ENCODING" --lc-collate="$COLLATE" --lc-ctype="$CTYPE" chms_runbook
runuser -u postgres -- pg_restore -d chms_runbook runbook.dump
now restore
runuser -u postgres -- psql -X -At -d chms_runbook -c \
    "SELECT format('SELECT count(*) FROM %I.%I;', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')" \
    | runuser -u postgres -- psql -X -At -v ON_ERROR_STOP=1 -d chms_runbook >/dev/null
now count
"""

CLEAN = r"""
rm -rf /var/lib/postgresql/runbook.dump*
runuser -u postgres -- psql -X -q -d postgres -c 'DROP DATABASE IF EXISTS chms_runbook' -c 'DROP DATABASE IF EXISTS chms_damaged' \
    -c 'DROP DATABASE IF EXISTS chms_restore' -c CHECKPOINT
sync
"""

# What one run fetched; others' is not ours to remove.
FORGET = r"""
rm -rf -- "/var/backups/reprise/${RUN:?}"
"""

# Each job's time as the host's own ledger has it.
JOBS = r"""
cd /var/lib/reprise/jobs
for job in "$RUN".*; do printf '%s ' "$job"; grep -a '^duration=' "$job/result" || echo; done
"""


def on_host(script: str, *words: str, ok=(0,)) -> str:
    return run([LABSCRIPT, "enter", "db1", "env", *words, "bash", "-c", script], ok=ok).stdout


def sql(query: str) -> str:
    done = subprocess.run([LABSCRIPT, "sql", "db1", "postgres", "-At"], input=query, text=True, capture_output=True, check=True)
    return done.stdout.strip()


def measure(bench: Bench):
    before = run([LABSCRIPT, "status"]).stdout
    scale = re.search(r"seed (\S+)", before)[1]
    rows = min(50_000, ROWS) if bench.quick else ROWS
    if rows != 2_000_000:
        bench.say(f"NOT the scale that the targets are meant for: {rows} instead of 2000000 members")
    bench.say(f"seeding {rows} members on db1, and a backup with the runbook's own commands")
    run([LABSCRIPT, "seed", "--scale", rows], capture=True)
    key = run([LABSCRIPT, "backup"]).stdout.split()[0]
    try:
        compare(bench, key, rounds=1 if bench.quick else 3)
    finally:
        on_host(CLEAN)
        run([LABSCRIPT, "aws", "writer", "s3", "rm", f"s3://chms-backups/{key}"])
        run([LABSCRIPT, "seed", "--scale", scale])


def compare(bench: Bench, key: str, rounds: int):
    size = float(sql("SELECT pg_database_size('chms_production')")) / 1e6
    bench.say(f"the database has {size:.0f} MB; {load()}")
    runbooks, recoveries = [], []
    for number in range(rounds):
        sides = [lambda: runbooks.append(by_hand(key)), lambda: recoveries.append(by_reprise(bench, number))]
        for side in sides if number % 2 == 0 else reversed(sides):
            on_host(CLEAN)
            side()
    report(bench, runbooks, recoveries)


def by_hand(key: str) -> dict:
    properties = sql(
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = 'chms_production'").split("|")
    words = [f"{name}={value}" for name, value in zip(("ENCODING", "COLLATE", "CTYPE"), properties)]
    text = on_host(RUNBOOK, "ENDPOINT=http://10.77.0.10:7480", f"KEY={key}", *words)
    times = [(name, float(at)) for name, at in re.findall(r"at=(\w+) ([\d.]+)", text)]
    phases = {name: at - times[index][1] for index, (name, at) in enumerate(times[1:])}
    return {**phases, "whole": times[-1][1] - times[0][1]}


def by_reprise(bench: Bench, number: int) -> dict:
    journal = bench.folder / f"recovery-{number}.db"
    try:
        return recovery(journal)
    finally:
        for entry in json.loads(run([BUILD / "reprise", "list", "--json", "--journal", journal]).stdout):
            on_host(FORGET, f"RUN={entry['run']}")


def recovery(journal) -> dict:
    whole = timed([
        BUILD / "reprise", "start", ROOT / "plans" / "db-corruption.yaml", "--inventory", ROOT / "inventory" / "lab.yaml", "--yes",
        "--quiet", "--param", "approve=no", "--journal", journal], ok=(0, 8))
    account = json.loads(run([BUILD / "reprise", "report", "--format", "json", "--journal", journal]).stdout)
    steps = {step["id"]: step.get("seconds") or 0 for step in account["run"]["steps"]}
    if not account["tables"] or account["findings"]:
        raise SystemExit(f"error: the recovery proved nothing: {account['findings'][:3]}")
    jobs = {}
    for name, duration in re.findall(r"^\S+?\.(\S+) duration=(\d+)", on_host(JOBS, f"RUN={account['run']['run']}"), re.M):
        jobs[name] = int(duration) / 1000
    return {"whole": whole, "steps": steps, "jobs": jobs}


def report(bench: Bench, runbooks: list, recoveries: list):
    def of(values, *path):
        def pick(value):
            for name in path:
                value = value.get(name, 0) if isinstance(value, dict) else 0
            return value
        return median([pick(value) for value in values])

    hand = {name: of(runbooks, name) for name in ("fetch", "gunzip", "restore", "count", "whole")}
    bench.say("by hand  " + spread([value["whole"] for value in runbooks]) + ": "
              + ", ".join(f"{name} {hand[name]:.1f} s" for name in ("fetch", "gunzip", "restore", "count")))
    steps = {name: of(recoveries, "steps", name) for name in recoveries[0]["steps"]}
    bench.say("reprise  " + spread([value["whole"] for value in recoveries]) + ": "
              + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps.items() if seconds >= 0.05))
    jobs = {name: median([value["jobs"].get(name, 0) for value in recoveries]) for name in recoveries[0]["jobs"]}
    bench.say("of that on the host: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in sorted(jobs.items()) if seconds >= 0.1))
    decode = sum(seconds for name, seconds in jobs.items() if ".decode-" in name)
    proof = decode + steps.get("verify-scratch", 0)
    whole = of(recoveries, "whole")
    bench.target(
        "restore against pg_restore by hand", steps.get("restore", 0) / hand["restore"], 1.0,
        hindrance="the restore includes ANALYZE, and as many jobs as the plan says share the cores with the server")
    bench.target(
        "proof (decode, hash, verify before the swap) on top", proof / hand["restore"], 0.4,
        hindrance=f"decode {decode:.1f} s and verification {steps.get('verify-scratch', 0):.1f} s follow each other")
    bench.target(
        "goal: the whole, swap and second proof included, against by hand", whole / hand["whole"], 1.0,
        hindrance="fetch, decode, restore and two proofs run one after the other: "
        + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps.items() if seconds >= 0.5))
