"""The vm wall's machine beside Debian's QEMU (microvm): the same kernels, initramfs and disk, in turns. Where this host has no
hardware virtualization all of it runs in the bed (tools/bed), where ratios mean something and milliseconds do not.

Two guests. A kernel of a page says one byte: the time from exec to that is the VMM's own. Debian's kernel boots to an
/init that says one byte by the serial port's register, without a driver, and then reads a disk."""
import json
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guest import cpio
from harness import ROOT, quantile, table, version_of

MODULES = "virtio_ring virtio virtio_mmio virtio_blk".split()
MEMORY = 256


def works_here(build):
    verdict = subprocess.run([build / "warren", "doctor"], capture_output=True, text=True).stdout
    return any(line.startswith("vm ") and "works" in line for line in verdict.splitlines())


def initramfs(build, kernel, path):
    files = {"dev": (0o40755, b""), "init": (0o100755, (build / "bench/bench-vm-init").read_bytes())}
    there = [name for name in MODULES if (kernel / f"modules/{name}.ko").exists()]
    files["modules"] = (0o40755, b"")
    for name in there:
        files[f"modules/{name}.ko"] = (0o100644, (kernel / f"modules/{name}.ko").read_bytes())
    files["modules/order"] = (0o100644, "".join(f"{name}.ko\n" for name in there).encode())
    path.write_bytes(cpio(files))


class Vmm:
    def __init__(self, name, command):
        self.name, self.command = name, command
        self.first, self.boot, self.exits, self.memory, self.speed, self.error = [], [], [], [], [], ""


def vmms(build):
    line = "quiet panic=-1 reboot=t pci=off cryptomgr.notests random.trust_cpu=on"
    ours = [str(build / "tests/tools/vmboot")]
    qemu = ["qemu-system-x86_64", "-M", "microvm,pit=off,pic=off,rtc=off,isa-serial=on", "-accel", "kvm", "-cpu", "host",
            "-m", str(MEMORY), "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"]
    return [
        Vmm("warren", lambda kernel, initrd, disk: [*ours, kernel, initrd or "-", str(MEMORY), "1", line, *([disk] if disk else [])]),
        Vmm("QEMU microvm " + version_of("qemu-system-x86_64", "--version"), lambda kernel, initrd, disk: [
            *qemu, "-kernel", kernel, *(["-initrd", initrd] if initrd else []), "-append", line,
            *(["-drive", f"id=d,if=none,format=raw,file={disk}", "-device", "virtio-blk-device,drive=d"] if disk else [])])]


def until(fd, text, byte, limit):
    """Reads until the byte is there; everything read so far."""
    end = time.monotonic() + limit
    while byte not in text:
        if time.monotonic() > end or not select.select([fd], [], [], 1)[0]:
            if time.monotonic() > end:
                return None
            continue
        more = os.read(fd, 4096)
        if not more:
            return None
        text += more
    return text


def exits_of(pid):
    """KVM's own count for the machine of a process."""
    for folder in Path("/sys/kernel/debug/kvm").glob(f"{pid}-*"):
        return int((folder / "exits").read_text())
    return None


def beyond(pid):
    """Kilobytes of a process that are not guest memory: its share of every mapping but the largest anonymous one."""
    sizes, name = [], ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"^([0-9a-f]+)-([0-9a-f]+) ", line)
        if head:
            name = int(head.group(2), 16) - int(head.group(1), 16)
        elif line.startswith("Pss:") and name < MEMORY << 20:
            sizes.append(int(line.split()[1]))
    return sum(sizes)


