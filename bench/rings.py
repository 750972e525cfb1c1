"""Block requests a second through virtio, beside QEMU: one program without a kernel (tests/guests/blkrate.c), which both
load, reads a disk over virtio-mmio in ring 3, on any KVM, also one that interprets ring 0. It keeps a number of requests
in flight, looks for answers without interrupts, and rings the doorbell; the time is taken here, between its first and its
last word. All run at real-time priority where that is allowed, so that what else the machine does stays out of it. The exits that Warren counts beside the requests say how many doorbells left the kernel."""
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import quantile, table, version_of

DISK_MB = 64
# depth, bytes, requests
LOADS = [(1, 4096, 10000), (8, 4096, 40000), (32, 4096, 80000), (32, 65536, 15000)]


def ahead_of_others():
    """The words that start a contender above all ordinary processes; we watch from one step higher."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    except OSError:
        return []
    return ["chrt", "-f", "1"] if shutil.which("chrt") else []


class Machine:
    first = []  # of every command

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.rates, self.exits, self.error = {}, {}, ""

    def words(self, load):
        """What the guest is told, and how many requests that makes."""
        depth, size, requests = load
        return f"3 requests={requests} depth={depth} bytes={size} sectors={DISK_MB * 2048}", requests

    def run(self, load):
        words, requests = self.words(load)
        process = subprocess.Popen([*self.first, *self.command(words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        began, said = None, b""
        for line in process.stdout:
            if line.strip() == b"begin":
                began = time.perf_counter()
            elif line.strip() == b"end":
                self.rates.setdefault(load, []).append(requests / (time.perf_counter() - began))
                break
            said = line if line.strip() != b"going" else said
        else:
            self.error = (said + process.stderr.read()).decode(errors="replace").strip()[-120:] or "ended early"
        try:
            process.wait(timeout=1)  # Warren powers off; QEMU's machine has no such port
        except subprocess.TimeoutExpired:
            process.kill()
        found = re.search(rb"(\d+) mmio", process.communicate()[1])
        if found:
            self.exits[load] = int(found.group(1))


def machines(build, disk):
    guest = str(build / "tests/guests/blkrate")
    every = [Machine("warren", lambda words: [str(build / "tests/tools/vmboot"), guest, "-", "64", "1", words, disk])]
    if not shutil.which("qemu-system-x86_64"):
        return every

    def qemu(drive, device, *more):
        return lambda words: ["qemu-system-x86_64", "-M", "microvm,x-option-roms=off,rtc=off,pit=off,pic=off",
                              "-accel", "kvm", "-cpu", "host", "-m", "64", "-nodefaults", "-no-user-config", "-display",
                              "none", "-serial", "stdio", "-no-reboot", "-kernel", guest, "-append",
                              words + " mmio=0xfeb00000 stride=512", "-global", "virtio-mmio.force-legacy=false",
                              "-drive", f"id=d,file={disk},format=raw,if=none{drive}",
                              "-device", f"virtio-blk-device,drive=d{device}", *more]

    every.append(Machine("QEMU microvm", qemu("", "")))
    every.append(Machine("QEMU, iothread", qemu("", ",iothread=t", "-object", "iothread,id=t")))
    every.append(Machine("QEMU, io_uring", qemu(",aio=io_uring", "")))
    return every


def bench(build, runs=5):
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("### Block requests a second: not measured, /dev/kvm is not to be used")
        return
    Machine.first = ahead_of_others()
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as name:
        disk = Path(name) / "disk"
        disk.write_bytes(os.urandom(DISK_MB << 20))
        every = machines(build, str(disk))
        for _ in range(runs):
            for load in LOADS:
                for machine in every:
                    if not machine.error:
                        machine.run(load)
    print(f"### Block requests a second: virtio-mmio, one ring-3 guest for all, cached file, reads at random; median of {runs}"
          f" (best), interleaved{', at real-time priority' if Machine.first else ''}\n")
    rows = []
    for machine in every:
        cells = [f"{quantile(machine.rates[load], 0.5):.0f} ({max(machine.rates[load]):.0f})" if machine.rates.get(load) else "-"
                 for load in LOADS]
        rows.append([machine.name, *cells, f"failed: {machine.error}" if machine.error else ""])
    peers = [m for m in every[1:] if not m.error]
    if peers and not every[0].error:
        for what, of in (("warren to the best of the medians", lambda m, load: quantile(m.rates[load], 0.5)),
                         ("warren to the best of all", lambda m, load: max(m.rates[load]))):
            rows.append([what, *[f"{of(every[0], load) / max(of(p, load) for p in peers):.2f}" for load in LOADS], ""])
    print(table(["", *[f"depth {d}, {b >> 10} KB" for d, b, _ in LOADS], ""], rows))
    if every[0].exits:
        print("\nMMIO exits to Warren in a whole run, setting up included: " +
              ", ".join(f"{every[0].exits[load]} of {load[2]} requests" for load in LOADS if load in every[0].exits) + ".")
    print("\n" + ("QEMU " + version_of("qemu-system-x86_64", "--version") if peers else "QEMU not compared: it is not installed."))
