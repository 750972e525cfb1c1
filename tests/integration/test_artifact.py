"""Artifacts: files in registries, as other tools see them, and from a registry that lies."""
import hashlib
import json
import os
import shutil
import subprocess

import pytest
from test_registry import Hostile, imported, needs_registry, registry, store  # noqa: F401


@needs_registry
def test_there_and_back(store, tmp_path, registry):
    files = {"disk.qcow2": os.urandom(300000), "vmlinux": b"kernel\n", "with space.img": b""}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    name = f"{registry.host}/vm/things:1"
    digest = store.ok("artifact", "push", "-q", "--type", "application/x-test", name, *[str(tmp_path / n) for n in files]).strip()
    out = tmp_path / "out"
    out.mkdir()
    assert store.ok("artifact", "pull", "-q", name, str(out)).splitlines() == list(files)
    assert {f.name: f.read_bytes() for f in out.iterdir()} == files
    store.ok("artifact", "pull", "-q", f"{registry.host}/vm/things@{digest}", str(out))
    if shutil.which("skopeo"):
        raw = subprocess.run(["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{name}"], check=True,
                             capture_output=True).stdout
        manifest = json.loads(raw)
        assert manifest["artifactType"] == "application/x-test" and "sha256:" + hashlib.sha256(raw).hexdigest() == digest
        assert manifest["layers"][0]["mediaType"] == "application/x-qcow2"
    store.refused("pull", name, says=["artifact", "application/x-test", "warren artifact pull"])
    imported(store, tmp_path)
    store.ok("push", "-q", "it", f"{registry.host}/image")
    store.refused("artifact", "pull", f"{registry.host}/image", str(out), says=["is an image"])
    store.refused("artifact", "push", name, str(tmp_path), says=["not a regular file"])
    store.refused("artifact", "pull", name, str(tmp_path / "none"), says=["none"])


@pytest.mark.parametrize("title, lie, says", [("../x", False, "no plain name"), (".hidden", False, "no plain name"),
                                              ("a/b", False, "no plain name"), ("\x1b[2Jx", False, "no plain name"), ("x", True, "digest is")])
def test_a_hostile_registry(store, tmp_path, title, lie, says):
    server = Hostile(tmp_path).build()
    data, empty = b"some file", b"{}"
    name = hashlib.sha256(data).hexdigest()
    server.blobs[name] = b"SOME FILE" if lie else data
    server.manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "application/x",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                   "digest": "sha256:" + hashlib.sha256(empty).hexdigest()},
        "layers": [{"mediaType": "application/octet-stream", "size": len(data), "digest": f"sha256:{name}",
                    "annotations": {"org.opencontainers.image.title": title}}]}).encode()
    out = tmp_path / "deep/out"
    out.mkdir(parents=True)
    store.refused("artifact", "pull", f"{server.host}/x", str(out), says=[says])
    assert list(out.iterdir()) == [] and not (tmp_path / "deep/x").exists()
