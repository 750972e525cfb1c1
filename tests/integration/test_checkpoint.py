"""Checkpoint and restore by criu, where it works with the host's kernel; a clear refusal where it does not."""
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from containers import need, wait_for
from test_cgroups import Runtime

need("busybox:busybox-static")

COUNT = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.05; done"


@pytest.fixture
def oci(tmp_path):
    one = Runtime(tmp_path)
    yield one
    one.clean()


def writable(config):
    config["root"]["readonly"] = False
    # Saving a network needs iptables too.
    config["linux"]["namespaces"] = [ns for ns in config["linux"]["namespaces"] if ns["type"] != "network"]


def test_without_criu_it_says_so_and_changes_nothing(oci):
    name = oci.start()
    base, verb = oci.base, ("checkpoint", "--image-path", str(oci.folder / "images"), name)
    done = subprocess.run([*base, "--criu", "/no/criu", *verb], capture_output=True, text=True, check=False)
    assert done.returncode == 125 and "'/no/criu' is not installed" in done.stderr, done.stderr
    assert oci.state(name)["status"] == "running"
    if shutil.which("criu") and subprocess.run(["criu", "check"], capture_output=True, check=False).returncode:
        done = oci(*verb, check=False)
        assert done.returncode == 125 and "criu cannot work on this kernel" in done.stderr, done.stderr
        assert oci.state(name)["status"] == "running"


def test_restore_without_images_leaves_nothing(oci):
    done = oci("restore", "--bundle", oci.bundle(["true"]), "--image-path", str(oci.folder / "none"), "gone", check=False)
    assert done.returncode and "none" in done.stderr
    assert oci("list", "-q").stdout == ""


@pytest.mark.parametrize("leave", [False, True], ids=["stop", "leave-running"])
def test_counting_goes_on(oci, leave):
    if not shutil.which("criu"):
        pytest.skip("criu is not installed")
    check = subprocess.run(["criu", "check"], capture_output=True, text=True, check=False)
    if check.returncode:
        pytest.skip(f"criu does not work with this kernel: {check.stderr.strip().splitlines()[-1]}")
    name = oci.start(["sh", "-c", COUNT], change=writable)
    count = oci.folder / "bundle/rootfs/tmp/count"
    wait_for(lambda: count.exists() and int(count.read_text() or 0) > 5)
    images = str(oci.folder / "images")
    oci("checkpoint", "--image-path", images, *(["--leave-running"] if leave else []), name)
    if leave:
        assert oci.state(name)["status"] == "running"
        return
    assert oci("state", name, check=False).returncode
    time.sleep(0.3)
    before = int(count.read_text())
    with open(oci.folder / "restored", "w") as out:
        subprocess.run([*oci.base, "restore", "--detach", "--bundle", str(Path(oci.folder / "bundle")), "--image-path",
                        images, name], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True)
    assert oci.state(name)["status"] == "running"
    wait_for(lambda: int(count.read_text() or 0) > before)
    assert oci("exec", name, "echo", "in").stdout == "in\n"
