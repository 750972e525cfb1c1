"""How many idle containers fit: start rate and memory a container, `sleep` in each, all alive at once.

Memory is what MemAvailable lost, divided by the number, after the page cache was warmed by a first one: kernel
structures (namespaces, cgroups, mounts) are in it, which no process's own figures show."""
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bundle import make
from harness import table, version_of
from start import V1, enter_view


def available():
    return int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1))


def settled():
    """The largest of a few readings: what is still being freed comes back in between."""
    best = 0
    for _ in range(5):
        best = max(best, available())
        time.sleep(0.2)
    return best


def private_kb(pid):
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(kb) for kb in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", text))


def fill(start, stop, most, seconds):
    """Starts up to `most`, for at most `seconds`. (number, seconds, kB a piece, first error)"""
    error = ""

    def run(command):
        # A file: what stays behind holds the error stream open, and a pipe would be waited for.
        nonlocal error
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=said, timeout=60)
            if done.returncode:
                said.seek(0)
                error = error or (said.read().strip().splitlines() or [f"status {done.returncode}"])[-1]
        return done.returncode == 0

    ids = []
    if run(start("warm")):
        ids.append("warm")
    before = settled()
    started = time.monotonic()
    while ids and len(ids) <= most and time.monotonic() - started < seconds:
        name = f"d{len(ids)}"
        ids.append(name)
        if not run(start(name)):
            break
    spent, count = time.monotonic() - started, len(ids) - 1 - bool(error)
    lost = before - settled()
    for name in ids:
        run(stop(name))
    return count, spent, lost / count if count > 0 else 0, error


def bench(build, most=1000, seconds=90):
    enter_view(V1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as name:
        place = Path(name)
        bundle = make(place / "bundle", ["/bin/sleep", "1000000"])
        oci = [("warren oci", [build / "warren", "oci", "--root", place / "w"]), ("crun", ["crun", "--root", place / "c"]),
               ("runc", ["runc", "--root", place / "r"])]
        for label, base in oci:
            if not shutil.which(str(base[0])):
                rows.append([label, *["-"] * 4, "not installed"])
                continue
            result = fill(lambda n, b=base: [*b, "run", "--detach", "--bundle", bundle, f"{b[0]}-{n}".split("/")[-1]],
                          lambda n, b=base: [*b, "delete", "--force", f"{b[0]}-{n}".split("/")[-1]], most, seconds)
            rows.append(row(label, result))
        root = bundle / "rootfs"
        people = [("warren run -d", [build / "warren"], ["run", "-d", "--network", "private"]),
                  ("podman run -d", ["podman"], ["run", "-d", "--network", "none", "--runtime", "crun",
                                                "--ulimit", "nofile=1024:1024", "--ulimit",
                                                "nproc=1024:1024"])]
        for label, program, words in people:
            if not shutil.which(str(program[0])):
                rows.append([label, *["-"] * 4, "not installed"])
                continue
            result = fill(lambda n, p=program, w=words: [*p, *w, "--name", f"density-{n}", "--rootfs", root, "/bin/sleep",
                                                         "1000000"],
                          lambda n, p=program: [*p, "rm", "-f", *(["-t", "0"] if p == ["podman"] else []),
                                                f"density-{n}"], most, seconds)
            rows.append(row(label, result))
        keeper = keeper_kb(build / "warren", root)
    print(f"### Density: up to {most} idle containers, at most {seconds} s to start them\n")
    print(table(["", "alive", "seconds", "starts a second", "kB a container", ""], rows))
    if keeper:
        print(f"\nA keeper's private memory: {keeper} kB (at most 400): {'holds' if keeper <= 400 else 'MISSED'}")
    load = float(Path("/proc/loadavg").read_text().split()[0])
    if load > 2:
        print(f"\nOther work was running (load {load}): the memory column says little.")
    print(f"\nVersions: crun {version_of('crun', '--version') or '-'}, runc {version_of('runc', '--version') or '-'}, "
          f"podman {version_of('podman', '--version') or '-'}.")
    return []


def keeper_kb(warren, root):
    """Private memory of a keeper beside another one, so that the program's pages count as what they are, shared. 0 when they
    cannot be started."""
    names = [f"density-keeper-{time.monotonic_ns()}-{n}" for n in range(2)]
    for name in names:
        subprocess.run([warren, "run", "-d", "--name", name, "--rootfs", root, "/bin/sleep", "100"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    told = subprocess.run([warren, "inspect", "--format", "{{.KeeperPid}}", names[0]], capture_output=True, text=True)
    size = private_kb(told.stdout.strip()) if told.returncode == 0 else 0
    subprocess.run([warren, "rm", "-f", *names], stdout=subprocess.DEVNULL)
    return size


def row(label, result):
    count, spent, each, error = result
    if count <= 0:
        return [label, 0, "-", "-", "-", f"failed: {error}"]
    return [label, count, f"{spent:.1f}", f"{count / spent:.0f}", f"{each:.0f}", f"stopped: {error}" if error else ""]
