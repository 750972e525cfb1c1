"""Images and guests: a build whose steps run behind the pv wall, volumes that both kinds share, commit of what a guest wrote."""
import shutil

import pytest
from test_image import needs_root
from test_pv_run import place, pv_missing, warren  # noqa: F401

pytestmark = [needs_root, pytest.mark.skipif(pv_missing() is not None, reason=str(pv_missing()))]

FILE = """FROM busybox
RUN mkdir -p /data && echo hello > /data/f && uname -r > /kernel && rm /bin/vi
VOLUME /data
"""


@pytest.fixture
def ok(place):
    def go(*args, **more):
        done = warren(place, *args, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout
    go("image", "build-rootfs", "-q", "busybox")
    return go


def test_build_behind_the_wall_and_volumes(ok, place, tmp_path):
    if not shutil.which("fuse2fs"):
        pytest.skip("fuse2fs is not installed")
    (tmp_path / "Containerfile").write_text(FILE)
    ok("build", "-q", "--isolation", "pv", "-t", "it", str(tmp_path))
    assert ok("run", "--rm", "it", "cat", "/data/f") == "hello\n"
    assert ok("run", "--rm", "it", "cat", "/kernel") == ok("run", "--rm", "--pv", "it", "uname", "-r")
    assert warren(place, "run", "--rm", "it", "ls", "/bin/vi").returncode == 1
    ok("run", "--rm", "--pv", "-v", "both:/data", "it", "sh", "-c", "echo y > /data/y")
    assert ok("run", "--rm", "-v", "both:/data", "it", "ls", "/data") == "f\ny\n"
    assert ok("volume", "ls", "-q") == "both\n"
    ok("volume", "rm", "both")


def test_commit_of_a_guest(ok, place):
    if not shutil.which("fuse2fs"):
        pytest.skip("fuse2fs is not installed")
    ok("run", "-d", "--name", "g", "--pv", "busybox", "sh", "-c", "echo x > /new; chown 5:6 /new; rm -rf /home; exec sleep 100")
    done = warren(place, "commit", "g", "made")
    assert done.returncode == 125 and "warren stop g" in done.stderr
    ok("stop", "-t", "2", "g")
    ok("commit", "g", "made")
    assert ok("run", "--rm", "made", "sh", "-c", "stat -c %u:%g /new; cat /new; ls -d /home 2>/dev/null || echo gone") == "5:6\nx\ngone\n"
    ok("rm", "g")
