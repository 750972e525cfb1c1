/*
 * Guest memory.
 *
 * A guest's memory is one mapping of this process and a KVM memory slot. Everything that touches it asks
 * memory_at for the whole range first; there is no other way from a guest-physical address to a pointer.
 *
 * A machine with devices below 4 GB splits it: one mapping still, two slots, and ranges that cross the hole are
 * outside.
 *
 * Trust: addresses and lengths are the guest's. The check is written so that it cannot wrap. Memory that was
 * once judged may change under us: callers copy before they judge.
 * Threads: any, after memory_init. #syscalls: mmap munmap madvise memfd_create ftruncate close fstat
 * clone3 futex
 */
#include "machine/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"

/* Maps with 2 MB alignment, so that huge pages line up with guest-physical ones. */
static uint8_t *map_aligned(uint64_t size)
{
	uint8_t *p = mmap(NULL, size + PAGE_2M, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	uint64_t skip = (PAGE_2M - ((uintptr_t)p & (PAGE_2M - 1))) & (PAGE_2M - 1);

	if (skip)
		munmap(p, skip);
	if (skip < PAGE_2M)
		munmap(p + skip + size, PAGE_2M - skip);
	return p + skip;
}

static int map_over(struct memory *m, uint64_t size, int flags, int fd, uint64_t offset,
		    struct err *e)
{
	uint8_t *at = map_aligned(size);

	if (!at)
		return err_sys(e, -errno, "no address space for %llu MB of guest memory",
			       (unsigned long long)(size >> 20));
	if (mmap(at, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE, fd,
		 (off_t)offset) == MAP_FAILED) {
		int r = err_sys(e, -errno, "cannot map %llu MB of guest memory",
				(unsigned long long)(size >> 20));

		munmap(at, size);
		return r;
	}
	m->base = at;
	m->size = m->low = size;
	return 0;
}

int memory_init(struct memory *m, uint64_t size, bool shared, struct err *e)
{
	*m = (struct memory){ .fd = -1 };
	if (!size || size % PAGE_2M)
		return err_set(e, -EINVAL, "guest memory of %llu bytes is not a multiple of 2 MB",
			       (unsigned long long)size);
	if (!shared) {
		int r = map_over(m, size, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, e);

		if (!r)
			madvise(m->base, size, MADV_HUGEPAGE);
		return r;
	}
	cleanup_fd int fd = memfd_create("guest-memory", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_sys(e, -errno, "cannot make %llu MB of shareable guest memory",
			       (unsigned long long)(size >> 20));
	int r = map_over(m, size, MAP_SHARED, fd, 0, e);

	if (!r)
		m->fd = steal_fd(&fd);
	return r;
}

int memory_init_file(struct memory *m, int fd, uint64_t offset, uint64_t size, struct err *e)
{
	*m = (struct memory){ .fd = -1 };
	return map_over(m, size, MAP_PRIVATE, fd, offset, e);
}

/* A piece of a file on its way into guest memory, cut into parts that several threads take in turn. A part is a huge
 * page of the target, so that each of those is made by one thread. */
struct loading {
	uint8_t *to;
	const uint8_t *from;
	uint64_t len;
	_Atomic uint64_t next; /* of the parts */
};

static bool is_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* Whole pages of zeroes are there already. */
static void copy_part(uint8_t *to, const uint8_t *from, uint64_t len)
{
	while (len) {
		uint64_t n = MIN(len, PAGE - ((uintptr_t)to & (PAGE - 1)));

		if (n < PAGE || !is_zero(from, n))
			memcpy(to, from, n);
		to += n;
		from += n;
		len -= n;
	}
}

static void *load_parts(void *arg)
{
	struct loading *l = arg;
	uint64_t skip = (uintptr_t)l->to & (PAGE_2M - 1);

	for (;;) {
		uint64_t part = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
		uint64_t end = (part + 1) * PAGE_2M - skip;
		uint64_t start = part ? part * PAGE_2M - skip : 0;

		if (start >= l->len)
			return NULL;
		copy_part(l->to + start, l->from + start, MIN(end, l->len) - start);
	}
}

int memory_load(struct memory *m, gpa_t gpa, int fd, uint64_t offset, uint64_t len)
{
	uint8_t *to = memory_at(m, gpa, len);
	uint64_t skip = offset & (PAGE - 1);
	struct stat st;
	pthread_t helper;

	if (!to)
		return -EFAULT;
	if (!len)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (offset > (uint64_t)st.st_size || len > (uint64_t)st.st_size - offset)
		return -EIO;
	uint8_t *from = mmap(NULL, len + skip, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd,
			     (off_t)(offset - skip));

	if (from == MAP_FAILED)
		return -errno;
	struct loading l = { .to = to, .from = from + skip, .len = len };
	/* Most of the time goes into making the pages: two do it faster, one does it as well. */
	bool helped = len > 2 * PAGE_2M && !pthread_create(&helper, NULL, load_parts, &l);

	load_parts(&l);
	if (helped)
		pthread_join(helper, NULL);
	munmap(from, len + skip);
	return 0;
}

void memory_fini(struct memory *m)
{
	if (m->base)
		munmap(m->base, m->size);
	close_fd(&m->fd);
	*m = (struct memory){ .fd = -1 };
}

void memory_make_hole(struct memory *m, uint64_t at)
{
	if (at < m->low)
		m->low = at;
}

void *memory_at(const struct memory *m, gpa_t gpa, uint64_t len)
{
	if (gpa.v <= m->low)
		return len <= m->low - gpa.v ? m->base + gpa.v : NULL;
	uint64_t high = m->size - m->low, at = gpa.v - MEMORY_HIGH;

	if (gpa.v < MEMORY_HIGH || !high || at > high || len > high - at)
		return NULL;
	return m->base + m->low + at;
}

int memory_discard(const struct memory *m, void *at, uint64_t len)
{
	uint64_t skip = -(uintptr_t)at & (PAGE - 1);

	if (len < skip + PAGE)
		return 0;
	len = (len - skip) & ~(uint64_t)(PAGE - 1);
	/* Of a shared file pages are only freed by a hole in it. */
	return madvise((uint8_t *)at + skip, len, m->fd >= 0 ? MADV_REMOVE : MADV_DONTNEED) < 0
		       ? -errno
		       : 0;
}

int memory_read(const struct memory *m, gpa_t gpa, void *to, uint64_t len)
{
	const void *p = memory_at(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(to, p, len);
	return 0;
}

int memory_write(const struct memory *m, gpa_t gpa, const void *from, uint64_t len)
{
	void *p = memory_at(m, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, from, len);
	return 0;
}
