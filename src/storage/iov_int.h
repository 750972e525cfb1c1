/* Whole vectored transfers at an offset. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* `len` is the sum of the vector. What lies beyond the end of the file reads as zeroes. 0 or
 * -errno. */
int iov_pread(int fd, uint64_t offset, const struct iovec *iov, int n, size_t len);
int iov_pwrite(int fd, uint64_t offset, const struct iovec *iov, int n, size_t len);

/* Fills the bytes [skip, skip + len) of the vector with zeroes. */
void iov_zero(const struct iovec *iov, int n, size_t skip, size_t len);

/* The part [skip, skip + len) of `iov` as a vector of its own in `out`, which has room for `n`
 * entries. Returns the number of entries used. */
int iov_slice(const struct iovec *iov, int n, size_t skip, size_t len, struct iovec *out);
