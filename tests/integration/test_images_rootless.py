"""Images of an ordinary user: build with stages and owners, volumes, health checks, ADD."""
import subprocess
import tarfile
from pathlib import Path

import pytest
from instances import Warren, plain_user  # noqa: F401
from test_image import needs_root

pytestmark = needs_root

FILE = """FROM busybox AS one
RUN mkdir -p /out && echo deep > /out/f && chown 12:34 /out/f && chmod 600 /out/f
FROM busybox
COPY --from=one /out /o
COPY --chown=5:6 file /mine
ADD a.tar /u
RUN mkdir /data && echo v > /data/x && chown 7:8 /data/x && chmod 700 /data && chown 7:8 /data
VOLUME /data
"""


@pytest.fixture
def ann(tmp_path, plain_user):
    if not plain_user or not Path("/bin/busybox").exists():
        pytest.skip("needs an ordinary user with subordinate ids, and busybox-static")
    w = Warren(tmp_path, "container", plain_user)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/file").write_text("file\n")
    with tarfile.open(tmp_path / "context/a.tar", "w") as t:
        t.add(tmp_path / "context/file", "in/tar")
    (tmp_path / "context/Containerfile").write_text(FILE)
    subprocess.run(["chown", "-R", plain_user.pw_name, str(tmp_path)], check=True)
    for up in tmp_path.parents[:3]:
        up.chmod(up.stat().st_mode | 0o111)
    yield w
    w("rm", "-fv", *w("ps", "-aq").stdout.split())


def test_build_and_volumes(ann, tmp_path):
    def ok(*args):
        done = ann(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout
    ok("image", "build-rootfs", "-q", "busybox")
    ok("build", "-q", "-t", "it", str(tmp_path / "context"))
    out = ok("run", "--rm", "it", "sh", "-c", "stat -c '%u:%g %a' /o/f /mine /data /data/x; cat /o/f /mine /u/in/tar /data/x")
    assert out == "12:34 600\n5:6 644\n7:8 700\n7:8 644\ndeep\nfile\nfile\nv\n"
    assert ok("volume", "ls", "-q") == ""
    ok("run", "--rm", "-v", "mine:/data", "it", "sh", "-c", "echo more > /data/y")
    assert ok("run", "--rm", "-v", "mine:/data", "it", "ls", "/data") == "x\ny\n"
    assert ok("volume", "rm", "mine") == "mine\n"
    ok("build", "-q", str(tmp_path / "context"))
    assert not list(Path("/tmp").glob("warren-build-*"))


def test_registries_conf_that_may_not_be_read(ann, tmp_path):
    """What it blocks must not be pulled because nobody could look."""
    conf = tmp_path / "home/.config/containers/registries.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text('[[registry]]\nprefix = "example.org"\nblocked = true\n')
    conf.chmod(0)
    ann.env["HOME"] = str(tmp_path / "home")
    done = ann("pull", "example.org/team/thing")
    assert done.returncode == 125 and f"'{conf}': Permission denied" in done.stderr, done.stderr
