"""Images: import of every form that other tools make, what layers become on disk, and hostile archives, layouts
and documents. Each refusal is one line that names the file and the part, exit 125, and leaves nothing behind."""
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time
import threading
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
WARREN = str(BUILD / "warren")
ROOT = os.geteuid() == 0

needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


def tool(name):
    return pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed")


class Store:
    def __init__(self, path):
        self.path = Path(path)
        self.env = {**os.environ, "WARREN_DATA": str(path)}

    def run(self, *args, **more):
        env = {**self.env, **more.pop("env", {})}
        return subprocess.run([WARREN, *args], capture_output=True, text=True, timeout=120, env=env, **more)

    def ok(self, *args, **more):
        done = self.run(*args, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *args, says=(), **more):
        """One error line with all the words in `says`; nothing of it stays in the store."""
        done = self.run(*args, **more)
        assert done.returncode == 125, (done.returncode, done.stdout, done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, done.stderr
        for word in says:
            assert word in errors[0], errors[0]
        self.is_clean()
        return errors[0]

    def is_clean(self):
        assert os.listdir(self.path / "tmp") == []
        for name in ("layers", "blobs/sha256"):
            assert len(os.listdir(self.path / name)) <= self.known(name), name

    def known(self, name):
        usage = subprocess.run([str(BUILD / "libexec/warren/warren-store"), str(self.path), "root", "usage"],
                               capture_output=True, text=True, check=True)
        usage = json.loads(usage.stdout)
        return usage["layers"] if name == "layers" else usage["blobs"] + 2 * usage["images"]

    def images(self):
        return [json.loads(line) for line in self.ok("images", "--format", "json").splitlines()]

    def inspect(self, name):
        return json.loads(self.ok("image", "inspect", name))[0]

    def layer(self, name, index=-1):
        return Path(self.inspect(name)["LayerDirs"][index])


@pytest.fixture
def store(tmp_path):
    s = Store(tmp_path / "data")
    s.ok("images")
    return s


def entry(name, data=b"", **more):
    t = tarfile.TarInfo(name)
    t.size = len(data)
    for key, value in more.items():
        setattr(t, key, value)
    return t, data


def directory(name, **more):
    return entry(name, type=tarfile.DIRTYPE, mode=more.pop("mode", 0o755), **more)


def link(name, target, kind=tarfile.SYMTYPE):
    return entry(name, type=kind, linkname=target)


def tar_bytes(*entries, fmt=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """An image layout whose every part can be broken."""

    def __init__(self, path, *layers, packed=True):
        self.path = Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True)
        self.layers = layers
        self.blobs = [gzip.compress(x, mtime=0) if packed else x for x in layers]
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if packed else "")
        self.config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
                       "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}}
        self.manifest = {"schemaVersion": 2, "layers": [
            {"mediaType": kind, "digest": digest(b), "size": len(b)} for b in self.blobs]}
        self.index = {"schemaVersion": 2}
        self.mark = {"imageLayoutVersion": "1.0.0"}

    def put(self, data):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        (self.path / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        return {"digest": digest(data), "size": len(data)}

    def write(self):
        for blob in self.blobs:
            self.put(blob)
        if "config" not in self.manifest:
            self.manifest["config"] = {"mediaType": "application/vnd.oci.image.config.v1+json",
                                       **self.put(self.config)}
        if "manifests" not in self.index:
            self.index["manifests"] = [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
                                        **self.put(self.manifest)}]
        (self.path / "index.json").write_text(json.dumps(self.index))
        (self.path / "oci-layout").write_text(json.dumps(self.mark))
        return str(self.path)


# --- what other tools make ---

@pytest.fixture(scope="module")
def umoci_layout(tmp_path_factory):
    for name in ("umoci", "skopeo"):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
    top = tmp_path_factory.mktemp("umoci")
    first, second = top / "first", top / "second"
    (first / "etc/sub").mkdir(parents=True)
    (first / "etc/one").write_text("one")
    (first / "etc/sub/deep").write_text("deep")
    second.mkdir()
    (second / "two").write_text("two")
    run = lambda *a: subprocess.run(a, check=True, capture_output=True, cwd=top)
    run("umoci", "init", "--layout", "layout")
    run("umoci", "new", "--image", "layout:v1")
    run("umoci", "insert", "--image", "layout:v1", "first/etc", "/etc")
    run("umoci", "insert", "--image", "layout:v1", "--opaque", "second", "/etc/sub")
    run("umoci", "insert", "--image", "layout:v1", "--whiteout", "/etc/one")
    run("umoci", "config", "--image", "layout:v1", "--config.cmd", "/bin/x", "--config.user", "7:8",
        "--config.env", "A=b", "--config.workingdir", "/w")
    run("skopeo", "copy", "oci:layout:v1", "oci-archive:oci.tar:some/name:v1")
    run("skopeo", "copy", "oci:layout:v1", "docker-archive:docker.tar:some/docker:v2")
    return top


