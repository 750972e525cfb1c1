"""The known holes of container runtimes, each tried against the real program.

Every test plays the attack from inside or beside a container that `warren oci` makes, and looks at what the attacker would
have gained on the host. Needs root: that is where these attacks pay."""
import ctypes
import hashlib
import json
import os
import pty
import shutil
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
ATTACKER = Path(__file__).resolve().parent / "attacker.c"
NS = ("pid", "ipc", "uts", "mount", "network")
CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_MKNOD",
        "CAP_SYS_CHROOT", "CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_FSETID", "CAP_SETPCAP", "CAP_AUDIT_WRITE"]
MASKED = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/uptime", "/proc/acpi"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
libc = ctypes.CDLL(None, use_errno=True)


def busybox():
    path = shutil.which("busybox")
    if not path or b"\x7fELF" != Path(path).read_bytes()[:4] or b"/ld-linux" in Path(path).read_bytes()[:4096]:
        pytest.skip("busybox-static is not installed")
    return path


@pytest.fixture(scope="session")
def attacker(tmp_path_factory):
    """A static program with the system calls that a shell does not have."""
    out = tmp_path_factory.mktemp("attacker") / "attacker"
    subprocess.run(["gcc", "-O1", "-static", "-o", str(out), str(ATTACKER)], check=True)
    return out


class Box:
    """A bundle and the runtime to drive it with: a copy of the program, since the tests try to overwrite it."""

    def __init__(self, tmp, attacker):
        self.tmp, self.bundle, self.root = tmp, tmp / "bundle", tmp / "bundle" / "rootfs"
        self.program, self.state, self.ids = tmp / "warren", tmp / "state", []
        shutil.copy2(BUILD / "warren", self.program)
        for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
            (self.root / name).mkdir(parents=True)
        shutil.copy2(busybox(), self.root / "bin" / "busybox")
        shutil.copy2(attacker, self.root / "bin" / "attacker")
        for name in "sh ls cat id sleep mount stat true pwd readlink grep echo mkdir touch".split():
            (self.root / "bin" / name).symlink_to("busybox")
        self.spec = {
            "ociVersion": "1.2.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/", "env": ["PATH=/bin"],
                        "capabilities": {k: CAPS for k in ("bounding", "effective", "permitted")}},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                       {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                       {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                        "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}],
            "linux": {"namespaces": [{"type": t} for t in NS], "maskedPaths": list(MASKED),
                      "readonlyPaths": list(READONLY)},
        }

    def save(self):
        (self.bundle / "config.json").write_text(json.dumps(self.spec))

    def oci(self, *words, **more):
        more = {"capture_output": True, "text": True, "timeout": 20, **more}
        return subprocess.run([str(self.program), "oci", "--root", str(self.state), *words],
                              stdin=subprocess.DEVNULL, **more)

    def run(self, *args, **more):
        """Runs the command in a new container; cwd= is the container's."""
        self.spec["process"]["args"] = list(args)
        self.spec["process"]["cwd"] = more.pop("cwd", "/")
        self.save()
        return self.oci("run", "--bundle", str(self.bundle), "cve-" + uuid.uuid4().hex[:12], **more)

    def start(self, *args):
        """A container that goes on; its id."""
        self.spec["process"]["args"] = list(args)
        self.save()
        name = "cve-" + uuid.uuid4().hex[:12]
        done = self.oci("create", "--bundle", str(self.bundle), name, capture_output=False,
                        stdout=subprocess.DEVNULL, stderr=open(self.tmp / "create.log", "w"))
        assert done.returncode == 0, (self.tmp / "create.log").read_text()
        self.ids.append(name)
        assert self.oci("start", name).returncode == 0
        return name

    def end(self):
        for name in self.ids:
            self.oci("delete", "--force", name)


@pytest.fixture
def box(tmp_path, attacker):
    made = Box(tmp_path, attacker)
    if made.oci("--help").returncode:
        pytest.skip("this build has no `warren oci`")
    yield made
    made.end()


@pytest.fixture
def sealed(box):
    if b"__asan_init" in box.program.read_bytes():
        pytest.skip("a build with sanitizers enters by their runtime, not by sealed_start")
    return box


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def exchange(a, b):
    """renameat2(RENAME_EXCHANGE): two names swap in one step."""
    if libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), 2):
        raise OSError(ctypes.get_errno(), "renameat2")


