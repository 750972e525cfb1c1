"""The pv wall's core beside QEMU TCG with the same kernel and initramfs, User-Mode Linux, and the host; its aims judged."""
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from guest import FIGURES, Guest, initramfs, kernel
from harness import quantile, table, version_of

ARGS = "console=hvc0 quiet noreplace-smp clocksource=tsc tsc=reliable cryptomgr.notests nr_cpus=1 panic=-1 BENCH_GUEST=1"
MEMORY = 256
DISK_MB = 256
SETUP = re.compile(r"^set-up-ms ([\d.]+)", re.M)


class Machine(Guest):
    """A guest on `warren lguest`: no image, agent or keeper, so that the time is the VMM's and the kernel's own."""

    def __init__(self, name, build, mode, init, disk):
        super().__init__(name, lambda boot: [
            build / "warren", "lguest", "--stats", "--pv-memory", mode, "--initrd", init, "--block", f"{disk}:ro", MEMORY,
            kernel(), *ARGS.split(), "BENCH_DISK=/dev/xvda", *(["--", "boot"] if boot else [])])
        self.setups = []

    def seen(self, text):
        self.setups += [float(value) for value in SETUP.findall(text)]


def contenders(build, place, disk):
    init, work = place / "initramfs", build / "bench" / "bench-workload"
    initramfs(build, init)
    every = [Guest("host", lambda boot: ["env", f"BENCH_DISK={disk}", work, *(["boot"] if boot else [])], "no wall"),
             Machine("pv, merged", build, "merged", init, disk), Machine("pv, isolated", build, "isolated", init, disk)]
    if shutil.which("qemu-system-x86_64"):
        every.append(Guest("QEMU TCG", lambda boot: [
            "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", MEMORY, "-nodefaults", "-no-user-config", "-nographic",
            "-no-reboot", "-serial", "stdio", "-kernel", kernel(), "-initrd", init, "-append",
            "console=ttyS0 quiet panic=-1 BENCH_GUEST=1" + (" -- boot" if boot else "")],
            version_of("qemu-system-x86_64", "--version") + ", same kernel and initramfs"))
    if shutil.which("linux.uml"):
        every.append(Guest("User-Mode Linux", lambda boot: [
            "linux.uml", f"mem={MEMORY}M", f"initrd={init}", f"ubd0r={disk}", "con=null", "con0=null,fd:1", "quiet", "panic=-1",
            "BENCH_GUEST=1", "BENCH_DISK=/dev/ubda", *(["--", "boot"] if boot else [])], "its own kernel"))
    return every


def prepare_image(build, place, env):
    """An image of busybox, in a store of its own that shares the kernels."""
    busybox = next((p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p)), None)
    if not busybox:
        return "no busybox"
    root = place / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "true", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    (place / "data").mkdir()
    (place / "data/kernels").symlink_to(kernel().parent.parent)
    subprocess.run(["tar", "-C", root, "-cf", place / "root.tar", "."], check=True)
    done = subprocess.run([build / "warren", "image", "import", place / "root.tar", "bench"], env=env, capture_output=True,
                          text=True)
    return done.stderr.strip() if done.returncode else ""


def timed(command, env):
    begin = time.monotonic()
    done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True)
    return (time.monotonic() - begin) * 1000, done


def beyond_ram(pid):
    """Kilobytes that the VMM has to itself besides the guest's memory, its largest mapping."""
    areas = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text())
    sized = [(int(re.search(r"^Size:\s+(\d+)", area, re.M).group(1)),
              sum(map(int, re.findall(r"^Private_\w+:\s+(\d+)", area, re.M)))) for area in areas if area]
    return sum(private for _, private in sized) - max(sized)[1]


def walls(build, place, runs):
    """Whole commands, `exec`, and the VMM's own memory, of the wall as people use it. {what: [ms] or KB}, or why not."""
    env = {**os.environ, "WARREN_DATA": str(place / "data")}
    error = prepare_image(build, place, env)
    if error:
        return error
    found = {"whole": []}
    for number in range(runs + 1):
        ms, done = timed([build / "warren", "run", "--rm", "--pv", "bench", "true"], env)
        if done.returncode:
            return done.stderr.strip()
        if number:
            found["whole"].append(ms)
    for mode in ("merged", "isolated"):
        _, done = timed([build / "warren", "run", "-d", "--pv", "--pv-memory", mode, "bench", "sleep", "1000"], env)
        name = done.stdout.strip()
        if done.returncode:
            return done.stderr.strip()
        try:
            one = [timed([build / "warren", "exec", name, "true"], env)[0] for _ in range(4 * runs)]
            found[f"exec {mode}"] = one[4:]
            state = json.loads(timed([build / "warren", "inspect", name], env)[1].stdout)[0]["State"]
            children = Path(f"/proc/{state['Pid']}/task/{state['Pid']}/children").read_text().split()
            found["memory"] = beyond_ram(children[0])
            if mode == "isolated":
                found["hypervisor"] = timed([build / "warren", "stats", "--hypervisor", name], env)[1].stdout
        finally:
            timed([build / "warren", "rm", "-f", name], env)
    return found


