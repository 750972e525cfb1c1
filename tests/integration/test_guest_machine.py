"""What the user wishes for a guest's machine: disks, and walls that may be a second choice."""
import os
import shutil
import subprocess

import pytest

from instances import (ROOT, Warren, eventually, guest_kernels, kernels, make_image,  # noqa: F401
                       walls)

pytestmark = pytest.mark.skipif(not ROOT, reason="/dev/kvm is root's here")


@pytest.fixture(params=[w for w in walls() if w != "container"])
def guest(request, tmp_path):
    kernels = guest_kernels(request.param, request)
    w = Warren(tmp_path, request.param)
    w.data.mkdir(exist_ok=True)
    (w.data / "kernels").symlink_to(kernels)
    yield w
    left = w.clear()
    assert not left, left


@pytest.fixture
def disks(guest):
    """a.raw and b.qcow2 with a file system, and over.qcow2 on top of a.raw."""
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    (guest.path / "tree").mkdir()
    (guest.path / "tree/word").write_text("hello\n")
    with open(guest.work / "a.raw", "wb") as f:
        f.truncate(32 << 20)
    for command in ("/sbin/mkfs.ext4 -q -d ../tree a.raw", "qemu-img convert -O qcow2 a.raw b.qcow2",
                    "qemu-img create -q -f qcow2 -b a.raw -F raw over.qcow2"):
        subprocess.run(command.split(), cwd=guest.work, check=True)
    return guest.work


def device(guest, n):
    """The n-th further disk of an instance with --rm, which has only its root."""
    return f"/dev/xvd{'cdef'[n]}" if guest.wall == "pv" else f"/dev/vd{'bcde'[n]}"


def test_disks_are_mounted_and_written(guest, disks):
    words = ["a.raw,raw", "b.qcow2,qcow2,,rw"]
    script = "".join(f"mount -t ext4 {device(guest, i)} /tmp && cat /tmp/word && echo {i} >>/tmp/word && umount /tmp;"
                     for i in range(len(words)))
    done = guest.run("sh", "-c", script, options=["--privileged", *(x for w in words for x in ("--disk", w))])
    assert (done.returncode, done.stdout) == (0, "hello\nhello\n"), done.stderr
    check = subprocess.run(["qemu-img", "check", disks / "b.qcow2"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    subprocess.run(["qemu-img", "convert", "-O", "raw", disks / "b.qcow2", disks / "back.raw"], check=True)
    for name, want in (("a.raw", "hello\n0\n"), ("back.raw", "hello\n1\n")):
        found = subprocess.run(["/sbin/debugfs", "-R", "cat /word", disks / name], capture_output=True, text=True)
        assert found.stdout == want, (name, found)


def test_overlay_leaves_its_base_alone(guest, disks):
    before = (disks / "a.raw").read_bytes()
    script = f"mount -t ext4 {device(guest, 0)} /tmp && echo more >>/tmp/word && cat /tmp/word && umount /tmp"
    for want in ("hello\nmore\n", "hello\nmore\nmore\n"):
        done = guest.run("sh", "-c", script, options=["--privileged", "--disk", "over.qcow2,qcow2"])
        assert (done.returncode, done.stdout) == (0, want), done.stderr
    assert (disks / "a.raw").read_bytes() == before


def test_read_only(guest, disks):
    done = guest.run("sh", "-c", f"mount -t ext4 -o ro {device(guest, 0)} /tmp && cat /tmp/word;"
                     f"dd if=/dev/zero of={device(guest, 0)} count=1 2>&1 | head -1",
                     options=["--privileged", "--disk", "a.raw,raw,,ro"])
    assert done.stdout.startswith("hello\ndd:"), (done.stdout, done.stderr)


def test_without_rights_there_is_the_device_but_no_mount(guest, disks):
    done = guest.run("sh", "-c", f"test -b {device(guest, 0)} && mount -t ext4 {device(guest, 0)} /tmp",
                     options=["--disk", "a.raw"])
    assert done.returncode == 1 and "ermi" in done.stderr, (done.returncode, done.stderr)


def test_in_use(guest, disks):
    guest.ok(*guest.front("-d", "--name", "one", "--disk", "a.raw"), "sleep", "1000")
    for words in ("a.raw", "a.raw,raw,,ro", "over.qcow2,qcow2"):
        done = guest.run("true", options=["--disk", words])
        assert done.returncode == 125 and "a.raw': in use by another instance" in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    guest.ok("rm", "-f", "one")
    # Readers share.
    guest.ok(*guest.front("-d", "--name", "two", "--disk", "a.raw,raw,,ro"), "sleep", "1000")
    assert guest.run("true", options=["--disk", "over.qcow2,qcow2"]).returncode == 0
    assert guest.run("true", options=["--disk", "a.raw"]).returncode == 125


def test_a_killed_guest_frees_its_disk(guest, disks):
    guest.ok(*guest.front("-d", "--name", "one", "--disk", "a.raw"), "sleep", "1000")
    pid = int(guest.inspect("one", "{{.State.Pid}}"))
    os.kill(pid, 9)
    assert eventually(lambda: guest.run("true", options=["--disk", "a.raw"]).returncode == 0)


@pytest.mark.parametrize("words,text", [
    ("nix.raw", "'nix.raw': No such file"),
    ("a.raw,vdi", "format 'vdi' is none of raw, qcow2"),
    ("a.raw,raw,sda", "vdev 'sda'"),
    ("a.raw,raw,,often", "access 'often'"),
    ("a.raw,colour=red", "'colour': no such part"),
    ("a.raw,qcow2", "qcow2"),
    ("b.qcow2", "begins like a qcow2 image. Fix: say format=qcow2"),
    ("/tmp", "Is a directory"),
    ("/dev/null", "neither a file nor a block device"),
    ("out.qcow2,qcow2", "is outside"),
    ("cut.qcow2,qcow2", "cut.qcow2"),
    ("loop.qcow2,qcow2,,ro", "based on more than"),
])
def test_bad_disks_are_one_line(guest, disks, words, text):
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "../rootfs/etc/passwd", "-F", "raw", "out.qcow2",
                    "1M"], cwd=disks, check=True)
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "loop.qcow2", "-F", "qcow2", "new.qcow2", "1M"],
                   cwd=disks, check=True)
    (disks / "new.qcow2").rename(disks / "loop.qcow2")
    (disks / "cut.qcow2").write_bytes((disks / "b.qcow2").read_bytes()[:100])
    done = guest.run("true", options=["--disk", words])
    line = done.stderr.splitlines()[0]
    assert done.returncode == 125 and line.startswith("Error: ") and text in line, done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr


def test_backing_files_elsewhere_are_named(guest, disks):
    (disks / "sub").mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disks / "a.raw", "-F", "raw", "o.qcow2"],
                   cwd=disks / "sub", check=True)
    refused = guest.run("true", options=["--disk", "sub/o.qcow2,qcow2"])
    assert refused.returncode == 125 and "backing=DIR" in refused.stderr
    done = guest.run("true", options=["--disk", f"sub/o.qcow2,qcow2,backing={disks}"])
    assert done.returncode == 0, done.stderr


# ---- the root ----

def test_the_root_goes_with_its_image(guest):
    def roots():
        return sorted(p.name for p in (guest.data / "guest-roots").iterdir())

    make_image(guest, "one")
    (guest.rootfs / "more").write_text("another layer\n")
    make_image(guest, "two")
    for image in ("one", "two", "one"):
        assert guest("run", "--rm", "--isolation", guest.wall, image, "true").returncode == 0
    assert len(roots()) == 4, roots()  # each with a link to what it was made of
    guest.ok("rmi", "one")
    assert len(roots()) == 2, roots()
    # A guest that runs keeps the root that it has.
    guest.ok("run", "-d", "--name", "x", "--isolation", guest.wall, "two", "sleep", "1000")
    assert guest.ok("exec", "x", "cat", "/more") == "another layer\n"
    guest.ok("rm", "-f", "x")
    guest.ok("image", "prune", "-a")
    assert roots() == []


def test_memory_is_what_the_machine_has(guest):
    def limit():
        return guest.ok("stats", "--no-stream", "--format", "{{.MemUsage}}", "mem").split(" / ")[1].strip()

    guest.ok(*guest.front("-d", "--name", "mem", "-m", "100m"), "sleep", "1000")
    guest.ok("update", "-m", "80m", "mem")
    assert limit() == "80MiB"
    guest.ok("update", "-m", "110m", "mem")
    done = guest("update", "-m", "3g", "mem")
    assert done.returncode == 125 and "gets no more. Fix: stop it, update it" in done.stderr, done.stderr
    assert limit() == "110MiB"


