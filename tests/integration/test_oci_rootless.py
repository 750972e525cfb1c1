"""`warren oci` as an ordinary user: what the kernel allows works, the rest is said."""
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from bundles import Bundle, time_limit  # noqa: F401

USER = f"warren-test-{os.getpid()}"  # of this session alone
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become an ordinary user")


@pytest.fixture(scope="module")
def user():
    """An ordinary user with ranges in /etc/subuid and /etc/subgid; goes with the tests."""
    subprocess.run(["useradd", "--create-home", USER], check=True)
    kept = {}
    for file in ("/etc/subuid", "/etc/subgid"):
        kept[file] = Path(file).read_text() if os.path.exists(file) else ""
        lines = [line for line in kept[file].splitlines(True) if not line.startswith(USER + ":")]
        Path(file).write_text("".join(lines) + f"{USER}:700000:65536\n")
    yield USER
    subprocess.run(["userdel", "--remove", USER], check=False, capture_output=True)
    for file in kept:
        lines = [line for line in Path(file).read_text().splitlines(True) if not line.startswith(USER + ":")]
        Path(file).write_text("".join(lines))


@pytest.fixture
def box(user):
    folder = Path(tempfile.mkdtemp(prefix="wt-rootless-"))
    folder.chmod(0o755)
    bundle = Bundle(folder, ["sleep", "1000"], user)
    yield bundle
    bundle.destroy()
    shutil.rmtree(folder)


def ranges(box):
    """Maps by newuidmap: the user is root inside, its subordinate ids follow."""
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap is not installed (Debian package uidmap)")
    entry = pwd.getpwnam(USER)
    for member, own in (("uidMappings", entry.pw_uid), ("gidMappings", entry.pw_gid)):
        box.config["linux"][member] = [{"containerID": 0, "hostID": own, "size": 1},
                                       {"containerID": 1, "hostID": 700000, "size": 65536}]


def test_run(box):
    out = box.out("id -u; id -g; hostname; ls /dev/null /dev/pts/ptmx; cat /proc/1/comm; echo x > /dev/null && touch /made")
    assert out.split("\n") == ["0", "0", "box", "/dev/null", "/dev/pts/ptmx", "sh"]
    assert (box.root / "made").stat().st_uid == pwd.getpwnam(USER).pw_uid


def test_mapped_range(box):
    ranges(box)
    box.config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    assert box.out("id -u; id -G; cat /proc/self/uid_map").split() == [
        "1000", "1000", "5", "0", str(pwd.getpwnam(USER).pw_uid), "1", "1", "700000", "65536"]


def test_range_that_is_not_granted(box):
    ranges(box)
    box.config["linux"]["uidMappings"][1]["hostID"] = 100
    box.fails("newuidmap refused the mapping", "/etc/subuid")


def test_life(box):
    box.create()
    assert box.status() == "created"
    box("start", box.id)
    assert box.status() == "running"
    assert box("exec", box.id, "sh", "-c", "id -u; cat /proc/1/comm; readlink /proc/self/ns/user").stdout.split() == [
        "0", "sleep", os.readlink(f"/proc/{box.state()['pid']}/ns/user")]
    box("kill", box.id, "KILL")
    box.wait("stopped")
    box("delete", box.id)
    assert not box.leftovers()


@pytest.mark.parametrize("words, env", [(["--preserve-fds", "1"], {}), (["--preserve-fds", "2"], {}), ([], {"LISTEN_FDS": "1"})])
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_no_descriptor_of_the_runtimes_own_is_preserved(box, verb, words, env):
    """What the caller wants to be preserved and has not opened is not what the runtime opened instead."""
    if verb == "exec":
        box.create()
        box("start", box.id)
    box.write()
    argv = ["ls", "-l", "/proc/self/fd"] if verb == "exec" else []
    done = box(verb, *words, box.id, *argv, check=False, env={**os.environ, **env}, globals=["--log", str(box.path / "log")])
    assert done.returncode and "descriptor 3 is to be preserved, but is not open" in done.stderr + (box.path / "log").read_text(), done.stdout