class Flipping:
    """Swaps two names as fast as it can while the body runs."""

    def __init__(self, a, b):
        self.a, self.b, self.on = a, b, True
        self.thread = threading.Thread(target=self.flip)

    def flip(self):
        while self.on:
            exchange(self.a, self.b)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.on = False
        self.thread.join()


# CVE-2019-5736: the runtime's own program file


def test_cve_2019_5736_from_exec(sealed):
    """A process inside waits for the runtime to come in by exec, holds its /proc/<pid>/exe and writes to it."""
    box = sealed
    before = digest(box.program)
    name = box.start("attacker", "watch", "8")
    for _ in range(30):
        box.oci("exec", name, "true")
    report = (box.root / "report").read_text() if (box.root / "report").exists() else ""
    assert digest(box.program) == before
    assert "WRITTEN" not in report


def test_init_of_a_shared_pid_namespace_cannot_be_taken_hold_of(sealed):
    """Two containers of one pod see each other's processes. One that is created and not started has its user and
    capabilities already but no seccomp filter yet: who could trace it would be rid of his own."""
    box = sealed
    first = box.start("attacker", "watch", "8")
    pid = json.loads(box.oci("state", first).stdout)["pid"]
    for namespace in box.spec["linux"]["namespaces"]:
        if namespace["type"] == "pid":
            namespace["path"] = f"/proc/{pid}/ns/pid"
    box.spec["process"]["args"] = ["true"]
    box.save()
    second = "cve-" + uuid.uuid4().hex[:12]
    done = box.oci("create", "--bundle", str(box.bundle), second, capture_output=False, stdout=subprocess.DEVNULL)
    box.ids.append(second)
    assert done.returncode == 0
    time.sleep(1)
    report = box.root / "report"
    assert "HELD" not in (report.read_text() if report.exists() else "")
    assert box.oci("start", second).returncode == 0


def test_a_hook_of_the_image_gets_nothing_of_the_caller(box):
    """startContainer runs a program of the image, before the command: no descriptor and no variable of the host for it."""
    (box.root / "hook").write_text("#!/bin/sh\nattacker fds > /seen\necho \"$SECRET\" >> /seen\n")
    (box.root / "hook").chmod(0o755)
    box.spec["hooks"] = {"startContainer": [{"path": "/hook"}]}
    leaked = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leaked, True)
    try:
        done = box.run("true", pass_fds=(leaked,), env={**os.environ, "SECRET": "token"})
    finally:
        os.close(leaked)
    assert done.returncode == 0, done.stderr
    assert (box.root / "seen").read_text().split() == ["0", "1", "2"]


@pytest.mark.parametrize("way", ["command", "script", "interpreter"])
def test_cve_2019_5736_runs_itself(sealed, way):
    """The container makes the runtime execute /proc/self/exe: what runs inside then must not be its writable file."""
    box = sealed
    before = digest(box.program)
    command = "/proc/self/exe"
    if way == "script":
        (box.root / "bin" / "evil").write_text("#!/proc/self/exe oci\n")
        command = "/bin/evil"
    elif way == "interpreter":
        command = "/bin/evil"
        image = bytearray((BUILD / "warren").read_bytes()[:64])
        path = b"/proc/self/exe\0"
        header = bytearray(image[:64])
        header[16:18] = (3).to_bytes(2, "little")  # ET_DYN
        header[32:40] = (64).to_bytes(8, "little")  # e_phoff
        header[54:56], header[56:58] = (56).to_bytes(2, "little"), (2).to_bytes(2, "little")

        def segment(kind, flags, offset, size):
            return b"".join(v.to_bytes(n, "little") for v, n in
                            ((kind, 4), (flags, 4), (offset, 8), (offset, 8), (offset, 8), (size, 8), (size, 8),
                             (4096 if kind == 1 else 1, 8)))

        body = bytes(header) + segment(3, 4, 176, len(path)) + segment(1, 5, 0, 176 + len(path)) + path
        (box.root / "bin" / "evil").write_bytes(body)
    (box.root / "bin" / "evil").touch()
    (box.root / "bin" / "evil").chmod(0o755)
    name = box.start("attacker", "watch", "8")
    for _ in range(15):
        box.oci("exec", name, command)
    report = (box.root / "report").read_text() if (box.root / "report").exists() else ""
    assert digest(box.program) == before
    assert "WRITTEN" not in report
    # As the container's own first process, too.
    box.run(command)
    assert digest(box.program) == before


