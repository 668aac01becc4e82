"""Copying large files to a host, against `scp`."""
import time
from fetch import SIZES, make
from measuring import BUILD, LAB, ROOT, Bench, alternate, load, median, pairs, run, spread, timed

HOST, ADDRESS = "db1", "10.77.0.12"
TARGET = "/var/tmp/reprise-bench-copy"
KEY, KNOWN = LAB / "ssh" / "id_ed25519", LAB / "ssh" / "known_hosts"
SCP = ["scp", "-q", "-F", "none", "-i", KEY, "-o", f"UserKnownHostsFile={KNOWN}", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]


def there(*words) -> str:
    return run([ROOT / "scripts" / "lab", "enter", HOST, *words]).stdout


def measure(bench: Bench):
    for label, size in list(SIZES.items())[:1 if bench.quick else None]:
        source = bench.folder / "source"
        digest = make(source, size)
        try:
            compare(bench, label, size, source, digest)
        finally:
            source.unlink()
            there("rm", "-f", TARGET)


def compare(bench: Bench, label, size, source, digest):
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
    bench.say(f"{label} to {HOST}; {load()}")
    for name in times:
        bench.say(f"{name:8} {spread(times[name])}: {size / 1e6 / median(times[name]):.0f} MB/s")
    bench.say(f"of it connecting, reprise: {spread(connecting)}")
    bench.target(
        f"{label} against scp", median(times["reprise"]) / median(times["scp"]), 1.0,
        hindrance="libssh2 1.10 encrypts 16 bytes a call, and sshd and the disk of the host are on the same cores")
