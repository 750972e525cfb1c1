"""`warren xl`: domains with a kernel, an initramfs and disks of the user's, in the words of Xen's toolstack."""
import os
import shutil
import signal
import subprocess
import time

import pytest

from instances import ROOT, Terminal, Warren, eventually, guest_kernels, kernels, walls  # noqa: F401
from test_pv_linux import BUSYBOX, cpio

pytestmark = pytest.mark.skipif(not ROOT or "pv" not in walls(), reason="/dev/kvm is root's here")

INIT = """#!/busybox sh
/busybox mkdir -p /proc /sys /disk
/busybox mount -t proc proc /proc; /busybox mount -t sysfs sys /sys; /busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
/busybox insmod /xen_blkfront.ko
/busybox stty -echo
for word in $(/busybox cat /proc/cmdline); do case $word in
do=*) todo=${word#do=};;
esac; done
echo "up, asked to ${todo:-wait} with $(/busybox cat /proc/cmdline)"
case $todo in
poweroff) /busybox poweroff -f;;
reboot) /busybox sleep 1; /busybox reboot -f;;
crash) echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger;;
esac
while :; do read line || /busybox sleep 1; eval "$line"; done
"""
CONFIG = """# what the tests change stands on the command line
name = "dom"; type = "pv"
memory = 128
vcpus = 1
kernel = "{kernel}"
ramdisk = '{ramdisk}'
root = "/dev/xvda ro"
extra = "quiet"
vif = [ ]
"""


@pytest.fixture
def xl(request, tmp_path):
    found = guest_kernels("pv", request)
    if not BUSYBOX.exists():
        pytest.skip("no static busybox (busybox-static)")
    w = Warren(tmp_path, "pv")
    w.data.mkdir(exist_ok=True)
    (w.data / "kernels").symlink_to(found)
    modules = {"xen_blkfront.ko": (found / "default/modules/xen_blkfront.ko").read_bytes()}
    down = b"#!/busybox sh\n/busybox ${0##*/} -f\n"
    files = {"dev": (0o40755, b"", 0), "sbin": (0o40755, b"", 0)}
    files["dev/console"] = (0o20600, b"", 5 << 8 | 1)
    for name, content in {"init": INIT.encode(), "busybox": BUSYBOX.read_bytes(), "sbin/poweroff": down,
                          "sbin/reboot": down, **modules}.items():
        files[name] = (0o100755, content, 0)
    (w.work / "initrd.gz").write_bytes(cpio(files))
    (w.work / "vm.cfg").write_text(CONFIG.format(kernel=found / "default/vmlinux", ramdisk="initrd.gz"))
    yield w
    left = w.clear()
    assert not left, left


def create(xl, *more):
    return xl.ok("xl", "create", "-q", "vm.cfg", *more)


def console(xl, text, seconds=20):
    """The domain's console has said it."""
    assert eventually(lambda: text in xl("logs", "dom").stdout, seconds), xl("logs", "dom").stdout
    return True


def rows(xl):
    """{name: [id, mem, vcpus, state, time]}"""
    lines = xl.ok("xl", "list").splitlines()
    assert lines[0] == "Name                                        ID   Mem VCPUs\tState\tTime(s)"
    assert lines[1].startswith("Domain-0 ")
    return {line.split()[0]: line.split()[1:] for line in lines[1:]}


def test_a_domains_life(xl):
    create(xl)
    number, memory, vcpus, state, seconds = rows(xl)["dom"]
    assert (memory, vcpus) == ("128", "1") and state in ("r-----", "-b----") and float(seconds) >= 0
    assert xl.ok("xl", "domid", "dom").strip() == number
    assert xl.ok("xl", "domname", number).strip() == "dom"
    console(xl, "up, asked to wait with root=/dev/xvda ro quiet")
    assert "dom" in xl.ok("ps") and xl.inspect("dom", "{{.Isolation}}") == "pv"
    xl.ok("xl", "pause", "dom")
    assert rows(xl)["dom"][3] == "--p---"
    xl.ok("xl", "unpause", number)
    assert rows(xl)["dom"][3] in ("r-----", "-b----")
    assert f"dom: 128 MB, 1 vCPU, domain {number}" in xl.ok("xl", "dmesg")
    info = dict(line.split(": ", 1) for line in xl.ok("xl", "info").splitlines())
    assert info["nr_domains             "] == "2" and info["release                "] == os.uname().release
    xl.ok("xl", "rename", "dom", "other")
    assert "other" in rows(xl)
    xl.ok("xl", "shutdown", "-w", "other")
    assert list(rows(xl)) == ["Domain-0"]
    assert eventually(lambda: not xl.left())


