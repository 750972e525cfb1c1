"""seccomp through `warren oci`: what a profile in config.json does to a running command."""
import array
import json
import os
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from test_cve import Box, attacker, busybox  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		long r = syscall(strtol(argv[i], 0, 0), strtoul(argv[i + 1], 0, 0), 0, 0, 0, 0);
		printf("%ld ", r < 0 ? -(long)errno : r);
	}
	return 0;
}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Prints what system calls answer: NUMBER ARGUMENT pairs."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text(PROBE)
    subprocess.run(["gcc", "-O1", "-static", "-o", str(folder / "probe"), str(folder / "probe.c")], check=True)
    return folder / "probe"


@pytest.fixture
def box(tmp_path, attacker, probe):  # noqa: F811
    made = Box(tmp_path, attacker)
    (made.root / "bin" / "probe").write_bytes(probe.read_bytes())
    (made.root / "bin" / "probe").chmod(0o755)
    yield made
    made.end()


GETPPID, UNSHARE, PERSONALITY, SOCKET, CLONE3, GETPGRP = "110", "272", "135", "41", "435", "111"


def test_rules_decide_by_argument(box):
    box.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
             "args": [{"index": 0, "value": 0x20000, "valueTwo": 0x20000, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_GE"}]},
            {"names": ["getppid", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]}
    done = box.run("probe", PERSONALITY, "0x20000", PERSONALITY, "0xffffffff", SOCKET, "40", GETPPID, "0")
    assert done.returncode == 0, done.stderr
    first, second, third, fourth = map(int, done.stdout.split())
    assert (first, third, fourth) == (-77, -1, -5)
    assert second == -77  # all bits are set, the one asked for too


def test_filter_binds_exec_too(box):
    box.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9}]}
    name = box.start("sleep", "20")
    done = box.oci("exec", name, "probe", GETPPID, "0")
    assert done.stdout.split() == ["-9"], done.stderr


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_filter_with_and_without_no_new_privileges(box, no_new_privileges):
    box.spec["process"]["noNewPrivileges"] = no_new_privileges
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    box.spec["process"]["capabilities"] = {k: [] for k in ("bounding", "effective", "permitted")}
    box.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9}]}
    done = box.run("probe", GETPPID, "0")
    assert done.stdout.split() == ["-9"], done.stderr
    done = box.run("grep", "-E", "^(Seccomp|NoNewPrivs|CapEff|CapPrm):", "/proc/self/status")
    status = dict(line.split(":\t") for line in done.stdout.splitlines())
    assert status["Seccomp"] == "2" and int(status["NoNewPrivs"]) == no_new_privileges
    assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0


def test_killed_by_signal(box):
    box.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_KILL_PROCESS"}]}
    done = box.run("probe", GETPPID, "0")
    assert done.returncode == 128 + signal.SIGSYS


@pytest.mark.parametrize("profile,word", [
    ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction"),
    ({"defaultAction": "SCMP_ACT_NONE"}, "defaultAction"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}, "architectures"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 3}]},
     "errnoRet"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]},
     "index"),
])
def test_a_wrong_profile_names_its_field(box, profile, word):
    box.spec["linux"]["seccomp"] = profile
    done = box.run("true")
    assert done.returncode != 0 and word in done.stderr, done.stderr


class Agent(threading.Thread):
    """Listens at listenerPath, takes one listener, and answers one call with 4711."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(1)
        self.server.settimeout(10)
        self.state = None
        self.start()

    def run(self):
        import fcntl

        peer, _ = self.server.accept()
        text, ancillary, _, _ = peer.recvmsg(65536, socket.CMSG_SPACE(4))
        self.state = json.loads(text)
        fds = array.array("i")
        fds.frombytes(ancillary[0][2][:4])
        request = bytearray(80)
        try:
            fcntl.ioctl(fds[0], 0xC0502100, request)  # SECCOMP_IOCTL_NOTIF_RECV
        except FileNotFoundError:  # the container ended without a call
            os.close(fds[0])
            return
        answer = struct.pack("<QqiI", struct.unpack_from("<Q", request)[0], 4711, 0, 0)
        fcntl.ioctl(fds[0], 0xC0182101, bytearray(answer))  # SECCOMP_IOCTL_NOTIF_SEND
        os.close(fds[0])


@pytest.mark.parametrize("way", ["run", "exec"])
def test_listener_is_handed_over(box, way):
    path = Path("/tmp") / f"warren-agent-{os.getpid()}-{way}.sock"
    box.spec["annotations"] = {"a": "b"}
    box.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path), "listenerMetadata": "meta \"data\"",
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}]}
    try:
        agent = Agent(path)
        if way == "run":
            done = box.run("probe", GETPGRP, "0")
        else:
            profile = box.spec["linux"]["seccomp"]
            name = box.start("sleep", "20")
            agent.server.close()
            path.unlink()
            agent = Agent(path)
            assert profile["listenerPath"] == str(path)
            done = box.oci("exec", name, "probe", GETPGRP, "0")
        assert done.stdout.split() == ["4711"], done.stderr
        agent.join(5)
    finally:
        path.unlink(missing_ok=True)
    state = agent.state
    assert state["fds"] == ["seccompFd"] and state["metadata"] == "meta \"data\"" and state["pid"] > 0
    assert state["state"]["bundle"] == str(box.bundle) and state["state"]["annotations"] == {"a": "b"}


def test_no_listener_is_an_error(box):
    box.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent/agent.sock",
        "syscalls": [{"names": ["getpgrp"], "action": "SCMP_ACT_NOTIFY"}]}
    done = box.run("probe", GETPGRP, "0")
    assert done.returncode != 0 and "/nonexistent/agent.sock" in done.stderr