def test_the_attack_itself_works(box, tmp_path):
    """The same attacker does overwrite a program that has no such protection: it would be seen."""
    victim = box.root / "victim"
    shutil.copy2(busybox(), victim)
    before = digest(victim)
    name = box.start("attacker", "watch", "60")
    deadline = time.monotonic() + 50
    while digest(victim) == before and time.monotonic() < deadline:
        box.oci("exec", name, "/victim", "sleep", "0.2")
    assert "WRITTEN" in (box.root / "report").read_text()
    assert digest(victim) != before


# CVE-2024-21626: leaked descriptors and working directory


def test_cve_2024_21626_descriptors(box):
    """A descriptor that the caller left open does not reach the command, nor does one of the runtime's own."""
    leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    try:
        done = box.run("attacker", "fds", close_fds=False)
        name = box.start("sleep", "20")
        second = box.oci("exec", name, "attacker", "fds", close_fds=False)
    finally:
        os.close(leak)
    for result in (done, second):
        assert result.returncode == 0, result.stderr
        assert result.stdout.split() == ["0", "1", "2"]


@pytest.mark.parametrize("form", ["/proc/self/fd/{}", "/proc/1/fd/{}", "/dev/fd/{}", "/cwd{}"])
def test_cve_2024_21626_cwd(box, form):
    """No number of a descriptor as the working directory leads to the host, by whatever name."""
    marker = box.tmp / "host-marker"
    marker.write_text("host")
    leak = os.open(box.tmp, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    numbers = [*range(3, 20), leak]
    try:
        for number in numbers:
            if form.startswith("/cwd"):
                link = box.root / f"cwd{number}"
                if not link.is_symlink():
                    link.symlink_to(f"/proc/self/fd/{number}")
            for user in (0, 1000):
                box.spec["process"]["user"] = {"uid": user, "gid": user}
                done = box.run("attacker", "cwd", cwd=form.format(number), close_fds=False)
                assert "host" not in done.stdout, (number, user, done.stdout)
                if done.returncode == 0:
                    assert done.stdout.startswith("/"), done.stdout
    finally:
        os.close(leak)


def test_cve_2024_21626_cwd_not_searchable(box):
    """A directory of the host that root can enter and the container's user cannot search is no way in either."""
    secret = box.tmp / "secret"
    secret.mkdir(mode=0o700)
    leak = os.open(secret, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    box.spec["process"]["capabilities"] = {k: [] for k in ("bounding", "effective", "permitted")}
    try:
        done = box.run("attacker", "cwd", cwd=f"/proc/self/fd/{leak}", close_fds=False)
    finally:
        os.close(leak)
    assert done.returncode != 0
    assert "cwd" in done.stderr


def test_cve_2024_21626_exec_cwd(box):
    name = box.start("sleep", "30")
    leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    try:
        for number in [*range(3, 16), leak]:
            done = box.oci("exec", "--cwd", f"/proc/self/fd/{number}", name, "attacker", "cwd", close_fds=False)
            assert done.returncode != 0 or done.stdout.startswith("/"), (number, done.stdout)
            assert "unreachable" not in done.stdout
    finally:
        os.close(leak)


# CVE-2021-30465: mounts through symbolic links


@pytest.mark.parametrize("target", ["{}", "/../../../../../..{}", "../../../../../../../../../..{}"])
def test_cve_2021_30465_links(box, target):
    """A mount point that leads out by a link is made inside."""
    outside = box.tmp / "outside"
    outside.mkdir()
    (box.root / "trap").symlink_to(target.format(outside))
    source = box.tmp / "source"
    source.mkdir()
    (source / "here").write_text("1")
    box.spec["mounts"] += [
        {"destination": "/trap/deep", "type": "bind", "source": str(source), "options": ["rbind"]},
        {"destination": "/trap/new", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/trap/file", "type": "bind", "source": str(source / "here"), "options": ["bind"]}]
    done = box.run("cat", "/trap/deep/here", "/trap/file")
    assert list(outside.iterdir()) == []
    assert done.returncode == 0 and done.stdout == "11", done.stderr


def test_cve_2021_30465_race(box):
    """Somebody swaps a directory of a shared volume for a link while mounts are made below it."""
    outside, volume = box.tmp / "outside", box.tmp / "volume"
    outside.mkdir()
    (volume / "real").mkdir(parents=True)
    (volume / "link").symlink_to("/../../../../../../../../.." + str(outside))
    (box.root / "vol").mkdir()
    box.spec["mounts"] += [
        {"destination": "/vol", "type": "bind", "source": str(volume), "options": ["rbind"]},
        {"destination": "/vol/real/a/b", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/vol/real/c", "type": "bind", "source": str(box.root / "etc"), "options": ["bind"]}]
    with Flipping(volume / "real", volume / "link"):
        for _ in range(40):
            box.run("true")
    assert list(outside.iterdir()) == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(outside) not in mounts and str(volume) not in mounts


# CVE-2019-16884, CVE-2019-19921: /proc redirected


def fake_proc(box):
    fake = box.tmp / "fake"
    for name in ("self/attr", "sys/kernel", "sys/net/ipv4", "1", "thread-self/attr"):
        (fake / name).mkdir(parents=True)
    for name in ("self/attr/exec", "self/attr/apparmor", "self/setgroups", "self/oom_score_adj",
                 "sys/kernel/domainname", "sys/net/ipv4/ip_forward", "kcore", "interrupts"):
        (fake / name).parent.mkdir(parents=True, exist_ok=True)
        (fake / name).write_text("untouched")
    return fake


def test_cve_2019_16884_proc_is_covered(box):
    """A volume on /proc does not get what the runtime writes to /proc, and does not make it believe masks are in place."""
    fake = fake_proc(box)
    box.spec["mounts"].append({"destination": "/proc", "type": "bind", "source": str(fake), "options": ["rbind"]})
    box.spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    box.spec["process"]["oomScoreAdj"] = 500
    done = box.run("true")
    for file in fake.rglob("*"):
        assert not file.is_file() or file.read_text() == "untouched", file
    assert done.returncode != 0
    assert "/proc" in done.stderr


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_cve_2019_19921_proc_is_a_link(box, name):
    """The image's /proc is a link: the procfs would be mounted where masks do not look."""
    (box.root / name).rmdir()
    (box.root / "elsewhere").mkdir()
    (box.root / name).symlink_to("/elsewhere")
    if name == "sys":
        box.spec["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]})
    done = box.run("true")
    assert done.returncode != 0
    assert f"/{name}" in done.stderr and "link" in done.stderr


def test_cve_2019_19921_race(box):
    """Somebody with the same root swaps /proc for an empty directory while the container is made: never is a procfs
    left without masks."""
    (box.root / "decoy").mkdir()
    ran = 0
    with Flipping(box.root / "proc", box.root / "decoy"):
        for _ in range(60):
            done = box.run("attacker", "masks", "/proc", "/decoy")
            assert "OPEN" not in done.stdout, done.stdout
            ran += done.returncode == 0
    assert ran or done.stderr


def test_sysctl_of_the_host_is_refused(box):
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    for name in ("kernel.core_pattern", "kernel/core_pattern", "net.ipv4/../../kernel/core_pattern",
                 "net/../kernel/core_pattern"):
        box.spec["linux"]["sysctl"] = {name: "|/evil"}
        done = box.run("true")
        assert done.returncode != 0, name
        assert Path("/proc/sys/kernel/core_pattern").read_text() == before


# CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: masks and the console


@pytest.mark.parametrize("kind", ["link", "file", "directory", "device"])
def test_cve_2025_31133_dev_null(box, kind):
    """What the container calls /dev/null is not what covers a masked file."""
    box.spec["mounts"] = [m for m in box.spec["mounts"] if not m["destination"].startswith("/dev")]
    secret = box.root / "secret"
    secret.write_text("attacker's choice")
    null = box.root / "dev" / "null"
    if kind == "link":
        null.symlink_to("/proc/sys/kernel/core_pattern")
    elif kind == "file":
        null.write_text("attacker's choice")
    elif kind == "directory":
        null.mkdir()
    else:
        os.mknod(null, 0o20666, os.makedev(1, 5))  # zero
    (box.root / "masked").write_text("host secret")
    box.spec["linux"]["maskedPaths"] = ["/masked", "/proc/interrupts"]
    done = box.run("stat", "-c", "%F %t:%T", "/masked", "/proc/interrupts")
    if done.returncode == 0:
        assert done.stdout.splitlines() == ["character special file 1:3"] * 2
    assert secret.read_text() == "attacker's choice"


def test_cve_2025_31133_race(box):
    """/dev/null is swapped while paths are masked, on a volume that is shared."""
    dev = box.tmp / "dev"
    dev.mkdir()
    os.mknod(dev / "null", 0o20666, os.makedev(1, 3))
    (dev / "evil").symlink_to("/proc/sys/kernel/core_pattern")
    box.spec["mounts"] = [m for m in box.spec["mounts"] if not m["destination"].startswith("/dev")]
    box.spec["mounts"].append({"destination": "/dev", "type": "bind", "source": str(dev), "options": ["rbind"]})
    ran = 0
    with Flipping(dev / "null", dev / "evil"):
        for _ in range(40):
            done = box.run("stat", "-c", "%F %t:%T", "/proc/interrupts")
            if done.returncode == 0:
                assert done.stdout == "character special file 1:3\n"
                ran += 1
    assert ran, done.stderr


def test_cve_2025_52565_console(box):
    """/dev/console as a link to something in /proc: nothing there is covered, and the masks hold."""
    box.spec["mounts"] = [m for m in box.spec["mounts"] if m["destination"] != "/dev"]
    box.spec["mounts"].insert(1, {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]})
    (box.root / "dev" / "console").symlink_to("/proc/interrupts")
    box.spec["process"]["terminal"] = True
    box.spec["process"]["args"] = ["stat", "-c", "%F %t:%T", "/proc/interrupts"]
    box.save()
    words = [str(box.program), "oci", "--root", str(box.state), "run", "--bundle", str(box.bundle), "cve-console"]
    pid, master = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    output = b""
    try:
        while piece := os.read(master, 4096):
            output += piece
    except OSError:  # the other end is closed
        pass
    os.close(master)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, output
    assert output.decode().strip() == "character special file 1:3"


def test_cve_2025_52881_writes_stay_in_proc(box):
    """The labels and sysctls of a new container go to the kernel, whatever the volume puts in their place meanwhile."""
    fake = fake_proc(box)
    volume = box.tmp / "volume"
    (volume / "real").mkdir(parents=True)
    shutil.copytree(fake, volume / "fake")
    box.spec["mounts"].append({"destination": "/proc/fs", "type": "bind", "source": str(volume), "options": ["rbind"]})
    box.spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    box.spec["process"]["oomScoreAdj"] = 300
    box.spec["linux"]["readonlyPaths"] = []
    done = box.run("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/self/oom_score_adj")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "300"]
    for file in (volume / "fake").rglob("*"):
        assert not file.is_file() or file.read_text() == "untouched", file
