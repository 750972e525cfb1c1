"""What every bench shares: contenders that run in turn, medians, the host's facts, tables.

A contender is a name and a list of commands that together are one run. All contenders run once a round, in a
new random order each round, so that whatever else the machine does meets all of them alike."""
import json
import os
import platform
import random
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Contender:
    name: str
    commands: list  # a callable from the run's number to a list of commands, or that list
    version: str = ""
    runs: list = field(default_factory=list)  # (ns, peak KB, ns to the first byte)
    error: str = ""

    def line(self, number):
        commands = self.commands(number) if callable(self.commands) else self.commands
        words = []
        for command in commands:
            words += ["+", *map(str, command)] if words else list(map(str, command))
        return words


def interleave(build, contenders, rounds, output=False, cwd=None, env=None, fds=(), warm=2):
    """Runs them all `rounds` times, after `warm` rounds that do not count. Who fails drops out, with its error."""
    timer = [str(build / "bench" / "bench-timer"), *(["-o"] if output else [])]
    for number in range(-warm, rounds):
        order = [c for c in contenders if not c.error]
        random.shuffle(order)
        for c in order:
            done = subprocess.run([*timer, *c.line(number + warm)], capture_output=True, text=True, cwd=cwd,
                                  env={**os.environ, **(env or {})}, pass_fds=fds, stdin=subprocess.DEVNULL)
            if done.returncode:
                c.error = (done.stderr.strip().splitlines() or ["no message"])[-2 if "\n" in done.stderr.strip() else -1]
            elif number >= 0:
                c.runs.append(tuple(map(int, done.stdout.split())))


def quantile(values, q):
    """By linear interpolation between the closest ranks."""
    values = sorted(values)
    at = (len(values) - 1) * q
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def table(heads, rows):
    """Markdown, with columns as wide as they must be; the first to the left, the others to the right."""
    cells = [list(map(str, row)) for row in [heads, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = ["| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |"
             for row in cells]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def milliseconds(ns):
    return f"{ns / 1e6:.2f}"


def start_rows(contenders, base):
    """A row a contender; the last column is the ratio of medians to the contender named `base`."""
    reference = next((c for c in contenders if c.name == base and c.runs), None)
    rows = []
    for c in contenders:
        if c.error or not c.runs:
            rows.append([c.name, 0, *["-"] * 4, f"failed: {c.error}"])
            continue
        times = [run[0] for run in c.runs]
        middle = quantile(times, 0.5)
        ratio = f"{middle / quantile([r[0] for r in reference.runs], 0.5):.2f}" if reference else "-"
        rows.append([c.name, len(times), milliseconds(min(times)), milliseconds(middle),
                     milliseconds(quantile(times, 0.95)), f"{max(run[1] for run in c.runs) / 1024:.1f}", ratio])
    return rows


def version_of(*command):
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
    return found.group(0) if found else "?"


def cgroup_layout():
    types = {line.split(" - ")[1].split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()
             if "/sys/fs/cgroup" in line}
    return "hybrid" if {"cgroup", "cgroup2"} <= types else "v2" if "cgroup2" in types else "v1"


def host_facts():
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1)) // 1048576
    mounts = Path("/proc/self/mounts").read_text()
    return {
        "kernel": platform.release(),
        "cpu": f"{os.cpu_count()} x {cpu.group(1) if cpu else platform.machine()}",
        "memory": f"{memory} GB",
        "control groups": cgroup_layout() + (", favordynmods" if "favordynmods" in mounts else ""),
        "load at the start": Path("/proc/loadavg").read_text().split()[0],
        "distribution": next((line.split("=")[1].strip('"') for line in Path("/etc/os-release").read_text().splitlines()
                              if line.startswith("PRETTY_NAME")), "?"),
        "user": "root" if os.geteuid() == 0 else f"uid {os.geteuid()}",
    }


def save(path, name, contenders, facts):
    """The raw figures, for those who want to look at more than medians."""
    text = {"bench": name, "host": facts,
            "contenders": [{"name": c.name, "version": c.version, "error": c.error, "runs": c.runs} for c in contenders]}
    Path(path).write_text(json.dumps(text, indent=1) + "\n")
