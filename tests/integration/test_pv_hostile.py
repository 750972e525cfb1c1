"""Guests that break the rules: each is stopped with a written reason, or told no, and nothing else suffers."""
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
WARREN = str(BUILD / "warren")
HOSTILE = str(BUILD / "tests/guests/hostile")

pytestmark = [
    pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no /dev/kvm to use"),
    pytest.mark.skipif(not os.path.exists(HOSTILE), reason="the hostile guest was not built"),
]


def command(case, *more):
    return [WARREN, "lguest", *more, "40", HOSTILE, case]


def lguest(case, *more, timeout=30):
    return subprocess.run(command(case, *more), capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, errors="replace")


@pytest.mark.parametrize("mode", ["merged", "isolated"])
@pytest.mark.parametrize("case, reason", [
    ("no-handler", "guest stopped: vCPU 0: a trap has no handler (vector, rip, error, address): 6 "),
    ("bad-iret", "guest stopped: vCPU 0: iret with a stack that is not mapped (rsp, rip): 123456789000 "),
    ("bad-stack", "guest stopped: vCPU 0: its stack for a trap is not mapped"),
    ("triple-fault", "guest stopped: triple fault on vCPU 0 at ffffffff81"),
    ("wild-mmio", "wrote to address 7000000000, where no memory is"),
    ("bad-service", "guest stopped: vCPU 0 asked for the unknown service 12345"),
    ("crash", "the guest's kernel crashed: see its console"),
])
def test_is_stopped_with_a_reason(case, reason, mode):
    done = lguest(case, "--pv-memory", mode)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "survived" not in done.stdout


@pytest.mark.parametrize("mode, reason", [
    ("merged", "guest stopped: vCPU 0: a system call without a callback (rip): ffffffff81"),
    ("isolated", "guest stopped: vCPU 0: user code without page tables for it (rip): ffffffff81"),
])
def test_user_code_that_the_kernel_did_not_prepare_for(mode, reason):
    done = lguest("no-syscall", "--pv-memory", mode)
    assert done.returncode == 1 and reason in done.stderr


@pytest.mark.parametrize("case, lines", [
    ("hello", []),
    ("bad-pointers", ["refused down to -"]),
    ("bad-frames", ["update of no table: -22", "update of the shim: -22", "map of the shim: -22",
                    "map of nothing: -22", "base of nothing: -22", "pin of nothing: -22", "copy of nothing: -22"]),
    ("bad-ports", ["bind: -22", "unmask: -22", "ports: 40"]),
    ("bad-console", ["[warren] console 0 was cut off: its output indices are more than a ring apart"]),
    ("bad-store", ["[warren] xenstore was cut off: its request indices are more than a ring apart"]),
    ("long-message", ["[warren] xenstore was cut off: a message longer than the protocol allows"]),
    ("store-flood", []),
    ("bad-vcpu-info", []),
    ("timers", []),
])
def test_is_told_no_and_goes_on(case, lines):
    done = lguest(case)
    assert (done.returncode, done.stderr) == (0, "")
    assert "survived" in done.stdout
    for line in lines:
        assert line in done.stdout


@pytest.mark.parametrize("case, word", [("spin", "spinning"), ("flood", "flooding"),
                                        ("store-feed", "feeding")])