@pytest.mark.parametrize("source, name", [
    ("oci:{}/layout:v1", "mine:latest"), ("{}/layout:v1", "mine:latest"), ("{}/layout", "mine:latest"),
    ("{}/oci.tar", "some/name:v1"), ("oci-archive:{}/oci.tar", "some/name:v1"),
    ("{}/docker.tar", "some/docker:v2"), ("docker-archive:{}/docker.tar:some/docker:v2", "some/docker:v2"),
])
def test_import_of_what_umoci_and_skopeo_make(store, umoci_layout, source, name):
    args = ["image", "import", source.format(umoci_layout)]
    store.ok(*args, *(["mine"] if name.startswith("mine") else []))
    image = store.inspect(name)
    assert image["RepoTags"] == [name]
    assert image["Config"]["Cmd"] == ["/bin/x"] and image["Config"]["User"] == "7:8"
    assert len(image["LayerDirs"]) == 3
    first, opaque, white = map(Path, image["LayerDirs"])
    assert (first / "etc/one").read_text() == "one"
    if ROOT:
        assert os.getxattr(opaque / "etc/sub", "trusted.overlay.opaque") == b"y"
        st = os.lstat(white / "etc/one")
        assert stat.S_ISCHR(st.st_mode) and st.st_rdev == 0
    store.is_clean()


@needs_root
def test_layers_stack_as_the_kernel_sees_them(store, umoci_layout, tmp_path):
    store.ok("image", "import", f"{umoci_layout}/layout", "x")
    dirs = store.inspect("x")["LayerDirs"]
    merged = tmp_path / "merged"
    merged.mkdir()
    lower = ":".join(reversed(dirs))
    script = f"mount -t overlay overlay -o lowerdir={lower} {merged} && find {merged} -type f -printf '%P\\n' | sort"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["etc/sub/two"]


@tool("skopeo")
def test_other_tools_verify_the_blobs_that_are_kept(store, umoci_layout):
    store.ok("image", "import", f"{umoci_layout}/layout", "x")
    image = store.inspect("x")
    blobs = store.path / "blobs/sha256"
    for file in blobs.iterdir():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name
    manifest = json.loads((blobs / image["Digest"][7:]).read_text())
    assert all((blobs / x["digest"][7:]).stat().st_size == x["size"] for x in manifest["layers"])


# --- tarballs of a root file system ---

@pytest.mark.parametrize("packer", [None, "gzip", "xz", "zstd", "bzip2"])
def test_rootfs_tarball(store, tmp_path, packer):
    plain = tmp_path / "Base-12.5.tar"
    plain.write_bytes(tar_bytes(directory("./"), directory("./bin"), entry("./bin/sh", b"#!", mode=0o4755),
                                link("./sh", "bin/sh"), link("./hard", "./bin/sh", tarfile.LNKTYPE)))
    file = plain
    if packer:
        if not shutil.which(packer):
            pytest.skip(f"{packer} is not installed")
        file = tmp_path / "Base-12.5.tar.packed"
        file.write_bytes(subprocess.run([packer, "-c", plain], check=True, capture_output=True).stdout)
    store.ok("image", "import", str(file))
    top = store.layer("base-12.5")
    assert stat.S_IMODE(os.stat(top / "bin/sh").st_mode) == 0o4755
    assert os.readlink(top / "sh") == "bin/sh"
    assert os.stat(top / "hard").st_ino == os.stat(top / "bin/sh").st_ino
    assert store.inspect("base-12.5")["RootFS"]["Layers"] == [digest(plain.read_bytes())]


