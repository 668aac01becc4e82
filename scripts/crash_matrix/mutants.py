"""Shows that the matrix can fail: each fault that is built in on purpose must turn a check red, and only it."""
import re
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

from . import corruption, server, tables
from .lab import EFFECTS, ROOT, Deviation, host_file, in_host
from .program import KILLED, RUN_SECONDS, environment
from .recovery import expect_claims_to_be_true, recover, undisturbed
from .witnesses import Witnesses


def short_plan(program, name, *scripts):
    """The arguments that start a plan of commands on the database's host, one after the other."""
    plan = program.folder / f"{name}.yaml"
    steps = "".join(
        f"  - id: step-{number}\n    kind: command\n    on: db1\n    timeout: 1m\n    with:\n      in-doubt: rerun\n      run: {script}\n"
        for number, script in enumerate(scripts, 1))
    plan.write_text(f"reprise: 1\nname: {name}\nsteps:\n{steps}")
    return ["start", str(plan), "--inventory", program.inventory, "--yes"]


def await_that(condition, process, what, pause=0.02):
    deadline = time.monotonic() + RUN_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(what)
        time.sleep(pause)


def outcome_first(scene, step, program, mutant):
    """Killed when the step's outcome is durable: what the journal calls done has happened."""
    place, witnesses = f"journal.after-commit attempt-succeeded {step}#1", Witnesses(scene, program)
    journal, deadly = program.new_journal("outcome"), program.folder / "deadly"
    deadly.write_text(place)
    code = program.call(program.start, journal, REPRISE_FAILPOINT_KILL=str(deadly), **mutant)
    if code != KILLED:
        raise RuntimeError(f"the start was to die by SIGKILL and ended with {code}: {program.tail(journal)}")
    expect_claims_to_be_true(scene, program, journal, witnesses, [place])


def no_fence_check(program, mutant):
    """Stopped, taken over by another operator, and awake again: the stale one must not append."""
    journal = program.new_journal("fence")
    stale = program.spawn(short_plan(program, "fence", "exit 0", "exit 0"), journal, REPRISE_FAILPOINT="effect.before:2:stop", **mutant)
    state = Path(f"/proc/{stale.pid}/stat")
    await_that(lambda: state.read_text().rsplit(")", 1)[1].split()[0] == "T", stale, "the first operator was not stopped")
    try:
        code = program.call(["resume", "--take-over", "--reason", "the first operator does not answer"], journal)
        if code != 0:
            raise Deviation(f"the second operator ended with {code}: {program.tail(journal)}")
        before = program.records(journal)
    finally:
        stale.send_signal(signal.SIGCONT)
        code = program.wait(stale, 60)
    after = program.records(journal)
    if len(after) != len(before):
        raise Deviation(f"the stale operator appended {len(after) - len(before)} records after it had lost the run, the first: "
                        f"{after[len(before)].get('kind')} under fence {after[len(before)].get('fence')}")
    if code != 7:
        raise Deviation(f"the stale operator ended with {code} instead of 7: {program.tail(journal)}")


def synchronous_normal(program, mutant):
    """Every commit flushes the write-ahead log before it counts."""
    journal, trace, log = program.new_journal("synchronous"), program.folder / "trace", program.folder / "synchronous-places"
    log.unlink(missing_ok=True)
    start = short_plan(program, "synchronous", "exit 0", "exit 0", "exit 0")
    with open(journal.parent / "output.txt", "ab") as output:
        code = subprocess.run(
            ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,write", "-e", "signal=none", "-o", str(trace),
             program.binary, *start, "--journal", str(journal)],
            env=environment(REPRISE_FAILPOINT_LOG=str(log), **mutant), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            timeout=RUN_SECONDS).returncode
    if code != 0:
        raise Deviation(f"the traced run ended with {code}: {program.tail(journal)}")
    flushed, commits, unflushed = False, 0, 0
    for line in trace.read_text(errors="replace").splitlines():
        if '"journal.before-commit' in line:
            flushed = False
        elif re.search(r"f(data)?sync\(\d+<[^>]*journal\.sqlite-wal>", line):
            flushed = True
        elif '"journal.after-commit' in line:
            commits += 1
            unflushed += not flushed
    if commits < 10:
        raise RuntimeError(f"only {commits} commits were seen in the trace")
    if unflushed:
        raise Deviation(f"{unflushed} of {commits} commits were acknowledged before the log was flushed")


def ignore_l2(program, mutant):
    """The supervisor of a job is killed while its command lives: the command is not run again beside itself."""
    journal, effects = program.new_journal("orphan"), host_file("db1", EFFECTS)
    script = f'"echo begins >> {EFFECTS}; sleep 3; echo ends >> {EFFECTS}"'
    process = program.spawn(short_plan(program, "orphan", script), journal, **mutant)
    await_that(effects.exists, process, f"the job never began: {program.tail(journal)}")
    process.kill()
    process.wait()
    # Those who hold L1 and not L2: the supervisor, and nothing that it started.
    in_host("db1", "bash", "-c", r"""
        for fds in /proc/[0-9]*/fd; do
            held=$(readlink "$fds"/* 2>/dev/null)
            case $held in */L1*) pid=${fds#/proc/}; kill -KILL "${pid%/fd}" ;; esac
        done; true""")
    deadline = time.monotonic() + RUN_SECONDS
    while program.call(["resume"], journal, **mutant) not in (0, 5) and time.monotonic() < deadline:
        pass
    lines = effects.read_text().split()
    # One that is waited for ends before anybody begins again.
    if lines[:2] != ["begins", "ends"]:
        raise Deviation(f"a second command ran beside the first: {' '.join(lines)}")


def merge_without_a_name(program, mutant):
    """Killed when the merge is committed and not yet journaled: the next attempt finds its mark, and merges nothing again."""
    place = "table-merge.after merge#1"
    expected, places = undisturbed(tables, program)
    if place not in places:
        raise RuntimeError(f"the recovery does not pass {place}")
    recover(tables, program, expected, "merge", {place}, **mutant)


MUTANTS = {
    corruption: {
        "outcome-before-effect": partial(outcome_first, corruption, "maintenance-on"),
        "journal.no-fence-check": no_fence_check,
        "journal.synchronous-normal": synchronous_normal,
        "ledger.ignore-l2": ignore_l2,
    },
    tables: {"merge.new-name-each-time": merge_without_a_name},
    server: {"outcome-before-effect": partial(outcome_first, server, "no-default-cluster")},
}


def mutants(scene, options, folder):
    good, program = True, scene.programs(options.binary, folder)[0]
    for name, scenario in MUTANTS[scene].items():
        if options.only and options.only != name:
            continue
        for mutant, wanted in (({}, "green"), ({"REPRISE_MUTANT": name}, "red")):
            start = time.monotonic()
            scene.fresh(program)
            try:
                scenario(program, mutant)
                seen, why = "green", ""
            except Deviation as deviation:
                seen, why = "red", str(deviation)
            good = good and seen == wanted
            label = f"with {name}" if mutant else f"without {name}"
            print(f"{'ok  ' if seen == wanted else 'FAIL'} {label:40} {seen:6} {time.monotonic() - start:6.1f} s  {why}", flush=True)
    print("every mutant is noticed" if good else "NOT every mutant is noticed, or a scenario fails without one")
    return good
