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

from .lab import ROOT, Deviation

# A run takes seconds, that of a whole server a minute; one that hangs is a deviation.
RUN_SECONDS = 300


def environment(**more):
    return {key: value for key, value in os.environ.items() if not key.startswith("REPRISE_")} | more


class Program:
    """One way of running a plan, as operators run it.

    - text: the plan.
    - parameters: NAME=VALUE each.
    - approves: the step that waits for a person's word; None where nobody is asked.
    - undoes: whether the run is undone when it has ended.
    - host: where the database is; inventory: the file that says so.
    """

    def __init__(self, binary, folder, name, text, parameters, approves=None, undoes=False, host="db1", inventory=ROOT / "inventory" / "lab.yaml"):
        self.binary, self.folder, self.name, self.approves, self.undoes = binary, folder, name, approves, undoes
        self.host, self.inventory = host, str(inventory)
        self.parameters = [word for value in parameters for word in ("--param", value)]
        self.plan = self.file("plan").with_suffix(".yaml")
        self.plan.write_text(text)

    def file(self, name):
        """A file of this program's own."""
        return self.folder / f"{name}-{self.name.replace(' ', '-')}"

    def new_journal(self, name):
        place = self.folder / re.sub(r"[^A-Za-z0-9.-]", "_", f"{self.name} {name}")
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
        return ["start", str(self.plan), "--inventory", self.inventory, *self.parameters, "--yes"]

    @property
    def approve(self):
        return ["approve", self.approves, "--comment", "agreed"]

    @property
    def undo(self):
        return ["undo", "--yes", "--reason", "to see it go"]

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
        # Another thread may note where it is before the signal takes effect, so it need not be the last line.
        deaths = [line for line in log.read_text().splitlines() if line.startswith("died at ")]
        return deaths[-1].removeprefix("died at ") if deaths else None


KILLED = -signal.SIGKILL