def test_metadata_survives(store, tmp_path):
    long = "d" * 100 + "/" + "e" * 200
    data = tar_bytes(
        directory("dir", mode=0o1777, mtime=1000), entry("dir/file", b"x", mtime=2000.5),
        entry("dir/ünïcode", b"u"), directory("d" * 100), entry(long, b"long"),
        entry("attr", b"a", pax_headers={"SCHILY.xattr.user.x": "1", "SCHILY.xattr.trusted.overlay.opaque": "y",
                                         "SCHILY.xattr.user.overlay.opaque": "y"}),
        entry("owned", b"o", uid=12, gid=34), entry("fifo", type=tarfile.FIFOTYPE))
    (tmp_path / "r.tar").write_bytes(data)
    store.ok("image", "import", str(tmp_path / "r.tar"))
    top = store.layer("r")
    assert stat.S_IMODE(os.stat(top / "dir").st_mode) == 0o1777
    assert os.stat(top / "dir").st_mtime == 1000 and os.stat(top / "dir/file").st_mtime == 2000.5
    assert (top / "dir/ünïcode").read_text() == "u" and (top / long).read_text() == "long"
    names = os.listxattr(top / "attr")
    assert "user.x" in names and "user.overlay.opaque" not in names and "trusted.overlay.opaque" not in names
    assert stat.S_ISFIFO(os.stat(top / "fifo").st_mode)
    if ROOT:
        assert (os.stat(top / "owned").st_uid, os.stat(top / "owned").st_gid) == (12, 34)


def test_sparse_file_stays_sparse(store, tmp_path):
    big = tmp_path / "big"
    with open(big, "wb") as f:
        f.write(b"head")
        f.seek(64 << 20)
        f.write(b"tail")
    for form in ("gnu", "posix"):
        file = tmp_path / f"sparse-{form}.tar"
        subprocess.run(["tar", "-C", tmp_path, "--sparse", f"--format={form}", "-cf", file, "big"], check=True)
        store.ok("image", "import", str(file))
        out = store.layer(f"sparse-{form}") / "big"
        assert out.stat().st_size == (64 << 20) + 4 and out.stat().st_blocks < 1000
        assert out.read_bytes()[:4] == b"head" and out.read_bytes()[-4:] == b"tail"


def test_devices_are_left_out_and_said(store, tmp_path):
    (tmp_path / "r.tar").write_bytes(tar_bytes(
        entry("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        entry("dev/sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0),
        entry("fake-whiteout", type=tarfile.CHRTYPE, devmajor=0, devminor=0), entry("x", b"")))
    done = store.run("image", "import", str(tmp_path / "r.tar"))
    assert done.returncode == 0 and "3 device nodes left out" in done.stderr
    assert sorted(p.name for p in store.layer("r").rglob("*")) == ["dev", "x"]


# --- names that try to leave ---

@pytest.mark.parametrize("entries, inside", [
    ([entry("/etc/passwd", b"in")], "etc/passwd"),
    ([entry("//etc//./passwd", b"in")], "etc/passwd"),
    ([entry("a/../etc/passwd", b"in")], "etc/passwd"),
    ([link("way", "/"), entry("way/etc/passwd", b"in")], "etc/passwd"),
    ([link("way", "../../../../../.."), entry("way/etc/passwd", b"in")], "etc/passwd"),
    ([link("a", "/outside"), entry("outside/x", b""), entry("a/etc/passwd", b"in")], "outside/etc/passwd"),
    ([link("etc", "/tmp"), directory("etc"), entry("etc/passwd", b"in")], "etc/passwd"),
    ([link("etc/passwd", "/etc/passwd"), entry("etc/passwd", b"in")], "etc/passwd"),
    ([directory("etc/passwd/x"), entry("etc/passwd", b"in")], "etc/passwd"),
    ([entry("etc/passwd", b"old"), entry("etc/passwd", b"in")], "etc/passwd"),
])
def test_a_layer_stays_inside(store, tmp_path, entries, inside):
    before = Path("/etc/passwd").read_bytes()
    (tmp_path / "r.tar").write_bytes(tar_bytes(*entries))
    store.ok("image", "import", str(tmp_path / "r.tar"))
    assert (store.layer("r") / inside).read_bytes() == b"in"
    assert Path("/etc/passwd").read_bytes() == before


