/*
 * warren-unpack MODE DIR COPY PLAIN MAXIMUM [FLAG...] <archive
 *
 * Unpacks a layer (MODE "layer") or an archive of plain files ("files") from standard input into the directory
 * that descriptor DIR has open. COPY and PLAIN are descriptors that get the input as it is and decompressed, or
 * -1. MODE "kind" unpacks nothing and says what the archive is by its first name. MAXIMUM bounds what may come out. Flags: "one-id" (owners are not kept), "whole" (the tar must have its
 * end mark). It is a program of its own because libarchive and the decompressors eat hostile bytes: it starts
 * with nothing but these descriptors and, before the first byte, gives up the file system outside DIR, nearly
 * all capabilities and nearly all system calls.
 *
 * Standard output, one line each: "opaque PATH" for directories that hide those of lower layers, then
 *	done INPUT-DIGEST INPUT-BYTES DIGEST BYTES PACKING ENTRIES CONTENT-BYTES DEVICES ATTRIBUTES
 * On failure one line on standard error and exit status 1.
 *
 * Trust: argv is Warren's own; the input is hostile. Threads: one.
 * #syscalls: read write exit_group brk mmap
 */
#include <fcntl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "os/confine.h"
#include "unpack.h"

/* Address space; the windows of zstd (128 MB) and xz (64 MB) fit. */
#define MEMORY_MAX (512ull << 20)

static void confine(const struct options *o)
{
	static const int calls[] = {
		SYS_read,      SYS_write,      SYS_pread64,	 SYS_pwrite64,	 SYS_openat,
		SYS_openat2,   SYS_close,      SYS_fstat,	 SYS_newfstatat, SYS_lseek,
		SYS_mkdirat,   SYS_symlinkat,  SYS_linkat,	 SYS_mknodat,	 SYS_unlinkat,
		SYS_renameat,  SYS_fchmodat,   SYS_fchown,	 SYS_fchownat,	 SYS_fchmod,
		SYS_utimensat, SYS_fsetxattr,  SYS_ftruncate,	 SYS_getdents64, SYS_mmap,
		SYS_munmap,    SYS_mremap,     SYS_mprotect,	 SYS_madvise,	 SYS_brk,
		SYS_futex,     SYS_exit_group, SYS_rt_sigreturn, SYS_fcntl,	 SYS_getrandom,
		SYS_writev,
	};
	const struct confine c = {
		.writable = &o->dir,
		.writable_n = o->dir >= 0,
		/* CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP: what giving files away takes. */
		.keep_caps = 1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 4 | 1ull << 31,
		.calls = calls,
		.calls_n = sizeof(calls) / sizeof(calls[0]),
		.memory = MEMORY_MAX,
		.file_size = o->max,
	};
	struct err e = ERR_INIT;

	if (confine_self(&c, &e))
		helper_die("%s", e.msg);
}

static int descriptor(const char *s)
{
	int64_t n;

	if (str_to_i64(s, &n) || n < -1 || n > 1 << 20 || (n >= 0 && fcntl((int)n, F_GETFD) < 0))
		helper_die("'%s' is not an open descriptor", s);
	return (int)n;
}

int main(int argc, char **argv)
{
	struct options o = { .dir = -1 };
	struct counts c = { .entries = 0 };
	char in[DIGEST_SIZE], out[DIGEST_SIZE];
	unsigned char raw[32];
	struct stream s;

	if (argc < 6 ||
	    (!streq(argv[1], "layer") && !streq(argv[1], "files") && !streq(argv[1], "kind")) ||
	    str_to_u64(argv[5], &o.max))
		helper_die("usage: warren-unpack layer|files|kind DIR COPY PLAIN MAXIMUM [one-id] "
			   "[whole] "
			   "<archive");
	o.files = streq(argv[1], "files");
	o.dir = descriptor(argv[2]);
	o.copy = descriptor(argv[3]);
	o.plain = descriptor(argv[4]);
	for (int i = 6; i < argc; i++) {
		o.one_id |= streq(argv[i], "one-id");
		o.whole |= streq(argv[i], "whole");
	}
	umask(0);
	/* With a buffer of ours stdio asks nothing about the descriptor. */
	static char lines[4096];

	setvbuf(stdout, lines, _IOFBF, sizeof(lines));
	/* Names in pax headers are UTF-8; libarchive turns them into the locale's. */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "en_US.UTF-8");
	confine(&o);
	stream_open(&s, &o);
	if (streq(argv[1], "kind")) {
		printf("kind %s\n", kind_of(&s));
		fflush(stdout);
		_exit(0);
	}
	extract_all(&s, &o, &c);
	stream_drain(&s);
	if (s.out_bytes == 0 && !o.files)
		helper_die("empty: %llu bytes hold no tar archive", (unsigned long long)s.in_bytes);
	if (o.whole && (s.zeros < 1024 || s.out_bytes % 512))
		helper_die("truncated: the tar archive has no end mark");
	sha256_finish(&s.in, raw);
	digest_from_bytes(raw, in);
	sha256_finish(&s.out, raw);
	digest_from_bytes(raw, out);
	printf("done %s %llu %s %llu %s %llu %llu %llu %llu\n", in, (unsigned long long)s.in_bytes,
	       out, (unsigned long long)s.out_bytes, s.packing, (unsigned long long)c.entries,
	       (unsigned long long)c.bytes, (unsigned long long)c.devices,
	       (unsigned long long)c.attributes);
	if (fflush(stdout))
		helper_die("write the result");
	_exit(0);
}
