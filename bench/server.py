"""From a bare host to the serving application, and the same once more: plans/full-server.yaml against a playbook of Ansible's usual modules."""
import json
import re
from measuring import BUILD, LAB, ROOT, Bench, alternate, load, median, run, spread, timed

LABSCRIPT = ROOT / "scripts" / "lab"
HOST = "new1"
INVENTORY = ROOT / "inventory" / "new-server" / "lab.yaml"


def secrets() -> dict:
    pairs = (line.split("=", 1) for line in (LAB / "secrets").read_text().splitlines() if "=" in line)
    return dict(pairs)


def presigned(bench: Bench, key: str) -> str:
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(LAB / "aws" / "credentials"), "AWS_CONFIG_FILE": str(LAB / "aws" / "config"), "AWS_PROFILE": "lab-reader"}
    done = run([bench.venv / "bin" / "aws", "--endpoint-url", "http://10.77.0.10:7480", "s3", "presign", f"s3://chms-backups/{key}"], env=env)
    return done.stdout.strip()


def variables(bench: Bench, keys) -> dict:
    known = secrets()
    return {
        "db_password": known["db_password"], "app_key": known["app_key"], "repository": "git@10.77.0.10:chms.git",
        "revision": (LAB / "code" / "revision").read_text().strip(), "deploy_key": (LAB / "code" / "deploy_key").read_text().strip(),
        "code_host_keys": "\n".join(
            line for line in (LAB / "ssh" / "known_hosts").read_text().splitlines() if line.startswith("10.77.0.10 ")),
        "certificate": (LAB / "tls" / "fullchain.pem").read_text().strip(), "certificate_key": (LAB / "tls" / "key.pem").read_text().strip(),
        "database_url": presigned(bench, keys["database"]), "files_url": presigned(bench, keys["files"]),
    }


def measure(bench: Bench):
    said = run([LABSCRIPT, "backup"]).stdout
    keys = {kind: re.search(rf"{kind}/\S+\.gz\b", said)[0] for kind in ("database", "files")}
    ansible = {
        "ANSIBLE_PIPELINING": "1", "ANSIBLE_SSH_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_HOME": str(bench.folder / "ansible"), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(bench.folder / "cp"),
        "ANSIBLE_SSH_ARGS": f"-C -o ControlMaster=auto -o ControlPersist=5s -o UserKnownHostsFile={LAB}/ssh/known_hosts",
    }

    def factory():
        run([LABSCRIPT, "factory", HOST])

    def reprise(number, again=""):
        return timed([
            BUILD / "reprise", "start", ROOT / "plans" / "full-server.yaml", "--inventory", INVENTORY, "--yes", "--quiet",
            "--journal", bench.folder / f"journal-{number}{again}.db"], ok=(0, 8))

    def playbook(_, again=""):
        file = bench.folder / "variables.json"
        file.touch(0o600)
        file.write_text(json.dumps(variables(bench, keys)))
        return timed(
            [bench.venv / "bin" / "ansible-playbook", "-i", INVENTORY, "-e", f"@{file}", ROOT / "bench" / "peers" / "full-server.yml"], env=ansible)

    def both(side):
        def once(number):
            factory()
            first = side(number)
            return first, side(number, "-again")
        return once

    times = alternate(1 if bench.quick else 3, {"reprise": both(reprise), "ansible": both(playbook)})
    bench.say(f"one bare host, database and application on it; {load()}")
    for place, what in enumerate(("from a bare host", "over the recovered host")):
        for name, values in times.items():
            bench.say(f"{what:24} {name:8} {spread([value[place] for value in values])}")
        ratio = median([value[place] for value in times["reprise"]]) / median([value[place] for value in times["ansible"]])
        bench.target(f"{what}, against Ansible (which proves nothing)", ratio, (0.7, 0.1)[place])
