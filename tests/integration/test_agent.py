"""warren-agent driven over a socket pair in namespaces of this host: no guest needed."""
import io
import json
import os
import shutil
import socket
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
AGENT = BUILD / "libexec/warren/warren-agent"

TYPES = ("HELLO CREATE START EXEC SIGNAL RESIZE DATA WINDOW CLOSE OK REPLY ERROR EXIT STATS PIDS UPDATE "
         "PAUSE RESUME FREEZE THAW TIME ENTROPY SHUTDOWN PUT GET LOG").split()
NUMBER = {name: i + 1 for i, name in enumerate(TYPES)}
MAGIC, VERSION, PAYLOAD, WINDOW, MORE = 0x4E525257, 1, 32768, 65536, 0x8000

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces"),
    pytest.mark.skipif(not AGENT.exists(), reason="no warren-agent in this build"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="no busybox"),
]


class Agent:
    def __init__(self, rootfs):
        ours, theirs = socket.socketpair()
        self.sock = ours
        ours.settimeout(10)
        self.proc = subprocess.Popen(
            ["unshare", "-mpf", "--mount-proc", "sh", "-c",
             f"mount -t tmpfs run /run && exec {AGENT} warren.control=fd:{theirs.fileno()} "
             f"warren.rootdir={rootfs}"],
            pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
        theirs.close()
        self.buffer = b""
        self.send("HELLO", struct.pack("<III", MAGIC, VERSION, 0))
        kind, _, _, payload = self.frame()
        assert kind == "HELLO" and struct.unpack("<III", payload)[:2] == (MAGIC, VERSION)

    def send(self, kind, payload=b"", stream=0, flags=0):
        self.sock.sendall(struct.pack("<IHHI", len(payload), NUMBER[kind], flags, stream) + payload)

    def send_long(self, kind, payload, stream):
        pieces = [payload[i:i + PAYLOAD] for i in range(0, len(payload), PAYLOAD)] or [b""]
        for piece in pieces[:-1]:
            self.send(kind, piece, stream, MORE)
        self.send(kind, pieces[-1], stream)

    def frame(self):
        while True:
            if len(self.buffer) >= 12:
                length, kind, flags, stream = struct.unpack("<IHHI", self.buffer[:12])
                if len(self.buffer) >= 12 + length:
                    payload = self.buffer[12:12 + length]
                    self.buffer = self.buffer[12 + length:]
                    return TYPES[kind - 1], flags, stream, payload
            more = self.sock.recv(65536)
            if not more:
                raise EOFError(self.proc.stderr.read().decode())
            self.buffer += more

    def until(self, stream, kinds, grant=True):
        """Frames of one stream until one of `kinds`; output is gathered."""
        out = {1: b"", 2: b""}
        while True:
            kind, flags, number, payload = self.frame()
            if number != stream:
                continue
            if kind == "DATA":
                out[flags] += payload
                if grant:
                    self.send("WINDOW", struct.pack("<I", len(payload)), stream, flags)
            if kind in kinds:
                return kind, payload, out

    def create(self, args, stream=1, **process):
        spec = {
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {"args": args, "cwd": "/", "user": {"uid": 0, "gid": 0},
                        "env": ["PATH=/bin"], **process},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
        }
        self.send_long("CREATE", struct.pack("<I", 0) + json.dumps(spec).encode(), stream)
        kind, payload, _ = self.until(stream, ("OK", "ERROR"))
        assert kind == "OK", payload
        self.send("START", b"", stream)
        kind, payload, _ = self.until(stream, ("OK", "ERROR"))
        assert kind == "OK", payload

    def exec(self, args, stream, **process):
        text = json.dumps({"args": args, "cwd": "/", "user": {"uid": 0, "gid": 0},
                           "env": ["PATH=/bin"], **process})
        self.send_long("EXEC", text.encode(), stream)
        return self.until(stream, ("OK", "ERROR"))

    def close(self):
        self.sock.close()
        self.proc.wait(10)


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory):
    root = tmp_path_factory.mktemp("rootfs")
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
        (root / name).mkdir()
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for name in ("sh", "cat", "echo", "sleep", "head", "true", "tty", "stty", "kill", "ls"):
        (root / "bin" / name).symlink_to("busybox")
    return root


@pytest.fixture
def agent(rootfs):
    a = Agent(rootfs)
    yield a
    a.close()


def status(payload):
    return struct.unpack("<i", payload)[0]


def test_output_and_exit_status(agent):
    agent.create(["sh", "-c", "echo out; echo err >&2; exit 7"])
    kind, payload, out = agent.until(1, ("EXIT",))
    assert os.waitstatus_to_exitcode(status(payload)) == 7
    assert out == {1: b"out\n", 2: b"err\n"}


def test_input_until_its_end(agent):
    agent.create(["cat"])
    data = os.urandom(30000)
    agent.send("DATA", data, 1, 0)
    agent.send("CLOSE", b"", 1, 0)
    kind, payload, out = agent.until(1, ("EXIT",))
    assert status(payload) == 0 and out[1] == data