@pytest.mark.parametrize("entries, says", [
    ([entry("../x", b"")], ["entry '../x'", "'..'"]),
    ([entry("a/../../x", b"")], ["a/../../x", "leads out"]),
    ([link("h", "/etc/passwd", tarfile.LNKTYPE)], ["entry 'h'", "/etc/passwd", "not in this archive"]),
    ([link("h", "../../etc/passwd", tarfile.LNKTYPE)], ["entry 'h'", "link target", "leads out"]),
    ([link("w", "/"), link("h", "w/../etc/passwd", tarfile.LNKTYPE)], ["entry 'h'", "not in this archive"]),
    ([directory("d"), link("h", "d", tarfile.LNKTYPE)], ["entry 'h'", "no file"]),
    ([entry(".wh.x", b""), link("h", "x", tarfile.LNKTYPE)], ["entry 'h'", "no file"]),
    ([entry("f", b""), entry("f/x", b"")], ["entry 'f/x'", "Not a directory"]),
    ([link("l", "nowhere"), entry("l/x", b"")], ["entry 'l/x'"]),
    ([link("a", "b"), link("b", "a"), entry("a/x", b"")], ["entry 'a/x'", "symbolic links"]),
    ([entry(".", b"x")], ["root directory"]),
    ([entry("d/.wh..", b"")], ["entry 'd/.wh..'", "whiteout"]),
    ([entry("d/.wh.", b"")], ["entry 'd/.wh.'", "whiteout"]),
    ([entry("x" * 300, b"")], ["longer than 255"]),
    ([entry("/".join(["d" * 200] * 30), b"")], ["longer than 4095"]),
    ([entry("o", b"", uid=-5)], ["entry 'o'", "owner"]),
    ([entry("o", b"", pax_headers={"uid": "99999999999"})], ["entry 'o'", "owner"]),
])
def test_hostile_entries_are_refused(store, tmp_path, entries, says):
    (tmp_path / "bad.tar").write_bytes(tar_bytes(*entries))
    store.refused("image", "import", str(tmp_path / "bad.tar"), says=["bad.tar", *says])


def test_deep_tree_is_made_and_removed(store, tmp_path):
    deep = "/".join(["d"] * 1500)
    (tmp_path / "r.tar").write_bytes(tar_bytes(directory(deep), link("way", deep), entry(f"way/{deep}/x", b"")))
    store.ok("image", "import", str(tmp_path / "r.tar"))
    store.ok("rmi", "r")
    assert os.listdir(store.path / "layers") == []


