/* The framing of packed layers: gzip, zstd, xz, bzip2 or nothing, as warren-unpack reads it. What ends the program there
 * comes back here. */
#include <archive.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "unpack.h"

enum { OUT_MAX = 8 << 20 };

static jmp_buf ended;
static struct stream s;

void helper_die(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	FUZZ_CHECK(line[0]);
	longjmp(ended, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct options o = { .dir = -1, .copy = -1, .plain = -1, .max = OUT_MAX };
	int fd = memfd_create("input", MFD_CLOEXEC);
	const void *p;
	size_t n;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0 ||
	    dup2(fd, 0) < 0)
		abort();
	close(fd);
	s = (struct stream){ .o = &o };
	if (setjmp(ended) == 0) {
		stream_open(&s, &o);
		while ((n = stream_next(&s, &p)))
			FUZZ_CHECK(p && s.out_bytes <= OUT_MAX);
		stream_drain(&s);
		/* All of the input is in its digest. */
		FUZZ_CHECK(s.in_bytes == size);
	}
	archive_read_free(s.filter);
	free(s.buffer);
	return 0;
}