def test_one_that_never_yields_can_be_stopped_and_disturbs_nobody(case, word):
    guest = subprocess.Popen(command(case), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    try:
        assert guest.stdout.readline().strip() == word
        beside = lguest("hello")
        assert beside.returncode == 0 and "survived" in beside.stdout
        assert guest.poll() is None
        start = time.monotonic()
        guest.send_signal(signal.SIGTERM)
        _, err = guest.communicate(timeout=10)
        assert guest.returncode == 1 and "stopped" in err
        assert time.monotonic() - start < 5
    finally:
        guest.kill()
        guest.wait()


def numbered_disk(path):
    """256 sectors, each begins with its number."""
    path.write_bytes(b"".join(n.to_bytes(4, "little") + bytes(508) for n in range(256)))
    return path


@pytest.fixture
def reader(tmp_path):
    """An honest guest with a disk of its own, which reads all the while and must not notice anything."""
    disk = numbered_disk(tmp_path / "honest")
    before = disk.read_bytes()
    guest = subprocess.Popen(command("blk-reader", "--block", str(disk)), stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert guest.stdout.readline().strip() == "reading"
    yield guest
    out, err = guest.communicate(timeout=120)
    assert (guest.returncode, err) == (0, "") and "wrong: 0\n" in out.replace("\r", "") and "survived" in out
    assert disk.read_bytes() == before


@pytest.mark.parametrize("mode", ["merged", "isolated"])
def test_every_bad_request_to_a_disk_is_refused(tmp_path, reader, mode):
    disk = numbered_disk(tmp_path / "disk")
    before = disk.read_bytes()
    done = lguest("blk-requests", "--pv-memory", mode, "--block", str(disk), timeout=120)
    answers = dict(line.strip().split(": ") for line in done.stdout.splitlines() if ": " in line)
    assert len(answers) == 24 and answers.pop("unknown operation") == "-2"
    assert {what: status for what, status in answers.items() if status != "-1"} == {}
    assert (done.returncode, done.stderr) == (0, "") and "survived" in done.stdout
    assert disk.read_bytes() == before


@pytest.mark.parametrize("case, line", [
    ("blk-ungranted", "[warren] disk xvda: its ring is not granted"),
    ("blk-indices", "[warren] disk xvda was cut off: its ring's indices are too far apart"),
    ("blk-flood", ""),
])
def test_a_bad_ring_of_a_disk_hurts_nobody_else(tmp_path, reader, case, line):
    disk = numbered_disk(tmp_path / "disk")
    before = disk.read_bytes()
    done = lguest(case, "--block", str(disk), timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "survived" in done.stdout and line in done.stdout
    assert disk.read_bytes() == before


@pytest.mark.parametrize("content, reason", [
    (b"", "a size of 0 bytes makes no sense"),
    (b"hello", "not a kernel: 5 bytes are too few for an ELF header"),
    (b"#" * 4096, "not an ELF file (an uncompressed vmlinux is wanted)"),
])
def test_what_is_no_kernel_is_named(tmp_path, content, reason):
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(content)
    done = subprocess.run([WARREN, "lguest", "64", str(kernel)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 125 and done.stdout == ""
    assert str(kernel) in done.stderr and reason in done.stderr and done.stderr.count("\n") == 1


def test_a_truncated_kernel_is_named(tmp_path):
    whole = Path(HOSTILE).read_bytes()
    for size in (64, 150, 5000):
        kernel = tmp_path / f"vmlinux{size}"
        kernel.write_bytes(whole[:size])
        done = subprocess.run([WARREN, "lguest", "64", str(kernel)], capture_output=True, text=True, timeout=30)
        assert done.returncode == 125 and "truncated" in done.stderr


def test_a_program_is_no_xen_kernel():
    done = subprocess.run([WARREN, "lguest", "64", WARREN], capture_output=True, text=True, timeout=30)
    assert done.returncode == 125 and "no Xen PV entry (CONFIG_XEN_PV)" in done.stderr


@pytest.mark.parametrize("args, reason", [
    (["1", HOSTILE], "memory of 1 MB: a pv guest takes 32 MB to 128 GB"),
    (["what", HOSTILE], "'what' is no amount of memory"),
    (["40", "/nonexistent/vmlinux"], "kernel '/nonexistent/vmlinux': No such file or directory"),
    (["40", HOSTILE, "--initrd", "/dev/null", "x"], "the initramfs is not a regular file with content"),
    (["40", HOSTILE, "--vcpus", "99", "x"], "99 vCPUs: a pv guest takes 1 to 32"),
    (["40", HOSTILE, "--block", "/nonexistent", "x"], "disk '/nonexistent': No such file or directory"),
    (["40", HOSTILE, "x" * 1100], "command line is longer than 1023 bytes"),
])
def test_bad_input_is_one_line_and_125(args, reason):
    done = subprocess.run([WARREN, "lguest", *args], capture_output=True, text=True, timeout=30)
    assert done.returncode == 125 and reason in done.stderr and done.stdout == ""


def test_too_little_memory_says_how_much(tmp_path):
    initrd = tmp_path / "initrd"
    with open(initrd, "wb") as f:
        f.truncate(64 << 20)
    done = subprocess.run([WARREN, "lguest", "64", HOSTILE, "--initrd", str(initrd), "hello"], capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 125 and "64 MB of memory are too little for this kernel and initramfs: at least" in done.stderr
