"""Whatever of Warren is killed, and whenever: no other instance notices, the next command says what happened, and `rm`
leaves nothing."""
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from instances import eventually, kernels, plain_user, warren  # noqa: F401

LOOP = ["sh", "-c", "while :; do sleep 0.05; done"]


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def cgroups(warren):
    """Control groups of instances that this test made."""
    ids = [line for line in warren.ok("ps", "-aq", "--no-trunc").split()]
    found = []
    for top in ("/sys/fs/cgroup", *map(str, Path("/sys/fs/cgroup").glob("*/"))):
        found += [str(p) for p in Path(top).glob("warren/*") if p.name in ids]
    return found


def test_killed_keeper_instance_goes_on(warren):
    warren.start(*LOOP, options=["--name", "other"])
    warren.start(*LOOP, options=["--name", "k"])
    pid = warren.state("k")["Pid"]
    os.kill(warren.keeper("k"), signal.SIGKILL)
    assert eventually(lambda: warren.keeper("k") == 0)
    state = warren.state("k")
    assert state["Running"] and state["Pid"] == pid and "keeper was killed" in state["Error"]
    assert "(no keeper)" in warren.ok("ps")
    assert warren.ok("exec", "k", "echo", "still here") == "still here\n"
    done = warren("attach", "k")
    assert done.returncode == 125 and "keeper" in done.stderr
    assert warren.ok("stop", "-t", "0", "k") == "k\n"
    state = warren.state("k")
    assert state["Status"] == "exited" and "keeper was killed" in state["Error"] and gone(pid)
    assert warren.ok("start", "k") == "k\n"
    assert warren.state("k")["Error"] == "" and warren.keeper("k")
    assert warren.state("other")["Running"] and warren.keeper("other")


def test_killed_keeper_and_instance(warren):
    warren.start(*LOOP, options=["--name", "k", "--restart", "always"])
    pid, keeper = warren.state("k")["Pid"], warren.keeper("k")
    os.kill(keeper, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: gone(pid) and gone(keeper))
    state = warren.state("k")
    assert state["Status"] == "exited" and state["ExitCode"] == 255 and "keeper was killed" in state["Error"]
    assert "Exited (255)" in warren.ok("ps", "-a")
    warren.ok("start", "k")
    assert warren.state("k")["Running"]
    warren.ok("rm", "-f", "k")
    assert cgroups(warren) == []


def test_killed_keeper_of_rm_instance(warren):
    warren.start(*LOOP, options=["--name", "k", "--rm"])
    pid = warren.state("k")["Pid"]
    os.kill(warren.keeper("k"), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: gone(pid))
    assert warren.ok("rm", "k") == "k\n"


def test_foreground_run_says_that_the_keeper_died(warren):
    p = warren.popen(*warren.front("--name", "k"), "sh", "-c", "echo ready; sleep 100")
    assert p.stdout.readline() == "ready\n"
    os.kill(warren.keeper("k"), signal.SIGKILL)
    _, err = p.communicate(timeout=20)
    assert p.returncode == 125 and "keeper" in err


def test_killed_instance_is_noticed(warren):
    p = warren.popen(*warren.front("--name", "k"), "sh", "-c", "echo ready; sleep 100")
    assert p.stdout.readline() == "ready\n"
    os.kill(warren.state("k")["Pid"], signal.SIGKILL)
    assert p.wait(20) == 137
    assert warren.state("k")["ExitCode"] == 137


def descendants(pid):
    """A process's children and theirs, deepest last."""
    found = []
    try:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    except OSError:
        pass
    return found


@pytest.mark.parametrize("victim", ["client", "tree", "newest"])
@pytest.mark.parametrize("options", [["-d"], ["--rm"], ["-d", "--restart", "always"]])
def test_killed_at_any_point(warren, victim, options):
    """`run` and what it started are killed after 0 to 20 ms; then everything can be listed and removed."""
    warren.start(*LOOP, options=["--name", "other"])
    dice = random.Random(f"{victim} {options}")
    for _ in range(12):
        p = warren.popen(*warren.front(*options), "sh", "-c", "sleep 0.01")
        time.sleep(dice.uniform(0, 0.02))
        family = [p.pid, *descendants(p.pid)]
        doomed = {"client": family[:1], "tree": family, "newest": family[-1:]}[victim]
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            p.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            p.kill()
            raise
    assert warren.state("other")["Running"] and warren.keeper("other")
    done = warren("ps", "-a")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert warren.clear() == []
    assert cgroups(warren) == []


def test_killed_during_start_by_the_keeper(warren):
    """The keeper dies at any point of a start or an end; `start` works again."""
    warren.ok("create", "--isolation", warren.wall, "--name", "s", "--rootfs", warren.rootfs, "sh", "-c", "sleep 0.02")
    dice = random.Random(7)
    for _ in range(15):
        p = warren.popen("start", "s")
        time.sleep(dice.uniform(0, 0.03))
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:2] == [b"keeper"] and str(warren.run_dir).encode() in words:
                try:
                    os.kill(int(process.name), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        p.communicate(timeout=20)
        assert eventually(lambda: not warren.state("s")["Running"])
    assert warren.ok("start", "-a", "s") == ""
    assert warren.state("s")["ExitCode"] == 0


def test_prune_clears_what_is_left(warren):
    warren.start(*LOOP, options=["--name", "up"])
    warren.start("true", options=["--name", "down"])
    ident = warren.inspect("down", "{{.Id}}")
    warren.ok("wait", "down")
    (warren.run_dir / ".names/stale").symlink_to("0" * 64)
    (warren.run_dir / ("1" * 64)).mkdir()
    if warren.user:
        os.chown(warren.run_dir / ("1" * 64), warren.user.pw_uid, warren.user.pw_gid)
    out = warren.ok("system", "prune", "-f")
    assert ident in out and "1" * 64 in out
    assert warren.ok("ps", "-a", "--format", "{{.Names}}") == "up\n"
    assert not (warren.run_dir / ".names/stale").is_symlink()
