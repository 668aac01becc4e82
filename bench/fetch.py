"""Fetching large objects, against `aws s3 cp` and `s5cmd cp`."""
import hashlib
import os
import subprocess
from measuring import BUILD, LAB, Bench, alternate, load, median, pairs, run, spread, timed

ENDPOINT, BUCKET = "http://10.77.0.10:7480", "chms-backups"
SIZES = {"200 MB": 200_000_000, "2 GB": 2_000_000_000}


def measure(bench: Bench):
    keys = {"AWS_SHARED_CREDENTIALS_FILE": str(LAB / "aws" / "credentials"), "AWS_CONFIG_FILE": str(LAB / "aws" / "config")}
    reader, writer = {**keys, "AWS_PROFILE": "lab-reader"}, {**keys, "AWS_PROFILE": "lab-writer"}
    s5cmd = [bench.venv / "bin" / "s5cmd", "--endpoint-url", ENDPOINT, "--log", "error"]
    aws = [bench.venv / "bin" / "aws", "--endpoint-url", ENDPOINT]
    for label, size in list(SIZES.items())[:1 if bench.quick else None]:
        address = f"s3://{BUCKET}/bench/{os.getpid()}-{size}"
        source = bench.folder / "source"
        digest = make(source, size)
        run([*s5cmd, "cp", source, address], env=writer)
        source.unlink()
        try:
            compare(bench, label, size, address, digest, s5cmd, aws, reader)
        finally:
            remove(bench, [*s5cmd, "rm", address], writer)


def remove(bench: Bench, words, env):
    """A store in memory has been seen to stand still over gigabytes that are removed; what was measured is told all the same."""
    try:
        subprocess.run([str(word) for word in words], env={**os.environ, **env}, check=True, capture_output=True, timeout=120)
    except subprocess.SubprocessError:
        bench.say("the object could not be removed again; if the store stands still: scripts/lab down && scripts/lab up")


def make(path, size: int) -> str:
    """A file that cannot be compressed, and its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        while size > 0:
            block = os.urandom(min(size, 1 << 24))
            digest.update(block)
            file.write(block)
            size -= len(block)
    return digest.hexdigest()


def compare(bench: Bench, label, size, address, digest, s5cmd, aws, reader):
    target = bench.folder / "fetched"
    key = address.split(f"{BUCKET}/")[1]

    def peer(words):
        def once(_):
            target.unlink(missing_ok=True)
            os.sync()
            return timed([*words, address, target], env=reader)
        return once

    def same_work(_):
        """What s5cmd and the system's own tools take for a file that is hashed and on the disk."""
        taken = peer([*s5cmd, "cp"])(_)
        return taken + timed(["sha256sum", target]) + timed(["sync", target])

    def ours(_):
        target.unlink(missing_ok=True)
        os.sync()
        line = pairs(run([
            BUILD / "RepriseBench", "fetch", ENDPOINT, BUCKET, key, target, LAB / "aws" / "credentials", "lab-reader"]).stdout)
        assert line["sha256"] == digest and line["bytes"] == size, "the fetched file is not the object"
        return line["seconds"]

    def whole_process(number):
        target.unlink(missing_ok=True)
        os.sync()
        return timed([BUILD / "RepriseBench", "fetch", ENDPOINT, BUCKET, key, target, LAB / "aws" / "credentials", "lab-reader"])

    ours(0)
    times = alternate(3 if bench.quick else 5, {
        "reprise": whole_process, "s5cmd": peer([*s5cmd, "cp"]), "aws": peer([*aws, "s3", "cp", "--no-progress", "--only-show-errors"]),
        "s5cmd+": same_work})
    target.unlink(missing_ok=True)
    bench.say(f"{label}; {load()}")
    notes = {
        "reprise": "hashed and flushed to the disk", "s5cmd": "neither hashed nor flushed", "aws": "neither hashed nor flushed",
        "s5cmd+": "then sha256sum and sync: the same work"}
    for name in times:
        bench.say(f"{name:8} {spread(times[name])}: {size / 1e6 / median(times[name]):.0f} MB/s, {notes[name]}")
    bench.target(
        f"{label} against s5cmd", median(times["reprise"]) / median(times["s5cmd"]), 1.0,
        hindrance="it also takes the SHA-256 and flushes to the disk, which s5cmd leaves out: "
        f"with sha256sum and sync after s5cmd it is {median(times['reprise']) / median(times['s5cmd+']):.2f} x")
    bench.say(f"against aws s3 cp: {median(times['reprise']) / median(times['aws']):.2f} x")