def test_truncated_at_any_place(store, tmp_path):
    whole = tar_bytes(entry("a", os.urandom(3000)), entry("b", b"x" * 700), link("c", "a"))
    packed = gzip.compress(whole)
    for data in (whole, packed):
        step = max(1, len(data) // 25)
        content = len(whole.rstrip(b"\0"))
        end = -(-content // 512) * 512 + 1024 if data is whole else len(data)
        for n in range(1, end, step):
            (tmp_path / "cut.tar").write_bytes(data[:n])
            done = store.run("image", "import", str(tmp_path / "cut.tar"))
            assert done.returncode == 125 and "cut.tar" in done.stderr, (n, done.stderr)
    store.is_clean()


@pytest.mark.parametrize("data, says", [
    (b"", ["empty"]), (b"x", []), (b"not a tar at all " * 100, []), (b"\x1f\x8b" + b"\0" * 100, []),
    (b"\x28\xb5\x2f\xfd" + b"\xff" * 100, []), (b"\xfd7zXZ\0" + b"\xff" * 100, []), (b"\0" * 4096, []),
    (gzip.compress(gzip.compress(tar_bytes(entry("a", b"")))), ["more than once"]),
])
def test_what_is_no_archive(store, tmp_path, data, says):
    (tmp_path / "junk.tar").write_bytes(data)
    store.refused("image", "import", str(tmp_path / "junk.tar"), says=["junk.tar", *says])


def test_bombs(store, tmp_path):
    zeros = tmp_path / "zeros.tar.gz"
    # A small one with a lowered ceiling, and one by its declared size alone.
    (tmp_path / "m.tar").write_bytes(tar_bytes(entry("z", b"\0" * (8 << 20))))
    subprocess.run(["gzip", "-k", tmp_path / "m.tar"], check=True)
    store.refused("image", "import", str(tmp_path / "m.tar.gz"), says=["m.tar.gz", "more than"],
                  env={"WARREN_UNPACK_MAX": "4m"})
    sparse = tmp_path / "sparse.tar"
    subprocess.run(["truncate", "-s", "4T", tmp_path / "huge"], check=True)
    subprocess.run(["tar", "-C", tmp_path, "--sparse", "-cf", sparse, "huge"], check=True)
    store.refused("image", "import", str(sparse), says=["sparse.tar", "entry 'huge'", "size"])


# --- layouts and documents ---

GOOD = tar_bytes(directory("bin"), entry("bin/sh", b"#!"))


def layout_of(tmp_path, change=None, **more):
    layout = Layout(tmp_path / "layout", GOOD, **more)
    if change:
        change(layout)
    return layout


def test_a_whole_layout_is_taken(store, tmp_path):
    store.ok("image", "import", layout_of(tmp_path).write(), "good")
    assert store.images()[0]["Repository"] == "good"


def put(path, value):
    def change(layout):
        at = layout.__dict__
        *way, last = path
        for step in way:
            at = at[step]
        at[last] = value
    return change


BROKEN = [
    (put(["mark", "imageLayoutVersion"], "7"), ["oci-layout", "imageLayoutVersion"]),
    (put(["index", "manifests"], []), ["index.json", "no image"]),
    (put(["index", "manifests"], 5), ["index.json", "manifests", "list"]),
    (put(["index", "manifests"], [{"digest": "sha256:00", "size": 1, "mediaType": "m"}]),
     ["index.json", "manifests[0].digest", "not a sha256 digest"]),
    (put(["index", "manifests"], [{"digest": "sha256:../../../etc/passwd", "size": 1, "mediaType": "m"}]),
     ["manifests[0].digest"]),
    (put(["index", "manifests"], [{"digest": digest(b"none"), "size": 1, "mediaType": "m"}]), ["No such file"]),
    (put(["index", "manifests"], [{"digest": digest(b"none"), "size": -1, "mediaType": "m"}]),
     ["manifests[0].size"]),
    (put(["index", "manifests"], [{"digest": digest(b"none"), "size": 1 << 40, "mediaType": "m"}]), ["at most"]),
    (put(["index", "schemaVersion"], 1), ["index.json", "schemaVersion"]),
    (put(["manifest", "layers", 0, "digest"], "sha512:" + "0" * 128), ["layers[0].digest"]),
    (put(["manifest", "layers", 0, "size"], 7), ["size is", "manifest says 7"]),
    (put(["manifest", "layers", 0, "size"], "7"), ["layers[0].size"]),
    (put(["manifest", "layers", 0, "mediaType"], "text/plain"), ["layers[0].mediaType", "text/plain"]),
    (put(["manifest", "layers", 0, "mediaType"], None), ["layers[0].mediaType"]),
    (put(["manifest", "layers"], {}), ["layers", "list"]),
    (put(["manifest", "manifests"], []), ["both an index"]),
    (put(["config", "rootfs"], {}), ["rootfs.type"]),
    (put(["config", "rootfs", "type"], "disk"), ["rootfs.type"]),
    (put(["config", "rootfs", "diff_ids"], []), ["rootfs.diff_ids", "0 entries for 1 layers"]),
    (put(["config", "rootfs", "diff_ids", 0], "sha256:xyz"), ["rootfs.diff_ids[0]", "not a sha256 digest"]),
    (put(["config", "rootfs", "diff_ids", 0], digest(b"other")), ["unpacked digest is", "diff_ids"]),
    (put(["config", "config", "Env"], ["=x"]), ["config.Env[0]"]),
    (put(["config", "config", "Env"], "A=b"), ["config.Env", "list"]),
    (put(["config", "config", "Cmd"], ["a\0b"]), ["config.Cmd[0]", "NUL"]),
    (put(["config", "config", "Labels"], {"a": 1}), ["config.Labels.a", "string"]),
    (put(["config", "history"], [5]), ["history[0]"]),
    (put(["config", "os"], "windows"), ["windows"]),
]


@pytest.mark.parametrize("change, says", BROKEN, ids=[" ".join(s) for _, s in BROKEN])
def test_broken_documents_are_named(store, tmp_path, change, says):
    store.refused("image", "import", layout_of(tmp_path, change).write(), "bad", says=says)


def test_a_changed_byte_anywhere_is_found(store, tmp_path):
    path = Path(layout_of(tmp_path).write())
    for blob in (path / "blobs/sha256").iterdir():
        good = blob.read_bytes()
        blob.write_bytes(good[:-3] + bytes([good[-3] ^ 1]) + good[-2:])
        store.refused("image", "import", str(path), "bad", says=["layout"])
        blob.write_bytes(good)
    store.ok("image", "import", str(path), "good")


def test_links_out_of_a_layout_are_not_followed(store, tmp_path):
    path = Path(layout_of(tmp_path).write())
    for blob in (path / "blobs/sha256").iterdir():
        outside = tmp_path / "outside"
        shutil.move(blob, outside)
        blob.symlink_to(outside)
        store.refused("image", "import", str(path), "bad", says=[blob.name])
        blob.unlink()
        os.mkfifo(blob)
        store.refused("image", "import", str(path), "bad", says=[blob.name, "not a regular file"])
        blob.unlink()
        shutil.move(outside, blob)


def test_json_bombs(store, tmp_path):
    path = Path(layout_of(tmp_path).write())
    for text, says in [("[" * 100000, "index.json"), ("{", "truncated"), ("", "truncated"), ("[]", "index.json"),
                       ('{"schemaVersion":2,"manifests":[]} x', "index.json"),
                       ('{"schemaVersion":2,"x":"' + "y" * (5 << 20) + '"}', "index.json")]:
        (path / "index.json").write_text(text)
        store.refused("image", "import", str(path), "bad", says=[says])


def test_several_images_need_a_choice(store, tmp_path):
    layout = layout_of(tmp_path)
    layout.write()
    one = layout.index["manifests"][0]
    layout.index["manifests"] = [
        {**one, "annotations": {"org.opencontainers.image.ref.name": name}} for name in ("v1", "v2")]
    layout.write()
    store.refused("image", "import", str(layout.path), "x", says=["2 images", "v1, v2"])
    store.refused("image", "import", f"{layout.path}:v9", "x", says=["'v9'", "v1, v2"])
    store.ok("image", "import", f"{layout.path}:v2", "x")


# --- the store ---

def test_names_and_removal(store, tmp_path):
    store.ok("image", "import", layout_of(tmp_path).write(), "one")
    store.ok("tag", "one", "host:5000/a/b:v2")
    ident = store.images()[0]["ID"]
    assert {x["ID"] for x in store.images()} == {ident} and len(store.images()) == 2
    done = store.run("rmi", ident)
    assert done.returncode == 125 and "2 names" in done.stderr
    assert "Untagged: docker.io/library/one:latest" in store.ok("rmi", "one")
    assert store.run("image", "inspect", "one").returncode == 125
    assert store.inspect(ident)["Id"].startswith(f"sha256:{ident}")
    assert "Deleted: sha256:" in store.ok("rmi", "host:5000/a/b:v2")
    assert store.images() == [] and os.listdir(store.path / "layers") == []
    assert os.listdir(store.path / "blobs/sha256") == []
    assert os.listdir(store.path / "names") == [] and os.listdir(store.path / "ids") == []


@pytest.mark.parametrize("name", ["UPPER", "a//b", "a:b:c:", "a@sha256:12", "_a", "a" * 600, "", "a/b:" + "t" * 200,
                                  "host:99999/a", "a__b___c", "../x", "a b"])
def test_bad_names(store, tmp_path, name):
    store.refused("image", "import", layout_of(tmp_path).write(), name, says=["name"])


def test_layers_are_shared(store, tmp_path):
    Layout(tmp_path / "a", GOOD, tar_bytes(entry("x", b"1"))).write()
    Layout(tmp_path / "b", GOOD, tar_bytes(entry("x", b"2"))).write()
    store.ok("image", "import", str(tmp_path / "a"), "a")
    store.ok("image", "import", str(tmp_path / "b"), "b")
    assert store.layer("a", 0) == store.layer("b", 0) and len(os.listdir(store.path / "layers")) == 3
    store.ok("rmi", "a")
    assert store.layer("b", 0).exists() and len(os.listdir(store.path / "layers")) == 2


def test_two_at_once_share_the_work(store, tmp_path):
    layout = layout_of(tmp_path).write()
    results = []
    threads = [threading.Thread(target=lambda i=i: results.append(store.run("image", "import", layout, f"n{i}")))
               for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(r.returncode == 0 for r in results), [r.stderr for r in results]
    assert len(store.images()) == 8 and len(os.listdir(store.path / "layers")) == 1
    store.is_clean()


def test_killed_at_many_points(store, tmp_path):
    """Whatever instant the import dies at, the next command finds a whole store."""
    layout = Layout(tmp_path / "layout", GOOD, tar_bytes(*[entry(f"f{i}", b"x" * 5000) for i in range(300)])).write()
    store.ok("image", "import", layout_of(tmp_path / "other").write(), "other")
    for ms in range(1, 60, 3):
        child = subprocess.Popen([WARREN, "image", "import", "-q", layout, "it"], env=store.env,
                                 stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            child.wait(ms / 1000)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
        child.wait()
        have = {x["Repository"] for x in store.images()}
        assert "other" in have
        for name in have:
            for path in store.inspect(name)["LayerDirs"]:
                assert Path(path).is_dir()
        if "it" in have:
            assert len(list(store.layer("it").iterdir())) == 300
            store.ok("rmi", "it")
        # A helper that dies with its parent may hold its lock for a moment longer.
        end = time.monotonic() + 10
        store.ok("image", "prune")
        while os.listdir(store.path / "tmp") and time.monotonic() < end:
            store.ok("image", "prune")
        store.is_clean()


def test_a_cut_off_change_is_repaired(store, tmp_path):
    store.ok("image", "import", layout_of(tmp_path).write(), "it")
    for folder in ("names", "ids"):
        for file in (store.path / folder).iterdir():
            file.unlink()
    (store.path / "dirty").touch()
    assert store.inspect("it")["RepoTags"] == ["it:latest"]
    assert not (store.path / "dirty").exists()


def test_an_image_in_use_stays(store, tmp_path):
    store.ok("image", "import", layout_of(tmp_path).write(), "it")
    ident = store.inspect("it")["Id"][7:]
    claim = store.path / "uses" / ident / "someone"
    claim.parent.mkdir()
    claim.symlink_to(tmp_path)
    assert "used by instance" in store.run("rmi", "it").stderr
    assert store.inspect("it")
    claim.unlink()
    claim.symlink_to(tmp_path / "gone")
    store.ok("rmi", "it")


# --- ordinary users ---

@pytest.fixture
def user(tmp_path_factory):
    """A user of this host, with subordinate ids, and the programs where that user can reach them."""
    if not ROOT:
        pytest.skip("needs root to make a user")
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap is not installed")
    name = "warren-test"
    subprocess.run(["useradd", "-m", "-K", "SUB_UID_COUNT=65536", name], capture_output=True)
    home = Path(f"/home/{name}")
    shutil.copytree(BUILD / "libexec", home / "libexec", dirs_exist_ok=True)
    shutil.copy2(WARREN, home / "warren")
    (home / "t").mkdir(exist_ok=True)

    def run(*args):
        return subprocess.run(["setpriv", "--reuid", name, "--regid", name, "--clear-groups", str(home / "warren"),
                               *args], capture_output=True, text=True, cwd=home, timeout=120,
                              env={"PATH": os.environ["PATH"], "HOME": str(home), "WARREN_DATA": str(home / "data"),
                                   "XDG_RUNTIME_DIR": str(home / "t")})
    run.home = home
    yield run
    run("image", "prune", "-a")
    subprocess.run(["userdel", "-r", name], capture_output=True)


def test_a_user_imports_and_removes(user, tmp_path):
    data = tar_bytes(directory("etc"), entry("etc/shadow", b"s", uid=0, gid=42), entry("etc/.wh.x", b""),
                     entry("etc/sub/.wh..wh..opq", b""), entry("owned", b"", uid=1000, gid=1000))
    (user.home / "t/r.tar").write_bytes(data)
    done = user("image", "import", str(user.home / "t/r.tar"), "r")
    assert done.returncode == 0, done.stderr
    layer = Path(json.loads(user("image", "inspect", "r").stdout)[0]["LayerDirs"][0])
    owner = os.stat(layer / "etc").st_uid
    assert owner == os.stat(user.home).st_uid
    assert os.stat(layer / "owned").st_uid not in (0, 1000, owner)
    assert os.getxattr(layer / "etc/sub", "user.overlay.opaque") == b"y"
    assert user("rmi", "r").returncode == 0 and os.listdir(user.home / "data/layers") == []


def test_owners_beyond_the_users_range_are_named(user):
    (user.home / "t/r.tar").write_bytes(tar_bytes(entry("far", b"", uid=3000000)))
    done = user("image", "import", str(user.home / "t/r.tar"), "r")
    assert done.returncode == 125 and "entry 'far'" in done.stderr and "/etc/subuid" in done.stderr


# --- archives out and in ---

def test_save_and_load(store, tmp_path):
    store.ok("image", "import", "-q", layout_of(tmp_path).write(), "one:1")
    store.ok("image", "import", "-q", Layout(tmp_path / "two", GOOD, tar_bytes(entry("x", b"2"))).write(), "host.x/two:2")
    before = {name: store.inspect(name) for name in ("one:1", "host.x/two:2")}
    archive = tmp_path / "all.tar"
    store.ok("save", "-o", str(archive), "one:1", "host.x/two:2")
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names)) and {"oci-layout", "index.json", "manifest.json"} <= set(names)
        docker = json.load(tar.extractfile("manifest.json"))
    assert [x["RepoTags"] for x in docker] == [["one:1"], ["host.x/two:2"]]
    other = Store(tmp_path / "other")
    out = other.ok("load", "-i", str(archive))
    assert "Loaded image: one:1" in out and "Loaded image: host.x/two:2" in out
    for name, image in before.items():
        assert other.inspect(name)["Digest"] == image["Digest"]
    with open(archive, "rb") as f:
        third = Store(tmp_path / "third")
        third.ok("load", stdin=f)
        assert len(third.images()) == 2
    if shutil.which("skopeo"):
        for kind in ("docker-archive", "oci-archive"):
            store.ok("save", "-o", str(archive), "one:1")
            subprocess.run(["skopeo", "copy", f"{kind}:{archive}", f"oci:{tmp_path}/{kind}:x"], check=True,
                           capture_output=True)


def test_save_and_load_say_what_is_wrong(store, tmp_path):
    store.refused("save", "-o", str(tmp_path / "x.tar"), "none", says=["'none'"])
    assert not (tmp_path / "x.tar").exists() and not (tmp_path / "x.tar.part").exists()
    (tmp_path / "r.tar").write_bytes(GOOD)
    store.refused("load", "-i", str(tmp_path / "r.tar"), says=["r.tar", "holds no image"])
    store.refused("load", "-i", str(tmp_path / "none.tar"), says=["none.tar"])
    store.refused("load", "-i", "/etc/passwd", says=["/etc/passwd", "neither a tar archive"])


@needs_root
def test_commit_and_export(store, tmp_path):
    env = {"WARREN_RUN": str(tmp_path / "run")}
    if not Path("/bin/busybox").exists():
        pytest.skip("busybox-static is not installed")
    store.ok("image", "build-rootfs", "-q", "busybox")
    script = "echo new > /new; ln /new /hard; rm /etc/profile; rm -rf /home; mkdir /home; echo in > /home/x; chmod 4755 /new"
    store.ok("run", "--name", "it", "busybox", "sh", "-c", script, env=env)
    assert store.ok("commit", "-c", 'CMD ["cat", "/home/x"]', "-c", "ENV A=b c", "it", "mine:1", env=env) == "mine:1\n"
    assert store.ok("run", "--rm", "mine:1", env=env) == "in\n"
    out = store.ok("run", "--rm", "mine:1", "sh", "-c", "ls /etc/profile 2>&1; ls /home; stat -c %a%h /new; echo $A", env=env)
    assert "No such file" in out and out.split("\n")[1:4] == ["x", "47552", "b c"]
    layer = store.layer("mine:1")
    assert os.getxattr(layer / "home", "trusted.overlay.opaque") == b"y" and not (layer / "etc/hosts").exists()
    file = tmp_path / "out.tar"
    store.ok("export", "-o", str(file), "it", env=env)
    with tarfile.open(file) as tar:
        names = {n.removeprefix("./") for n in tar.getnames()}
        assert {"new", "home/x", "bin/busybox"} <= names and "etc/profile" not in names
        assert tar.getmember("hard" if "hard" in names else "./hard").mode & 0o7777 == 0o4755
    done = store.run("commit", "-c", "FISH 1", "it", "x", env=env)
    assert done.returncode == 125 and "FISH" in done.stderr
    store.ok("rm", "it", env=env)
    store.is_clean()


@needs_root
def test_system_df_and_prune(store, tmp_path):
    env = {"WARREN_RUN": str(tmp_path / "run")}
    if not Path("/bin/busybox").exists():
        pytest.skip("busybox-static is not installed")
    store.ok("image", "build-rootfs", "-q", "busybox")
    store.ok("image", "import", "-q", layout_of(tmp_path).write(), "idle")
    store.ok("run", "--name", "ended", "busybox", "sh", "-c", "head -c 1000000 /dev/zero > /file", env=env)
    store.ok("run", "-d", "--name", "runs", "busybox", "sleep", "100", env=env)
    try:
        rows = [json.loads(x) for x in store.ok("system", "df", "--format", "json", env=env).splitlines()]
        assert [(x["Type"], x["TotalCount"], x["Active"]) for x in rows[:2]] == [("Images", "2", "1"), ("Containers", "2", "1")]
        out = store.ok("system", "prune", "-a", env=env)
        assert out.count("Deleted: ") == 2 and "reclaimed" in out
        assert store.ok("ps", "-a", "--format", "{{.Names}}", env=env) == "runs\n"
        assert [x["Repository"] for x in store.images()] == ["busybox"]
    finally:
        store.run("rm", "-f", "runs", env=env)
    assert os.listdir(store.path / "instances") == []