def test_console(xl):
    create(xl)
    console(xl, "up, ")
    t = Terminal(xl, "xl", "console", "dom")
    t.expect("Leave with")
    t.type("echo six times seven is $((6 * 7))\n")
    t.expect("six times seven is 42")
    t.type("\x1d")
    assert t.finish() == 0
    xl.ok("xl", "destroy", "dom")
    assert list(rows(xl)) == ["Domain-0"]


def test_create_with_console_until_the_end(xl):
    t = Terminal(xl, "xl", "create", "-c", "vm.cfg")
    t.expect("up, asked to wait")
    t.type("/busybox poweroff -f\n")
    assert t.finish() == 0
    assert eventually(lambda: list(rows(xl)) == ["Domain-0"])


def test_disks_in_both_syntaxes(xl):
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    (xl.path / "tree").mkdir()
    (xl.path / "tree/word").write_text("written outside\n")
    with open(xl.work / "a.raw", "wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-d", xl.path / "tree", "a.raw"], cwd=xl.work, check=True)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "a.raw", "b.qcow2"], cwd=xl.work, check=True)
    with open(xl.work / "vm.cfg", "a") as f:
        f.write(f"disk = [ 'a.raw,raw,xvda,w',\n\t'format=qcow2, vdev=xvdc, access=rw, target={xl.work}/b.qcow2' ]\n")
    create(xl)
    console(xl, "up, ")
    t = Terminal(xl, "xl", "console", "dom")
    t.expect("Leave with")
    for disk in ("xvda", "xvdc"):
        t.type(f"/busybox mount -t ext4 /dev/{disk} /disk && /busybox cat /disk/word && echo inside >/disk/{disk}\n")
        t.expect("written outside")
        t.type("/busybox umount /disk && echo unmounted ${?}x\n")
        t.expect("unmounted 0x")
    t.type("\x1d")
    t.finish()
    refused = xl("run", "--rm", "--pv", "--disk", "a.raw", "--rootfs", xl.rootfs, "true")
    assert refused.returncode == 125 and "in use by another instance" in refused.stderr
    xl.ok("xl", "shutdown", "-w", "dom")
    found = subprocess.run(["/sbin/debugfs", "-R", "cat /xvda", xl.work / "a.raw"], capture_output=True, text=True).stdout
    assert found == "inside\n"
    subprocess.run(["qemu-img", "convert", "-O", "raw", "b.qcow2", "c.raw"], cwd=xl.work, check=True)
    found = subprocess.run(["/sbin/debugfs", "-R", "cat /xvdc", xl.work / "c.raw"], capture_output=True, text=True).stdout
    assert found == "inside\n"


# ---- what becomes of it ----

def test_power_off_is_the_end(xl):
    create(xl, 'extra="quiet do=poweroff"')
    assert eventually(lambda: list(rows(xl)) == ["Domain-0"], 20)
    assert not xl.ok("ps", "-aq")


def test_power_off_preserved(xl):
    create(xl, 'extra="quiet do=poweroff"', 'on_poweroff="preserve"')
    assert eventually(lambda: rows(xl)["dom"][3] == "---s--", 20)
    assert "up, asked to poweroff" in xl.ok("logs", "dom")
    xl.ok("xl", "destroy", "dom")
    assert not xl.ok("ps", "-aq")


def test_reboot_begins_again(xl):
    create(xl, 'extra="quiet do=reboot"')
    number = rows(xl)["dom"][0]
    assert eventually(lambda: xl("logs", "dom").stdout.count("up, asked to reboot") >= 2, 40, 0.2), xl("logs", "dom").stdout
    assert rows(xl)["dom"][0] == number
    xl.ok("xl", "destroy", "dom")


def test_reboot_asked_for(xl):
    create(xl)
    console(xl, "up, ")
    xl.ok("xl", "reboot", "dom")
    assert eventually(lambda: xl("logs", "dom").stdout.count("up, asked to wait") >= 2, 40, 0.2), xl("logs", "dom").stdout
    xl.ok("stop", "dom")
    assert eventually(lambda: not xl.ok("ps", "-aq"))


def test_crash_preserved_with_its_reason(xl):
    create(xl, 'extra="quiet do=crash"', 'on_crash="preserve"')
    assert eventually(lambda: rows(xl).get("dom", [""] * 5)[3] == "---sc-", 30), xl("logs", "dom").stdout
    assert "the domain ended" in xl.ok("xl", "dmesg")


def test_a_crash_at_once_is_not_repeated(xl):
    create(xl, 'extra="quiet do=crash"', 'on_crash="restart"')
    assert eventually(lambda: rows(xl).get("dom", [""] * 5)[3] == "---sc-", 30)
    assert "is not restarted" in xl.ok("xl", "dmesg")


def test_killed_vmm_ends_it(xl):
    create(xl)
    monitor = int(rows(xl)["dom"][0])
    children = open(f"/proc/{monitor}/task/{monitor}/children").read().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert eventually(lambda: list(rows(xl)) == ["Domain-0"])


