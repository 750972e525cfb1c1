"""What the tests of running instances share: a root of their own, as root and as an ordinary user, behind each wall that
works here; the small root directory that they run; and a terminal to type at."""
import fcntl
import json
import os
import pty
import pwd
import re
import select
import shutil
import signal
import struct
import subprocess
import tarfile
import tempfile
import termios
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
ROOT = os.geteuid() == 0
PLAIN_USER = f"warren-plain-{os.getpid()}"  # of this session alone: another may run beside it


def make_rootfs(path):
    """A root directory from busybox: enough for a shell."""
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("busybox is not installed")
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "root", "home"):
        (path / name).mkdir(parents=True)
    path.chmod(0o755)
    (path / "tmp").chmod(0o1777)
    shutil.copy(busybox, path / "bin/busybox")
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (path / "bin" / applet).symlink_to("busybox")
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\nann:x:1001:\ncrew:x:1005:ann\n")


@pytest.fixture(scope="session")
def plain_user():
    """An ordinary user with subordinate ids; None when there is none and none could be made."""
    if ROOT and shutil.which("newuidmap"):
        subprocess.run(["useradd", "-m", "-K", "SUB_UID_COUNT=65536", PLAIN_USER], capture_output=True)
    try:
        user = pwd.getpwnam(PLAIN_USER)
    except KeyError:
        user = None
    yield user
    if user and ROOT:
        subprocess.run(["userdel", "-r", PLAIN_USER], capture_output=True)


class Warren:
    """The program with its own directories. `user` None: as we are."""

    def __init__(self, path, wall, user=None):
        self.path, self.wall, self.user = Path(path), wall, user
        self.guest = wall != "container"
        self.program = str(BUILD / "warren")
        self.run_dir, self.data = self.path / "run", self.path / "data"
        self.env = {**os.environ, "WARREN_RUN": str(self.run_dir), "WARREN_DATA": str(self.data), "TZ": "UTC"}
        self.rootfs = self.path / "rootfs"
        make_rootfs(self.rootfs)
        if user:
            # The build tree may lie where only root comes.
            self.program = str(self.path / "bin/warren")
            (self.path / "bin").mkdir()
            shutil.copy(BUILD / "warren", self.program)
            shutil.copytree(BUILD / "libexec", self.path / "bin/libexec")
            self.env["HOME"] = user.pw_dir
            # Mount points that are missing are made by the user.
            subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", self.rootfs], check=True)
            for name in ("", "run", "data", "work"):
                (self.path / name).mkdir(exist_ok=True)
                os.chown(self.path / name, user.pw_uid, user.pw_gid)
        self.work = self.path / "work"
        self.work.mkdir(exist_ok=True)

    def argv(self, *args):
        front = []
        if self.user:
            front = ["setpriv", "--reuid", self.user.pw_name, "--regid", str(self.user.pw_gid), "--init-groups"]
        return [*front, self.program, *map(str, args)]

    def __call__(self, *args, timeout=60, **more):
        more.setdefault("stdin", subprocess.DEVNULL if "input" not in more else None)
        if more["stdin"] is None:
            del more["stdin"]
        return subprocess.run(self.argv(*args), capture_output=True, text=True, env=self.env, timeout=timeout * SLOW,
                              cwd=self.work, **more)

    def popen(self, *args, **more):
        return subprocess.Popen(self.argv(*args), env=self.env, cwd=self.work, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **more)

    def ok(self, *args, **more):
        done = self(*args, **more)
        assert done.returncode == 0, (args, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def front(self, *options):
        return ["run", "--isolation", self.wall, *options, "--rootfs", self.rootfs]

    def run(self, *args, options=(), **more):
        """run --rm in the small root."""
        return self(*self.front("--rm", *options), *args, **more)

    def start(self, *args, options=()):
        """run -d; the id."""
        return self.ok(*self.front("-d", *options), *args).strip()

    def inspect(self, name, template):
        return self.ok("inspect", "-f", template, name).strip()

    def state(self, name):
        return json.loads(self.ok("inspect", "-f", "{{json .State}}", name))

    def keeper(self, name):
        return int(self.inspect(name, "{{.KeeperPid}}"))

    def left(self):
        """What is there although no instance is: directories, names, mounts, control groups, processes."""
        found = [str(p) for p in self.run_dir.glob("[!.]*")] + [str(p) for p in self.run_dir.glob(".names/*")]
        found += [str(p) for p in (self.data / "instances").glob("*")]
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.path) in line]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(self.run_dir).encode() in words:
                found.append(b" ".join(words).decode())
        return found

    def clear(self):
        ids = self.ok("ps", "-aq", "--no-trunc").split()
        if ids:
            done = self("rm", "-f", *ids)
            if done.returncode:
                return [done.stderr]
        for _ in range(100):
            if not self.left():
                break
            time.sleep(0.02)
        return self.left()


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, warren, *args, size=(24, 80)):
        self.out = b""
        argv = warren.argv(*args)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup would keep it ignored
            os.chdir(warren.work)
            os.execvpe(argv[0], argv, warren.env)
        self.resize(*size)

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            piece = os.read(self.fd, 65536)
        except OSError:
            return False
        self.out += piece
        return bool(piece)

    def expect(self, pattern, seconds=20):
        """Waits until the pattern is on the screen and forgets everything up to its end."""
        end = time.monotonic() + seconds * SLOW
        while True:
            found = re.search(pattern.encode(), self.out)
            if found:
                self.out = self.out[found.end():]
                return found
            assert time.monotonic() < end, f"{pattern!r} did not come: {self.out!r}"
            assert self.read(0.1) or re.search(pattern.encode(), self.out), f"ended without {pattern!r}: {self.out!r}"

    def type(self, text):
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def finish(self, seconds=20):
        """Exit status."""
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            alive = self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while self.read(0.05) and select.select([self.fd], [], [], 0)[0]:
                    pass
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            if not alive:
                time.sleep(0.01)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError(f"does not end: {self.out!r}")


