"""Checks the documents against the program; see scripts/check-docs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
LIMIT_SECONDS = 60
# What every command takes; described once in operations.md.
GLOBAL_OPTIONS = {"--journal", "--inventory", "--no-color", "--quiet", "--verbose", "--json", "--version", "--help"}

binary = sys.argv[1]
problems = []
checked = {"examples": 0, "plans": 0, "fields": 0, "commands": 0, "links": 0}


def problem(path, line, text):
    problems.append(f"{os.path.relpath(path, ROOT)}:{line}: {text}")


def reprise(*arguments):
    return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True).stdout


def documents():
    yield os.path.join(ROOT, "README.md")
    for folder in ("docs", "lab"):
        for name in sorted(os.listdir(os.path.join(ROOT, folder))):
            if name.endswith(".md"):
                yield os.path.join(ROOT, folder, name)


def blocks(text):
    """The fenced blocks: line of the first line inside, words after the fence, content."""
    words, start, content = None, 0, []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            if words is None:
                words, start, content = line[3:].split(), number + 1, []
            else:
                yield start, words, "\n".join(content)
                words = None
        elif words is not None:
            content.append(line)
    if words is not None:
        yield start, ["unclosed"], ""


def scratch(parent):
    """A folder as a clean clone has it, with a journal of its own."""
    folder = tempfile.mkdtemp(dir=parent)
    for name in ("plans", "inventory"):
        shutil.copytree(os.path.join(ROOT, name), os.path.join(folder, name))
    os.mkdir(os.path.join(folder, "bin"))
    os.symlink(binary, os.path.join(folder, "bin", "reprise"))
    environment = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": folder, "XDG_STATE_HOME": f"{folder}/state",
        "LANG": "C.UTF-8", "NO_COLOR": "1",
    }
    return folder, environment


def check_document(path, parent):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    folder, environment = scratch(parent)
    for line, words, content in blocks(text):
        if words == ["unclosed"]:
            problem(path, line, "the block is not closed")
        elif words[:2] == ["bash", "run"]:
            run_example(path, line, content, folder, environment)
        elif words[:2] == ["yaml", "plan"]:
            validate_plan(path, line, content, folder, environment)
        elif words[:1] == ["bash"]:
            check_commands(path, line, content)
    check_links(path, text)


def run_example(path, line, content, folder, environment):
    for offset, command in enumerate(content.split("\n")):
        if not command.strip():
            continue
        checked["examples"] += 1
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=LIMIT_SECONDS)
        if result.returncode != 0:
            problem(path, line + offset, f"`{command}` ended with {result.returncode}: {result.stderr.strip()}")
        elif not result.stdout.strip() and ">" not in command:
            problem(path, line + offset, f"`{command}` printed nothing")


def validate_plan(path, line, content, folder, environment):
    checked["plans"] += 1
    plan = os.path.join(folder, "example.yaml")
    with open(plan, "w", encoding="utf-8") as file:
        file.write(content + "\n")
    result = subprocess.run(
        [binary, "plan", "validate", plan, "--inventory", "inventory/lab.yaml"], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if result.returncode != 0:
        problem(path, line, f"the plan is refused: {result.stdout.strip()} {result.stderr.strip()}")


def check_commands(path, line, content):
    """Examples that need servers are not run; their commands and options must exist, and scripts must be there."""
    for offset, text in enumerate(content.split("\n")):
        for match in re.finditer(r"(?:^|[;|&]\s*|\s)reprise ([^#|>]*)", text.split("  #")[0]):
            words = match.group(1).split()
            if words:
                check_invocation(path, line + offset, words)
        for script in re.findall(r"(?:^|\s)(scripts/[a-z.-]+)", text):
            if not os.access(os.path.join(ROOT, script), os.R_OK):
                problem(path, line + offset, f"there is no {script}")


def check_invocation(path, line, words):
    known = COMMANDS.get(" ".join(words[:2])) or COMMANDS.get(words[0])
    if known is None:
        problem(path, line, f"there is no command `reprise {' '.join(words[:2])}`")
        return
    checked["commands"] += 1
    for word in words[1:]:
        option = word.split("=")[0]
        if option.startswith("--") and option not in known | GLOBAL_OPTIONS:
            problem(path, line, f"`reprise {words[0]}` has no option {option}")


def check_links(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            checked["links"] += 1
            name, _, anchor = target.partition("#")
            file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not os.path.exists(file):
                problem(path, number, f"the link leads nowhere: {target}")
            elif anchor and anchor not in anchors(file):
                problem(path, number, f"there is no such heading: {target}")


def anchors(path):
    with open(path, encoding="utf-8") as file:
        headings = re.findall(r"^#+ (.*)$", file.read(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sections(path, level):
    """Text under each heading of a level, by the heading's text without backticks."""
    with open(path, encoding="utf-8") as file:
        parts = re.split(rf"^{'#' * level} (.*)$", file.read(), flags=re.M)
    return {
        heading.strip("` "): re.split(rf"^#{{1,{level}}} ", body, flags=re.M)[0]
        for heading, body in zip(parts[1::2], parts[2::2])
    }


