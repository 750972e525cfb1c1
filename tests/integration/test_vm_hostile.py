"""Guests that abuse every virtio device (tests/guests/vmhostile.c), with the system calls that threads have behind the vm
wall: each ends as it should, devices work afterwards for a driver that keeps the rules, and a neighbour that reads its
disk all the while notices nothing. In ring 3, which every KVM runs; in ring 0 too where that is the processor's own."""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
VMBOOT, HOSTILE, READER = (str(BUILD / "tests" / name) for name in ("tools/vmboot", "guests/vmhostile", "guests/blkrate"))
CASES = ["bad-descriptors", "loops", "bad-indirect", "rings-outside", "runaway-index", "packed-garbage", "garbage",
         "wild-mmio", "config-abuse", "bad-handshakes", "reset-storm", "storms", "wild-ports"]
DEVICES = {"net": 1, "console": 3, "block": 2, "fs": 26, "entropy": 4, "balloon": 5, "vsock": 19}

pytestmark = [
    pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no /dev/kvm to use"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network interface"),
    pytest.mark.skipif(not os.path.exists(HOSTILE), reason="the hostile guest was not built"),
]


def ring0_is_real():
    checks = subprocess.run([BUILD / "warren", "doctor"], capture_output=True, text=True).stdout
    return re.search(r"^(PASS|WARN) +KVM-03", checks, re.M) is not None


RINGS = [3] + ([0] if os.access("/dev/kvm", os.R_OK | os.W_OK) and ring0_is_real() else [])


def disk(path):
    path.write_bytes(os.urandom(1 << 20) * 4)
    return str(path)


def command(guest, arguments, image):
    """In a network of its own, whose one interface the guest has."""
    return ["unshare", "-n", "sh", "-c", 'ip tuntap add hostile0 mode tap && ip link set hostile0 up && exec "$@"', "sh",
            VMBOOT, guest, "-", "64", "1", arguments, image]


def settings(tmp_path):
    (tmp_path / "share").mkdir(exist_ok=True)
    return {**os.environ, "VMBOOT_SHARE": str(tmp_path / "share"), "VMBOOT_VSOCK": "1", "VMBOOT_JAIL": "1",
            "VMBOOT_TAP": "hostile0"}


def abuse(tmp_path, arguments, timeout=120):
    """Exit code, what it said (its garbage comes over the console too), and the VMM's last word."""
    done = subprocess.run(command(HOSTILE, arguments, disk(tmp_path / "disk")), capture_output=True, timeout=timeout,
                          env=settings(tmp_path), stdin=subprocess.DEVNULL)
    said = done.stdout.replace(b"\0", b"").decode(errors="replace")
    return done.returncode, said, done.stderr.decode(errors="replace")


class Neighbour:
    """A guest that reads its disk and says from time to time that it goes on."""

    def __init__(self, path):
        self.process = subprocess.Popen(command(READER, "3 requests=1000000000 depth=4 sectors=8192 tell=500", disk(path)),
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self.process.stdout.readline() == b"begin\n"

    def goes_on(self):
        """Two more signs of life, from now on."""
        os.set_blocking(self.process.stdout.fileno(), False)
        self.process.stdout.read()
        os.set_blocking(self.process.stdout.fileno(), True)
        self.process.stdout.readline()  # the rest of a line, it may be
        return all(self.process.stdout.readline() == b"going\n" for _ in range(2))

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory):
    n = Neighbour(tmp_path_factory.mktemp("neighbour") / "disk")
    yield n
    n.end()


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("case", CASES)
def test_abuse_hurts_the_guest_alone(tmp_path, neighbour, case, ring):
    code, said, last = abuse(tmp_path, f"{ring} {case}")
    assert "survived" in said and "NOT WELL" not in said, said + last
    assert (code, last.split(":")[0]) == (0, "poweroff")
    if case != "wild-ports":
        # What the console device was given comes out among what the guest says of it.
        assert {int(n) for n in re.findall(rf"{case}: device (\d+)", said)} >= set(DEVICES.values()) - {DEVICES["console"]}
    assert neighbour.goes_on()


@pytest.mark.parametrize("case, queue_sees", [("bad-descriptors", {"block", "fs", "vsock", "entropy"}),
                                              ("loops", {"block", "fs", "vsock", "entropy"}),
                                              ("bad-indirect", {"block", "fs", "vsock", "entropy"}),
                                              ("runaway-index", {"block", "fs", "vsock", "entropy"}),
                                              ("rings-outside", set(DEVICES))])
def test_devices_ask_for_a_reset(tmp_path, case, queue_sees):
    """Of devices whose queues are all looked at when they are kicked, most of the cases are noticed."""
    _, said, _ = abuse(tmp_path, f"3 {case}")
    counts = {int(d): (int(a), int(b)) for d, a, b in re.findall(rf"{case}: device (\d+) gave up (\d+) of (\d+)", said)}
    for name in queue_sees:
        broken, of = counts[DEVICES[name]]
        assert broken * 2 >= of, (name, said)


@pytest.mark.parametrize("ring", RINGS)
def test_frames_that_lie_cost_the_guest_only_them(tmp_path, neighbour, ring):
    _, said, last = abuse(tmp_path, f"{ring} frames")
    assert "frames: device 1 gave up 0 of 256" in said and "survived" in said, said + last
    assert neighbour.goes_on()


@pytest.mark.parametrize("ring", RINGS)
def test_interrupts_arrive_in_storms(tmp_path, neighbour, ring):
    _, said, last = abuse(tmp_path, f"{ring} interrupts storms reset-storm")
    assert "survived" in said, said + last
    assert int(re.search(r"interrupts (\d+)", said).group(1)) > 10
    assert neighbour.goes_on()


@pytest.mark.parametrize("ring", RINGS)
def test_a_triple_fault_ends_the_guest_with_a_reason(tmp_path, neighbour, ring):
    code, said, last = abuse(tmp_path, f"{ring} triple-fault")
    assert (code, last.split(": setup")[0]) == (1, "broken: vCPU 0: triple fault")
    assert neighbour.goes_on()


def test_one_that_never_ends_is_ended_and_disturbs_nobody(tmp_path, neighbour):
    guest = subprocess.Popen(command(HOSTILE, "3 for-ever storms garbage reset-storm", disk(tmp_path / "disk")),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=settings(tmp_path))
    try:
        for _ in range(3):
            time.sleep(0.5)
            assert guest.poll() is None
            assert neighbour.goes_on()
    finally:
        guest.kill()
        assert guest.wait() == -signal.SIGKILL
