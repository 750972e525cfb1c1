"""Guests for callers of the OCI runtime: chosen by the program's name, by an annotation, or by config.json's `vm` object,
and driven by podman and containerd."""
import json
import os
import shutil
import subprocess
import tarfile
import time

import pytest

from containers import BUILD, layer, need, oci_archive, run, wait_for
from instances import guest_kernels, kernels, walls  # noqa: F401

need()

IMAGE = "docker.io/library/warren-test:latest"


class Place:
    """A bundle, and the runtime under a name that chooses the wall; its data is the test's own."""

    def __init__(self, folder, wall, kernels):
        self.wall, self.folder, self.bundle = wall, folder, folder / "bundle"
        data = folder / "data"
        data.mkdir()
        (data / "kernels").symlink_to(kernels)
        self.env = {**os.environ, "WARREN_DATA": str(data)}
        # Engines do not pass our environment on.
        self.runtime = folder / f"warren-oci-{wall}"
        self.runtime.write_text(f"#!/bin/sh\nWARREN_DATA={data} exec {BUILD}/warren-oci-{wall} \"$@\"\n")
        self.runtime.chmod(0o755)
        (self.bundle / "rootfs").mkdir(parents=True)
        (folder / "layer.tar").write_bytes(layer())
        with tarfile.open(folder / "layer.tar") as tar:
            tar.extractall(self.bundle / "rootfs")

    def spec(self, *command, **more):
        spec = {"ociVersion": "1.3.0", "root": {"path": "rootfs"},
                "process": {"args": list(command), "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]},
                "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
                "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "uts", "ipc", "network")]}, **more}
        (self.bundle / "config.json").write_text(json.dumps(spec))

    def run(self, program):
        return run(BUILD / program, "--root", self.folder / "state", "run", "--bundle", self.bundle,
                   f"warren-caller-{os.getpid()}", check=False, env=self.env, timeout=120)


@pytest.fixture(scope="module", params=[w for w in walls() if w != "container"])
def place(request, tmp_path_factory):
    return Place(tmp_path_factory.mktemp("callers"), request.param, guest_kernels(request.param, request))


def own_kernel(text):
    return text.strip() and text.strip() != os.uname().release


@pytest.mark.parametrize("host", [False, True])
def test_the_hosts_network_is_warned_of(place, host):
    if place.wall != "pv":
        pytest.skip("a vm reaches out")
    spaces = [{"type": t} for t in ("pid", "mount", "uts", "ipc", "network")]
    place.spec("true", linux={"namespaces": spaces[:-1] if host else spaces})
    done = place.run("warren-oci-pv")
    assert done.returncode == 0 and ("only its loopback" in done.stderr) == host


def test_the_name_chooses(place):
    place.spec("sh", "-c", "uname -r; exit 7")
    done = place.run(f"warren-oci-{place.wall}")
    assert done.returncode == 7 and own_kernel(done.stdout), (done.stdout, done.stderr)


def test_an_annotation_chooses(place):
    place.spec("uname", "-r", annotations={"dev.warren.isolation": place.wall, "dev.warren.guest.append": "quiet"})
    done = place.run("warren-oci")
    assert done.returncode == 0 and own_kernel(done.stdout), (done.stdout, done.stderr)


def test_the_vm_object_tells_of_the_machine(place):
    """Kernel, parameters, processors and memory; the kernel by its path, that of a file."""
    kernel = place.folder / "data/kernels" / os.readlink(place.folder / "data/kernels/default") / "vmlinux"
    place.spec("sh", "-c", "nproc; cat /proc/cmdline; grep MemTotal /proc/meminfo",
               annotations={"dev.warren.isolation": place.wall},
               vm={"kernel": {"path": str(kernel), "parameters": ["warren.test=yes"]},
                   "hwConfig": {"vcpus": 2, "memory": 200 << 20}})
    done = place.run("warren-oci")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert lines[0] == "2" and "warren.test=yes" in lines[1]
    assert 140000 < int(lines[2].split()[1]) <= 200 << 10, lines[2]
    run(BUILD / "warren", "kernel", "rm", next(n for n in os.listdir(place.folder / "data/kernels") if n.startswith("file-")),
        env=place.env)


def test_the_vm_objects_image_is_a_disk(place):
    """Read-only, beside the container's root, which is root.path's."""
    (place.folder / "image").write_bytes(b"in the image".ljust(1 << 20, b"\0"))
    device = "/dev/xvdc" if place.wall == "pv" else "/dev/vdb"
    place.spec("sh", "-c", f"head -c 12 {device}; echo; echo x >{device}",
               annotations={"dev.warren.isolation": place.wall},
               vm={"image": {"path": str(place.folder / "image"), "format": "raw"}})
    done = place.run("warren-oci")
    assert done.stdout == "in the image\n" and done.returncode != 0, (done.stdout, done.stderr)
    assert (place.folder / "image").read_bytes().startswith(b"in the image")


def test_the_vm_objects_hypervisor_is_warren(place):
    place.spec("uname", "-r", vm={"hypervisor": {"path": "/usr/bin/warren", "parameters": [place.wall]}})
    done = place.run("warren-oci")
    assert done.returncode == 0 and own_kernel(done.stdout), (done.stdout, done.stderr)
    place.spec("uname", "-r", vm={"hypervisor": {"path": "/usr/bin/qemu-system-x86_64"}})
    done = place.run(f"warren-oci-{place.wall}")
    assert done.returncode == 125 and "vm.hypervisor.path: '/usr/bin/qemu-system-x86_64' is not used" in done.stderr


@pytest.mark.parametrize("vm,text", [
    ({"hwConfig": {"memory": 8 << 20}}, "memory: a guest needs at least 64 MB, not 8 MB"),
    ({"hwConfig": {"vcpus": 1000}}, "vcpus 1000: expected 1 to "),
    ({"kernel": {"path": "/no/such/kernel"}}, "/no/such/kernel"),
    ({"image": {"path": "/no/such/image", "format": "raw"}}, "vm.image"),
    ({"image": {"path": "/etc/passwd", "format": "vdi"}}, "vm.image: format 'vdi' is none of raw, qcow2"),
    ({"image": {"path": "/etc", "format": "raw"}}, "Is a directory"),
])
def test_bad_vm_objects_are_one_line(place, vm, text):
    place.spec("true", annotations={"dev.warren.isolation": place.wall}, vm=vm)
    done = place.run("warren-oci")
    assert done.returncode == 125 and text in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not os.listdir(place.folder / "state")


def test_every_verb(place):
    """As a shim calls them, one after the other."""
    def oci(*args, check=True, **more):
        return run(BUILD / f"warren-oci-{place.wall}", "--root", place.folder / "state", *args, check=check, env=place.env,
                   timeout=120, **more)

    name = f"warren-verbs-{os.getpid()}"
    place.spec("sleep", "1000", linux={"namespaces": [{"type": t} for t in ("pid", "mount", "uts", "ipc", "network")],
                                       "resources": {"memory": {"limit": 100 << 20}}})
    def quietly(*args):
        """What the guest keeps open is not a pipe of ours."""
        subprocess.run([BUILD / f"warren-oci-{place.wall}", "--root", place.folder / "state", *args], env=place.env, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)

    quietly("create", "--bundle", place.bundle, "--pid-file", place.folder / "pid", name)

    def state():
        return json.loads(oci("state", name).stdout)

    assert state()["status"] == "created" and state()["pid"] == int((place.folder / "pid").read_text())
    oci("start", name)
    assert state()["status"] == "running"
    done = oci("exec", "--user", "5:6", "--cwd", "/bin", "--env", "A=b", name, "sh", "-c", "id -u; id -g; pwd; echo $A; exit 3",
               check=False)
    assert (done.returncode, done.stdout) == (3, "5\n6\n/bin\nb\n"), done.stderr
    (place.folder / "process.json").write_text(json.dumps({"args": ["uname", "-r"], "cwd": "/", "env": ["PATH=/bin"],
                                                           "user": {"uid": 0, "gid": 0}}))
    quietly("exec", "--process", place.folder / "process.json", "--detach", "--pid-file", place.folder / "pid2", name)
    assert [c["id"] for c in json.loads(oci("list", "--format", "json").stdout)] == [name]
    assert json.loads(oci("ps", "--format", "json", name).stdout) == [state()["pid"]]
    event = json.loads(oci("events", "--stats", name).stdout)
    assert event["type"] == "stats" and event["data"]["pids"]["current"] >= 1
    assert event["data"]["memory"]["usage"]["limit"] <= 100 << 20
    oci("pause", name)
    assert state()["status"] == "paused"
    oci("resume", name)
    assert state()["status"] == "running"
    oci("update", "--resources", "-", name, input=json.dumps({"memory": {"limit": 80 << 20}, "pids": {"limit": 50}}))
    assert json.loads(oci("events", "--stats", name).stdout)["data"]["memory"]["usage"]["limit"] == 80 << 20
    oci("kill", name, "KILL")
    wait_for(lambda: state()["status"] == "stopped", 10)
    oci("kill", "--all", name, "9", check=False)
    oci("delete", name)
    oci("delete", "--force", name)
    assert oci("state", name, check=False).returncode == 1 or "does not exist" in oci("state", name, check=False).stderr
    assert not os.listdir(place.folder / "state")


def test_the_vm_object_chooses_alone(place):
    if place.wall != "vm":
        pytest.skip("it means the vm wall")
    place.spec("uname", "-r", vm={"kernel": {"path": "/" + os.readlink(place.folder / "data/kernels/default")}})
    done = place.run("warren-oci")
    assert done.returncode == 0 and own_kernel(done.stdout), (done.stdout, done.stderr)


def test_an_initrd_of_the_users(place):
    """What it has lies in the guest's initramfs; the agent goes before a /init that it may have."""
    (place.folder / "init").write_text("not a program\n")
    archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input="init\n", text=True, cwd=place.folder,
                             capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("cpio is not installed")
    (place.folder / "initrd").write_text(archive.stdout)
    place.spec("echo", "went well", annotations={"dev.warren.isolation": place.wall,
                                                 "dev.warren.guest.initrd": str(place.folder / "initrd")})
    done = place.run("warren-oci")
    assert (done.returncode, done.stdout) == (0, "went well\n"), done.stderr
    (place.folder / "initrd").write_text("")
    done = place.run("warren-oci")
    assert done.returncode == 125 or done.returncode == 1
    assert "initramfs" in done.stderr and "neither a cpio archive" in done.stderr, done.stderr


@pytest.fixture(scope="module")
def podman(place, tmp_path_factory):
    need("podman", "conmon")
    folder = tmp_path_factory.mktemp("podman")
    (folder / "containers.conf").write_text(
        '[containers]\nnetns = "none"\nlog_driver = "k8s-file"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
    (folder / "image.tar").write_bytes(layer())

    def podman(*args, check=True, **more):
        return run("podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp",
                   "--storage-driver", "vfs", "--runtime", str(place.runtime), *args, check=check, timeout=180,
                   env={**os.environ, "CONTAINERS_CONF": f"{folder}/containers.conf"}, **more)

    podman("import", str(folder / "image.tar"), "warren-test")
    yield podman
    podman("rm", "-fa", "-t", "0", check=False)
    podman("system", "reset", "-f", check=False)


def test_podman_runs_an_image(podman):
    done = podman("run", "--rm", "-i", "warren-test", "sh", "-c", "uname -r; cat; exit 42", check=False, input="went in\n")
    first, _, rest = done.stdout.partition("\n")
    assert done.returncode == 42 and rest == "went in\n" and own_kernel(first), (done.stdout, done.stderr)


def test_podman_execs_and_stops(podman):
    name = podman("run", "-d", "warren-test", "sleep", "1000").stdout.strip()
    assert own_kernel(podman("exec", name, "uname", "-r").stdout)
    assert podman("exec", name, "sh", "-c", "exit 6", check=False).returncode == 6
    podman("pause", name)
    assert podman("inspect", "-f", "{{.State.Status}}", name).stdout == "paused\n"
    podman("unpause", name)
    podman("stop", "-t", "1", name)
    assert podman("inspect", "-f", "{{.State.Status}}", name).stdout == "exited\n"
    podman("rm", name)


CONTAINERD = """version = 2
root = "{top}/root"
state = "{top}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{top}/containerd.sock"
[ttrpc]
  address = "{top}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{top}/opt"
"""


@pytest.fixture(scope="module")
def ctr(place, tmp_path_factory):
    need("containerd", "ctr:containerd")
    folder = tmp_path_factory.mktemp("cd")
    (folder / "config.toml").write_text(CONTAINERD.format(top=folder))
    log = open(folder / "log", "w")
    daemon = subprocess.Popen(["containerd", "--config", str(folder / "config.toml")], stdout=log, stderr=log,
                              start_new_session=True)

    def ctr(*args, check=True, **more):
        return run("ctr", "-a", f"{folder}/containerd.sock", *args, check=check, timeout=180, **more)

    try:
        wait_for(lambda: ctr("version", check=False).returncode == 0, 60)
        oci_archive(folder / "image.tar", IMAGE, ["sleep", "100000"])
        ctr("images", "import", "--snapshotter", "native", str(folder / "image.tar"))
        yield ctr
    finally:
        daemon.terminate()
        daemon.wait(30)
        log.close()
        for line in reversed(open("/proc/self/mountinfo").read().splitlines()):
            if line.split()[4].startswith(str(folder)):
                subprocess.run(["umount", "-l", line.split()[4]], check=False)
        subprocess.run("rmdir /sys/fs/cgroup/*/default /sys/fs/cgroup/default 2>/dev/null", shell=True, check=False)


def test_containerd_runs_an_image(ctr, place):
    done = ctr("run", "--rm", "--snapshotter", "native", "--runc-binary", str(place.runtime), IMAGE, "warren-cd-guest", "sh",
               "-c", "uname -r; exit 4", check=False)
    assert done.returncode == 4 and own_kernel(done.stdout), (done.stdout, done.stderr)


def test_containerd_execs(ctr, place):
    ctr("run", "-d", "--snapshotter", "native", "--runc-binary", str(place.runtime), IMAGE, "warren-cd-exec", "sleep", "1000")
    try:
        done = ctr("task", "exec", "--exec-id", "e1", "warren-cd-exec", "sh", "-c", "uname -r; exit 5", check=False)
        assert done.returncode == 5 and own_kernel(done.stdout), (done.stdout, done.stderr)
    finally:
        ctr("task", "kill", "-s", "9", "warren-cd-exec", check=False)
        end = time.monotonic() + 30
        while ctr("task", "rm", "-f", "warren-cd-exec", check=False).returncode and time.monotonic() < end:
            time.sleep(0.1)
        ctr("container", "rm", "warren-cd-exec")
