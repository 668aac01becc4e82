"""Resuming from a journal of a million events."""
import re
from measuring import BUILD, Bench, median, pairs, run, spread, timed

SECONDS, MEGABYTES = 1.0, 100


def measure(bench: Bench):
    events = 100_000 if bench.quick else 1_000_000
    journal = bench.folder / "large" / "journal.db"
    filling = timed([BUILD / "RepriseBench", "fill", journal, events])
    size = sum(path.stat().st_size for path in journal.parent.iterdir()) / 1e6
    bench.say(f"{events} events of one run, {size:.0f} MB, written in {filling:.0f} s")
    loads, memory, status, status_memory = [], [], [], []
    for _ in range(5):
        done = run(["/usr/bin/time", "-v", BUILD / "RepriseBench", "load", journal])
        loads.append(pairs(done.stdout)["seconds"])
        memory.append(peak(done.stderr))
        start = run(["/usr/bin/time", "-v", BUILD / "reprise", "status", "--journal", journal], ok=(0, 6, 5))
        status.append(elapsed(start.stderr))
        status_memory.append(peak(start.stderr))
    bench.say(f"open, load and fold, as resume does: {spread(loads)}, {median(memory):.0f} MB")
    bench.say(f"`reprise status`, the whole process:  {spread(status)}, {median(status_memory):.0f} MB")
    bench.target("resume", median(loads), SECONDS, "s")
    bench.target("resume", median(memory), MEGABYTES, "MB")
    bench.target("status", median(status), SECONDS, "s", hindrance="it reads the last 20,000 events for the times of steps")
    bench.target("status", median(status_memory), MEGABYTES, "MB", hindrance="it holds the last 20,000 events in memory")


def peak(report: str) -> float:
    return int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", report)[1]) / 1000


def elapsed(report: str) -> float:
    text = re.search(r"Elapsed \(wall clock\) time .*: (?:(\d+):)?(\d+):([\d.]+)$", report, re.M)
    return int(text[1] or 0) * 3600 + int(text[2]) * 60 + float(text[3])
