/*
 * warren-decompress MAXIMUM [LENGTH]: standard input (its first LENGTH bytes) in gzip, xz, lzma,
 * zstd or lz4 (frame or the kernel's legacy form) to standard output, never more than MAXIMUM
 * bytes. It exists so that `warren` links none of these libraries and so that none of them sees
 * anything but its two pipes: before the first byte is read the program gives up its user, all
 * other descriptors and every system call but the few below.
 *
 * What follows the end of the compressed stream is left unread (kernel images append their size).
 *
 * Trust: every byte of the input is hostile. Threads: none.
 * #syscalls: read write mmap munmap mremap brk madvise futex exit_group rt_sigreturn
 */
#include <errno.h>
#include <grp.h>
#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "os/confine.h"

#define IN_SIZE	 (256u << 10)
#define OUT_SIZE (1u << 20)
/* The kernel's legacy LZ4: independent blocks of at most 8 MB. */
#define LZ4_LEGACY_BLOCK (8u << 20)
/* Address space of the whole program; zstd and xz windows fit. */
#define MEMORY_MAX (512u << 20)

static struct {
	uint8_t *in, *out;
	size_t in_pos, in_len;
	uint64_t written, max;
	uint64_t left; /* of the input */
} io;

/* At most `n` bytes of input; 0 at the end. */
static size_t fetch(uint8_t *p, size_t n)
{
	ssize_t got;

	n = n < io.left ? n : (size_t)io.left;
	do
		got = read(0, p, n);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		helper_die("read: %s", strerrordesc_np(errno));
	io.left -= (uint64_t)got;
	return (size_t)got;
}

/* Fills the empty input buffer; 0 at the end. */
static size_t refill(void)
{
	io.in_pos = 0;
	io.in_len = fetch(io.in, IN_SIZE);
	return io.in_len;
}

/* Exactly `n` bytes into `p`; returns how many there were. */
static size_t take(void *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		if (io.in_pos == io.in_len && !refill())
			break;
		size_t part = io.in_len - io.in_pos < n - done ? io.in_len - io.in_pos : n - done;

		memcpy((uint8_t *)p + done, io.in + io.in_pos, part);
		io.in_pos += part;
		done += part;
	}
	return done;
}

static void emit(const uint8_t *p, size_t n)
{
	if (n > io.max - io.written)
		helper_die("more than %llu bytes when unpacked", (unsigned long long)io.max);
	io.written += n;
	while (n) {
		ssize_t w = write(1, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			helper_die("write: %s", strerrordesc_np(errno));
		p += w;
		n -= (size_t)w;
	}
}

static void run_gzip(void)
{
	z_stream z = { 0 };
	int r = inflateInit2(&z, 15 + 16);

	while (r == Z_OK) {
		if (io.in_pos == io.in_len && !refill())
			helper_die("gzip: truncated");
		z.next_in = io.in + io.in_pos;
		z.avail_in = (uInt)(io.in_len - io.in_pos);
		z.next_out = io.out;
		z.avail_out = OUT_SIZE;
		r = inflate(&z, Z_NO_FLUSH);
		io.in_pos = io.in_len - z.avail_in;
		emit(io.out, OUT_SIZE - z.avail_out);
		if (r == Z_BUF_ERROR && io.in_pos == io.in_len)
			r = Z_OK;
	}
	if (r != Z_STREAM_END)
		helper_die("gzip: %s", z.msg ? z.msg : "damaged");
}

static void run_xz(int alone)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_ret r = alone ? lzma_alone_decoder(&s, MEMORY_MAX / 2)
			   : lzma_stream_decoder(&s, MEMORY_MAX / 2, 0);
	lzma_action action = LZMA_RUN;

	while (r == LZMA_OK) {
		if (io.in_pos == io.in_len && !refill())
			action = LZMA_FINISH;
		s.next_in = io.in + io.in_pos;
		s.avail_in = io.in_len - io.in_pos;
		s.next_out = io.out;
		s.avail_out = OUT_SIZE;
		r = lzma_code(&s, action);
		io.in_pos = io.in_len - s.avail_in;
		emit(io.out, OUT_SIZE - s.avail_out);
	}
	if (r == LZMA_BUF_ERROR)
		helper_die("xz: truncated");
	if (r == LZMA_MEMLIMIT_ERROR)
		helper_die("xz: wants more than %u MB of memory", MEMORY_MAX >> 21);
	if (r != LZMA_STREAM_END)
		helper_die("xz: damaged (%d)", (int)r);
}

static void run_zstd(void)
{
	ZSTD_DStream *d = ZSTD_createDStream();
	size_t r = 1;

	if (!d)
		helper_die("zstd: out of memory");
	while (r) {
		if (io.in_pos == io.in_len && !refill())
			helper_die("zstd: truncated");
		ZSTD_inBuffer in = { io.in, io.in_len, io.in_pos };
		ZSTD_outBuffer out = { io.out, OUT_SIZE, 0 };

		r = ZSTD_decompressStream(d, &out, &in);
		if (ZSTD_isError(r))
			helper_die("zstd: %s", ZSTD_getErrorName(r));
		io.in_pos = in.pos;
		emit(io.out, out.pos);
	}
}