def one(vmm, kernel, initrd, disk, limit=120):
    begin = time.monotonic()
    process = subprocess.Popen([str(w) for w in vmm.command(kernel, initrd, disk)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        fd = process.stdout.fileno()
        text = until(fd, b"", b"R" if initrd else b":", limit)
        took = time.monotonic() - begin
        if text is None:
            process.kill()
            vmm.error = (process.stderr.read().decode(errors="replace").strip().splitlines() or ["said nothing"])[-1][:160]
            return
        if not initrd:
            vmm.first.append(took)
            return
        if not disk:
            vmm.boot.append(took)
            vmm.exits.append(exits_of(process.pid))
            vmm.memory.append(beyond(process.pid))
            return
        text = until(fd, text, b";", limit) or b""
        found = re.search(rb"S ([\d.]+) I (\d+)", text)
        if found:
            vmm.speed.append((float(found.group(1)), float(found.group(2))))
    finally:
        process.kill()
        process.wait()


def measure(build, kernel, runs):
    """In the place where guests run."""
    subprocess.run(["mount", "-t", "debugfs", "debug", "/sys/kernel/debug"], check=False, capture_output=True)
    every = vmms(build)
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as folder:
        place = Path(folder)
        initramfs(build, kernel, place / "initrd")
        shutil.copy(kernel / "vmlinux", place / "vmlinux")
        (place / "disk").write_bytes(os.urandom(1 << 20) * 64)
        for number in range(-1, runs):
            for vmm in random.sample(every, len(every)):
                if not vmm.error:
                    one(vmm, build / "tests/guests/direct_pvh", None, None)
                if not vmm.error:
                    one(vmm, place / "vmlinux", place / "initrd", None)
                if not vmm.error and number == 0:
                    one(vmm, place / "vmlinux", place / "initrd", place / "disk")
                if number < 0:
                    vmm.first.clear(), vmm.boot.clear(), vmm.exits.clear(), vmm.memory.clear()
    return [{key: value for key, value in vars(vmm).items() if key != "command"} for vmm in every]


def middle(values):
    values = [v for v in values if v is not None]
    return quantile(values, 0.5) if values else None


def rows(every):
    base = next((v for v in every if v["name"].startswith("QEMU") and not v["error"]), None)
    figures = [("first", 1000, "{:.1f}"), ("boot", 1000, "{:.0f}"), ("exits", 1, "{:.0f}"), ("memory", 1 / 1024, "{:.1f}")]
    out = []
    for vmm in every:
        cells = [vmm["name"], len(vmm["boot"])]
        for key, factor, shape in figures:
            own = middle(vmm[key])
            cells.append(shape.format(own * factor) if own is not None else "-")
        speed = vmm["speed"][0] if vmm["speed"] else None
        cells += [f"{speed[0]:.0f}", f"{speed[1]:.0f}"] if speed else ["-", "-"]
        cells.append(f"failed: {vmm['error']}" if vmm["error"] else "")
        out.append(cells)
    ours = every[0]
    if base and not ours["error"]:
        ratio = ["to QEMU", ""]
        for key, _, _ in figures:
            a, b = middle(ours[key]), middle(base[key])
            ratio.append(f"{a / b:.3f}" if a is not None and b else "-")
        for i in range(2):
            ratio.append(f"{ours['speed'][0][i] / base['speed'][0][i]:.2f}" if ours["speed"] and base["speed"] else "-")
        out.append([*ratio, ""])
    return out


def bench(build, runs=5):
    store = Path("/var/lib/warren/kernels/default")
    kernel = Path(os.environ["WARREN_TEST_KERNELS"]) / "default" if "WARREN_TEST_KERNELS" in os.environ else store
    if not (kernel / "vmlinux").exists():
        print("### Virtual machines: not measured, no guest kernel (`warren kernel import`)")
        return
    direct = works_here(build)
    if direct:
        every = measure(build, kernel, runs)
    else:
        place = build / "bed/bench-kernel"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(kernel.resolve(), place)
        done = subprocess.run([ROOT / "tools/bed", "--build", build, "--timeout", "1200",
                               f"/usr/bin/python3 {ROOT}/bench/vm.py {build} {place} {runs}"],
                              stdout=subprocess.PIPE, text=True, cwd=ROOT)
        if done.returncode:
            print(f"### Virtual machines: not measured, the bed ended with status {done.returncode}")
            return
        every = json.loads(done.stdout)
    where = "on this host's KVM" if direct else "in the bed: ratios only"
    print(f"### Virtual machines, {MEMORY} MB, {where}; {runs} runs\n")
    print(table(["", "n", "first output ms", "/init ms", "exits to /init", "MB beyond RAM", "read MB/s", "4K reads/s", ""], rows(every)))
    print("\nFirst output: of a kernel of a page, from exec. Exits: those that KVM counted.")


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
