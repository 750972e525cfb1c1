"""Seeds for the formats that are not text, one well-formed example a shape; called by tools/run-fuzz."""
import io
import struct
import tarfile


def tar():
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name, kind, link in (("etc", tarfile.DIRTYPE, ""), ("etc/.wh.gone", tarfile.REGTYPE, ""),
                                     ("bin/sh", tarfile.SYMTYPE, "busybox"), ("bin/ls", tarfile.LNKTYPE, "bin/sh"),
                                     ("dev/null", tarfile.CHRTYPE, ""), ("run/fifo", tarfile.FIFOTYPE, "")):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname, entry.devmajor, entry.devminor = kind, link, 1, 3
                archive.addfile(entry)
            entry = tarfile.TarInfo("d/" * 40 + "file" if form != tarfile.USTAR_FORMAT else "file")
            data = b"content of the file\n" * 40
            entry.size, entry.mtime, entry.uid = len(data), 1700000000, 100000
            if form == tarfile.PAX_FORMAT:
                entry.pax_headers = {"SCHILY.xattr.user.a": "b", "path": "long/" * 30 + "x", "mtime": "1.5"}
            archive.addfile(entry, io.BytesIO(data))
        yield out.getvalue()


def elf():
    note = struct.pack("<III4sQ", 4, 8, 1, b"Xen\0", 0xffffffff81000000)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0x1000000, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0xffffffff81000000, 0x1000000, 200, 4096, 4096)
    notes = struct.pack("<IIQQQQQQ", 4, 4, 176, 0, 0, len(note), len(note), 4)
    yield header + load + notes + note
    bz = bytearray(2048)
    bz[0x1f1:0x1f2] = b"\1"
    struct.pack_into("<H4sH", bz, 0x1fe, 0xaa55, b"\xebfHd", 0x53)
    bz[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", bz, 0x206, 0x20f)
    struct.pack_into("<H", bz, 0x20e, 0x200)
    struct.pack_into("<HII", bz, 0x236, 3, 64, 512)
    struct.pack_into("<II", bz, 0x248, 64, 512)
    yield bytes(bz)
    strings = b"\0.modinfo\0.shstrtab\0"
    info = b"name=virtio_blk\0depends=virtio,virtio_ring\0vermagic=6.1.0 SMP\0"
    body = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 1, 62, 1, 0, 0, 64 + len(strings) + len(info), 0, 64,
                       0, 0, 64, 3, 2) + strings + info
    body += bytes(64)
    body += struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, 64 + len(strings), len(info), 0, 0, 1, 0)
    body += struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, 64, len(strings), 0, 0, 1, 0)
    yield body
    yield b"debian-binary/  1700000000  0     0     100644  4         `\n2.0\n"


def agent():
    magic, version = 0x4e525257, 1

    def pack(kind, payload=b"", flags=0, stream=1):
        return struct.pack("<IHHI", len(payload), kind, flags, stream) + payload

    yield pack(1, struct.pack("<II", magic, version), 0, 0)
    yield b"".join(pack(kind, struct.pack("<I", 15)) for kind in range(1, 27))
    yield pack(4, b'{"args":["true"]}') + pack(7, b"hello", 0) + pack(9) + pack(13, struct.pack("<i", 0))
    yield pack(5, struct.pack("<II", 9, 1)) + pack(6, struct.pack("<HH", 24, 80)) + pack(21, struct.pack("<Q", 1))


def control():
    for kind in list(range(1, 10)) + list(range(64, 70)):
        for body in (b"", b"text"):
            yield struct.pack("<HHIII", kind, 0, 0x6b726157, 1, len(body)) + body
            yield struct.pack("<HHIII", kind, 7, 9, 0, 0) + body


def dbus():
    def text(value):
        data = value.encode()
        return struct.pack("<I", len(data)) + data + b"\0"

    fields = b""
    for code, kind, value in ((1, "o", "/org/freedesktop/systemd1"), (2, "s", "org.freedesktop.systemd1.Manager"),
                              (3, "s", "JobRemoved"), (7, "s", ":1.2")):
        fields += bytes(-len(fields) % 8) + bytes([code, 1]) + kind.encode() + b"\0" + text(value)
    fields += bytes(-len(fields) % 8) + bytes([8, 1]) + b"g\0" + b"\4uoss\0"
    body = struct.pack("<I", 7) + text("/job/7")
    body += bytes(-len(body) % 4) + text("a.scope")
    body += bytes(-len(body) % 4) + text("done")
    for kind in (1, 2, 3, 4):
        head = struct.pack("<BBBBIII", ord("l"), kind, 0, 1, len(body), 9, len(fields)) + fields
        yield head + bytes(-len(head) % 8) + body


