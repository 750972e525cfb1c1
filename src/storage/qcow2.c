/*
 * qcow2 disks: sparse images, and overlays over a backing disk. Clusters are read where the tables say, from
 * the backing disk where they say nothing, and written in place when nobody shares them, else to new clusters
 * at the end of the file.
 *
 * Order on disk. New data and its reference count are written at once; the L2 entry that makes them visible
 * stays in memory until a flush, which first makes the former stable (fdatasync), then writes the tables, then
 * makes those stable. So a power cut or a kill leaves the disk of the last flush, and at worst clusters that
 * are counted but not used (qemu-img check calls them leaked).
 *
 * A bitmap knows every cluster that holds tables: an image in which two tables share one is refused at its
 * opening, one whose data points into its tables at the write. Compressed clusters are not read, images with
 * internal snapshots are written by copying what they share.
 *
 * Trust: the image is hostile (wire/qcow2.h judges it); so are offsets from the guest (block.c judges them).
 * The backing file is only ever the one that the caller opened. Threads: one at a time.
 * #syscalls: preadv pwritev fdatasync ftruncate
 * #syscalls(start): pread64 fstat close
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "storage/block.h"
#include "storage/iov_int.h"
#include "wire/qcow2.h"

/* L2 tables in memory: at the usual 64 KB each describes 512 MB. */
#define CACHE_TABLES 8
#define CLUSTERS_MAX (1ull << 27)

struct table {
	uint64_t offset; /* in the file; 0: free */
	uint64_t used;	 /* when, for eviction */
	bool dirty;
	uint64_t *entries; /* as on disk: big-endian */
};

struct qcow2 {
	struct block base;
	int fd;
	struct block *backing;
	struct qcow2_header h;
	uint64_t cluster;   /* bytes */
	uint64_t file_size; /* clusters are appended here */
	uint64_t *l1;	    /* as on disk */
	uint64_t *reftable; /* as on disk */
	bool l1_dirty;
	struct table cache[CACHE_TABLES];
	uint64_t clock;
	uint8_t *tables; /* bitmap: clusters that hold metadata */
	uint64_t tables_n;
};

static struct qcow2 *qcow2_of(struct block *b)
{
	return container_of(b, struct qcow2, base);
}

static int pread_exact(int fd, void *p, size_t n, uint64_t offset)
{
	struct iovec iov = { p, n };

	return iov_pread(fd, offset, &iov, 1, n);
}

static int pwrite_exact(int fd, const void *p, size_t n, uint64_t offset)
{
	struct iovec iov = { (void *)(uintptr_t)p, n };

	return iov_pwrite(fd, offset, &iov, 1, n);
}

/* ---- the bitmap of metadata ---- */

static bool is_table(const struct qcow2 *q, uint64_t offset)
{
	uint64_t i = offset >> q->h.cluster_bits;

	return i < q->tables_n && q->tables[i / 8] >> (i % 8) & 1;
}