# ---- which wall ----

def test_second_choice_without_a_kernel(guest):
    (guest.data / "kernels").unlink()
    done = guest("run", "--rm", "--isolation", f"{guest.wall},container", "--rootfs", guest.rootfs, "uname", "-r")
    assert (done.returncode, done.stdout.strip()) == (0, os.uname().release), done.stderr
    done = guest("run", "--rm", "--isolation", guest.wall, "--rootfs", guest.rootfs, "uname", "-r")
    assert done.returncode == 125 and "warren kernel import" in done.stderr


def test_second_choice_without_kvm(guest):
    """/dev/kvm is hidden in a mount namespace of the test's."""
    words = guest.argv("run", "--rm", "--isolation", f"{guest.wall},container", "--rootfs", guest.rootfs, "uname", "-r")
    script = "mount --bind /dev/null /dev/kvm && exec \"$@\""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *words], env=guest.env, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, os.uname().release), done.stderr


def test_first_choice_is_taken_where_it_works(guest):
    done = guest("run", "-d", "--name", "x", "--isolation", f"{guest.wall},container", "--rootfs", guest.rootfs, "sleep", "1000")
    assert done.returncode == 0, done.stderr
    assert guest("ps", "--format", "{{.Isolation}}").stdout.strip() == guest.wall


def test_a_word_that_is_no_wall_is_no_choice(guest):
    done = guest("run", "--rm", "--isolation", "vw,container", "--rootfs", guest.rootfs, "true")
    assert done.returncode == 125 and "'vw' is none of" in done.stderr


def test_sysctls_of_the_network_are_the_machines(guest):
    done = guest("run", "--rm", "--isolation", guest.wall, "--sysctl", "net.ipv4.ping_group_range=0 5", "--rootfs",
                 guest.rootfs, "cat", "/proc/sys/net/ipv4/ping_group_range")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "5"]), done.stderr


@pytest.mark.parametrize("option,value", [("--kernel", "x"), ("--append", "x"), ("--vcpus", "1"), ("--pv-memory", "merged")])
def test_wishes_that_a_container_cannot_fulfil(guest, option, value):
    for wall in ([], ["--isolation", "container"]):
        done = guest("run", "--rm", *wall, option, value, "--rootfs", guest.rootfs, "true")
        assert done.returncode == 125 and done.stderr.startswith(f"Error: {option}: a container has no machine"), done.stderr


def test_a_disk_is_never_forgotten(guest, disks):
    (guest.data / "kernels").unlink()
    done = guest("run", "--rm", "--isolation", f"{guest.wall},container", "--disk", "a.raw", "--rootfs", guest.rootfs, "true")
    assert done.returncode == 125 and "--disk" in done.stderr


def test_a_disk_is_no_faster_than_its_limits(guest, disks):
    """Forty requests at ten a second: the first second's come at once, the others take three."""
    disk = device(guest, 0)
    done = guest.run("sh", "-c", f"a=$(cut -d. -f1 /proc/uptime); dd if={disk} of=/dev/null bs=4k count=40 iflag=direct 2>&1;"
                     f" b=$(cut -d. -f1 /proc/uptime); echo took $((b - a))",
                     options=["--privileged", "--disk", "format=raw,access=ro,iops=10,target=a.raw"])
    assert "40+0 records out" in done.stdout, (done.stdout, done.stderr)
    assert 2 <= int(done.stdout.split("took ")[1]) <= 20, done.stdout


@pytest.mark.parametrize("content, text", [(b"", "not a Debian package"), (b"hello" * 100, "not a Debian package"),
                                           (b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\xb7\0" + b"\0" * 100,
                                            "not a 64-bit x86 kernel (ELF machine 183)")])
def test_a_file_that_is_no_kernel(guest, content, text):
    """Nor one for another architecture; and nothing of it stays in the store."""
    (guest.work / "kernel").write_bytes(content)
    before = sorted(os.listdir(guest.data / "kernels"))
    done = guest.run("true", options=["--kernel", "./kernel"])
    assert done.returncode == 125 and done.stderr.count("\n") == 1 and text in done.stderr, done.stderr
    assert sorted(os.listdir(guest.data / "kernels")) == before
    done = guest.run("true", options=["--kernel", "./nosuch"])
    assert done.returncode == 125 and "nosuch" in done.stderr and done.stderr.count("\n") == 1, done.stderr
