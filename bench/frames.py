"""Net frames a second through virtio, beside QEMU: one program without a kernel (tests/guests/netrate.c), which both
load, sends frames over virtio-mmio into a tap, in ring 3, on any KVM. Measured as rings.py measures disks. The tap lies in a
network of its own and nobody listens, so that the way through the VMM is what counts. The exits that Warren counts say
how many doorbells left the kernel."""
import os
import shutil

from harness import quantile, table, version_of
from rings import Machine, ahead_of_others

# bytes, frames
LOADS = [(60, 300000), (1514, 300000)]
TAP = "frames0"


class Sender(Machine):
    def words(self, load):
        size, frames = load
        return f"3 frames={frames} bytes={size}", frames


def in_own_network(command):
    setup = f"ip tuntap add {TAP} mode tap && sysctl -qw net.ipv6.conf.{TAP}.disable_ipv6=1; ip link set {TAP} up && exec \"$@\""
    return ["unshare", "-n", "sh", "-c", setup, "sh", *command]


def machines(build):
    guest = str(build / "tests/guests/netrate")
    every = [Sender("warren", lambda words: in_own_network(
        ["env", f"VMBOOT_TAP={TAP}", "VMBOOT_JAIL=1", str(build / "tests/tools/vmboot"), guest, "-", "64", "1", words]))]
    if not shutil.which("qemu-system-x86_64"):
        return every

    def qemu(*more):
        return lambda words: in_own_network(
            ["qemu-system-x86_64", "-M", "microvm,x-option-roms=off,rtc=off,pit=off,pic=off", "-accel", "kvm", "-cpu", "host",
             "-m", "64", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
             "-kernel", guest, "-append", words + " mmio=0xfeb00000 stride=512", "-global", "virtio-mmio.force-legacy=false",
             "-netdev", f"tap,id=n,ifname={TAP},script=no,downscript=no", "-device", "virtio-net-device,netdev=n" + more[0]])

    every.append(Sender("QEMU microvm", qemu("")))
    every.append(Sender("QEMU, tx=bh", qemu(",tx=bh")))
    return every


def bench(build, runs=5):
    if os.geteuid() or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("### Net frames a second: not measured, needs root and /dev/kvm")
        return
    Machine.first = ahead_of_others()
    every = machines(build)
    for _ in range(runs):
        for load in LOADS:
            for machine in every:
                if not machine.error:
                    machine.run(load)
    print(f"### Net frames a second: virtio-mmio into a tap, one ring-3 guest for all; median of {runs} (best), interleaved"
          f"{', at real-time priority' if Machine.first else ''}\n")
    rows = []
    for machine in every:
        cells = [f"{quantile(machine.rates[load], 0.5):.0f} ({max(machine.rates[load]):.0f})" if machine.rates.get(load) else "-"
                 for load in LOADS]
        rows.append([machine.name, *cells, f"failed: {machine.error}" if machine.error else ""])
    peers = [m for m in every[1:] if not m.error]
    if peers and not every[0].error:
        rows.append(["warren to the best of the medians", *[
            f"{quantile(every[0].rates[load], 0.5) / max(quantile(p.rates[load], 0.5) for p in peers):.2f}" for load in LOADS], ""])
    print(table(["", *[f"{size} bytes" for size, _ in LOADS], ""], rows))
    if every[0].exits:
        print("\nMMIO exits to Warren in a whole run, setting up included: " +
              ", ".join(f"{every[0].exits[load]} of {load[1]} frames" for load in LOADS if load in every[0].exits) + ".")
    print("\n" + (version_of("qemu-system-x86_64", "--version") if peers else "QEMU not compared: it is not installed."))
