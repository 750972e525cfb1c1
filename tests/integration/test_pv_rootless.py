"""Guests of an ordinary user: the host's /dev/kvm may be root's, so each test sees one of its own that is open to all."""
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from instances import ROOT, Warren, guest_kernels, kernels, plain_user  # noqa: F401

OPEN_KVM = ("mount -t tmpfs none /mnt && mknod -m 666 /mnt/kvm c 10 232 && mount --bind /mnt/kvm /dev/kvm && "
            'exec "$@"')


class Guests(Warren):
    def argv(self, *args):
        return ["unshare", "-m", "sh", "-c", OPEN_KVM, "sh", *super().argv(*args)]


@pytest.fixture
def warren(request, plain_user):
    if not ROOT or not plain_user:
        pytest.skip("needs root, and an ordinary user with subordinate ids")
    found = guest_kernels("pv", request)
    path = Path(tempfile.mkdtemp(prefix="warren-"))
    path.chmod(0o755)
    w = Guests(path, "pv", plain_user)
    shutil.copytree(found, w.data / "kernels", symlinks=True)
    subprocess.run(["chown", "-R", f"{plain_user.pw_uid}:{plain_user.pw_gid}", w.data], check=True)
    # As an ordinary user's: without the directories of the administrator's programs.
    w.env["PATH"] = "/usr/local/bin:/usr/bin:/bin"
    yield w
    left = w.clear()
    shutil.rmtree(path, ignore_errors=True)
    assert not left, left


def import_image(warren, name="owned"):
    """The small root with a file that only somebody else may read."""
    secret = warren.rootfs / "etc/secret"
    secret.mkdir(mode=0o700)
    (secret / "word").write_text("hidden\n")
    archive = warren.path / "root.tar"

    def owner(entry):
        entry.uid = entry.gid = 42 if "secret" in entry.name else 0
        return entry

    with tarfile.open(archive, "w") as tar:
        tar.add(warren.rootfs, arcname=".", filter=owner)
    archive.chmod(0o644)
    warren.ok("image", "import", archive, name)
    return name


def test_owners_and_closed_directories_are_the_images(warren):
    image = import_image(warren)
    told = warren.ok("run", "--rm", "--pv", image, "sh", "-c", "stat -c %u:%g /bin /etc/secret; cat /etc/secret/word")
    assert told == "0:0\n42:42\nhidden\n"


def test_several_layers(warren):
    image = import_image(warren)
    warren.ok("run", "--name", "first", image, "sh", "-c", "rm /etc/group; echo new >/etc/new; chown 7 /etc/new")
    warren.ok("commit", "first", "second")
    warren.ok("rm", "first")
    told = warren.ok("run", "--rm", "--pv", "second", "sh", "-c", "stat -c %u /etc/new; ls /etc/group 2>&1 || cat /etc/new")
    assert told.splitlines()[0] == "7" and "No such file" in told and told.endswith("new\n")


def test_a_guest_that_keeps_its_changes(warren):
    warren.ok("run", "-d", "--pv", "--name", "kept", import_image(warren), "sleep", "100")
    assert warren.ok("exec", "kept", "id", "-u") == "0\n"
    warren.ok("rm", "-f", "kept")