/* -EBADMSG when one is marked already, -ENOMEM. */
static int mark_tables(struct qcow2 *q, uint64_t offset, uint64_t len)
{
	uint64_t first = offset >> q->h.cluster_bits;
	uint64_t last = (offset + len - 1) >> q->h.cluster_bits;

	if (last >= CLUSTERS_MAX)
		return -EFBIG;
	if (last >= q->tables_n) {
		uint64_t n = ALIGN_UP(last + 1, 8192ull);
		uint8_t *p = realloc(q->tables, n / 8);

		if (!p)
			return -ENOMEM;
		memset(p + q->tables_n / 8, 0, (n - q->tables_n) / 8);
		q->tables = p;
		q->tables_n = n;
	}
	for (uint64_t i = first; i <= last; i++) {
		if (q->tables[i / 8] >> (i % 8) & 1)
			return -EBADMSG;
		q->tables[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	return 0;
}

/* ---- writing tables back ---- */

static int write_tables(struct qcow2 *q)
{
	bool any = q->l1_dirty;

	for (size_t i = 0; i < CACHE_TABLES; i++)
		any |= q->cache[i].dirty;
	if (!any)
		return 0;
	/* What the tables will point at comes first. */
	if (fdatasync(q->fd) < 0)
		return -errno;
	for (size_t i = 0; i < CACHE_TABLES; i++) {
		struct table *t = &q->cache[i];
		int r = t->dirty ? pwrite_exact(q->fd, t->entries, q->cluster, t->offset) : 0;

		if (r < 0)
			return r;
		t->dirty = false;
	}
	if (!q->l1_dirty)
		return 0;
	/* New L2 tables likewise before the L1 that names them. */
	if (fdatasync(q->fd) < 0)
		return -errno;
	int r = pwrite_exact(q->fd, q->l1, (size_t)q->h.l1_entries * 8, q->h.l1_offset);

	q->l1_dirty = r < 0;
	return r;
}

static int qcow2_flush(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);
	int r = write_tables(q);

	return r < 0 ? r : fdatasync(q->fd) < 0 ? -errno : 0;
}

/* ---- allocation ---- */

static int set_refcount(struct qcow2 *q, uint64_t offset, uint16_t count);

/* A cluster at the end of the file, not yet counted. */
static int append_cluster(struct qcow2 *q, uint64_t *offset)
{
	*offset = ALIGN_UP(q->file_size, q->cluster);
	if (*offset >> q->h.cluster_bits >= CLUSTERS_MAX)
		return -EFBIG;
	if (ftruncate(q->fd, (off_t)(*offset + q->cluster)) < 0)
		return -errno;
	q->file_size = *offset + q->cluster;
	return 0;
}

/* A new refcount block, which counts itself or is counted by another. */
static int add_refblock(struct qcow2 *q, uint64_t index, uint64_t *block)
{
	uint64_t entry;
	int r = append_cluster(q, block);

	if (r == 0)
		r = mark_tables(q, *block, q->cluster);
	if (r < 0)
		return r;
	q->reftable[index] = htobe64(*block);
	entry = q->reftable[index];
	r = set_refcount(q, *block, 1);
	return r < 0 ? r : pwrite_exact(q->fd, &entry, 8, q->h.reftable_offset + index * 8);
}

static int set_refcount(struct qcow2 *q, uint64_t offset, uint16_t count)
{
	uint64_t cluster = offset >> q->h.cluster_bits, per_block = q->cluster / 2, block;
	uint64_t index = cluster / per_block;
	uint16_t v = htobe16(count);

	if (index >= q->h.reftable_bytes / 8)
		return -EFBIG;
	int r = qcow2_reftable_entry(&q->h, be64toh(q->reftable[index]), q->file_size, &block);

	if (r == 0 && block == 0)
		r = add_refblock(q, index, &block);
	return r < 0 ? r : pwrite_exact(q->fd, &v, 2, block + cluster % per_block * 2);
}

static int new_cluster(struct qcow2 *q, uint64_t *offset)
{
	int r = append_cluster(q, offset);

	return r < 0 ? r : set_refcount(q, *offset, 1);
}

/* ---- L2 tables ---- */

/* A place in the cache, empty. */
static int cache_slot(struct qcow2 *q, struct table **out)
{
	struct table *t = &q->cache[0];

	for (size_t i = 1; i < CACHE_TABLES; i++) {
		if (q->cache[i].used < t->used)
			t = &q->cache[i];
	}
	if (t->dirty) {
		int r = write_tables(q);

		if (r < 0)
			return r;
	}
	if (!t->entries)
		t->entries = malloc(q->cluster);
	if (!t->entries)
		return -ENOMEM;
	t->offset = 0;
	t->used = ++q->clock;
	*out = t;
	return 0;
}

static int load_table(struct qcow2 *q, uint64_t offset, struct table **out)
{
	for (size_t i = 0; i < CACHE_TABLES; i++) {
		if (q->cache[i].offset == offset) {
			q->cache[i].used = ++q->clock;
			*out = &q->cache[i];
			return 0;
		}
	}
	int r = cache_slot(q, out);

	if (r == 0)
		r = pread_exact(q->fd, (*out)->entries, q->cluster, offset);
	if (r == 0)
		(*out)->offset = offset;
	return r;
}

/* A table of our own for `l1_index`: new, or a copy of one that a snapshot shares. */
static int own_table(struct qcow2 *q, uint64_t l1_index, struct table **out)
{
	uint64_t entry = be64toh(q->l1[l1_index]), old, offset;
	struct table *from = NULL;
	int r = qcow2_l1_entry(&q->h, entry, q->file_size, &old);

	if (r < 0)
		return r;
	if (old && entry & QCOW2_COPIED)
		return load_table(q, old, out);
	r = new_cluster(q, &offset);
	if (r == 0)
		r = mark_tables(q, offset, q->cluster);
	if (r == 0 && old)
		r = load_table(q, old, &from);
	if (r == 0)
		r = cache_slot(q, out);
	if (r < 0)
		return r;
	/* The least recently used is never the one that was just loaded. */
	if (from)
		memcpy((*out)->entries, from->entries, q->cluster);
	else
		memset((*out)->entries, 0, q->cluster);
	if (from) { /* its clusters are shared from now on */
		for (uint64_t i = 0; i < q->cluster / 8; i++)
			(*out)->entries[i] &= ~htobe64(QCOW2_COPIED);
	}
	(*out)->offset = offset;
	(*out)->dirty = true;
	q->l1[l1_index] = htobe64(offset | QCOW2_COPIED);
	q->l1_dirty = true;
	return 0;
}

static uint64_t l1_index_of(const struct qcow2 *q, uint64_t offset)
{
	return offset >> (2 * q->h.cluster_bits - 3);
}

static uint64_t l2_index_of(const struct qcow2 *q, uint64_t offset)
{
	return offset >> q->h.cluster_bits & (q->cluster / 8 - 1);
}

/* What holds the cluster of guest offset `offset`. */
static int look_up(struct qcow2 *q, uint64_t offset, enum qcow2_kind *kind, uint64_t *at,
		   bool *owned)
{
	uint64_t l1 = l1_index_of(q, offset), l2;
	struct table *t;

	*kind = QCOW2_UNALLOCATED;
	*owned = false;
	*at = 0;
	int r = qcow2_l1_entry(&q->h, be64toh(q->l1[l1]), q->file_size, &l2);

	if (r < 0 || l2 == 0)
		return r < 0 ? -EIO : 0;
	r = load_table(q, l2, &t);
	if (r == 0)
		r = qcow2_l2_entry(&q->h, be64toh(t->entries[l2_index_of(q, offset)]), q->file_size,
				   kind, at, owned);
	/* In a table that a snapshot shares nothing is ours. */
	if (r == 0 && !(be64toh(q->l1[l1]) & QCOW2_COPIED))
		*owned = false;
	return r == -EBADMSG ? -EIO : r;
}

/* ---- reading ---- */

/* From the backing disk, which may be shorter. */
static int read_backing(struct qcow2 *q, uint64_t offset, const struct iovec *iov, int n,
			size_t skip, size_t len)
{
	uint64_t there = q->backing && offset < q->backing->size
				 ? MIN((uint64_t)len, q->backing->size - offset)
				 : 0;

	if (there < len)
		iov_zero(iov, n, skip + there, len - there);
	if (!there)
		return 0;
	cleanup_free struct iovec *part = calloc((size_t)n, sizeof(*part));

	if (!part)
		return -ENOMEM;
	return block_readv(q->backing, offset, part, iov_slice(iov, n, skip, (size_t)there, part));
}

static int read_data(struct qcow2 *q, uint64_t at, const struct iovec *iov, int n, size_t skip,
		     size_t len)
{
	cleanup_free struct iovec *part = calloc((size_t)n, sizeof(*part));

	if (!part)
		return -ENOMEM;
	return iov_pread(q->fd, at, part, iov_slice(iov, n, skip, len, part), len);
}

/* What of a request lies in one cluster, and where that is in the file. */
struct extent {
	enum qcow2_kind kind;
	bool owned;
	uint64_t at;
	size_t len;
};

static int find_extent(struct qcow2 *q, uint64_t offset, size_t len, struct extent *x)
{
	uint64_t in_cluster = offset & (q->cluster - 1);
	int r = look_up(q, offset, &x->kind, &x->at, &x->owned);

	x->at += in_cluster;
	x->len = (size_t)MIN((uint64_t)len, q->cluster - in_cluster);
	return r;
}

static int qcow2_readv(struct block *b, uint64_t offset, const struct iovec *iov, int n, size_t len)
{
	struct qcow2 *q = qcow2_of(b);
	size_t done = 0;
	struct extent x;
	int r = 0;

	for (; done < len && r == 0; done += x.len) {
		r = find_extent(q, offset + done, len - done, &x);
		if (r < 0)
			break;
		if (x.kind == QCOW2_DATA)
			r = read_data(q, x.at, iov, n, done, x.len);
		else if (x.kind == QCOW2_ZERO)
			iov_zero(iov, n, done, x.len);
		else
			r = read_backing(q, offset + done, iov, n, done, x.len);
	}
	return r;
}

/* ---- writing ---- */

/* Points the guest's cluster at `at`, ours alone. */
static int set_entry(struct qcow2 *q, uint64_t offset, uint64_t entry)
{
	struct table *t;
	int r = own_table(q, l1_index_of(q, offset), &t);

	if (r < 0)
		return r;
	t->entries[l2_index_of(q, offset)] = htobe64(entry);
	t->dirty = true;
	return 0;
}

/* A new cluster with the old content around the part that is written. */
static int write_new(struct qcow2 *q, uint64_t offset, const struct iovec *iov, int n, size_t skip,
		     size_t len)
{
	uint64_t start = offset & ~(q->cluster - 1), in_cluster = offset - start, at;
	cleanup_free uint8_t *whole = malloc(q->cluster);
	struct iovec one = { whole, q->cluster };
	int r = whole ? 0 : -ENOMEM;

	if (r == 0 && len < q->cluster) {
		/* The last cluster may reach beyond the disk. */
		size_t there = (size_t)MIN(q->cluster, q->base.size - start);

		memset(whole, 0, q->cluster);
		one.iov_len = there;
		r = qcow2_readv(&q->base, start, &one, 1, there);
	}
	if (r == 0)
		r = new_cluster(q, &at);
	if (r < 0)
		return r;
	for (size_t done = 0, i = 0; i < (size_t)n && done < len; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = MIN(iov[i].iov_len - skip, len - done);

		memcpy(whole + in_cluster + done, (char *)iov[i].iov_base + skip, part);
		done += part;
		skip = 0;
	}
	r = pwrite_exact(q->fd, whole, q->cluster, at);
	return r < 0 ? r : set_entry(q, offset, at | QCOW2_COPIED);
}

static int write_in_place(struct qcow2 *q, uint64_t at, const struct iovec *iov, int n, size_t skip,
			  size_t len)
{
	cleanup_free struct iovec *part = calloc((size_t)n, sizeof(*part));

	if (is_table(q, at))
		return -EIO; /* data that points into tables */
	if (!part)
		return -ENOMEM;
	int r = iov_pwrite(q->fd, at, part, iov_slice(iov, n, skip, len, part), len);

	q->file_size = MAX(q->file_size, at + len);
	return r;
}

static int qcow2_writev(struct block *b, uint64_t offset, const struct iovec *iov, int n,
			size_t len)
{
	struct qcow2 *q = qcow2_of(b);
	size_t done = 0;
	struct extent x;
	int r = 0;

	for (; done < len && r == 0; done += x.len) {
		r = find_extent(q, offset + done, len - done, &x);
		if (r < 0)
			break;
		if (x.kind == QCOW2_DATA && x.owned)
			r = write_in_place(q, x.at, iov, n, done, x.len);
		else
			r = write_new(q, offset + done, iov, n, done, x.len);
	}
	return r;
}

static void qcow2_free(struct block *b)
{
	struct qcow2 *q = qcow2_of(b);

	/* Without a flush what was written since the last one may be lost, as a disk's cache would be; with
	 * one nothing is. Its failure has nobody to go to any more. */
	if (q->tables && !q->base.read_only)
		qcow2_flush(b);
	for (size_t i = 0; i < CACHE_TABLES; i++)
		free(q->cache[i].entries);
	free(q->tables);
	free(q->l1);
	free(q->reftable);
	block_free(q->backing);
	close(q->fd);
	free(q);
}

static const struct block_ops qcow2_ops = {
	.name = "qcow2",
	.readv = qcow2_readv,
	.writev = qcow2_writev,
	.flush = qcow2_flush,
	.free = qcow2_free,
};

/* ---- opening ---- */

static int read_table(struct qcow2 *q, uint64_t **out, size_t bytes, uint64_t offset)
{
	*out = malloc(bytes ? bytes : 8);
	return !*out ? -ENOMEM : pread_exact(q->fd, *out, bytes, offset);
}

/* Marks all metadata; two tables in one place are an attack or a ruin. */
static int map_tables(struct qcow2 *q, struct err *e)
{
	uint64_t at, n = q->h.reftable_bytes / 8;
	int r = mark_tables(q, 0, q->cluster);

	if (r == 0)
		r = mark_tables(q, q->h.reftable_offset, q->h.reftable_bytes);
	if (r == 0 && q->h.l1_entries)
		r = mark_tables(q, q->h.l1_offset, (uint64_t)q->h.l1_entries * 8);
	for (uint64_t i = 0; i < n && r == 0; i++) {
		r = qcow2_reftable_entry(&q->h, be64toh(q->reftable[i]), q->file_size, &at);
		if (r == 0 && at)
			r = mark_tables(q, at, q->cluster);
		if (r < 0)
			return err_set(e, r,
				       "qcow2: refcount block %llu lies outside or on other tables",
				       (unsigned long long)i);
	}
	for (uint64_t i = 0; i < q->h.l1_entries && r == 0; i++) {
		r = qcow2_l1_entry(&q->h, be64toh(q->l1[i]), q->file_size, &at);
		if (r == 0 && at)
			r = mark_tables(q, at, q->cluster);
		if (r < 0)
			return err_set(e, r, "qcow2: L2 table %llu lies outside or on other tables",
				       (unsigned long long)i);
	}
	return r < 0 ? err_set(e, r, "qcow2: its tables overlap") : 0;
}

static int open_image(struct qcow2 *q, struct err *e)
{
	uint8_t head[QCOW2_HEAD];
	struct stat st;

	if (fstat(q->fd, &st) < 0)
		return err_sys(e, -errno, "qcow2: fstat");
	ssize_t n = pread(q->fd, head, sizeof(head), 0);

	if (n < 0)
		return err_sys(e, -errno, "qcow2: read");
	q->file_size = (uint64_t)st.st_size;
	int r = qcow2_header_parse(head, (size_t)n, q->file_size, &q->h, e);

	if (r < 0)
		return r;
	q->cluster = 1ull << q->h.cluster_bits;
	q->base.size = q->h.size;
	if (!q->base.read_only && (q->h.dirty || !q->h.sixteen_bit_refcounts))
		return err_set(e, -ENOTSUP, "qcow2: %s: it can only be read",
			       q->h.dirty ? "not closed cleanly (Fix: qemu-img check -r all)"
					  : "refcounts of another width than 16 bits");
	if (q->h.backing[0] && !q->backing)
		return err_set(e, -EACCES,
			       "qcow2: it needs the backing file '%s', which was not given",
			       q->h.backing);
	if (!q->h.backing[0] && q->backing)
		return err_set(e, -EINVAL, "qcow2: a backing file was given, but it names none");
	r = read_table(q, &q->l1, (size_t)q->h.l1_entries * 8, q->h.l1_offset);
	if (r == 0)
		r = read_table(q, &q->reftable, (size_t)q->h.reftable_bytes, q->h.reftable_offset);
	if (r < 0)
		return err_sys(e, r, "qcow2: tables");
	r = map_tables(q, e);
	if (r < 0)
		return r;
	/* Features that a writer who does not know them must switch off. */
	static const uint64_t none;

	if (!q->base.read_only && q->h.has_autoclear)
		r = pwrite_exact(q->fd, &none, sizeof(none), 88);
	return r < 0 ? err_sys(e, r, "qcow2: write") : 0;
}

struct block *block_qcow2_new(int fd, bool read_only, struct block *backing, struct err *e)
{
	struct qcow2 *q = calloc(1, sizeof(*q));

	if (!q) {
		close(fd);
		block_free(backing);
		err_sys(e, -ENOMEM, "qcow2");
		return NULL;
	}
	q->base = (struct block){ .ops = &qcow2_ops, .read_only = read_only, .event_fd = -1 };
	q->fd = fd;
	q->backing = backing;
	if (open_image(q, e) < 0) {
		q->base.read_only = true; /* nothing to flush */
		qcow2_free(&q->base);
		return NULL;
	}
	return &q->base;
}