def judge(every, found):
    """(aim, limit, value, unit) of the ones that could be measured."""
    of = {guest.name: guest for guest in every if guest.boots and not guest.error}

    def figure(name, key):
        values = of[name].figures.get(key) if name in of else None
        return quantile(values, 0.5) if values else None

    def ratio(name, key):
        mine, host = figure(name, key), figure("host", key)
        return mine / host if mine and host else None

    merged = of.get("pv, merged")
    yield "to the first guest instruction", "<=", 10, quantile(merged.setups, 0.5) if merged and merged.setups else None, "ms"
    yield "to /init, 256 MB", "<=", 350, quantile(merged.boots, 0.5) * 1000 if merged else None, "ms"
    yield "CPU work to the host's", "<=", 1.03, ratio("pv, merged", "cpu_ms"), ""
    for mode, limit in (("merged", 2), ("isolated", 35)):
        value = figure(f"pv, {mode}", "syscall_ns")
        yield f"system call, {mode}", "<=", limit, value / 1000 if value else None, "us"
    value = figure("pv, merged", "exec_us")
    yield "fork and exec, merged", "<=", 3, value / 1000 if value else None, "ms"
    yield "sequential read", ">=", 600, figure("pv, merged", "read_mb_s"), "MB/s"
    yield "IOPS at 32 to the host's, same file", ">=", 0.6, ratio("pv, merged", "iops"), ""
    if isinstance(found, dict):
        yield "warren run --rm --pv, whole", "<=", 600, quantile(found["whole"], 0.5), "ms"
        for mode in ("merged", "isolated"):
            yield f"exec into a running guest, {mode}", "<=", 15, quantile(found[f"exec {mode}"], 0.5), "ms"
        yield "VMM beyond guest RAM", "<=", 3, found["memory"] / 1024, "MB"


def where_time_goes(text):
    """The dearest kinds of a guest's life, as `stats --hypervisor` tells them."""
    figures = {name: int(value) for name, value in (line.split() for line in text.splitlines())}
    rows = sorted(((value, name) for name, value in figures.items() if "-ns." in name and "sched_op" not in name), reverse=True)
    return [[name.replace("-ns.", " "), figures.get(name.replace("-ns.", "."), 0), f"{value / 1e6:.1f}"] for value, name in rows[:8]]


def bench(build, runs=10):
    if not kernel():
        print("pv not measured: no guest kernel (`warren kernel import`).")
        return
    with tempfile.TemporaryDirectory(prefix="warren-bench-", dir="/var/tmp") as name:
        place = Path(name)
        disk = place / "disk"
        with open(disk, "wb") as file:
            for _ in range(DISK_MB):
                file.write(os.urandom(1 << 20))
        disk.read_bytes()  # in the page cache for all alike
        every = contenders(build, place, disk)
        for number in range(runs + 2):
            for guest in random.sample(every, len(every)):
                if not guest.error:
                    guest.run(only_boot=number >= 2)
        found = walls(build, place, max(runs, 5))
    print(f"### pv: {MEMORY} MB, time from exec to /init's first line; {runs + 2} boots, the other figures from 2\n")
    print(table(["", "n", "/init ms", "p95", *[title for _, title in FIGURES], ""], [guest.row() for guest in every]))
    if isinstance(found, str):
        print(f"\nThe wall as a whole not measured: {found}")
    rows = []
    for aim, sense, limit, value, unit in judge(every, found):
        verdict = "not measured" if value is None else "holds" if (value <= limit if sense == "<=" else value >= limit) else "MISSED"
        rows.append([aim, f"{sense} {limit} {unit}".strip(), "-" if value is None else f"{value:.4g}", verdict])
    print("\n" + table(["aim", "limit", "measured", ""], rows))
    if isinstance(found, dict):
        print("\nWhere the time goes, from boot to the last of the execs (isolated):\n\n" +
              table(["kind", "n", "ms"], where_time_goes(found["hypervisor"])))
