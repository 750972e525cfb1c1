"""The machine of the vm wall without images: kernels of a page that begin in protected mode, which any KVM runs, and a
real one by every protocol where guest ring 0 is the processor's own (in the bed: tools/bed)."""
import os
import subprocess
from pathlib import Path

import pytest

from instances import BUILD, ROOT, guest_kernels, kernels  # noqa: F401

pytestmark = pytest.mark.skipif(not ROOT or not os.path.exists("/dev/kvm"), reason="needs root and /dev/kvm")
VMBOOT, GUESTS = BUILD / "tests/tools/vmboot", BUILD / "tests/guests"


def boot(kernel, initrd="-", memory=64, vcpus=1, line="", timeout=120, **env):
    return subprocess.run([VMBOOT, kernel, initrd, str(memory), str(vcpus), line], capture_output=True, text=True,
                          timeout=timeout, env={**os.environ, **env})


@pytest.mark.parametrize("kernel, protocol", [("direct_pvh", "pvh"), ("direct_multiboot", "multiboot")])
def test_protected_mode_kernels(kernel, protocol):
    done = boot(GUESTS / kernel, line="one two=3")
    assert (done.returncode, done.stdout) == (0, f"{protocol}: one two=3\n00000040\n"), done.stderr
    assert done.stderr.startswith("poweroff: ")


def test_a_protocol_can_be_forced():
    done = boot(GUESTS / "direct_pvh", VMBOOT_PROTOCOL="multiboot")
    assert done.stdout.startswith("multiboot: "), done.stderr
    done = boot(GUESTS / "direct_multiboot", VMBOOT_PROTOCOL="pvh")
    assert done.returncode == 125 and "no PVH entry" in done.stderr


@pytest.mark.parametrize("memory, top", [(3072, 0xc00), (3074, 0x1002), (5000, 0x1000 + 5000 - 3072)])
def test_memory_goes_on_above_the_hole(memory, top):
    done = boot(GUESTS / "direct_multiboot", memory=memory)
    assert done.stdout.split("\n")[1] == f"{top:08x}", done.stderr


@pytest.mark.parametrize("args, text", [
    ({"vcpus": 0}, "from 1 to"), ({"vcpus": 65}, "65 vCPUs: from 1 to 64"), ({"memory": 3}, "multiple of 2 MB"),
    ({"memory": 2 << 20}, "at most 1048576"), ({"line": "x" * 2048}, "command line: 2048 bytes, at most 2047"),
    ({"VMBOOT_CPU": "z80"}, "CPU template 'z80'"), ({"initrd": "/etc"}, "initramfs")])
def test_one_line_for_what_cannot_be(args, text):
    done = boot(GUESTS / "direct_multiboot", **args)
    assert done.returncode == 125 and text in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("at, value, text", [(18, b"\xb7\0", "not a 64-bit x86 kernel (ELF machine 183)"),
                                             (0, b"MZ", "not an ELF file"), (52, b"\xff" * 32, "kernel")])
def test_kernels_that_are_none(tmp_path, at, value, text):
    """Another architecture's, no ELF file at all, and garbage for headers."""
    image = bytearray((GUESTS / "direct_pvh").read_bytes())
    image[at:at + len(value)] = value
    image = image.replace(b"\x02\xb0\xad\x1b", b"\0\0\0\0")  # nor Multiboot
    (tmp_path / "kernel").write_bytes(image)
    done = boot(tmp_path / "kernel")
    assert done.returncode == 125 and text in done.stderr, done.stderr


def test_a_broken_guest_stops_with_its_reason(tmp_path):
    """The entry's code is ud2, and there is no table of interrupts: a triple fault."""
    image = (GUESTS / "direct_multiboot").read_bytes().replace(b"\x3d\x02\xb0\xad\x2b", b"\x0f\x0b\x02\xb0\xad", 1)
    (tmp_path / "kernel").write_bytes(image)
    done = boot(tmp_path / "kernel")
    assert done.returncode == 1 and done.stderr.startswith("broken: vCPU 0: "), done.stderr