def test_no_agent_is_said(xl):
    create(xl)
    for command in (["exec", "dom", "true"], ["cp", "dom:/init", "x"]):
        done = xl(*command)
        assert done.returncode == 125 and "no agent of Warren's inside" in done.stderr, done.stderr
    xl.ok("kill", "dom")


def test_images_behind_pv_are_domains_too(xl):
    xl.start("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done", options=["--name", "img"])
    assert rows(xl)["img"][1] == "256"
    time.sleep(0.3)
    xl.ok("xl", "shutdown", "-w", "img")
    done = xl("xl", "shutdown", "img")
    assert done.returncode == 125 and "is not running" in done.stderr
    xl.ok("run", "-d", "--name", "box", "--rootfs", xl.rootfs, "sleep", "1000")
    done = xl("xl", "pause", "box")
    assert done.returncode == 125 and "behind the container wall" in done.stderr


def test_dry_run_and_remarks(xl):
    done = xl("xl", "create", "-n", "vm.cfg", "maxmem=512", 'vnc=1')
    assert done.returncode == 0 and "vm.cfg:11: vnc: has no effect" in done.stderr, done.stderr
    assert not xl.ok("ps", "-aq")


def test_uuid_is_the_id(xl):
    create(xl, 'uuid="6c7b2d4e-0000-4000-8000-00112233aabb"')
    assert xl.ok("ps", "-q").strip() == "6c7b2d4e0000"


@pytest.mark.parametrize("line,text", [
    ("memroy = 3", "vm.cfg:10: memroy: no such key here; is 'memory' meant?"),
    ("memory = -3", "vm.cfg:10: expected a number, a string in quotes or a list, not '-'"),
    ("memory = '12q'", "vm.cfg:10: memory: '12q' is no number"),
    ("memory = 8", "memory: a guest needs at least 64 MB, not 8 MB"),
    ("vcpus = 99", "vm.cfg:10: vcpus: '99' is no number from 1 to 64"),
    ("disk = [ 'nix.img,raw,xvda,w' ]", "disk 'nix.img': No such file"),
    ("disk = [\n 'initrd.gz,raw,xvda,w',\n 'initrd.gz,raw,hda,w'\n]", "vm.cfg:12: disk: 'initrd.gz,raw,hda,w': vdev 'hda'"),
    ("disk = [ 'initrd.gz,raw,xvda,w', 'vm.cfg,raw,xvda,w' ]", "vdev 'xvda': another disk has it already"),
    ("vif = [ 'bridge=xenbr0' ]", "vm.cfg:10: vif: 'bridge=xenbr0': pv domains have no network yet. Fix: vif = []"),
    ("type = 'hvm'", "vm.cfg:10: type: 'hvm': domains here are pv"),
    ("on_crash = 'dance'", "vm.cfg:10: on_crash: 'dance' is none of destroy, restart, preserve"),
    ("bootloader = 'pygrub'", "vm.cfg:10: bootloader: 'pygrub': no boot loader is run"),
    ("uuid = '12'", "vm.cfg:10: uuid: '12' is no UUID"),
    ("name = ''", "vm.cfg:10: name: is empty"),
    ("name = 'a b'", "name"),
    ("kernel = 'nix'", "kernel 'nix': No such file"),
    ("kernel = 'vm.cfg'", "neither a vmlinux nor a bzImage"),
    ("ramdisk = 'vm.cfg'", "neither a cpio archive nor a compressed one"),
    ("disk = [ 'a'", "vm.cfg:11: expected , or ], not the end of the file"),
    ("extra = \"open", "vm.cfg:10: expected \", not the end of the line"),
    ("= 3", "vm.cfg:10: expected a key, not '='"),
    ("extra", "vm.cfg:10: expected =, not the end of the line"),
    ("pci = [ '0:1.0' ]", "vm.cfg:10: pci: there are no such devices here"),
])
def test_bad_configurations_are_one_line(xl, line, text):
    with open(xl.work / "vm.cfg", "a") as f:
        f.write(line + "\n")
    done = xl("xl", "create", "-q", "vm.cfg")
    assert done.returncode == 125 and text in done.stderr, done.stderr
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert not xl.ok("ps", "-aq") and eventually(lambda: not xl.left())


def test_missing_and_empty_files(xl):
    done = xl("xl", "create", "-q", "nix.cfg")
    assert (done.returncode, done.stderr) == (125, "Error: 'nix.cfg': No such file or directory\n")
    (xl.work / "empty.cfg").write_text("")
    done = xl("xl", "create", "-q", "empty.cfg")
    assert (done.returncode, done.stderr) == (125, "Error: empty.cfg: name: is missing\n")


def test_name_in_use(xl):
    create(xl)
    done = xl("xl", "create", "-q", "vm.cfg")
    assert done.returncode == 125 and "dom" in done.stderr
    time.sleep(0.1)
    assert len(xl.ok("ps", "-aq").split()) == 1