def virtqueue():
    for flags in range(16):
        size = 8
        memory = bytearray(0x3100)
        for i in range(size):  # split: a chain of two, then an indirect one
            struct.pack_into("<QIHH", memory, 16 * i, 0x8000 + 64 * i, 32, (1 if i % 2 == 0 else 2), (i + 1) % size)
        struct.pack_into("<HHHHH", memory, 0x1000, 0, 3, 0, 2, 4)
        if flags & 1:
            for i in range(size):
                struct.pack_into("<QIHH", memory, 16 * i, 0x8000 + 64 * i, 32, i, (1 << 7) | (1 if i % 2 == 0 else 2))
        yield bytes([flags, size, 0, 0, 0, 0, 0, 0]) + bytes(memory)


def share():
    def ask(opcode, node, body):
        body += b"\0" * (-len(body) % 8)
        return bytes([len(body) // 8 & ~1, opcode, node]) + body

    # Lookups, attributes, open and read, a directory, extended attributes, forgetting.
    yield (ask(1, 1, b"file\0") + ask(3, 2, bytes(16)) + ask(14, 2, bytes(8)) + ask(15, 2, struct.pack("<QQIIQII", 0, 0, 9, 0, 0, 0, 0))
           + ask(18, 2, bytes(24)) + ask(2, 2, struct.pack("<Q", 1)))
    yield (ask(27, 1, bytes(8)) + ask(28, 1, struct.pack("<QQIIQII", 0, 0, 4096, 0, 0, 0, 0))
           + ask(44, 1, struct.pack("<QQIIQII", 0, 0, 4096, 0, 0, 0, 0)) + ask(29, 1, bytes(24)))
    yield ask(1, 1, b"link\0") + ask(5, 2, b"") + ask(22, 1, struct.pack("<II", 100, 0) + b"user.a\0") + ask(17, 1, b"")
    yield ask(4, 1, bytes(88)) + ask(12, 1, struct.pack("<Q", 1) + b"a\0b\0") + ask(38, 1, b"") + ask(26, 0, struct.pack("<IIII", 7, 38, 0, 0))


def store():
    def ask(kind, tx, body):
        return bytes([kind, tx]) + struct.pack("<H", len(body)) + body

    yield (ask(11, 0, b"device/vbd/51712/state\x003") + ask(2, 0, b"device/vbd/51712/state\0") + ask(1, 0, b"device\0")
           + ask(4, 0, b"device\0token\0") + ask(12, 0, b"device/new\0") + ask(13, 0, b"device/vbd\0") + ask(5, 0, b"device\0token\0"))
    yield (ask(6, 0, b"\0") + ask(11, 1, b"data/a\x001") + ask(3, 1, b"data/a\0") + ask(14, 1, b"data/a\0n1\0") + ask(7, 1, b"T\0")
           + ask(6, 0, b"\0") + ask(11, 2, b"data/b\x001") + ask(7, 2, b"F\0") + ask(10, 0, b"0\0") + ask(20, 0, b"\0")
           + ask(4, 0, b"@releaseDomain\0t\0") + ask(4, 0, b"/local/domain/0/backend\0t\0"))


def blkring():
    def page(*slots):
        ring = struct.pack("<IIII48x", len(slots), 1, 0, 1) + b"".join(s.ljust(112, b"\0") for s in slots)
        return ring.ljust(8192, b"\0")

    def transfer(op, sector, *segments):
        return struct.pack("<BBHIQQ", op, len(segments), 0, 0, 7, sector) + b"".join(struct.pack("<IBBH", *s, 0) for s in segments)

    yield page(transfer(0, 8, (2, 0, 7), (3, 1, 2)), transfer(1, 0, (1, 0, 7)), transfer(3, 0), struct.pack("<BBHIQQQ", 5, 0, 0, 0, 8, 0, 8))
    indirect = struct.pack("<BBHIQQHHI", 6, 1, 4, 0, 9, 16, 0, 0, 2).ljust(112, b"\0")
    yield page(indirect) + b"".join(struct.pack("<IBBH", ref, 0, 7, 0) for ref in (3, 4, 5, 6))


def of(name):
    return list(globals()[name]()) if name in ("tar", "elf", "agent", "control", "dbus", "share", "virtqueue", "store",
                                               "blkring") else []
