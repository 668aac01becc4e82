"""Copying large files to a host, against `scp`: as fast as two cores allow that are the host's as well, and over a cable of a given rate."""
import contextlib
import time
from fetch import SIZES, make
from measuring import BUILD, LAB, ROOT, Bench, alternate, load, median, pairs, run, spread, timed

HOST, ADDRESS = "db1", "10.77.0.12"
TARGET = "/var/tmp/reprise-bench-copy"
KEY, KNOWN = LAB / "ssh" / "id_ed25519", LAB / "ssh" / "known_hosts"
SCP = ["scp", "-q", "-F", "none", "-i", KEY, "-o", f"UserKnownHostsFile={KNOWN}", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]


# What stands in the way, by the cable: nothing but the machine where there is none.
CABLES = {
    None: "libssh2 1.10 encrypts 16 bytes a call, and sshd and the disk of the host are on the same cores",
    "1gbit": "the cable carries both alike; what is left is connecting and the machine",
}


def lab(*words) -> str:
    return run([ROOT / "scripts" / "lab", *words]).stdout


def there(*words) -> str:
    return lab("enter", HOST, *words)


@contextlib.contextmanager
def cable(rate):
    if rate:
        lab("cable", HOST, "up", rate)
    try:
        yield
    finally:
        if rate:
            lab("cable", HOST, "up")


def measure(bench: Bench):
    for label, size in list(SIZES.items())[:1 if bench.quick else None]:
        source = bench.folder / "source"
        digest = make(source, size)
        try:
            for rate in CABLES:
                with cable(rate):
                    compare(bench, label, size, source, digest, rate)
        finally:
            source.unlink()
            there("rm", "-f", TARGET)


def compare(bench: Bench, label, size, source, digest, rate):
    connecting = []

    def fresh(once):
        def measured(_):
            there("rm", "-f", TARGET)
            there("sync")
            return once()
        return measured

    def ours():
        start = time.monotonic()
        line = pairs(run([BUILD / "RepriseBench", "copy", ADDRESS, "root", KEY, KNOWN, source, TARGET]).stdout)
        connecting.append(line["connecting"])
        return time.monotonic() - start

    ours()
    assert there("sha256sum", TARGET).split()[0] == digest, "the copied file is not the source"
    times = alternate(3 if bench.quick else 5, {
        "reprise": fresh(ours), "scp": fresh(lambda: timed([*SCP, source, f"root@{ADDRESS}:{TARGET}"]))})
    label = f"{label} over {rate}" if rate else label
    bench.say(f"{label} to {HOST}; {load()}")
    for name in times:
        bench.say(f"{name:8} {spread(times[name])}: {size / 1e6 / median(times[name]):.0f} MB/s")
    bench.say(f"of it connecting, reprise: {spread(connecting)}")
    bench.target(f"{label} against scp", median(times["reprise"]) / median(times["scp"]), 1.0, hindrance=CABLES[rate])
