"""Volumes: by name, anonymous, of the image; who removes them."""
import fcntl
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_image import Store, needs_root

pytestmark = needs_root

FILE = """FROM busybox
RUN mkdir -p /data/sub && echo hello > /data/f && chown 7:8 /data/f && chmod 1777 /data
VOLUME /data
"""


@pytest.fixture
def store(tmp_path):
    if not Path("/bin/busybox").exists():
        pytest.skip("busybox-static is not installed")
    s = Store(tmp_path / "data")
    s.env["WARREN_RUN"] = str(tmp_path / "run")
    s.ok("image", "build-rootfs", "-q", "busybox")
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Containerfile").write_text(FILE)
    s.ok("build", "-q", "-t", "it", str(tmp_path / "context"))
    yield s
    s.run("rm", "-fv", *s.ok("ps", "-aq").split())


def volumes(store, *args):
    return store.ok("volume", "ls", "-q", *args).split()


def test_the_images_volume(store):
    store.ok("run", "--name", "a", "it", "sh", "-c", "echo more > /data/g")
    (name,) = volumes(store)
    (mount,) = json.loads(store.ok("inspect", "-f", "{{json .Mounts}}", "a"))
    assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", name, "/data")
    here = Path(store.ok("volume", "inspect", "-f", "{{.Mountpoint}}", name).strip())
    assert mount["Source"] == str(here) and here.stat().st_mode & 0o7777 == 0o1777
    assert (here / "f").read_text() == "hello\n" and (here / "f").stat().st_uid == 7 and (here / "sub").is_dir()
    assert (here / "g").read_text() == "more\n"
    assert store.ok("ps", "-aq", "--filter", f"volume={name}")
    assert store.ok("volume", "prune") == "Total reclaimed space: 0B\n"  # in use
    store.refused("volume", "rm", name, says=[name, "in use by instance"])
    store.ok("rm", "a")
    assert volumes(store, "-f", "dangling=true") == [name]
    assert name in store.ok("volume", "prune") and volumes(store) == []


@pytest.mark.parametrize("end", [["run", "--rm", "it", "true"], ["run", "--rm", "-v", "/x", "it", "true"],
                                 ["run", "--rm", "--mount", "type=volume,dst=/x", "it", "true"]])
def test_anonymous_volumes_go_with_the_instance(store, end):
    store.ok(*end)
    assert volumes(store) == []


def test_rm_v(store):
    store.ok("create", "--name", "a", "it")
    assert len(volumes(store)) == 1
    store.ok("rm", "-v", "a")
    assert volumes(store) == []


def test_a_failed_create_leaves_none(store):
    store.refused("run", "--log-driver", "fish", "it", says=["fish"])
    assert volumes(store) == []


def test_named_volumes(store):
    assert store.ok("volume", "create", "--label", "a=b", "mine") == "mine\n"
    assert store.ok("run", "--rm", "-v", "mine:/data", "it", "cat", "/data/f") == "hello\n"  # filled, once
    store.ok("run", "--rm", "-v", "mine:/data", "it", "rm", "/data/f")
    assert store.ok("run", "--rm", "-v", "mine:/data", "it", "ls", "/data") == "sub\n"
    assert store.ok("run", "--rm", "-v", "bare:/data:nocopy", "it", "ls", "/data") == ""
    assert store.ok("run", "--rm", "--mount", "type=volume,src=mine,dst=/m,readonly", "it", "sh", "-c",
                    "touch /m/x 2>/dev/null || ls /m") == "sub\n"
    assert volumes(store) == ["bare", "mine"] and volumes(store, "-f", "label=a=b") == ["mine"]
    assert store.ok("volume", "prune") == "Total reclaimed space: 0B\n"
    assert store.ok("volume", "rm", "mine") == "mine\n"
    store.refused("volume", "rm", "mine", says=["'mine'"])
    store.ok("volume", "rm", "-f", "mine")
    store.refused("volume", "create", "../x", says=["'../x'"])
    assert "bare" in store.ok("volume", "prune", "-a")


def test_something_else_at_the_volumes_place(store, tmp_path):
    for option in (["-v", f"{tmp_path}:/data"], ["--tmpfs", "/data"]):
        store.ok("run", "--name", "a", *option, "it", "true")
        assert volumes(store) == []
        store.ok("rm", "a")


def test_system(store):
    store.ok("create", "it")
    assert "Local Volumes   1         1" in store.ok("system", "df")
    store.ok("rm", *store.ok("ps", "-aq").split())
    store.ok("system", "prune", "-f")
    assert len(volumes(store)) == 1
    store.ok("system", "prune", "-f", "--volumes")
    assert volumes(store) == []


def test_nobody_else_enters(store):
    """A set-user-id program that an instance's root leaves in a volume is no way for the host's other users."""
    place = Path(store.ok("volume", "inspect", "-f", "{{.Mountpoint}}", store.ok("volume", "create", "mine").strip()).strip())
    assert place.parent.parent.stat().st_mode & 0o7777 == 0o700 and store.path.stat().st_mode & 0o7777 == 0o700
    place.parent.parent.chmod(0o755)  # as older versions made it
    assert store.ok("run", "--rm", "-v", "mine:/data", "it", "cat", "/data/f") == "hello\n"
    assert place.parent.parent.stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("argv", [["volume", "rm", "mine"], ["run", "--rm", "-v", "mine:/x", "it", "true"], ["volume", "create", "new"]])
def test_who_takes_and_who_removes_wait_for_each_other(store, argv):
    """Found to be unused and removed, or there and claimed: one step each, so that nobody works in what goes away."""
    store.ok("volume", "create", "mine")
    fd = os.open(store.path / "volumes", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(store.run, *argv)
        time.sleep(0.5)
        try:
            assert not end.done() and sorted(os.listdir(store.path / "volumes")) == ["mine"]
        finally:
            os.close(fd)
        assert end.result().returncode == 0
