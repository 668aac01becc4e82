"""plans/db-corruption.yaml: a corrupted database, which is restored beside the damaged one and swapped in."""
import re

from .lab import DAMAGED, EFFECTS, PRODUCTION, ROOT, SCRATCH, TEMPLATE, fresh_database, host_file, lab, prepare_database
from .program import Program

PLAN = "db-corruption"
# Kills in one recovery. Neighbours are spread over different recoveries: between two kills there is work.
KILLS_IN_CI = 28
SIDE_BY_SIDE = False
# What is told apart in PostgreSQL's log.
STATEMENTS = {
    "rename production to damaged": rf'ALTER DATABASE "?{PRODUCTION}"? RENAME TO "?{DAMAGED}"?',
    "rename scratch to production": rf'ALTER DATABASE "?{SCRATCH}"? RENAME TO "?{PRODUCTION}"?',
    "renames in all": r"ALTER DATABASE .* RENAME TO",
    "restores (CREATE TABLE members)": r"CREATE TABLE public\.members \(",
    "scratch databases made": rf'CREATE DATABASE "?{SCRATCH}"?',
}
# What must have happened where the journal calls a step done.
PROOFS = {
    "maintenance-on": "effect maintenance-on", "maintenance-off": "effect maintenance-off",
    "restore": "restores (CREATE TABLE members)", "swap": "rename scratch to production",
}
# What a kill may add, and why; each only once for each kill, or for each of several patterns that fit.
MAY_REPEAT = {
    # An empty scratch database, made and not yet handed to pg_restore, is made anew: that is how this step is resolved.
    "scratch databases made": r"restore\.(before-mark|after-mark) |job\.before-submit restore#1 restore$",
    # The log has a statement when it begins. One in a transaction that was never committed changed nothing.
    "rename production to damaged": r"swap\.renamed ",
    "rename scratch to production": rf"swap\.renamed {SCRATCH}$",
    # Killed after the second one, both are said again.
    "renames in all": (r"swap\.renamed ", rf"swap\.renamed {SCRATCH}$"),
}


def prepare():
    prepare_database(lambda: lab("corrupt"))


def fresh(_program):
    return fresh_database()


def application(_program):
    return ["http://10.77.0.11/api/health"]


def with_effects(text):
    """The shipped plan; its command steps also append a line to the effect log of their host."""
    parts = re.split(r"(?m)^(?=  - id: )", text)
    for index, part in enumerate(parts):
        step = re.match(r"  - id: (\S+)\n    kind: command\n", part)
        if step:
            parts[index], count = re.subn(r"(?m)^      run: (.*)$", rf"      run: \1 && echo {step[1]} >> {EFFECTS}", part, count=1)
            assert count == 1, f"step {step[1]} has no run:"
    changed = "".join(parts)
    assert changed.count(EFFECTS) == 2, "the plan's command steps have changed: adapt this script"
    return changed


def programs(binary, folder):
    """As shipped, where nobody is asked and the database's host fetches the backup itself; and by way of this machine, with a word."""
    text = with_effects((ROOT / "plans" / f"{PLAN}.yaml").read_text())
    carried, count = re.subn(r"(?m)^      via: host$", "      via: orchestrator", text)
    assert count == 1, "the plan's fetch has changed: adapt this script"
    return [
        Program(binary, folder, "as shipped", text, ["approve=no"]),
        Program(binary, folder, "carried and approved", carried, ["approve=yes"], approves="approve-swap"),
    ]


def meanwhile():
    """Nobody works with a database that is down."""


def expect_merged():
    """Nothing is undone here."""


def counts(_program):
    """What witnesses on the hosts saw, beside the logs of servers."""
    seen = {}
    for host in ("app1", "db1"):
        file = host_file(host, EFFECTS)
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        seen |= {f"effect {name}": lines.count(name) for name in ("maintenance-on", "maintenance-off") if host == "app1"}
        seen[f"effects on {host}"] = len(lines)
    return seen


def final_state(program, status):
    return {}


def sound(program):
    """What the undisturbed run must come to."""
    return {
        "run state": "SUCCEEDED", "the damaged database is kept": True, "rename production to damaged": 1,
        "rename scratch to production": 1, "renames in all": 2, "restores (CREATE TABLE members)": 1, "scratch databases made": 1,
        "effect maintenance-on": 1, "effect maintenance-off": 1, "effects on app1": 2, "effects on db1": 0,
        "databases": sorted([PRODUCTION, DAMAGED, "chms_seed", TEMPLATE]),
    }
