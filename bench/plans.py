"""Plans and playbooks of trivial steps."""


def reprise_plan(steps: int) -> str:
    head = "reprise: 1\nname: trivial\ntitle: Trivial steps\nsteps:\n"
    return head + "".join(f"  - id: step-{n}\n    kind: command\n    on: db1\n    with:\n      run: 'true'\n" for n in range(1, steps + 1))


def ansible_playbook(steps: int) -> str:
    head = "- hosts: db1\n  gather_facts: false\n  tasks:\n"
    return head + "".join(f"    - name: step-{n}\n      ansible.builtin.command: 'true'\n" for n in range(1, steps + 1))