def test_exec_as_another_user_of_the_range(box):
    ranges(box)
    box.create()
    box("start", box.id)
    assert box("exec", "--user", "33:34", box.id, "sh", "-c", "id -u; id -g").stdout.split() == ["33", "34"]


def test_new_time_namespace(box):
    box.config["linux"]["namespaces"].append({"type": "time"})
    box.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}}
    assert float(box.out("cat /proc/uptime").split()[0]) > 1000000


def test_bind_and_tmpfs_mounts(box):
    source = box.path / "source"
    source.mkdir(mode=0o755)
    (source / "f").write_text("host\n")
    box.mount("/data", source, options=["bind", "ro"])
    box.mount("/mnt", options=["size=1m"])
    assert box.out("cat /data/f; touch /data/g 2>/dev/null || echo ro; touch /mnt/x && echo rw") == "host\nro\nrw"


def test_sysfs_of_the_hosts_network_is_bound(box):
    box.drop("network")
    out = box.out("ls /sys/kernel | grep -c notes; grep ' /sys ' /proc/self/mounts; touch /sys/x 2>&1 | grep -c Read-only")
    assert out.startswith("1\n") and out.endswith("\n1") and " ro," in out


def test_seccomp(box):
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    done = box.run("mkdir /data/x; grep Seccomp: /proc/self/status", check=False)
    assert "not supported" in done.stderr and done.stdout.split() == ["Seccomp:", "2"]


def test_capabilities_are_those_of_the_namespace(box):
    out = box.out("grep CapEff /proc/self/status").split()[1]
    assert int(out, 16) == sum(1 << n for n in (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))


def test_without_a_user_namespace(box):
    box.drop("user")
    box.fails("an ordinary user needs a user namespace")


def test_groups_without_newgidmap(box):
    box.config["process"]["user"]["additionalGids"] = [5]
    box.fails("additionalGids", "newgidmap")


def test_device_node_of_ones_own(box):
    box.config["linux"]["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5}]
    box.fails("device '/dev/mine'")


def test_limits_that_cannot_be_set_are_said(box):
    box.config["linux"]["resources"] = {"pids": {"limit": 5}}
    done = box.run("true", check=False)
    assert done.returncode == 0 or "pids" in done.stderr, done.stderr


def test_lower_oom_score_is_said(box):
    box.config["process"]["oomScoreAdj"] = -500
    done = box.run("cat /proc/self/oom_score_adj")
    assert "oomScoreAdj -500" in done.stderr and done.stdout != "-500\n"


def test_default_root_directory(box):
    runtime = box.path / "xdg"
    runtime.mkdir()
    os.chown(runtime, pwd.getpwnam(USER).pw_uid, -1)
    box.config["process"]["args"] = ["true"]
    box.write()
    words = [word for word in box.command("create", box.id) if word not in ("--root", str(box.state_root))]
    env = {"PATH": os.environ["PATH"]}
    fallback = Path(f"/tmp/warren-run-{pwd.getpwnam(USER).pw_uid}")
    if not fallback.exists() and not Path(f"/run/user/{pwd.getpwnam(USER).pw_uid}").exists():
        fallback.mkdir(mode=0o700)  # somebody else's: not to be trusted
        done = subprocess.run(words, env=env, capture_output=True, text=True, cwd=box.path)
        fallback.rmdir()
        assert done.returncode == 125 and "XDG_RUNTIME_DIR" in done.stderr
    env["XDG_RUNTIME_DIR"] = str(runtime)
    with open(box.path / "o", "w") as out:
        subprocess.run(words, env=env, stdout=out, stderr=out, check=True, cwd=box.path)
    assert (runtime / "warren" / box.id / "state.json").exists()
    words = [word.replace("create", "delete") for word in words[:-1]] + ["--force", box.id]
    subprocess.run(words, env=env, check=True, cwd=box.path)
    assert not (runtime / "warren" / box.id).exists()


def test_terminal(box):
    box.config["process"].update(terminal=True, args=["sh", "-c", "tty; exit 4"])
    box.write()
    import pty
    pid, master = pty.fork()
    if not pid:
        os.chdir(box.path)
        words = box.command("run", box.id)
        os.execvp(words[0], words)
    text = b""
    try:
        while True:
            text += os.read(master, 1000)
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4, text
    assert b"/dev/pts/0" in text


def start_attacker(box, seconds):
    """Its command is root in the user namespace, may trace, and holds each foreign program that it can reach."""
    attacker = box.root / "bin" / "attacker"
    subprocess.run(["gcc", "-O1", "-static", "-o", str(attacker),
                    str(Path(__file__).resolve().parent / "attacker.c")], check=True)
    for kind in ("bounding", "effective", "permitted"):
        box.config["process"]["capabilities"][kind].append("CAP_SYS_PTRACE")
    box.config["process"]["args"] = ["attacker", "watch", str(seconds)]
    box.create()
    box("start", box.id)


def test_init_that_joins_namespaces_cannot_be_taken_hold_of(box, user):
    """A container that joins another's user and pid namespaces: who is root there sees its init from the join on."""
    start_attacker(box, 5)
    pid = box.state()["pid"]
    folder = Path(tempfile.mkdtemp(prefix="wt-rootless-"))
    folder.chmod(0o755)
    other = Bundle(folder, ["true"], user)
    try:
        other.config["root"]["path"] = str(box.root)
        other.drop("pid")
        other.drop("user")
        other.config["linux"]["namespaces"] += [{"type": kind, "path": f"/proc/{pid}/ns/{kind}"}
                                                for kind in ("user", "pid")]
        other.config["process"]["oomScoreAdj"] = 77
        other.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "0.5"]}]}
        assert other.out("cat /proc/self/oom_score_adj") == "77"
    finally:
        other.destroy()
        shutil.rmtree(folder)
    assert "HELD" not in (box.root / "report").read_text()


