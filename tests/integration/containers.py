"""What the tests with other people's engines share: the runtime's path, a small image, waiting, and the record of
what a test may not leave behind."""
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
APPLETS = "sh ls cat echo sleep id uname ps true false env mkdir touch grep stty tty kill dd head nproc".split()


def runtime():
    """The runtime under test; WARREN_TEST_RUNTIME=runc tells a wrong test from a wrong runtime."""
    return os.environ.get("WARREN_TEST_RUNTIME") or str(BUILD / "warren-oci")


def need(*programs):
    """Skips when a program is not there; `name:package` names the package to install."""
    if os.geteuid():
        pytest.skip("needs root", allow_module_level=True)
    for program in programs:
        name, _, package = program.partition(":")
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed (Debian package {package or name})", allow_module_level=True)


def run(*command, check=True, timeout=60, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **more)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_for(what, seconds=20):
    """Calls `what` until it gives something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found or time.monotonic() > end:
            assert found, f"not within {seconds} s"
            return found
        time.sleep(0.05)


def layer():
    """A root file system of one static busybox, as a tar."""
    busybox = shutil.which("busybox")
    if not busybox or "statically" not in run("file", "-L", busybox, check=False).stdout + "statically":
        pytest.skip("busybox is not installed (Debian package busybox-static)")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        users = b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(users)
        tar.addfile(entry, io.BytesIO(users))
    return out.getvalue()


def oci_archive(path, name, command):
    """An OCI image archive with `layer` and a default command."""
    blobs = {}

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    content = layer()
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": command, "Env": ["PATH=/bin"]},
              "rootfs": {"type": "layers", "diff_ids": [blob(content)["digest"]]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                           **blob(json.dumps(config).encode())},
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob(content)}]}
    index = {"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", **blob(json.dumps(manifest).encode()),
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}}]}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(),
             **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()}}
    with tarfile.open(path, "w") as tar:
        for file, data in files.items():
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def cgroups_with(text):
    """Cgroup directories of the host whose name has `text` in it."""
    found = []
    for top, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(top, name) for name in folders if text in name]
    return found


def cgroup_value(pid, controller, v1_file, v2_file):
    """The content of a limit of the process's cgroup, wherever the host has the controller."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path(f"/sys/fs/cgroup/{names}{path}/{v1_file}").read_text().strip()
        if number == "0":
            for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
                file = Path(f"{top}{path}/{v2_file}")
                if file.exists():
                    return file.read_text().strip()
    raise AssertionError(f"process {pid} is in no cgroup with {controller}")
