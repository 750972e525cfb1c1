"""warren kernel import: packages and images made here, good and bad."""
import io
import lzma
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
WARREN = str(BUILD / "warren")
RELEASE = "6.1.0-99-test"


def elf_kernel(note=True, machine=62):
    """The smallest vmlinux that the import takes: one segment, a Xen note, a version."""
    entry = struct.pack("<III4sQ", 4, 8, 1, b"Xen\0", 0xFFFFFFFF81000000) if note else b""
    text = b"Linux version " + RELEASE.encode() + b" (test) #1\0" + b"\0" * 64
    data_at = 64 + 2 * 56
    head = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, machine, 1,
                       0x1000000, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, data_at, 0xFFFFFFFF81000000, 0x1000000, len(text), len(text), 4096)
    notes = struct.pack("<IIQQQQQQ", 4, 4, data_at + len(text), 0, 0, len(entry), len(entry), 4)
    return head + load + notes + text + entry


def bzimage(kernel, compress=lzma.compress):
    payload = compress(kernel) + struct.pack("<I", len(kernel))
    head = bytearray(1024 + 512)
    head[0x1F1] = 1
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<H", head, 0x20E, 0x100)
    head[0x211] = 1
    struct.pack_into("<H", head, 0x236, 1)
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    head[0x300:0x300 + len(RELEASE) + 4] = (RELEASE + " (t)").encode()
    del head[1024:]
    return bytes(head) + payload


def module(name, depends=""):
    info = f"name={name}\0depends={depends}\0vermagic={RELEASE} SMP\0".encode()
    strings = b"\0.modinfo\0.shstrtab\0"
    at = 64
    head = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 1, 62, 1, 0, 0,
                       at + len(info) + len(strings), 0, 64, 0, 0, 64, 3, 2)
    table = bytes(64)
    table += struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, at, len(info), 0, 0, 1, 0)
    table += struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, at + len(info), len(strings), 0, 0, 1, 0)
    return head + info + strings + table


def package(files, compress=lzma.compress, name="data.tar.xz"):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content in files:
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    out = b"!<arch>\n"
    for member, content in (("debian-binary", b"2.0\n"), (name, compress(raw.getvalue()))):
        out += f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) & 1)
    return out


MODULES = [
    (f"./lib/modules/{RELEASE}/kernel/fs/erofs/erofs.ko", module("erofs", "libcrc32c,odd-one")),
    (f"./lib/modules/{RELEASE}/kernel/lib/libcrc32c.ko", module("libcrc32c")),
    (f"./lib/modules/{RELEASE}/kernel/drivers/block/xen-blkfront.ko", module("xen_blkfront")),
    (f"./lib/modules/{RELEASE}/kernel/lib/odd-one.ko.xz", lzma.compress(module("odd_one"))),
    (f"./lib/modules/{RELEASE}/kernel/drivers/other.ko", module("other")),
]
KERNEL = (f"./boot/vmlinuz-{RELEASE}", bzimage(elf_kernel()))


@pytest.fixture
def store(tmp_path):
    def run(*args, content=None, name="file"):
        path = []
        if content is not None:
            (tmp_path / name).write_bytes(content)
            path = [str(tmp_path / name)]
        return subprocess.run([WARREN, "kernel", *args, *path], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "WARREN_DATA": str(tmp_path / "data")})
    run.path = tmp_path / "data/kernels"
    return run


def test_package(store):
    done = store("import", content=package(MODULES + [KERNEL]), name="linux-image.deb")
    assert done.returncode == 0, done.stderr
    assert done.stdout == RELEASE + "\n"
    kept = store.path / RELEASE
    assert (kept / "vmlinux").read_bytes() == elf_kernel()
    info = (kept / "info").read_text().splitlines()
    pv = next(line for line in info if line.startswith("pv ")).split()[1:]
    # Dependencies first, found in a second pass because nobody foresaw odd_one.
    assert pv == ["xen_blkfront", "libcrc32c", "odd_one", "erofs"]
    assert "xen-pv yes" in info
    assert (kept / "modules/odd_one.ko").read_bytes() == module("odd_one")
    assert not (kept / "modules/other.ko").exists()
    assert os.readlink(store.path / "default") == RELEASE
    assert RELEASE in store("ls").stdout


def test_bzimage_vmlinux_default_rm(store):
    assert store("import", "--name", "one", content=bzimage(elf_kernel())).returncode == 0
    assert store("import", "--name", "two", content=elf_kernel(note=False)).returncode == 0
    assert store("ls", "-q").stdout.split() == ["one", "two"]
    assert store("default", "two").returncode == 0
    assert os.readlink(store.path / "default") == "two"
    assert store("rm", "two").returncode == 0
    assert not (store.path / "default").is_symlink()
    gone = store("rm", "two")
    assert gone.returncode == 125 and "no kernel 'two'" in gone.stderr
    # The first import after that is the default again.
    assert store("import", content=elf_kernel()).returncode == 0
    assert os.readlink(store.path / "default") == RELEASE


GOOD = package(MODULES + [KERNEL])
BAD = {
    "empty": (b"", "not a Debian package"),
    "text": (b"hello" * 1000, "not a Debian package"),
    "cut in the archive": (GOOD[:len(GOOD) // 2], "truncated"),
    "cut compressed tar": (package(MODULES, compress=lambda b: lzma.compress(b)[:-40]), "xz"),
    "no kernel inside": (package(MODULES), "no boot/vmlinuz"),
    "missing dependency": (package([KERNEL, MODULES[0]]), "dependencies"),
    "loop of modules": (package([KERNEL, ("lib/modules/x/erofs.ko", module("erofs", "overlay")),
                                 ("lib/modules/x/overlay.ko", module("overlay", "erofs"))]),
                        "depends on itself"),
    "damaged module": (package([KERNEL, ("lib/modules/x/erofs.ko", module("erofs")[:80])]), "module"),
    "kernel's name leads out": (package([("boot/vmlinuz-..", KERNEL[1])]), "no name"),
    "not compressed": (package(MODULES + [KERNEL], compress=bytes, name="data.tar"), "not compressed"),
    "payload outside": (bzimage(elf_kernel())[:1100], "not inside the file"),
    "garbage payload": (bzimage(b"x" * 5000), "not"),
    "another machine": (elf_kernel(machine=183), "machine"),
    "cut vmlinux": (elf_kernel()[:200], ""),
    "no kernel but a program": (Path("/bin/true").read_bytes(), "not a Linux kernel"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(store, name):
    content, text = BAD[name]
    done = store("import", "-q", content=content)
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("Error: kernel import: ")
    assert text in done.stderr
    assert not store.path.exists() or list(store.path.iterdir()) == []


def test_unpacking_is_bounded(store):
    bomb = package([("boot/vmlinuz-1", b"\0" * 1000)], compress=lambda b: lzma.compress(b))
    helper = BUILD / "libexec/warren/warren-decompress"
    done = subprocess.run([helper, "1000"], input=lzma.compress(bytes(1 << 20)), capture_output=True, timeout=30)
    assert done.returncode == 1 and b"more than 1000 bytes" in done.stderr
    assert len(done.stdout) <= 1000
    assert store("import", "-q", content=bomb).returncode == 125


@pytest.mark.skipif(not shutil.which("lz4"), reason="no lz4")
def test_legacy_lz4_payload(store):
    def lz4(kernel):
        return subprocess.run(["lz4", "-l", "-c"], input=kernel, capture_output=True, check=True).stdout
    assert store("import", content=bzimage(elf_kernel(), compress=lz4)).returncode == 0
    assert (store.path / RELEASE / "vmlinux").read_bytes() == elf_kernel()
