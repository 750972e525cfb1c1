"""Guests beside their peers: time to /init, system call, page fault, fork, exec, CPU work, behind every wall and peer here.

One static program (workload.c) is the container's command and the guests' /init; the guests boot the same kernel, the
one that `warren kernel` holds. UML runs its own, because it cannot run another."""
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import quantile, table, version_of

READY = b"warren-bench ready"
FIGURES = [("syscall_ns", "syscall ns"), ("fault_ns", "page fault ns"), ("fork_us", "fork+exit us"), ("exec_us", "exec us"),
           ("cpu_ms", "CPU work ms"), ("read_mb_s", "read MB/s"), ("iops", "IOPS at 32")]


def cpio(files):
    """A newc archive: name to (mode, bytes)."""
    out = b""
    for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        head = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % value for value in head) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out


def initramfs(build, path):
    # cpio device numbers stay 0, so /dev/console comes from devtmpfs; the kernel opens its own when the node is missing.
    files = {"dev": (0o40755, b""), "init": (0o100755, (build / "bench" / "bench-workload").read_bytes())}
    driver = kernel() and kernel().parent / "modules" / "xen_blkfront.ko"
    if driver and driver.exists():
        files["disk.ko"] = (0o100644, driver.read_bytes())
    path.write_bytes(cpio(files))


def kernel():
    """The default guest kernel's vmlinux, or None."""
    store = Path("/var/lib/warren/kernels")
    found = store / "default" / "vmlinux"
    return found if found.exists() else None


class Guest:
    def __init__(self, name, command, note=""):
        self.name, self.command, self.note = name, command, note
        self.boots, self.figures, self.peak, self.error = [], {}, 0, ""

    def seen(self, text):
        """What else a run said, for those who want to know."""

    def run(self, only_boot, limit=120):
        """One boot; remembers the time to the ready line and the figures that follow."""
        begin = time.monotonic()
        process = subprocess.Popen([str(word) for word in self.command(only_boot)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text, ready = b"", None
        fd = process.stdout.fileno()
        while time.monotonic() - begin < limit:
            if not select.select([fd], [], [], 1)[0]:
                continue
            more = os.read(fd, 65536)
            if not more:
                break
            text += more
            if ready is None and READY in text:
                ready = time.monotonic() - begin
                self.peak = max(self.peak, resident(process.pid))
        else:
            process.kill()
        process.wait()
        if ready is None:
            lines = [line for line in text.decode(errors="replace").splitlines() if line.strip() and "--help'" not in line]
            self.error = lines[-1][:120] if lines else f"status {process.returncode}"
            return
        self.boots.append(ready)
        self.seen(text.decode(errors="replace"))
        for name, value in re.findall(r"(\w+) ([\d.]+)\s", text.decode(errors="replace").partition(READY.decode())[2]):
            self.figures.setdefault(name, []).append(float(value))

    def row(self):
        if self.error or not self.boots:
            return [self.name, *["-"] * (len(FIGURES) + 3), f"failed: {self.error}"]
        cells = [f"{quantile(self.figures[key], 0.5):.4g}" if self.figures.get(key) else "-" for key, _ in FIGURES]
        ms = [boot * 1000 for boot in self.boots]
        return [self.name, len(ms), f"{quantile(ms, 0.5):.1f}", f"{quantile(ms, 0.95):.1f}", *cells, self.note]


def resident(pid):
    """Kilobytes of a process and its children."""
    total = 0
    try:
        total = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += resident(int(child))
    except (OSError, AttributeError):
        pass
    return total


def guests(build, place):
    image, init = kernel(), place / "initramfs"
    initramfs(build, init)
    work = build / "bench" / "bench-workload"
    root = place / "root"
    root.mkdir()
    shutil.copy(work, root / "init")
    every = [Guest("host", lambda boot: [work, *(["boot"] if boot else [])], "no wall")]
    walls = {"warren container": [], "warren pv, merged": ["--pv", "--pv-memory", "merged"],
             "warren pv, isolated": ["--pv", "--pv-memory", "isolated"], "warren vm": ["--vm"]}
    for name, words in walls.items():
        every.append(Guest(name, lambda boot, w=words: [build / "warren", "run", "--rm", *w, "--rootfs", root, "/init",
                                                        *(["boot"] if boot else [])]))
    quiet = "quiet panic=-1 BENCH_GUEST=1"
    if image and shutil.which("qemu-system-x86_64"):
        every.append(Guest("QEMU TCG", lambda boot: [
            "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-no-user-config", "-nographic",
            "-no-reboot", "-serial", "stdio", "-kernel", image, "-initrd", init, "-append",
            f"console=ttyS0 {quiet}" + (" -- boot" if boot else "")], version_of("qemu-system-x86_64", "--version")))
    if shutil.which("linux.uml"):
        every.append(Guest("User-Mode Linux", lambda boot: [
            "linux.uml", "mem=256M", f"initrd={init}", "con=null", "con0=null,fd:1", *quiet.split(),
            *(["--", "boot"] if boot else [])], "its own kernel"))
    return every


def bench(build, runs=10):
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as name:
        every = guests(build, Path(name))
        for number in range(runs + 2):
            for guest in every:
                if not guest.error:
                    guest.run(only_boot=number >= 2)
    print(f"### Guests: 256 MB, time from exec to the first line of the first process; {runs} boots, 2 of the rest\n")
    print(table(["", "n", "ready ms", "p95", *[title for _, title in FIGURES], ""], [guest.row() for guest in every]))
    if not kernel():
        print("\nQEMU not compared: no guest kernel (`warren kernel import`).")
    print("\nMemory when ready, all processes of it, MB: " +
          ", ".join(f"{guest.name} {guest.peak / 1024:.0f}" for guest in every if guest.peak))
