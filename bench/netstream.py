"""One TCP connection through a guest's network device, beside QEMU: the same kernel, the same initramfs with iperf3, a tap of
the same host. In the bed it is ratios that count."""
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import table, version_of
from vm import works_here

MODULES = ["virtio_ring", "virtio", "virtio_mmio", "failover", "net_failover", "virtio_net"]
TAP, HERE, THERE, SECONDS = "stream0", "10.9.0.1", "10.9.0.2", 5
INIT = f"""#!/bin/busybox sh
export PATH=/bin
mkdir -p /proc /sys /dev /tmp; mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for m in {' '.join(MODULES)}; do [ -e /modules/$m.ko ] && insmod /modules/$m.ko; done
ifconfig lo up; ifconfig eth0 {THERE} netmask 255.255.255.0 up
for way in "" -R; do
echo "<0>way out$way $(iperf3 -c {HERE} -t {SECONDS} -f m $way 2>&1 | grep -E 'receiver|error')" >/dev/kmsg
done
poweroff -f
"""


def initramfs(kernel, path):
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        (tree / "bin").mkdir()
        (tree / "modules").mkdir()
        shutil.copy("/bin/busybox", tree / "bin/busybox")
        for applet in ("sh", "mkdir", "mount", "insmod", "ifconfig", "poweroff", "echo", "grep"):
            (tree / "bin" / applet).symlink_to("busybox")
        for module in MODULES:
            if (kernel / f"modules/{module}.ko").exists():
                shutil.copy(kernel / f"modules/{module}.ko", tree / "modules")
        iperf = shutil.which("iperf3")
        libraries = re.findall(r"(/\S+)", subprocess.run(["ldd", iperf], capture_output=True, text=True, check=True).stdout)
        shutil.copy(iperf, tree / "bin/iperf3")
        for library in libraries:
            (tree / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(library), tree / library[1:])
        (tree / "init").write_text(INIT)
        (tree / "init").chmod(0o755)
        files = subprocess.run(["find", ".", "-print0"], cwd=tree, capture_output=True, check=True).stdout
        with open(path, "wb") as out:
            subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--quiet"], cwd=tree, input=files, stdout=out, check=True)


def rates(command, env):
    """Mbit/s out of the guest and into it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, env={**os.environ, **env})
    found = re.findall(r"way out(-R)? .*?([\d.]+) Mbits/sec", done.stdout)
    assert len(found) == 2, done.stdout[-600:] + done.stderr[-600:]
    return [float(rate) for _, rate in found]


def bench(build, runs=3):
    kernels = sorted(Path(os.environ.get("WARREN_DATA", "/var/lib/warren")).glob("kernels/*/vmlinux"))
    missing = [p for p in ("iperf3", "qemu-system-x86_64", "cpio", "busybox") if not shutil.which(p)]
    if missing or not kernels or not works_here(build):
        print("### TCP through a guest: not measured, " + (
            f"{missing[0]} is not installed" if missing else "no guest kernel" if not kernels else "no vm wall here (see make bed)"))
        return
    line = "quiet console=ttyS0 panic=-1 reboot=t pci=off cryptomgr.notests random.trust_cpu=on"
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as name:
        initrd = f"{name}/initrd"
        initramfs(kernels[0].parent, initrd)
        subprocess.run(["ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr"], check=True)
        server = None
        try:
            subprocess.run(["ip", "addr", "add", f"{HERE}/24", "dev", TAP], check=True)
            subprocess.run(["ip", "link", "set", TAP, "up"], check=True)
            server = subprocess.Popen(["iperf3", "-s", "-B", HERE], stdout=subprocess.DEVNULL)
            time.sleep(1)
            machines = {
                "warren": ([str(build / "tests/tools/vmboot"), str(kernels[0]), initrd, "256", "1", line],
                           {"VMBOOT_TAP": TAP, "VMBOOT_JAIL": "1"}),
                "QEMU microvm": (["qemu-system-x86_64", "-M", "microvm,pit=off,pic=off,rtc=off,isa-serial=on", "-accel", "kvm",
                                  "-cpu", "host", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-serial",
                                  "stdio", "-no-reboot", "-kernel", str(kernels[0]), "-initrd", initrd, "-append", line,
                                  "-global", "virtio-mmio.force-legacy=false", "-netdev",
                                  f"tap,id=n,ifname={TAP},script=no,downscript=no", "-device", "virtio-net-device,netdev=n"], {})}
            got = {machine: [] for machine in machines}
            for _ in range(runs):
                for machine, (command, env) in machines.items():
                    got[machine].append(rates(command, env))
        finally:
            if server:
                server.kill()
                server.wait()
            subprocess.run(["ip", "link", "del", TAP])
    print(f"### TCP through a guest's network device: Mbit/s, best of {runs}, interleaved\n")
    best = {machine: [max(run[i] for run in all_) for i in (0, 1)] for machine, all_ in got.items()}
    rows = [[machine, *[f"{v:.0f}" for v in values]] for machine, values in best.items()]
    rows.append(["warren to QEMU", *[f"{a / b:.2f}" for a, b in zip(best["warren"], best["QEMU microvm"])]])
    print(table(["", "out of the guest", "into it"], rows))
    print("\n" + version_of("qemu-system-x86_64", "--version"))
