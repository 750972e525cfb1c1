/*
 * The input stream: file -> hash -> decompressor -> hash -> tar reader. libarchive decompresses by one reader
 * whose "raw" format hands over the bytes behind gzip, zstd, xz or nothing; the tar reader is a second one
 * that is fed from it. That leaves the seam where the uncompressed digest is taken.
 *
 * Bombs: the output may not exceed the ceiling, nor a thousandfold of the input once it is large.
 *
 * Trust: every byte is hostile. Threads: one. #syscalls: read write
 */
#include <archive.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"
#include "unpack.h"

#define IN_SIZE	    (256u << 10)
#define RATIO_MAX   1024
#define RATIO_START (1ull << 30) /* a small archive of zeros is harmless */

static void copy(int fd, const void *p, size_t n, const char *what)
{
	int r = fd < 0 ? 0 : write_full(fd, p, n);

	if (r)
		helper_die("write %s: %s", what, strerrordesc_np(-r));
}

static la_ssize_t read_input(struct archive *a, void *data, const void **p)
{
	struct stream *s = data;
	ssize_t n;

	(void)a;
	do
		n = read(0, s->buffer, IN_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		helper_die("read: %s", strerrordesc_np(errno));
	sha256_add(&s->in, s->buffer, (size_t)n);
	s->in_bytes += (uint64_t)n;
	copy(s->o->copy, s->buffer, (size_t)n, "the layer into the store");
	*p = s->buffer;
	return n;
}

void stream_open(struct stream *s, const struct options *o)
{
	struct archive_entry *entry;

	*s = (struct stream){ .o = o, .packing = "none" };
	sha256_init(&s->in);
	sha256_init(&s->out);
	s->buffer = malloc(IN_SIZE);
	struct archive *a = s->filter = archive_read_new();

	if (!s->buffer || !a)
		helper_die("out of memory");
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	if (archive_read_open(a, s, NULL, read_input, NULL) != ARCHIVE_OK)
		helper_die("decompress: %s", archive_error_string(a));
	int r = archive_read_next_header(a, &entry);

	if (r == ARCHIVE_EOF) {
		s->ended = true;
		return;
	}
	if (r < ARCHIVE_WARN)
		helper_die("decompress: %s", archive_error_string(a));
	/* One packing and the plain end of the chain: packings within packings are a bomb's trick. */
	if (archive_filter_count(a) > 2)
		helper_die("compressed more than once");
	if (archive_filter_count(a) == 2)
		s->packing = archive_filter_name(a, 0);
}

static void count_zeros(struct stream *s, const uint8_t *p, size_t n)
{
	size_t k = 0;

	while (k < n && k < 1024 && p[n - 1 - k] == 0)
		k++;
	s->zeros = k == n ? s->zeros + n : k;
}

size_t stream_next(struct stream *s, const void **p)
{
	size_t n = 0;
	la_int64_t offset;

	while (!s->ended && !n) {
		int r = archive_read_data_block(s->filter, p, &n, &offset);

		if (r == ARCHIVE_EOF)
			s->ended = true;
		else if (r != ARCHIVE_OK)
			helper_die("decompress (%s): %s", s->packing,
				   archive_error_string(s->filter));
	}
	if (s->ended)
		return 0;
	s->out_bytes += n;
	if (s->out_bytes > s->o->max)
		helper_die("more than %llu bytes when unpacked", (unsigned long long)s->o->max);
	if (s->out_bytes > RATIO_START && s->out_bytes / RATIO_MAX > s->in_bytes)
		helper_die("unpacks to more than %d times its size: a decompression bomb",
			   RATIO_MAX);
	sha256_add(&s->out, *p, n);
	count_zeros(s, *p, n);
	copy(s->o->plain, *p, n, "the layer into the store");
	return n;
}

void stream_drain(struct stream *s)
{
	const void *p;

	while (stream_next(s, &p))
		;
	/* Bytes behind the end of the compressed stream belong to the blob's digest too. */
	while (read_input(NULL, s, &p) > 0)
		;
}
