"""Images: a Debian image from a registry on loopback to its first output, against podman and skopeo with umoci; what a
cached image adds to a start; small files against bsdtar.

Every run has a store of its own, so that nothing is there already. Memory is that of the largest process."""
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from harness import Contender, interleave, quantile, start_rows, table, version_of

FILES, SIZE = 10000, 1024
PODMAN = """[containers]
netns = "none"
log_driver = "none"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
"""


class Registry:
    def __init__(self, place):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        config = place / "registry.yml"
        config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: "
                          f"{{rootdirectory: {place}/registry}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n")
        self.child = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.1)
        raise SystemExit("bench: docker-registry does not start")

    def stop(self):
        self.child.terminate()
        self.child.wait()


def own_root(place):
    """Debian's files, 170 MB of them: what mmdebstrap makes, or where it cannot, this host's own programs and libraries."""
    tar = place / "root.tar"
    done = subprocess.run(["mmdebstrap", "--variant=minbase", "--quiet", "--include=perl,python3-minimal,gdb-minimal",
                           "bookworm", str(tar)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) \
        if shutil.which("mmdebstrap") and os.environ.get("BENCH_MMDEBSTRAP") else None
    if done and done.returncode == 0:
        return tar, "mmdebstrap minbase"
    left = 170 << 20
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as t:
        for top in ("/bin", "/lib", "/lib64", "/sbin"):
            if os.path.islink(top):
                t.add(top, top[1:])
        libraries = "/usr/lib/x86_64-linux-gnu"
        first = ["/usr/bin/true", "/usr/lib64", f"{libraries}/ld-linux-x86-64.so.2", f"{libraries}/libc.so.6"]
        for path in first:
            t.add(path, path[1:])
        for name in ("etc", "proc", "sys", "dev", "tmp"):
            t.addfile(dir_entry(name))
        for folder, folders, names in os.walk(libraries):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isfile(path) or path in first:
                    continue
                left -= os.path.getsize(path)
                if left < 0:
                    return tar, "170 MB of this host's libraries"
                t.add(path, path[1:])
    return tar, "this host's libraries"


def dir_entry(name):
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info


def small_files(place):
    tar = place / "small.tar"
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as t:
        for i in range(FILES):
            if i % 100 == 0:
                t.addfile(dir_entry(f"d{i // 100}"))
            info = tarfile.TarInfo(f"d{i // 100}/f{i}")
            info.size, info.mode = SIZE, 0o644
            t.addfile(info, io.BytesIO(os.urandom(SIZE)))
    return tar


def store(build, place, name):
    base = ["env", f"WARREN_DATA={place}/{name}", f"WARREN_RUN={place}/{name}-run", str(build / "warren")]
    (place / f"{name}-run").mkdir(exist_ok=True)
    return base


def pullers(build, place, image):
    def warren(n):
        base = store(build, place, f"w{n}")
        return [[*base, "pull", "-q", image], [*base, "run", "--rm", image, "/usr/bin/true"]]

    def podman(n):
        base = ["env", f"CONTAINERS_CONF={place}/containers.conf", "podman", "--root", f"{place}/p{n}", "--runroot",
                f"{place}/p{n}-run", "--tmpdir", f"{place}/p{n}-tmp"]
        return [[*base, "pull", "-q", "--tls-verify=false", image], [*base, "run", "--rm", image, "/usr/bin/true"]]

    def umoci(n):
        return [["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"oci:{place}/u{n}:x"],
                ["umoci", "unpack", "--image", f"{place}/u{n}:x", f"{place}/u{n}-bundle"]]

    every = [Contender("warren pull + run", warren)]
    if shutil.which("podman") and shutil.which("runc"):
        every.append(Contender("podman pull + run", podman, version_of("podman", "--version")))
    if shutil.which("skopeo") and shutil.which("umoci"):
        every.append(Contender("skopeo + umoci (no run)", umoci))
    return every


def clean(place):
    for path in place.glob("[wpu][0-9]*"):
        # podman's storage driver leaves its directory mounted on itself.
        while subprocess.run(["umount", "-l", str(path / "overlay")], capture_output=True).returncode == 0:
            pass
        shutil.rmtree(path, ignore_errors=True)


def middle(c, what=0):
    return quantile([run[what] for run in c.runs], 0.5) if c.runs else None


def verdict(name, value, most, at_least=False):
    holds = value >= most if at_least else value <= most
    print(f"- {name}: {value:.2f} ({'at least' if at_least else 'at most'} {most}): {'holds' if holds else 'MISSED'}")


def bench_pull(build, place, runs):
    registry = Registry(place)
    try:
        tar, what = own_root(place)
        base, image = store(build, place, "source"), f"{registry.host}/debian"
        subprocess.run([*base, "image", "import", "-q", f"rootfs:{tar}", image], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*base, "push", "-q", image], check=True, stdout=subprocess.DEVNULL)
        (place / "containers.conf").write_text(PODMAN)
        every = pullers(build, place, image)
        for _ in range(runs):
            for c in every:
                if not c.error:
                    interleave(build, [c], 1, warm=0) if not c.runs else again(build, c)
            clean(place)
        print(f"### Pull from loopback, unpack, first run: {what}, {tar.stat().st_size >> 20} MB\n")
        print(table(["", "n", "min ms", "median ms", "p95 ms", "peak MB", "ratio"], start_rows(every, "podman pull + run")))
        ours, theirs = every[0], next((c for c in every if c.name.startswith("podman")), None)
        print()
        if ours.runs and theirs and theirs.runs:
            verdict("time, warren / podman", middle(ours) / middle(theirs), 0.6)
            verdict("peak memory, warren / podman", middle(ours, 1) / middle(theirs, 1), 0.25)
        return every
    finally:
        registry.stop()


def again(build, c):
    """One more run, of the next number: a store that is new."""
    c.number = getattr(c, "number", 0) + 1
    one = Contender(c.name, lambda n, k=c.number: c.commands(k))
    interleave(build, [one], 1, warm=0)
    c.runs += one.runs
    c.error = one.error


def bench_cached(build, place, runs):
    base = store(build, place, "source")
    root = place / "rootfs"
    subprocess.run([*base, "image", "build-rootfs", "-q", "busybox"], check=True, stdout=subprocess.DEVNULL)
    layer = json.loads(subprocess.run([*base, "image", "inspect", "-f", "{{json .LayerDirs}}", "busybox"], check=True,
                                      capture_output=True, text=True).stdout)[0]
    shutil.copytree(layer, root, symlinks=True)
    every = [Contender("warren run IMAGE", [[*base, "run", "--rm", "busybox", "true"]]),
             Contender("warren run --rootfs", [[*base, "run", "--rm", "--rootfs", str(root), "true"]])]
    interleave(build, every, runs)
    print("\n### Second run of a cached image\n")
    print(table(["", "n", "min ms", "median ms", "p95 ms", "peak MB", "ratio"], start_rows(every, "warren run --rootfs")))
    print()
    if all(c.runs for c in every):
        verdict("ms that the image adds", (middle(every[0]) - middle(every[1])) / 1e6, 2)
    return every


def bench_small(build, place, runs):
    tar = small_files(place)
    unpack = build / "libexec/warren/warren-unpack"

    def ours(n):
        return [["sh", "-c", f"mkdir {place}/w{n}s && exec 3<{place}/w{n}s && exec {unpack} layer 3 -1 -1 1000000000 <{tar}"]]

    def theirs(n):
        return [["sh", "-c", f"mkdir {place}/u{n}s && exec bsdtar -xpf {tar} -C {place}/u{n}s"]]
    every = [Contender("warren-unpack", ours), Contender("bsdtar -xp", theirs)]
    interleave(build, every, runs, warm=1)
    print(f"\n### {FILES} files of {SIZE} bytes\n")
    print(table(["", "n", "min ms", "median ms", "p95 ms", "peak MB", "ratio"], start_rows(every, "bsdtar -xp")))
    print()
    if all(c.runs for c in every):
        verdict("files a second, warren / bsdtar", middle(every[1]) / middle(every[0]), 0.8, True)
    clean(place)
    return every


def bench(build, runs):
    few = max(3, runs // 10)
    place = Path(tempfile.mkdtemp(prefix="warren-bench-images-"))
    every = []
    try:
        if shutil.which("docker-registry"):
            every += bench_pull(build, place, few)
        else:
            print("Not compared: docker-registry is not installed")
        every += bench_cached(build, place, runs)
        if shutil.which("bsdtar"):
            every += bench_small(build, place, few)
    finally:
        clean(place)
        shutil.rmtree(place, ignore_errors=True)
    return every
