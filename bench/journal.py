"""Durable in-process steps per second, against DBOS Transact on SQLite."""
import os
import time
from measuring import BUILD, ROOT, Bench, alternate, load, median, pairs, run, spread


def flush_ms(folder) -> float:
    """The median time that the disk takes to make 4 KiB durable in a file that keeps its length: the floor of every commit."""
    path, times = folder / "flush", []
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(handle, bytes(4096 * 100), 0)
    os.fsync(handle)
    for number in range(100):
        os.pwrite(handle, b"x" * 4096, 4096 * number)
        start = time.perf_counter()
        os.fdatasync(handle)
        times.append((time.perf_counter() - start) * 1000)
    os.close(handle)
    path.unlink()
    return median(times)


def measure(bench: Bench):
    steps = 300 if bench.quick else 1000
    python = bench.venv / "bin" / "python3"

    def ours(command):
        def once(number):
            line = run([BUILD / "RepriseBench", command, bench.folder / f"{command}-{number}" / "journal.db", steps]).stdout
            return pairs(line)["per_second"]
        return once

    def dbos(number):
        path = bench.folder / f"dbos-{number}.sqlite"
        return pairs(run([python, ROOT / "bench" / "peers" / "dbos_steps.py", path, steps]).stdout)["per_second"]

    flushes = [flush_ms(bench.folder)]
    rates = alternate(3 if bench.quick else 7, {
        "journal": ours("journal"), "dbos": dbos, "engine": ours("engine"), "wide": ours("wide")})
    flushes.append(flush_ms(bench.folder))
    bench.say(f"{steps} steps that do nothing, one after the other; a flush takes {median(flushes):.2f} ms; {load()}")
    bench.say(f"reprise  {spread(rates['journal'], 'steps/s', 4)}: state machine and journal, two flushed commits a step")
    bench.say(f"DBOS     {spread(rates['dbos'], 'steps/s', 4)}")
    bench.say(f"engine   {spread(rates['engine'], 'steps/s', 4)}: the whole engine, still one step after the other")
    bench.say(f"wide     {spread(rates['wide'], 'steps/s', 4)}: the whole engine, 16 steps side by side")
    ratio = median(rates["journal"]) / median(rates["dbos"])
    bench.target(
        "rate against DBOS", ratio, 4.5, at_least=True,
        hindrance=f"a step takes {1000 / median(rates['journal']):.2f} ms; two flushes of one page would take {2 * median(flushes):.2f} of them")