def test_only_the_creator_starts_it(box):
    box.create()
    words = box.command("start", box.id)
    done = subprocess.run(words[words.index("--clear-groups") + 1:], capture_output=True, text=True, timeout=30)
    assert done.returncode == 125 and "only the user who created it" in done.stderr
    assert box.status() == "created"
    box("start", box.id)
    box.wait("running")


def test_a_path_that_cannot_be_masked_is_an_error(box):
    secret = box.root / "secret"
    secret.mkdir(mode=0o700)
    (secret / "file").write_text("x")
    box.config["linux"]["maskedPaths"].append("/secret/file")
    box.fails("maskedPaths '/secret/file'", "Permission denied")


def test_root_of_a_user_namespace_is_an_ordinary_user(box):
    """As under `podman unshare`: no user namespace in the config, nodes that cannot be made, groups that are not there."""
    box.drop("user")
    for member in ("uidMappings", "gidMappings"):
        del box.config["linux"][member]
    box.config["mounts"][2]["options"].append("gid=5")
    box.write()
    words = box.command("run", box.id)
    at = words.index("--clear-groups") + 1
    box.config["process"]["args"] = ["sh", "-c", "id -u; echo x >/dev/null; ls /dev/ptmx; cat /proc/self/uid_map"]
    box.write()
    done = subprocess.run([*words[:at], "unshare", "-Ur", *words[at:]], capture_output=True, text=True, timeout=30,
                          cwd=box.path, stdin=subprocess.DEVNULL)
    uid = str(pwd.getpwnam(box.user).pw_uid)
    assert done.stdout.split() == ["0", "/dev/ptmx", "0", uid, "1"], done.stderr


def test_exec_cannot_be_taken_hold_of(box):
    """Inside a user namespace that has CAP_SYS_PTRACE, a program on its way in is seen but not reached."""
    start_attacker(box, 20)
    for _ in range(60):
        box("exec", box.id, "true")
    assert "HELD" not in (box.root / "report").read_text()