def test_output_waits_for_credit(agent):
    agent.create(["sh", "-c", "head -c 300000 /dev/zero 2>/dev/null || busybox yes | head -c 300000"])
    agent.exec(["sleep", "1"], 3)
    _, _, out = agent.until(3, ("EXIT",), grant=False)
    # Nothing beyond the window came while nobody granted; then the rest does.
    agent.send("WINDOW", struct.pack("<I", WINDOW), 1, 1)
    _, payload, rest = agent.until(1, ("EXIT",))
    assert len(rest[1]) == 300000 - WINDOW


def test_exec_signal_and_errors(agent):
    agent.create(["sleep", "60"])
    kind, payload, _ = agent.exec(["sh", "-c", "sleep 60"], 3)
    assert kind == "OK"
    agent.send("SIGNAL", struct.pack("<II", 15, 0), 3)
    _, payload, _ = agent.until(3, ("EXIT",))
    assert os.WTERMSIG(status(payload)) == 15
    kind, payload, _ = agent.exec([], 5)
    assert kind == "ERROR" and b"args" in payload
    agent.send("SIGNAL", struct.pack("<II", 9, 0), 1)
    _, payload, _ = agent.until(1, ("EXIT",))
    assert os.WTERMSIG(status(payload)) == 9


def test_terminal(agent):
    agent.create(["sleep", "60"])
    kind, _, _ = agent.exec(["sh", "-c", "stty size; sleep 0.3; stty size; read x; echo got $x"], 3,
                            terminal=True)
    assert kind == "OK"
    agent.send("RESIZE", struct.pack("<HH", 33, 99), 3)
    agent.send("DATA", b"word\r", 3, 0)
    _, payload, out = agent.until(3, ("EXIT",))
    assert status(payload) == 0
    assert b"33 99" in out[1] and b"got word" in out[1]


def test_copy_in_and_out(agent):
    agent.create(["sleep", "60"])
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("dir/" + "n" * 150)
        info.size = 100000
        tar.addfile(info, io.BytesIO(b"x" * 100000))
    agent.send("PUT", b"/tmp", 3)
    assert agent.until(3, ("OK", "ERROR"))[0] == "OK"
    data = raw.getvalue()
    credit = WINDOW
    while data:
        part, data = data[:min(credit, PAYLOAD)], data[min(credit, PAYLOAD):]
        if part:
            agent.send("DATA", part, 3, 0)
            credit -= len(part)
        if not credit:
            kind, payload, _ = agent.until(3, ("WINDOW", "ERROR", "EXIT"))
            assert kind == "WINDOW"
            credit += struct.unpack("<I", payload)[0]
    agent.send("CLOSE", b"", 3, 0)
    kind, payload, _ = agent.until(3, ("EXIT", "ERROR"))
    assert kind == "EXIT" and status(payload) == 0
    agent.send("GET", b"/tmp/dir", 5)
    kind, payload, _ = agent.until(5, ("OK", "ERROR"))
    kind, payload, out = agent.until(5, ("EXIT", "ERROR"))
    assert kind == "EXIT"
    with tarfile.open(fileobj=io.BytesIO(out[1])) as tar:
        assert tar.getnames() == ["dir", "dir/" + "n" * 150]
        assert tar.extractfile("dir/" + "n" * 150).read() == b"x" * 100000
    agent.send("GET", b"/nowhere", 7)
    agent.until(7, ("OK",))
    kind, payload, _ = agent.until(7, ("EXIT", "ERROR"))
    assert kind == "ERROR" and b"No such file" in payload


@pytest.mark.parametrize("name,member", [
    ("dotdot", "../../escape"), ("absolute", "/etc/../../escape"),
])
def test_copy_in_stays_inside(agent, name, member, rootfs):
    agent.create(["sleep", "60"])
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo(member)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    agent.send("PUT", b"/tmp", 3)
    agent.until(3, ("OK",))
    agent.send("DATA", raw.getvalue(), 3, 0)
    agent.send("CLOSE", b"", 3, 0)
    kind, payload, _ = agent.until(3, ("EXIT", "ERROR"))
    assert kind == "ERROR" and b"leads out" in payload


@pytest.mark.parametrize("raw", [
    b"\xff\xff\xff\xff\x02\x00\x00\x00\x01\x00\x00\x00",  # a length beyond all
    b"\x00\x00\x00\x00\x63\x00\x00\x00\x01\x00\x00\x00",  # no such type
    b"\x05\x00\x00\x00\x07\x00\x02\x00\x01\x00\x00\x00",  # DATA for descriptor 2
], ids=["length", "type", "shape"])
def test_broken_frames_end_the_agent(agent, raw):
    agent.create(["sleep", "60"])
    agent.sock.sendall(raw + b"hello")
    assert agent.proc.wait(10) != 0


def test_a_second_container_is_refused(agent):
    agent.create(["sleep", "60"])
    with pytest.raises(AssertionError, match="already"):
        agent.create(["true"], stream=3)
