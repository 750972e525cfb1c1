"""Seeds for the formats that are not text, one well-formed example a shape; called by tools/run-fuzz."""
import bz2
import gzip
import io
import lzma
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


def packing():
    plain = next(tar())
    whole = [gzip.compress(plain), lzma.compress(plain), bz2.compress(plain)]
    yield from [plain, *whole, gzip.compress(whole[0]), whole[0][:-9], whole[0] + b"more"]
    # estargz: a member a file; zstd: a raw block, a skippable frame before it.
    yield b"".join(gzip.compress(plain[i:i + 512]) for i in range(0, len(plain), 512))
    block = plain[:200]
    frame = b"\x28\xb5\x2f\xfd\x20" + bytes([len(block)]) + struct.pack("<I", len(block) << 3 | 1)[:3] + block
    yield frame
    yield b"\x50\x2a\x4d\x18\4\0\0\0skip" + frame


def qcow2():
    cluster = 512
    head = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 9, 32768, 0, 1, 3 * cluster, cluster, 1,
                       0, 0, 0, 0, 0, 4, 104)
    image = bytearray(7 * cluster)
    image[:len(head)] = head
    struct.pack_into(">Q", image, cluster, 2 * cluster)
    struct.pack_into(">6H", image, 2 * cluster, 1, 1, 1, 1, 1, 1)
    struct.pack_into(">Q", image, 3 * cluster, 1 << 63 | 4 * cluster)
    struct.pack_into(">2Q", image, 4 * cluster, 1 << 63 | 5 * cluster, 1)
    yield bytes(image)


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


def hypercall():
    zero, self_ = b"\0", b"\7"

    def small(n):
        return bytes([1, n])

    def pointer(at):
        return b"\3" + struct.pack("<H", at)

    def call(number, *args):
        return bytes([number]) + struct.pack("<HH", 512, 768) + b"".join([*args, zero, zero, zero, zero, zero][:5])

    def trap(vector, error=0):
        kind = next(k for k in range(192, 256) if k % 33 == vector)
        return bytes([kind]) + struct.pack("<HH", 512, 768) + small(0x3f) + b"\2" + struct.pack("<Q", 0xc0000100) + struct.pack("<IH", 0x202, error)

    def with_memory(calls, memory):
        memory = memory.ljust(max(len(calls), 1024), b"\0")
        return calls.ljust(len(memory), b"\0") + memory

    words = struct.pack("<16Q", 1, 0x2067, 3, 0x1007, 0, 5, 7, 0x3063, 0x80, 0, 2, 0x10, 4096, 1, 0, 6)
    for op in range(0, 48, 4):
        yield with_memory(b"".join(call(n, small(sub), pointer(sub * 8), pointer(64), self_)
                                   for n in range(op, op + 4) for sub in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 16, 17)), words)
    # Tables, operations on them, several calls in one, traps with a handler, privileged instructions.
    yield with_memory(call(1, pointer(0), small(3), pointer(256), self_) + call(26, pointer(0), small(4), pointer(256), self_)
                      + call(14, b"\4\0\x10\0", b"\4\x67\x20\0", small(2)) + call(13, pointer(0), small(2)), struct.pack("<6Q", 0x1000, 0x2067, 0x1008, 0x3067, 0x5001, 9))
    for cmd in range(21):
        yield with_memory(call(26, pointer(0), small(1), zero, self_), struct.pack("<IIQQ", cmd, 0, 2, 3))
    table = b"".join(struct.pack("<BBHIQ", v, v & 7, 0xe033, 0, 0x1000 * v + 1) for v in range(33))
    code = b"\x0f\x32\x0f\x30\x0f\x20\xc0\xfa\xec\xe4\x42\x0f\x01\xd1\x0f\x0bxen\x0f\xa2"
    for at in (0, 2, 4, 7, 8, 9, 11, 14):
        yield with_memory(call(0, pointer(0)) + call(4, small(1), small(2), small(3)) + trap(14, 2) + trap(6) + trap(13) + trap(3) + trap(32)
                          + call(23) + trap(1), table.ljust(512, b"\0") + code[at:])


# Steps of fuzz_virtio.h. 14: split rings without event index, 6: with it, 2: packed ones.
BUFFERS, PLAIN = 0xe000, 14


def put(at, data):
    data += bytes(-len(data) % 8)
    return b"".join(b"\2" + struct.pack("<H", at + i) + data[i:i + 8] for i in range(0, len(data), 8))


