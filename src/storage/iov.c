/*
 * Vectored reads and writes that finish: the kernel may transfer a part, or at most IOV_MAX pieces.
 *
 * Trust: the caller's vectors. Threads: none.
 * #syscalls: preadv pwritev
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "storage/iov_int.h"

/* Entries a call; also what lives on the stack. */
#define IOV_BATCH 64

int iov_slice(const struct iovec *iov, int n, size_t skip, size_t len, struct iovec *out)
{
	int used = 0;

	for (int i = 0; i < n && len; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = MIN(iov[i].iov_len - skip, len);

		out[used++] = (struct iovec){ (char *)iov[i].iov_base + skip, part };
		skip = 0;
		len -= part;
	}
	return used;
}

void iov_zero(const struct iovec *iov, int n, size_t skip, size_t len)
{
	for (int i = 0; i < n && len; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = MIN(iov[i].iov_len - skip, len);

		memset((char *)iov[i].iov_base + skip, 0, part);
		skip = 0;
		len -= part;
	}
}

/* The next at most IOV_BATCH entries from `done` bytes on. */
static int next_batch(const struct iovec *iov, int n, size_t done, struct iovec *out)
{
	int used = 0;

	for (int i = 0; i < n && used < IOV_BATCH; i++) {
		if (done >= iov[i].iov_len) {
			done -= iov[i].iov_len;
			continue;
		}
		out[used++] = (struct iovec){ (char *)iov[i].iov_base + done,
					      iov[i].iov_len - done };
		done = 0;
	}
	return used;
}

int iov_pread(int fd, uint64_t offset, const struct iovec *iov, int n, size_t len)
{
	struct iovec batch[IOV_BATCH];
	size_t done = 0;

	while (done < len) {
		int k = next_batch(iov, n, done, batch);
		ssize_t r = preadv(fd, batch, k, (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0) {
			iov_zero(iov, n, done, len - done);
			break;
		}
		done += (size_t)r;
	}
	return 0;
}

int iov_pwrite(int fd, uint64_t offset, const struct iovec *iov, int n, size_t len)
{
	struct iovec batch[IOV_BATCH];
	size_t done = 0;

	while (done < len) {
		int k = next_batch(iov, n, done, batch);
		ssize_t r = pwritev(fd, batch, k, (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -EIO;
		done += (size_t)r;
	}
	return 0;
}
