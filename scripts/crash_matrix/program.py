"""Running reprise: processes that are meant to be killed, and questions to its journal."""
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from .lab import EFFECTS, ROOT, Deviation

# A run takes seconds; one that hangs is a deviation.
RUN_SECONDS = 120


def environment(**more):
    return {key: value for key, value in os.environ.items() if not key.startswith("REPRISE_")} | more


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


class Program:
    """The shipped plan, as an operator runs it: nobody is asked, and the database's host fetches the backup itself.

    `carries` changes both: the backup comes by way of this machine, and the swap waits for an approval.
    """

    def __init__(self, binary, folder, carries=False):
        self.binary, self.folder, self.carries = binary, folder, carries
        self.name = "carried and approved" if carries else "as shipped"
        text = with_effects((ROOT / "plans" / "db-corruption.yaml").read_text())
        if carries:
            text, count = re.subn(r"(?m)^      via: host$", "      via: orchestrator", text)
            assert count == 1, "the plan's fetch has changed: adapt this script"
        self.plan = folder / f"plan-{'carries' if carries else 'ships'}.yaml"
        self.plan.write_text(text)
        self.inventory = str(ROOT / "inventory" / "lab.yaml")

    def new_journal(self, name):
        place = self.folder / re.sub(r"[^A-Za-z0-9.-]", "_", name)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        return place / "journal.sqlite"

    def spawn(self, arguments, journal, **more):
        with open(journal.parent / "output.txt", "ab") as output:
            return subprocess.Popen([self.binary, *arguments, "--journal", str(journal)], env=environment(**more), cwd=ROOT,
                                    stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def wait(self, process, seconds=RUN_SECONDS):
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "hung"

    def call(self, arguments, journal, **more):
        """The exit status, negative for a signal; `hung` where it did not end."""
        return self.wait(self.spawn(arguments, journal, **more))

    @property
    def start(self):
        return ["start", str(self.plan), "--inventory", self.inventory, "--param", f"approve={'yes' if self.carries else 'no'}", "--yes"]

    def run(self, journal, *arguments):
        done = subprocess.run([self.binary, *arguments, "--journal", str(journal)], capture_output=True, text=True,
                              env=environment(), stdin=subprocess.DEVNULL, cwd=ROOT, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def status(self, journal):
        code, out, err = self.run(journal, "status", "--json")
        try:
            return json.loads(out)
        except ValueError:
            raise Deviation(f"`status` says no JSON, exit {code}: {(out + err).strip()[-300:]}") from None

    @staticmethod
    def events(journal):
        """Kind and step of each event that is durable. Read from a copy, without reprise: looking changes nothing."""
        if not journal.exists():
            return []
        copy = journal.parent / "copy" / journal.name
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        for file in (journal, Path(f"{journal}-wal")):
            if file.exists():
                shutil.copy(file, copy.parent)
        with closing(sqlite3.connect(copy)) as connection:
            return connection.execute("SELECT kind, step FROM events ORDER BY sequence").fetchall()

    def records(self, journal):
        return json.loads(self.run(journal, "journal", "show", "--json")[1])

    def tail(self, journal):
        text = (journal.parent / "output.txt").read_text(errors="replace").strip()
        return " | ".join(text.splitlines()[-4:])[-600:]

    def passes(self, log):
        """The places that were passed, each once, in order."""
        return list(dict.fromkeys(line for line in log.read_text().splitlines() if not line.startswith("died at ")))

    def died_at(self, log):
        last = log.read_text().splitlines()[-1:]
        return last[0].removeprefix("died at ") if last and last[0].startswith("died at ") else None


KILLED = -signal.SIGKILL