def chain(queue, slot, *pieces, kick=True):
    """Offers a buffer of (address, length, writable) pieces in descriptors from `slot` on."""
    out = b""
    for i, (at, length, writable) in list(enumerate(pieces))[1:]:
        out += put(0x1000 * (1 + queue) + 16 * (slot + i),
                   struct.pack("<QIHH", at, length, 2 * writable | (i + 1 < len(pieces)), slot + i + 1))
    at, length, writable = pieces[0]
    return out + struct.pack("<BBBHHHB", 5 if kick else 3, queue, slot, at - BUFFERS, length,
                             2 * writable | (len(pieces) > 1), slot + 1) + (bytes([queue]) if kick else b"")


def virtio_fs():
    def ask(opcode, unique, slot, body=b"", queue=1):
        head = struct.pack("<IIQQIIII", 40 + len(body), opcode, unique, 1, 0, 0, 0, 0)
        pieces = [(BUFFERS, 40 + len(body), False)] + ([(BUFFERS + 512, 256, True)] if queue else [])
        return put(BUFFERS, head + body) + chain(queue, slot, *pieces)

    def answered(steps, replies):
        return bytes([PLAIN]) + steps + replies + bytes([len(replies)])

    reply = struct.pack("<IiQ", 20, 0, 1) + b"body"
    yield answered(ask(26, 5, 0, bytes(24)) + b"\7\7" * 9 + ask(1, 6, 2, b"name\0") + b"\7\7" * 9, reply * 2)
    yield answered(ask(2, 7, 0, bytes(8), queue=0) + ask(1, 8, 0, b"a\0") + b"\7\7" * 4, reply)
    yield answered(ask(1, 8, 0, b"a\0") + struct.pack("<BIB", 0, 0, 28) + b"\7\7" * 6, reply)
    yield answered(ask(15, 9, 0, bytes(40)) + b"\7\7" * 6, struct.pack("<IiQ", 400, 0, 1) + bytes(200))


def virtio_vsock():
    def packet(op, host, guest, slot, data=b"", **more):
        head = struct.pack("<QQIIIHHIII", 3, 2, guest, host, more.get("length", len(data)), more.get("type", 1), op,
                           more.get("flags", 0), 65536, more.get("fwd", 0))
        return put(BUFFERS, head + data) + chain(1, slot, (BUFFERS, 44 + len(data), False))

    room = b"".join(chain(0, i, (BUFFERS + 0x800, 0x400, True)) for i in range(4))
    for how in (PLAIN, 6):
        yield bytes([how]) + room + packet(1, 9, 5, 0) + b"\7\1" * 8 + packet(5, 9, 5, 1, b"data" * 30) + packet(7, 9, 5, 2) + room \
            + packet(4, 9, 5, 3, flags=2) + packet(4, 9, 5, 4, flags=1) + room
        yield bytes([how]) + packet(5, 1, 2, 0) + packet(1, 9, 5, 1, type=2) + packet(99, 1, 1, 2) + packet(3, 1, 1, 3) + room
        yield bytes([how]) + room + b"\7\1" * 16 + packet(2, 1 << 30, 1, 0) + b"\7\1" * 8 + packet(5, 1 << 30, 1, 1, b"x") + packet(3, 1 << 30, 1, 2)


def virtio_balloon():
    pfns = struct.pack("<6I", 0x20, 0x21, 0x22, 0x40, 0xffffffff, 0x10)
    stats = b"".join(struct.pack("<HQ", tag, 4096) for tag in (5, 4, 77, 6))
    for how in (PLAIN, 6):
        yield bytes([how]) + put(BUFFERS, pfns) + chain(0, 0, (BUFFERS, 24, False)) + chain(1, 0, (BUFFERS, 24, False)) \
            + put(BUFFERS, stats) + chain(2, 0, (BUFFERS, 40, False)) + chain(3, 0, (BUFFERS + 0x1000, 0x1000, True)) + b"\7\2" * 9 \
            + chain(2, 1, (BUFFERS, 40, False))


def virtio_console():
    steps = bytes([PLAIN])
    for slot, message in enumerate(((0, 0, 1), (0, 3, 1), (1, 3, 1), (1, 6, 1), (9, 6, 1))):
        steps += put(BUFFERS, struct.pack("<IHH", *message)) + chain(3, slot, (BUFFERS, 8, False))
    rooms = b"".join(chain(queue, 0, (BUFFERS + 0x800, 64, True)) for queue in (2, 0, 4))
    yield steps + rooms + chain(1, 0, (BUFFERS, 200, False)) + chain(5, 0, (BUFFERS, 200, False)) + b"\7\0" * 9


def of(name):
    return list(globals()[name]()) if name in ("tar", "packing", "elf", "qcow2", "agent", "control", "dbus", "share", "virtqueue", "store",
                                               "blkring", "hypercall", "virtio_fs", "virtio_vsock", "virtio_balloon",
                                               "virtio_console") else []
