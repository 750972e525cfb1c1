"""What a guest cannot start from: each is one line that names the thing and the mend, exit status 125, and nothing is left."""
import os
import shutil
import subprocess

import pytest

from instances import ROOT, Warren, eventually, guest_kernels, kernels, make_image, plain_user, walls  # noqa: F401

pytestmark = pytest.mark.skipif(not ROOT, reason="/dev/kvm is root's here")


@pytest.fixture(params=[w for w in walls() if w != "container"])
def guest(request, tmp_path):
    """With a store of kernels of its own, which the tests spoil."""
    found = guest_kernels(request.param, request)
    w = Warren(tmp_path, request.param)
    w.data.mkdir(exist_ok=True)
    (w.data / "kernels").mkdir()
    name = os.readlink(found / "default")
    shutil.copytree(found / name, w.data / "kernels" / name)
    (w.data / "kernels/default").symlink_to(name)
    w.kernel = w.data / "kernels" / name
    yield w
    left = w.clear()
    assert not left, left


def refused(guest, done, *words):
    """One line, and nothing left of the instance."""
    assert done.returncode == 125, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == "" and done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not guest.ok("ps", "-aq")
    assert eventually(lambda: not guest.left()), guest.left()


def hidden(guest, script, *args, user=None):
    """run, in a mount namespace that `script` changed first."""
    words = guest.argv("run", "--rm", "--isolation", guest.wall, "--rootfs", guest.rootfs, *args)
    return subprocess.run(["unshare", "-m", "sh", "-e", "-c", script + "\nexec \"$@\"", "sh", *words], env=guest.env,
                          capture_output=True, text=True, timeout=60)


NO_KVM = """d=$(mktemp -d); mount -t tmpfs dev $d
for f in null zero full random urandom tty ptmx; do [ ! -e /dev/$f ] || { touch $d/$f; mount --bind /dev/$f $d/$f; }; done
mkdir $d/pts $d/shm; mount --bind /dev/pts $d/pts; mount --move $d /dev; rmdir $d"""


def test_no_kvm(guest):
    refused(guest, hidden(guest, NO_KVM, "true"), "/dev/kvm: No such file", "Fix: modprobe", "[KVM-02]")


def test_kvm_that_is_none(guest):
    refused(guest, hidden(guest, "mount --bind /dev/null /dev/kvm", "true"), "/dev/kvm", "Fix: ")


def test_no_permission(guest, plain_user):
    if not plain_user:
        pytest.skip("no ordinary user")
    (guest.path / "plain").mkdir()
    w = Warren(guest.path / "plain", guest.wall, plain_user)
    guest.path.parent.chmod(0o755)
    for p in (guest.path, *list(guest.path.parents)[:3]):
        if str(p).startswith("/tmp/"):
            p.chmod(0o755)
    done = w("run", "--rm", "--isolation", guest.wall, "--rootfs", w.rootfs, "true")
    if "Permission denied" not in done.stderr and os.stat("/dev/kvm").st_mode & 0o006 == 0o006:
        pytest.skip("everybody may open /dev/kvm here")
    refused(w, done, "/dev/kvm: Permission denied", "Fix: ", "[KVM-02]")


def spoil(path, change):
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))


def test_kernel_without_xen(guest):
    if guest.wall != "pv":
        pytest.skip("only pv needs it")
    spoil(guest.kernel / "vmlinux", lambda b: b.replace(b"\4\0\0\0\4\0\0\0\6\0\0\0Xen\0", b"\4\0\0\0\4\0\0\0\6\0\0\0Zen\0")
          .replace(b"Xen\0", b"Zen\0"))
    refused(guest, guest.run("true"), "Xen", "Fix: ")
    shutil.copy(guest.kernel / "vmlinux", guest.work / "plain")
    refused(guest, guest.run("true", options=["--kernel", str(guest.work / "plain")]), "Xen", "Fix: ")
    lines = guest.ok("kernel", "ls", "-q").split()
    assert [n for n in lines if n.startswith("file-")]


@pytest.mark.parametrize("keep", [0, 3, 40, 1000, 1 << 20, 20 << 20])
def test_truncated_vmlinux(guest, keep):
    spoil(guest.kernel / "vmlinux", lambda b: b[:keep])
    refused(guest, guest.run("true"), "vmlinux", "Fix: ")


def test_truncated_kernel_file(guest):
    shutil.copy(guest.kernel / "vmlinux", guest.work / "cut")
    os.truncate(guest.work / "cut", 1 << 20)
    refused(guest, guest.run("true", options=["--kernel", str(guest.work / "cut")]), "cut")


def test_missing_kernels(guest):
    refused(guest, guest.run("true", options=["--kernel", "nix"]), "'nix'", "Fix: warren kernel import")
    refused(guest, guest.run("true", options=["--kernel", "/no/such/kernel"]), "/no/such/kernel")
    shutil.rmtree(guest.data / "kernels")
    refused(guest, guest.run("true"), "Fix: warren kernel import")


@pytest.mark.parametrize("content", [b"", b"not an archive\n", b"\x7fELF" + b"\0" * 100])
def test_initramfs_that_is_none(guest, content):
    (guest.work / "initrd").write_bytes(content)
    refused(guest, guest.run("true", options=["--initrd", str(guest.work / "initrd")]), "initrd", "Fix: ")


@pytest.mark.parametrize("option", ["0", "5000", "x"])
def test_vcpus(guest, option):
    refused(guest, guest.run("true", options=["--vcpus", option]), "vcpus")


def test_full_disk(guest):
    """The root of a guest needs room below the data directory."""
    big = guest.rootfs / "big"
    big.write_bytes(os.urandom(3 << 20))
    script = f"mkdir -p {guest.data}/guest-roots; mount -t tmpfs -o size=1m full {guest.data}/guest-roots"
    refused(guest, hidden(guest, script, "true"), "No space left", "Fix: ")


def test_full_disk_for_what_it_writes(guest):
    """The disk to write to is made at the start."""
    image = make_image(guest)
    guest.ok("run", "--rm", "--isolation", guest.wall, image, "true")  # its root is there from now on
    words = guest.argv("run", "--name", "full", "--isolation", guest.wall, image, "true")
    script = f"mkdir -p {guest.data}/instances; mount -t tmpfs -o size=64k full {guest.data}/instances\nexec \"$@\""
    done = subprocess.run(["unshare", "-m", "sh", "-e", "-c", script, "sh", *words], env=guest.env, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 125 and done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1, done.stderr
    assert "No space left" in done.stderr and "Fix: " in done.stderr, done.stderr
    guest.ok("rm", "-f", "full")


def test_missing_image(guest):
    done = guest("run", "--rm", "--isolation", guest.wall, "--pull", "never", "nosuchimage", "true")
    refused(guest, done, "nosuchimage", "Fix: ")
    refused(guest, guest("run", "--rm", "--isolation", guest.wall, "--rootfs", "/no/such/root", "true"), "/no/such/root")
    (guest.work / "file").write_text("")
    refused(guest, guest("run", "--rm", "--isolation", guest.wall, "--rootfs", guest.work / "file", "true"), "file",
            "ot a directory")


def test_missing_tools_are_named(guest):
    """mkfs.erofs makes the root."""
    empty = guest.path / "empty"
    empty.mkdir()
    guest.env["PATH"] = str(empty)
    refused(guest, guest.run("true"), "mkfs.erofs", "Fix: apt-get install erofs-utils")