static void run_lz4_frame(void)
{
	LZ4F_dctx *d;
	size_t r = LZ4F_createDecompressionContext(&d, LZ4F_VERSION);

	if (LZ4F_isError(r))
		helper_die("lz4: out of memory");
	do {
		if (io.in_pos == io.in_len && !refill())
			helper_die("lz4: truncated");
		size_t n_in = io.in_len - io.in_pos, n_out = OUT_SIZE;

		r = LZ4F_decompress(d, io.out, &n_out, io.in + io.in_pos, &n_in, NULL);
		if (LZ4F_isError(r))
			helper_die("lz4: %s", LZ4F_getErrorName(r));
		io.in_pos += n_in;
		emit(io.out, n_out);
	} while (r);
}

static void run_lz4_legacy(void)
{
	uint8_t *in = malloc((size_t)LZ4_compressBound(LZ4_LEGACY_BLOCK));
	uint8_t *out = malloc(LZ4_LEGACY_BLOCK);
	uint8_t word[4];

	if (!in || !out)
		helper_die("lz4: out of memory");
	take(word, 4);
	for (;;) {
		size_t got = take(word, 4);

		if (got == 0)
			return;
		uint32_t n = (uint32_t)word[0] | (uint32_t)word[1] << 8 | (uint32_t)word[2] << 16 |
			     (uint32_t)word[3] << 24;

		if (got < 4)
			helper_die("lz4: truncated");
		bool whole = n <= (uint32_t)LZ4_compressBound(LZ4_LEGACY_BLOCK);

		got = take(in, whole ? n : 1);
		if (got == 0) /* the word was the size that the kernel's build appends */
			return;
		if (!whole)
			helper_die("lz4: a block of %u bytes", n);
		if (got != n)
			helper_die("lz4: truncated");
		int r = LZ4_decompress_safe((char *)in, (char *)out, (int)n, LZ4_LEGACY_BLOCK);

		if (r < 0)
			helper_die("lz4: damaged");
		emit(out, (size_t)r);
	}
}

/* Nothing but this process's memory and descriptors 0, 1 and 2 afterwards. */
static void confine(void)
{
	static const int calls[] = { SYS_read,	 SYS_write,	 SYS_mmap,	  SYS_munmap,
				     SYS_mremap, SYS_brk,	 SYS_madvise,	  SYS_futex,
				     SYS_exit,	 SYS_exit_group, SYS_rt_sigreturn };
	const struct confine c = { .calls = calls,
				   .calls_n = sizeof(calls) / sizeof(calls[0]),
				   .memory = MEMORY_MAX };
	struct err e = ERR_INIT;

	if (syscall(SYS_close_range, 3u, ~0u, 0) < 0 && errno != ENOSYS)
		helper_die("close_range: %s", strerrordesc_np(errno));
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0) &&
	    errno != EPERM && errno != EINVAL)
		helper_die("setuid: %s", strerrordesc_np(errno));
	if (confine_self(&c, &e))
		helper_die("%s", e.msg);
}

/* A pipe may give a few bytes at first: reads until the format can be told. */
static void gather_head(void)
{
	while (io.in_len < 6) {
		size_t n = fetch(io.in + io.in_len, IN_SIZE - io.in_len);

		if (!n)
			break;
		io.in_len += n;
	}
}

static int starts(const char *magic, size_t n)
{
	return io.in_len >= n && memcmp(io.in, magic, n) == 0;
}

/* Absent: everything. */
static int number(const char *s, uint64_t *out)
{
	char *end;

	*out = s ? strtoull(s, &end, 10) : UINT64_MAX;
	return !s || (*s && !*end);
}

int main(int argc, char **argv)
{
	if (argc < 2 || argc > 3 || !number(argv[1], &io.max) ||
	    !number(argc > 2 ? argv[2] : NULL, &io.left))
		helper_die("usage: warren-decompress MAXIMUM [LENGTH] <compressed >plain");
	io.in = malloc(IN_SIZE);
	io.out = malloc(OUT_SIZE);
	if (!io.in || !io.out)
		helper_die("out of memory");
	confine();
	gather_head();
	if (starts("\x1f\x8b", 2))
		run_gzip();
	else if (starts("\xfd"
			"7zXZ\0",
			6))
		run_xz(0);
	else if (starts("\x5d\0\0", 3))
		run_xz(1);
	else if (starts("\x28\xb5\x2f\xfd", 4))
		run_zstd();
	else if (starts("\x02\x21\x4c\x18", 4))
		run_lz4_legacy();
	else if (starts("\x04\x22\x4d\x18", 4))
		run_lz4_frame();
	else
		helper_die("not compressed in a known way (gzip, xz, lzma, zstd, lz4)");
	_exit(0);
}
