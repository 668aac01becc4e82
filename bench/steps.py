"""Time per durable remote step, against Ansible."""
import json
from measuring import BUILD, LAB, ROOT, Bench, alternate, load, median, run, spread, timed
from plans import ansible_playbook, reprise_plan

STEPS = 50


def measure(bench: Bench):
    inventory = ROOT / "inventory" / "lab.yaml"
    for count in (1, STEPS):
        (bench.folder / f"plan-{count}.yaml").write_text(reprise_plan(count))
        (bench.folder / f"playbook-{count}.yaml").write_text(ansible_playbook(count))
    ansible = {
        "ANSIBLE_PIPELINING": "1", "ANSIBLE_SSH_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "ANSIBLE_HOME": bench.folder / "ansible", "ANSIBLE_SSH_CONTROL_PATH_DIR": bench.folder / "cp",
        "ANSIBLE_SSH_ARGS": f"-C -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={LAB}/ssh/known_hosts",
    }
    ansible = {name: str(value) for name, value in ansible.items()}

    def reprise(count):
        def once(number):
            return timed([
                BUILD / "reprise", "start", bench.folder / f"plan-{count}.yaml", "--inventory", inventory, "--yes", "--quiet",
                "--journal", bench.folder / f"journal-{count}-{number}.db"])
        return once

    def playbook(count):
        return lambda _: timed(
            [bench.venv / "bin" / "ansible-playbook", "-i", inventory, bench.folder / f"playbook-{count}.yaml"], env=ansible)

    prepare_host(bench)
    playbook(1)(0)
    rounds = 3 if bench.quick else 5
    times = alternate(rounds, {
        "reprise": reprise(STEPS), "ansible": playbook(STEPS), "reprise-1": reprise(1), "ansible-1": playbook(1)})
    bench.say(f"{STEPS} trivial commands on one host, whole runs; {load()}")
    per_step = {}
    for name in ("reprise", "ansible"):
        whole, one = median(times[name]), median(times[f"{name}-1"])
        per_step[name] = whole / STEPS * 1000
        bench.say(f"{name:8} {spread(times[name])}: {per_step[name]:.1f} ms a step, {(whole - one) / (STEPS - 1) * 1000:.1f} ms for each further step")
    ratio = per_step["reprise"] / per_step["ansible"]
    hindrance = breakdown(bench, inventory)
    bench.target("time per step against Ansible", ratio, 0.25, hindrance=hindrance)
    bench.target("goal: time per step", per_step["reprise"], 15, "ms", hindrance=hindrance)


def prepare_host(bench: Bench):
    """Ansible needs Python on the host; Reprise does not."""
    if run([ROOT / "scripts" / "lab", "enter", "db1", "sh", "-c", "command -v python3"], ok=(0, 1, 127)).returncode:
        bench.say("installing python3 on db1, for Ansible")
        run([ROOT / "scripts" / "lab", "enter", "db1", "sh", "-c", "apt-get -qq update && apt-get -qq -y install python3-minimal"])


def breakdown(bench: Bench, inventory) -> str:
    """Where a step's time goes, from the journal of a run: on the host, and between."""
    journal = bench.folder / "journal-breakdown.db"
    run([BUILD / "reprise", "start", bench.folder / f"plan-{STEPS}.yaml", "--inventory", inventory, "--yes", "--quiet", "--journal", journal])
    report = json.loads(run([BUILD / "reprise", "report", "--format", "json", "--journal", journal]).stdout)
    on_host = [step_ms(step) for step in report["run"]["steps"]]
    on_host = [value for value in on_host if value is not None]
    if not on_host:
        return "not known"
    return f"of a step, {median(on_host):.0f} ms are the job itself on the host; the rest are flushes there and here"


def step_ms(step: dict):
    evidence = step.get("evidence") or {}
    return next((host.get("duration-ms") for host in evidence.values() if isinstance(host, dict)), None)
