"""The shared-directory server (storage/share.c) behind this host's own kernel, as a guest would mount it."""
import ctypes
import os
import subprocess
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build"))
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def share(tmp_path, request):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("this host has no /dev/fuse")
    src, mnt = tmp_path / "src", tmp_path / "mnt"
    src.mkdir()
    mnt.mkdir()
    os.chmod(tmp_path, 0o755)
    os.chmod(src, 0o777)
    process = subprocess.Popen([BUILD / "tests/tools/sharemount", src, mnt] + getattr(request, "param", []),
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield src, mnt
    for _ in range(50):
        if libc.umount2(bytes(mnt), 0) == 0:
            break
        time.sleep(0.1)
    assert process.wait(timeout=10) == 0


def refused(error, call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno == error, caught.value


def test_a_tree_goes_in_and_comes_out(share):
    src, mnt = share
    tree = mnt / "tree"
    for i in range(20):
        (tree / f"d{i}").mkdir(parents=True)
        for k in range(10):
            (tree / f"d{i}" / f"f{k}").write_text(f"{i} {k}\n" * 100)
    (tree / "link").symlink_to("../outside")
    assert subprocess.run(["diff", "-r", "--no-dereference", src / "tree", tree]).returncode == 0
    assert os.readlink(tree / "link") == "../outside"
    os.rename(tree / "d3", tree / "renamed")
    assert (src / "tree/renamed/f1").read_text().startswith("3 1\n")
    subprocess.run(["rm", "-rf", tree], check=True)
    assert list(src.iterdir()) == []


def test_content_at_any_offset(share):
    src, mnt = share
    fd = os.open(mnt / "x", os.O_RDWR | os.O_CREAT, 0o640)
    os.write(fd, b"a" * 300000)
    os.pwrite(fd, b"Z", 150000)
    os.ftruncate(fd, 200000)
    os.fsync(fd)
    assert os.pread(fd, 3, 149999) == b"aZa"
    assert (src / "x").read_bytes() == b"a" * 150000 + b"Z" + b"a" * 49999
    os.posix_fallocate(fd, 0, 400000)
    assert os.fstat(fd).st_size == 400000
    os.close(fd)
    with open(mnt / "x", "ab") as f:
        f.write(b"end")
    assert (src / "x").read_bytes().endswith(b"end")


def test_large_directories_are_whole(share):
    src, mnt = share
    names = {f"file-with-a-rather-long-name-{i}" for i in range(3000)}
    for name in names:
        (src / name).touch()
    assert set(os.listdir(mnt)) == names


def test_attributes_and_links(share):
    src, mnt = share
    (mnt / "x").write_text("x")
    os.link(mnt / "x", mnt / "y")
    assert os.stat(mnt / "y").st_nlink == 2 and os.stat(mnt / "y").st_ino == os.stat(mnt / "x").st_ino
    os.chown(mnt / "x", 1234, 4321)
    os.chmod(mnt / "x", 0o4755)
    os.utime(mnt / "x", (1, 2))
    st = os.stat(src / "x")
    assert (st.st_uid, st.st_gid, st.st_mode & 0o7777, st.st_mtime) == (1234, 4321, 0o4755, 2)
    os.setxattr(mnt / "x", "user.k", b"v")
    assert os.getxattr(src / "x", "user.k") == b"v" and os.listxattr(mnt / "x") == ["user.k"]


def test_files_belong_to_their_maker(share):
    src, mnt = share
    script = "import os,sys; os.setgid(4321); os.setuid(1234); os.mkdir('d'); open('f','w').close(); os.symlink('f','l')"
    subprocess.run(["python3", "-c", script], cwd=mnt, check=True)
    for name in "dfl":
        st = os.lstat(src / name)
        assert (st.st_uid, st.st_gid) == (1234, 4321), name


def test_what_means_something_to_the_host_is_refused(share):
    src, mnt = share
    refused(1, os.mknod, mnt / "null", 0o20666, os.makedev(1, 3))
    (mnt / "x").touch()
    refused(95, os.setxattr, mnt / "x", "trusted.k", b"v")
    refused(95, os.setxattr, mnt / "x", "security.evil", b"v")
    assert os.listdir(src) == ["x"]


def test_links_that_lead_out_stay_inside(share):
    src, mnt = share
    (src / "out").symlink_to("/etc")
    (src / "up").symlink_to("../..")
    # The guest follows them in its own tree; the server only ever hands out their text.
    assert os.readlink(mnt / "out") == "/etc"
    refused(17, os.mkdir, mnt / "out")
    os.unlink(mnt / "out")
    assert os.path.exists("/etc/passwd")


def test_a_fifo_of_the_host_blocks_nobody(share):
    src, mnt = share
    os.mkfifo(src / "fifo")
    fd = os.open(mnt / "fifo", os.O_RDONLY | os.O_NONBLOCK)  # the guest's kernel's own
    os.close(fd)
    (mnt / "still-here").touch()


@pytest.mark.parametrize("share", [["ro"]], indirect=True)
def test_read_only_means_it(share):
    src, mnt = share
    (src / "x").write_text("x")
    assert (mnt / "x").read_text() == "x"
    refused(30, os.open, mnt / "x", os.O_WRONLY)
    refused(30, os.open, mnt / "new", os.O_CREAT | os.O_WRONLY)
    refused(30, os.mkdir, mnt / "d")
    refused(30, os.unlink, mnt / "x")
    refused(30, os.chmod, mnt / "x", 0o600)
    refused(30, os.truncate, mnt / "x", 0)
    refused(30, os.rename, mnt / "x", mnt / "y")
    assert (src / "x").read_text() == "x"
