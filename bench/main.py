"""Runs the sections that scripts/bench names, side by side with their peers."""
import argparse
import importlib
import os
import signal
import sys
from pathlib import Path
from measuring import BUILD, RELEASE, Bench

SECTIONS = ["journal", "resume", "steps", "fetch", "carry", "tables", "server", "recovery"]


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--venv", required=True, type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int)
    parser.add_argument("sections", nargs="+", choices=[*SECTIONS, "all"])
    options = parser.parse_args()
    # Ended from outside, it still removes what it put into the lab.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: ended before its time"))
    wanted = SECTIONS if "all" in options.sections else options.sections
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    print(f"{os.cpu_count()} cores, {memory:.0f} GB of memory, Linux {os.uname().release}")
    if BUILD != RELEASE:
        print(f"NOT the release build: {BUILD}. These figures are not to be quoted.")
    for name in wanted:
        with Bench(name, options.quick, options.venv, options.rows) as bench:
            importlib.import_module(name).measure(bench)
    print(f"\n{'all targets met' if Bench.missed == 0 else f'{Bench.missed} targets missed'}")
    # A missed target is a result, not a failure of the measurement.


main()
