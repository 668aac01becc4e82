"""What the measurements share: alternation, medians, targets."""
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Another folder of binaries is for trying the benchmark itself out; what is printed says so.
RELEASE = ROOT / ".build" / "release"
BUILD = Path(os.environ.get("REPRISE_BENCH_BINARIES", RELEASE))
LAB = Path(os.environ.get("REPRISE_LAB_DIR", "/var/lib/reprise-lab"))


class Bench:
    """One section's numbers and verdicts. `quick` halves what can be halved; `rows` is how many the tables have."""

    missed = 0

    def __init__(self, name: str, quick: bool, venv: Path, rows=None):
        self.name, self.quick, self.venv, self.rows = name, quick, venv, rows
        # Not /tmp, which is memory on some machines: what is measured includes flushes to a disk.
        self.folder = Path(tempfile.mkdtemp(prefix="reprise-bench-", dir="/var/tmp"))
        print(f"\n== {name}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def say(self, text: str):
        print(f"   {text}", flush=True)

    def target(self, what: str, value: float, limit: float, unit: str = "x", at_least: bool = False, hindrance: str = ""):
        """Says whether a target is met, and what stands in the way where it is not."""
        met = value >= limit if at_least else value <= limit
        sign = ">=" if at_least else "<="
        print(f"   {'met   ' if met else 'MISSED'} {what}: {value:.3g} {unit} (target {sign} {limit:g} {unit})", flush=True)
        if not met:
            Bench.missed += 1
            if hindrance:
                print(f"          in the way: {hindrance}", flush=True)


def run(words, env=None, cwd=None, ok=(0,), capture=True) -> subprocess.CompletedProcess:
    """Runs a program to its end; ends the benchmark with what it said where it failed."""
    done = subprocess.run(
        [str(word) for word in words], env={**os.environ, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE if capture else None, stderr=subprocess.PIPE if capture else None, timeout=3600)
    if done.returncode not in ok:
        said = ((done.stderr or "") + (done.stdout or "")).strip()[-2000:]
        sys.exit(f"error: {' '.join(map(str, words))} ended with {done.returncode}\n{said}")
    return done


def timed(words, **options) -> float:
    start = time.monotonic()
    run(words, **options)
    return time.monotonic() - start


def pairs(line: str) -> dict:
    """`name=value` pairs of a line, numbers as numbers."""
    def value(text):
        try:
            return float(text)
        except ValueError:
            return text
    return {name: value(text) for name, text in re.findall(r"(\w+)=(\S+)", line)}


def alternate(rounds: int, sides: dict) -> dict:
    """Runs every side once a round, each round beginning with another one: what the machine does meanwhile meets all alike."""
    results = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        start = number % max(1, len(names))
        for name in names[start:] + names[:start]:
            results[name].append(sides[name](number))
    return results


def median(values) -> float:
    return statistics.median(values)


def spread(values, unit: str = "s", digits: int = 3) -> str:
    return f"median {median(values):.{digits}g} {unit} ({min(values):.{digits}g} to {max(values):.{digits}g}, {len(values)} runs)"


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
