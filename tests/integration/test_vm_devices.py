"""The vm wall's devices as Linux drives them: shared directories by virtio-fs, sockets, the balloon. Needs a host whose KVM
runs kernels, as the bed's does: tools/bed --timeout 900 'WARREN_TEST_KERNEL=PACKAGE python3 -m pytest THIS'."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from instances import BUILD, ROOT, Warren, eventually, guest_kernels, kernels  # noqa: F401

pytestmark = pytest.mark.skipif(not ROOT or not os.path.exists("/dev/kvm"), reason="needs root and /dev/kvm")
ECHO = BUILD / "tests/tools/vsockecho"


@pytest.fixture(scope="module")
def vm(request):
    """A running guest, `v`, with a shared directory at /share."""
    found = guest_kernels("vm", request)
    path = Path(tempfile.mkdtemp(prefix="warren-"))
    w = Warren(path, "vm")
    w.data.mkdir(exist_ok=True)
    (w.data / "kernels").symlink_to(found)
    w.share = path / "share"
    w.share.mkdir()
    shutil.copy(ECHO, w.share)
    # Docker's profile, which is ours too, has no AF_VSOCK.
    w.start("sleep", "10000", options=("--name", "v", "-m", "400m", "--security-opt", "seccomp=unconfined", "-v",
                                       f"{w.share}:/share"))
    w.sockets = next(w.run_dir.glob("*/vsock.sock"))
    yield w
    left = w.clear()
    shutil.rmtree(path, ignore_errors=True)
    assert not left, left


def test_a_directory_is_a_virtiofs_mount(vm):
    assert "share0 /share virtiofs rw" in vm.ok("exec", "v", "cat", "/proc/mounts")
    (vm.share / "from-host").write_text("host\n")
    script = "cat /share/from-host; echo guest >/share/from-guest; cd /share; dd if=/dev/urandom of=big bs=1M count=5 2>/dev/null; md5sum big"
    said = vm.ok("exec", "v", "sh", "-c", script).split()
    assert said[0] == "host" and (vm.share / "from-guest").read_text() == "guest\n"
    assert said[1] == subprocess.run(["md5sum", vm.share / "big"], capture_output=True, text=True).stdout.split()[0]
    script = "cd /share; mkdir -p d/e; ln -s big link; mv from-guest d/e/moved; for i in 1 2 3 4 5 6 7 8; do cat big | md5sum & done; wait"
    assert vm.ok("exec", "v", "sh", "-c", script).split()[::2] == [said[1]] * 8
    assert (vm.share / "d/e/moved").read_text() == "guest\n" and os.readlink(vm.share / "link") == "big"


def test_a_read_only_directory(vm):
    done = vm.run("sh", "-c", "cat /mnt/from-host; touch /mnt/x", options=("-v", f"{vm.share}:/mnt:ro"))
    assert done.stdout == "host\n" and "Read-only file system" in done.stderr


def call(vm, port):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(str(vm.sockets))
    s.sendall(b"CONNECT %d\n" % port)
    return s


def everything(s):
    got = b""
    while more := s.recv(65536):
        got += more
    return got


@pytest.mark.parametrize("size", [5, 300000])
def test_the_host_calls_the_guest(vm, size):
    echo = vm.popen("exec", "v", "/share/vsockecho", "listen", "5000")
    assert echo.stdout.readline() == "ready\n"
    s, data, line = call(vm, 5000), os.urandom(size), b""
    while not line.endswith(b"\n"):
        line += s.recv(1)
    assert re.fullmatch(rb"OK \d+\n", line)
    sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
    sender.start()
    assert everything(s) == data
    sender.join()
    assert echo.wait(60) == 0


def test_the_guest_calls_the_host(vm):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{vm.sockets}_6000")
        listener.listen()
        caller = vm.popen("exec", "-i", "v", "/share/vsockecho", "call", "6000", stdin=subprocess.PIPE)
        s, _ = listener.accept()
        caller.stdin.write("from the guest")
        caller.stdin.close()
        assert everything(s) == b"from the guest"
        s.sendall(b"from the host")
        s.close()
        assert caller.stdout.read() == "from the host"
        assert caller.wait(60) == 0


def test_calls_that_nobody_answers(vm):
    done = vm("exec", "v", "/share/vsockecho", "call", "6001")
    assert done.returncode == 1 and "reset by peer" in done.stderr
    assert everything(call(vm, 7777)) == b""
    for line in (b"NONSENSE\n", b"CONNECT 4294967296\n", b"CONNECT -1\n", b"x" * 100):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(vm.sockets))
            s.sendall(line)
            try:
                assert s.recv(10) == b""
            except ConnectionResetError:
                pass


def resident(vm):
    """Kilobytes of the VMM."""
    monitor = vm.inspect("v", "{{.State.Pid}}")
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    return max(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{p}/status").read_text()).group(1)) for p in children)


def figures(vm):
    text = vm.ok("stats", "--hypervisor", "--no-stream", "v")
    return {name: int(value) for name, value in re.findall(r"^(\S+) (\d+)$", text, re.M)}


def test_memory_that_the_guest_frees_goes_back_to_the_host(vm):
    vm.ok("exec", "v", "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=60")
    full, reported = resident(vm), figures(vm)["balloon.reported"]
    vm.ok("exec", "v", "rm", "/dev/shm/x")
    assert eventually(lambda: resident(vm) < full - 40 * 1024), (full, resident(vm))
    assert figures(vm)["balloon.reported"] > reported


def test_update_moves_the_balloon(vm):
    assert figures(vm)["balloon.actual"] == 0
    vm.ok("update", "-m", "100m", "v")
    assert figures(vm)["balloon.target"] == 300 << 20
    assert eventually(lambda: figures(vm)["balloon.actual"] > 200 << 20)
    assert eventually(lambda: 0 < figures(vm)["memory.available"] < 200 << 20)
    vm.ok("update", "-m", "400m", "v")
    assert eventually(lambda: figures(vm)["balloon.actual"] == 0)
