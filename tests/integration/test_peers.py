"""Images from and for podman, buildah and skopeo: both ways, every form and packing."""
import json
import os
import shutil
import subprocess
import tempfile

import pytest
from test_image import Store, needs_root
from test_registry import needs_registry, registry  # noqa: F401

pytestmark = needs_root
BUSYBOX = "/bin/busybox"


@pytest.fixture
def store(tmp_path):
    if not os.path.exists(BUSYBOX):
        pytest.skip("busybox-static is not installed")
    s = Store(tmp_path / "data")
    s.env |= {"WARREN_RUN": str(tmp_path / "wrun"), "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "xdg")}
    return s


class Peer:
    """podman or buildah with a storage of its own, on plain directories."""

    def __init__(self, tmp_path, name):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
        self.run = tempfile.mkdtemp(prefix="w-")  # at most 50 letters
        self.base = [name, "--storage-driver", "vfs", "--root", f"{tmp_path}/{name}", "--runroot", self.run]

    def __call__(self, *args, **more):
        done = subprocess.run([*self.base, *args], capture_output=True, text=True, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def buildah(tmp_path):
    """buildah with the image localhost/made: busybox, a file with an owner, settings."""
    b = Peer(tmp_path, "buildah")
    (tmp_path / "file").write_text("made by buildah\n")
    c = b("from", "scratch").strip()
    b("copy", c, BUSYBOX, "/bin/busybox")
    b("copy", "--chown", "7:8", c, str(tmp_path / "file"), "/data/file")
    b("config", "--cmd", '["/bin/busybox", "cat", "/data/file"]', "--env", "A=b", "--label", "who=buildah", "--user", "7:8",
      "--stop-signal", "SIGUSR2", c)
    b("commit", "-q", c, "localhost/made:v1")
    yield b
    shutil.rmtree(b.run, ignore_errors=True)


def check(store, name):
    config = store.inspect(name)["Config"]
    assert "A=b" in config["Env"] and config["Labels"]["who"] == "buildah" and config["User"] == "7:8"
    assert store.ok("run", "--rm", name) == "made by buildah\n"
    assert store.ok("run", "--rm", name, "/bin/busybox", "stat", "-c", "%u:%g", "/data/file") == "7:8\n"


@pytest.mark.parametrize("form", ["oci-archive:{}/made.tar", "docker-archive:{}/made.tar:localhost/made:v1", "oci:{}/made:v1"])
def test_what_buildah_makes(store, tmp_path, buildah, form):
    buildah("push", "-q", "localhost/made:v1", form.format(tmp_path))
    path = form.split(":")[1].format(tmp_path)
    if form.startswith("oci:"):
        store.ok("image", "import", "-q", path, "localhost/made:v1")
    else:
        store.ok("load", "-q", "-i", path)
    check(store, "localhost/made:v1" if not form.startswith("oci-") else store.ok("images", "-q").strip())


@needs_registry
@pytest.mark.parametrize("packing, manifest", [("zstd", "oci"), ("zstd:chunked", "oci"), ("gzip", "oci"), ("gzip", "v2s2")])
def test_through_a_registry(store, tmp_path, buildah, registry, packing, manifest):
    if subprocess.run([*buildah.base, "push", "-q", "--tls-verify=false", "--format", manifest, "--compression-format", packing,
                       "localhost/made:v1", f"docker://{registry.host}/made:v1"], capture_output=True).returncode:
        # An older buildah packs by skopeo's means.
        subprocess.run([*buildah.base, "push", "-q", "--format", manifest, "localhost/made:v1", f"dir:{tmp_path}/dir"], check=True,
                       capture_output=True)
        if subprocess.run(["skopeo", "copy", "--dest-tls-verify=false", "--dest-compress-format", packing, "--format", manifest,
                           f"dir:{tmp_path}/dir", f"docker://{registry.host}/made:v1"], capture_output=True).returncode:
            pytest.skip(f"neither buildah nor skopeo here packs with {packing}")
    store.ok("pull", "-q", f"{registry.host}/made:v1")
    check(store, f"{registry.host}/made:v1")
    # And back: what we push, they read and check.
    store.ok("push", "-q", f"{registry.host}/made:v1", f"{registry.host}/again:v1")
    subprocess.run(["skopeo", "copy", "--src-tls-verify=false", f"docker://{registry.host}/again:v1", f"oci:{tmp_path}/out:x"],
                   check=True, capture_output=True)


def test_archives_both_ways_with_podman(store, tmp_path, buildah):
    buildah("push", "-q", "localhost/made:v1", f"docker-archive:{tmp_path}/made.tar:localhost/made:v1")
    store.ok("load", "-q", "-i", str(tmp_path / "made.tar"))
    store.ok("tag", "localhost/made:v1", "localhost/twin:v2")
    store.ok("save", "-o", str(tmp_path / "ours.tar"), "localhost/made:v1", "localhost/twin:v2")
    podman = Peer(tmp_path, "podman")
    assert "localhost/twin:v2" in podman("load", "-i", str(tmp_path / "ours.tar"))
    for form in ("docker-archive", "oci-archive"):
        podman("save", "-q", "--format", form, "-o", str(tmp_path / f"{form}.tar"), "localhost/twin:v2")
        store.ok("rmi", "-f", "localhost/made:v1", "localhost/twin:v2")
        assert "localhost/twin:v2" in store.ok("load", "-i", str(tmp_path / f"{form}.tar"))
        check(store, "localhost/twin:v2")
    podman("save", "-q", "-m", "-o", str(tmp_path / "both.tar"), "localhost/made:v1", "localhost/twin:v2")
    out = store.ok("load", "-i", str(tmp_path / "both.tar"))
    assert "localhost/made:v1" in out and "localhost/twin:v2" in out
    ids = {i["Id"] for i in json.loads(podman("images", "--format", "json"))}
    assert store.inspect("localhost/made:v1")["Id"].removeprefix("sha256:") in ids
    shutil.rmtree(podman.run, ignore_errors=True)