@pytest.mark.parametrize("thread, most, requests", [("vcpu", 12, {"KVM_RUN"}), ("block", 22, {"BLKDISCARD", "BLKZEROOUT"}),
                                                    ("main", 22, set())])
def test_threads_of_the_vmm_may_do_little(thread, most, requests):
    def listed(name):
        return {line.rstrip(",") for line in (BUILD / "src/generated" / name).read_text().splitlines() if line.endswith(",")}
    calls = listed(f"jail_vm_{thread}.h")
    assert 0 < len(calls) <= most, calls
    assert not calls & {"SYS_openat", "SYS_open", "SYS_execve", "SYS_clone3", "SYS_clone", "SYS_connect", "SYS_prctl",
                        "SYS_io_uring_setup", "SYS_socket"}
    assert listed(f"jail_vm_{thread}_ioctls.h") == requests


def test_interpreted_ring_0_is_told_of_the_pv_wall(tmp_path):
    verdict = subprocess.run([BUILD / "warren", "doctor"], capture_output=True, text=True).stdout
    if any(line.startswith("vm ") and "works" in line for line in verdict.splitlines()):
        pytest.skip("the vm wall works on this host")
    done = subprocess.run([BUILD / "warren", "run", "--rm", "--vm", "--rootfs", tmp_path, "true"], capture_output=True, text=True)
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    assert "--isolation pv [KVM-03]" in done.stderr or "KVM" in done.stderr and "pv" in done.stderr, done.stderr


# Below: a Linux kernel, where it runs.

INIT = """#include <sys/reboot.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
	char line[4096] = "";
	mkdir("/proc", 0755);
	mount("p", "/proc", "proc", 0, 0);
	FILE *f = fopen("/proc/cmdline", "r");
	if (f && fgets(line, sizeof(line), f)) printf("cmdline %s", line);
	printf("cpus %ld pages %ld\\n", sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_PHYS_PAGES));
	f = fopen("/proc/cpuinfo", "r");
	while (f && fgets(line, sizeof(line), f)) if (line[0] == 'f' && line[1] == 'l') { printf("%s", line); break; }
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
}
"""


@pytest.fixture(scope="module")
def linux(request, tmp_path_factory):
    """vmlinux, and an initramfs whose init tells what it finds. It is static: no module is needed, the console is early."""
    kernels = guest_kernels("vm", request)
    folder = tmp_path_factory.mktemp("linux")
    (folder / "init.c").write_text(INIT)
    subprocess.run(["gcc", "-O1", "-static", "-o", "init", "init.c"], cwd=folder, check=True)
    with open(folder / "initrd", "wb") as f:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"init\n", cwd=folder, stdout=f, check=True)
    return kernels / os.readlink(kernels / "default") / "vmlinux", folder / "initrd"


@pytest.mark.parametrize("protocol", ["auto", "linux", "pvh"])
def test_linux_by_every_protocol(linux, protocol):
    done = boot(*linux, memory=256, line="earlyprintk=ttyS0 console=ttyS0 keep_bootcon panic=-1 pci=off warren.test=1",
                VMBOOT_PROTOCOL=protocol)
    assert done.returncode == 0 and "warren.test=1" in done.stdout, done.stdout[-2000:] + done.stderr
    assert "Linux version" in done.stdout


def test_processors_and_memory(linux):
    """Two processors, memory above the hole, and a template that has no AVX."""
    done = boot(*linux, memory=3200, vcpus=2, line="earlyprintk=ttyS0 keep_bootcon panic=-1 pci=off", VMBOOT_CPU="x86-64-v2")
    assert done.returncode == 0 and "poweroff" in done.stderr, done.stdout[-2000:] + done.stderr
    assert "smp: Brought up 1 node, 2 CPUs" in done.stdout
    assert "[mem 0x0000000100000000-0x0000000107ffffff] usable" in done.stdout
    assert "kvm-clock" in done.stdout
    assert " avx " not in done.stdout and "AVX registers" not in done.stdout