# The bed plays a processor that is some ten times slower.
SLOW = 10 if os.environ.get("WARREN_BED") else 1


def walls():
    """Those that WARREN_TEST_WALLS names (the bed asks for vm), else all that may work on any host."""
    return os.environ.get("WARREN_TEST_WALLS", "container,pv").split(",")


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    """A directory of guest kernels, imported once from the distribution's package; a reason when there is none.
    WARREN_TEST_KERNELS names one that is there already: the bed has no network to fetch a package by."""
    ready = os.environ.get("WARREN_TEST_KERNELS")
    if ready:
        return Path(ready)
    path = tmp_path_factory.mktemp("kernels")
    done = subprocess.run([BUILD / "warren", "kernel", "import", *os.environ.get("WARREN_TEST_KERNEL", "").split()],
                          env={**os.environ, "WARREN_DATA": str(path)}, capture_output=True, text=True, timeout=300)
    return path / "kernels" if done.returncode == 0 else done.stderr


def guest_kernels(wall, request):
    """What `wall` needs here; skips when it cannot work, with the program's own reason."""
    if wall == "container":
        return None
    verdict = subprocess.run([BUILD / "warren", "doctor"], capture_output=True, text=True).stdout
    line = next(line for line in verdict.splitlines() if line.startswith(wall + " "))
    if "works" not in line:
        pytest.skip(line)
    found = request.getfixturevalue("kernels")
    if isinstance(found, str):
        pytest.skip("no guest kernel: " + found.strip())
    return found


def eventually(check, seconds=30, step=0.02):
    """The first true value of `check`, or its last."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = check()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


def make_image(warren, name="small"):
    """The small root as an image of the store."""
    archive = warren.path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(warren.rootfs, arcname=".")
    archive.chmod(0o644)
    warren.ok("image", "import", archive, name)
    return name


def walls_and_users():
    """Containers as root and as an ordinary user; guests as root only, since /dev/kvm is root's here."""
    return [(w, u) for w in walls() for u in (("root", "user") if w == "container" else ("root",))]


@pytest.fixture(params=walls_and_users(), ids="-".join)
def warren(request, plain_user):
    """As root and as an ordinary user; whatever a test leaves behind is an error of the program."""
    wall, who = request.param
    if who == "root" and not ROOT:
        pytest.skip("needs root")
    user = plain_user if who == "user" and ROOT else None
    if who == "user" and ROOT and not user:
        pytest.skip("no ordinary user with subordinate ids could be made")
    guest = guest_kernels(wall, request)
    path = Path(tempfile.mkdtemp(prefix="warren-"))
    path.chmod(0o755)
    w = Warren(path, wall, user)
    if guest:
        w.data.mkdir(exist_ok=True)
        (w.data / "kernels").symlink_to(guest)
    yield w
    left = w.clear()
    shutil.rmtree(path, ignore_errors=True)
    assert not left, left