def names(schema):
    """Every key of a map, and of the maps inside its lists."""
    for key, value in schema.get("properties", {}).items():
        yield key
        for inner in (value.get("items", {}), value):
            if inner.get("type") == "object":
                yield from names(inner)


def require(path, section, text, wanted):
    for name in wanted:
        checked["fields"] += 1
        if f"`{name}`" not in text:
            problem(path, 1, f"section \"{section}\" does not name `{name}`")


def check_coverage():
    path = os.path.join(ROOT, "docs", "plan-language.md")
    schema = json.loads(reprise("plan", "schema"))
    parts = sections(path, 2)
    step = schema["$defs"]["step"]
    require(path, "The plan itself", parts.get("The plan itself", ""), list(schema["properties"]) + ["per-host", "total"])
    parameter = next(x for x in schema["properties"]["parameters"]["additionalProperties"]["oneOf"] if x.get("type") == "object")
    wanted = list(parameter["properties"]) + parameter["properties"]["type"]["enum"]
    require(path, "Parameters", parts.get("Parameters", ""), wanted)
    retry = next(x for x in step["properties"]["retry"]["oneOf"] if x.get("type") == "object")
    require(path, "Steps", parts.get("Steps", ""), list(step["properties"]) + list(retry["properties"]))
    kinds = [kind["const"] for kind in step["properties"]["kind"]["oneOf"]]
    described = sections(path, 3)
    conditions = {rule["if"]["properties"]["kind"]["const"]: rule["then"] for rule in step["allOf"]}
    for kind in kinds:
        if kind not in described:
            problem(path, 1, f"kind `{kind}` has no section")
            continue
        require(path, kind, described[kind], names(conditions[kind]["properties"]["with"]))
    for name in set(described) - set(kinds):
        problem(path, 1, f"section \"{name}\" describes no kind")


def check_operations():
    path = os.path.join(ROOT, "docs", "operations.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for command in COMMANDS:
        if command in ("version", "help"):
            continue
        checked["fields"] += 1
        if f"{command}" not in text:
            problem(path, 1, f"does not name the command `{command}`")
    statuses = re.findall(r"^  (\d+) ", reprise("--help"), re.M)
    for file in (path, os.path.join(ROOT, "README.md")):
        with open(file, encoding="utf-8") as opened:
            content = opened.read()
        for status in statuses:
            checked["fields"] += 1
            if f"| {status} |" not in content:
                problem(file, 1, f"does not explain exit code {status}")


def commands(prefix=()):
    """Every command with its options, from the help texts."""
    text = reprise("help", *prefix) if prefix else reprise("--help")
    _, _, below = text.partition("SUBCOMMANDS:")
    inner = re.findall(r"^  ([a-z]+)(?=\s|$)", below, re.M)
    if not inner:
        return {" ".join(prefix): set(re.findall(r"--[a-z-]+", text))}
    result = {}
    for name in inner:
        result.update(commands((*prefix, name)))
    return result


COMMANDS = commands()
check_coverage()
check_operations()
with tempfile.TemporaryDirectory() as parent:
    for document in documents():
        check_document(document, parent)

print("documents: " + ", ".join(f"{count} {what}" for what, count in checked.items()))
for text in problems:
    print(text, file=sys.stderr)
if problems:
    print(f"{len(problems)} problems", file=sys.stderr)
    sys.exit(1)
print("all right")
