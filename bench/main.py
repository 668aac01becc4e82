"""Runs the sections that scripts/bench names, side by side with their peers."""
import argparse
import importlib
import os
from pathlib import Path
from measuring import Bench

SECTIONS = ["journal", "resume", "steps", "fetch", "recovery"]


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--venv", required=True, type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("sections", nargs="+", choices=[*SECTIONS, "all"])
    options = parser.parse_args()
    wanted = SECTIONS if "all" in options.sections else options.sections
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    print(f"{os.cpu_count()} cores, {memory:.0f} GB of memory, Linux {os.uname().release}")
    for name in wanted:
        with Bench(name, options.quick, options.venv) as bench:
            importlib.import_module(name).measure(bench)
    print(f"\n{'all targets met' if Bench.missed == 0 else f'{Bench.missed} targets missed'}")
    # A missed target is a result, not a failure of the measurement.


main()
