"""Bundles for the tests of `warren oci`: a busybox root, a config that a test changes, and the verbs as methods."""
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
APPLETS = ("sh ls cat echo sleep id uname ps true false env mkdir touch grep stty tty kill dd head stat mount umount "
           "ln rm hostname readlink nproc date chmod chown wc tr cut sort cp mv ip test awk seq setsid trap").split()
DEFAULT_CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
                "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
                "CAP_AUDIT_WRITE"]


@pytest.fixture(autouse=True)
def time_limit():
    """A test that waits for a terminal or a socket fails after a minute instead of waiting on."""
    def late(*_):
        raise TimeoutError("the test took longer than 60 s")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def runtime():
    """The runtime under test; WARREN_TEST_RUNTIME=runc tells a wrong test from a wrong runtime."""
    return os.environ.get("WARREN_TEST_RUNTIME") or str(BUILD / "warren-oci")


def busybox():
    path = shutil.which("busybox")
    if not path:
        pytest.skip("busybox is not installed (Debian package busybox-static)")
    return path


def make_root(root):
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "data", "home/u"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(busybox(), root / "bin/busybox")
    for applet in APPLETS:
        link = root / "bin" / applet
        if not link.exists():
            link.symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nu:x:1000:\n")
    (root / "tmp").chmod(0o1777)


def default_config(args):
    return {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "hostname": "box",
        "process": {
            "terminal": False, "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
            "env": ["PATH=/bin:/usr/bin", "TERM=xterm"],
            "capabilities": {name: list(DEFAULT_CAPS) for name in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys", "/proc/bus"],
        },
    }


class Bundle:
    """`user`: the name of an ordinary user who runs the runtime; None: we do."""

    def __init__(self, folder, args, user=None):
        self.path, self.id, self.user = folder, "wt-" + uuid.uuid4().hex[:12], user
        self.root, self.state_root = folder / "rootfs", folder / "state"
        self.state_root.mkdir(exist_ok=True)
        make_root(self.root)
        self.config = default_config(args)
        if user:
            self._for_user()

    def _for_user(self):
        entry = pwd.getpwnam(self.user)
        linux = self.config["linux"]
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": entry.pw_uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": entry.pw_gid, "size": 1}]
        for mount in self.config["mounts"]:
            mount["options"] = [word for word in mount["options"] if word != "gid=5"]
        for path in [self.path, self.state_root, *self.root.rglob("*")]:
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        os.chown(self.root, entry.pw_uid, entry.pw_gid)

    def write(self):
        (self.path / "config.json").write_text(json.dumps(self.config))

    def drop(self, kind):
        self.config["linux"]["namespaces"] = [ns for ns in self.config["linux"]["namespaces"] if ns["type"] != kind]

    def mount(self, destination, source="tmpfs", kind=None, options=()):
        kind = kind or ("tmpfs" if source == "tmpfs" else None)
        self.config["mounts"].append({"destination": destination, "source": str(source), "options": list(options),
                                      **({"type": kind} if kind else {})})

    def command(self, verb, *args, globals=()):
        words = [runtime(), "--root", str(self.state_root), *globals, verb, *map(str, args)]
        if self.user:
            entry = pwd.getpwnam(self.user)
            words = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", *words]
        return words

    def __call__(self, verb, *args, check=True, timeout=30, globals=(), **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self.command(verb, *args, globals=globals), capture_output=True, text=True,
                              timeout=timeout, cwd=self.path, **more)
        if check and done.returncode:
            raise AssertionError(f"{verb}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def run(self, script=None, check=True, **more):
        """`run` in the foreground; `script` becomes the command."""
        if script is not None:
            self.config["process"]["args"] = ["sh", "-c", script]
        self.write()
        return self("run", self.id, check=check, **more)

    def out(self, script, **more):
        return self.run(script, **more).stdout.strip()

    def fails(self, *words, script="true"):
        """Runs it, which must fail with one line that has all words."""
        done = self.run(script, check=False)
        assert done.returncode == 125, (done.returncode, done.stdout, done.stderr)
        for word in words:
            assert word in done.stderr, done.stderr
        assert not self.leftovers()
        return done

    def create(self, *args, **more):
        self.write()
        # Its output goes to files: a pipe would stay open in the container.
        with open(self.path / "out", "w") as out, open(self.path / "err", "w") as err:
            done = subprocess.run(self.command("create", *args, self.id, globals=more.pop("globals", ())),
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=30, cwd=self.path, **more)
        assert done.returncode == 0, (self.path / "err").read_text()

    def state(self):
        return json.loads(self("state", self.id).stdout)

    def status(self):
        return self.state()["status"]

    def wait(self, status, seconds=10):
        end = time.monotonic() + seconds
        while self.status() != status:
            assert time.monotonic() < end, f"{self.status()}, not {status} within {seconds} s"
            time.sleep(0.01)

    def text(self):
        return (self.path / "out").read_text() + (self.path / "err").read_text()

    def leftovers(self):
        """Cgroups and directories that bear our id."""
        found = [path for path in self.state_root.iterdir()]
        for top, folders, _ in os.walk("/sys/fs/cgroup"):
            found += [os.path.join(top, name) for name in folders if self.id in name]
        return found

    def destroy(self):
        self("delete", "--force", self.id, check=False)
        assert not self.leftovers()
