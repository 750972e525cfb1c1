/*
 * The judge of qcow2 images. Every number that says where something lies is held against the file's size and
 * the cluster size before storage/ follows it; features that change the meaning of the tables are refused by
 * name.
 *
 * Trust: every byte is hostile. Threads: none. #syscalls: none
 */
#include "wire/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* Offsets in the header. */
enum {
	MAGIC = 0,
	VERSION = 4,
	BACKING_OFFSET = 8,
	BACKING_SIZE = 16,
	CLUSTER_BITS = 20,
	SIZE = 24,
	CRYPT = 32,
	L1_SIZE = 36,
	L1_OFFSET = 40,
	REFTABLE_OFFSET = 48,
	REFTABLE_CLUSTERS = 56,
	V2_END = 72,
	INCOMPATIBLE = 72,
	AUTOCLEAR = 88,
	REFCOUNT_ORDER = 96,
	HEADER_LENGTH = 100,
	V3_END = 104,
};

/* Incompatible features. */
enum {
	FEATURE_DIRTY = 1,
	FEATURE_CORRUPT = 2,
	FEATURE_DATA_FILE = 4,
	FEATURE_COMPRESSION = 8,
	FEATURE_L2 = 16
};

/* Header extensions. */
enum { EXTENSION_END = 0, EXTENSION_BACKING_FORMAT = 0xe2792aca };

#define OFFSET_MASK 0x00fffffffffffe00ull

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

/* A run of bytes that begins on a cluster and lies inside the file, behind the header. */
static bool inside(const struct qcow2_header *h, uint64_t offset, uint64_t len, uint64_t file_size)
{
	uint64_t cluster = 1ull << h->cluster_bits;

	return offset % cluster == 0 && offset >= cluster && offset <= file_size &&
	       len <= file_size - offset;
}

static int read_features(const uint8_t *p, size_t n, struct qcow2_header *h, struct err *e)
{
	h->sixteen_bit_refcounts = true;
	if (h->version == 2)
		return 0;
	if (n < V3_END)
		return err_set(e, -EBADMSG, "qcow2: shorter than its header");
	uint64_t features = get64(p + INCOMPATIBLE);

	if (features & FEATURE_CORRUPT)
		return err_set(e, -EBADMSG, "qcow2: marked corrupt. Fix: qemu-img check -r all");
	if (features & FEATURE_DATA_FILE)
		return err_set(e, -ENOTSUP, "qcow2: keeps its data in another file");
	if (features & FEATURE_L2)
		return err_set(e, -ENOTSUP, "qcow2: has extended L2 entries");
	if (features & ~(uint64_t)(FEATURE_DIRTY | FEATURE_COMPRESSION))
		return err_set(e, -ENOTSUP, "qcow2: incompatible features %#llx",
			       (unsigned long long)features);
	h->dirty = features & FEATURE_DIRTY;
	h->has_autoclear = get64(p + AUTOCLEAR) != 0;
	h->sixteen_bit_refcounts = get32(p + REFCOUNT_ORDER) == 4;
	return 0;
}

static int read_tables(const uint8_t *p, uint64_t file_size, struct qcow2_header *h, struct err *e)
{
	uint64_t per_l2 = 1ull << (2 * h->cluster_bits - 3); /* bytes that one L2 table describes */
	uint32_t reftable = get32(p + REFTABLE_CLUSTERS);

	h->l1_entries = get32(p + L1_SIZE);
	h->l1_offset = get64(p + L1_OFFSET);
	h->reftable_offset = get64(p + REFTABLE_OFFSET);
	if (h->l1_entries > QCOW2_L1_MAX)
		return err_set(e, -EBADMSG, "qcow2: an L1 table of %u entries", h->l1_entries);
	if (h->size / per_l2 + (h->size % per_l2 != 0) > h->l1_entries)
		return err_set(e, -EBADMSG,
			       "qcow2: its L1 table (%u entries) does not cover its size",
			       h->l1_entries);
	if (h->l1_entries && !inside(h, h->l1_offset, (uint64_t)h->l1_entries * 8, file_size))
		return err_set(e, -EBADMSG, "qcow2: the L1 table is not inside the file");
	if (reftable == 0 || reftable > QCOW2_REFTABLE_MAX >> h->cluster_bits)
		return err_set(e, -EBADMSG, "qcow2: a refcount table of %u clusters", reftable);
	h->reftable_bytes = (uint64_t)reftable << h->cluster_bits;
	if (!inside(h, h->reftable_offset, h->reftable_bytes, file_size))
		return err_set(e, -EBADMSG, "qcow2: the refcount table is not inside the file");
	uint64_t l1_end = h->l1_offset + (uint64_t)h->l1_entries * 8;

	if (h->l1_entries && h->l1_offset < h->reftable_offset + h->reftable_bytes &&
	    h->reftable_offset < l1_end)
		return err_set(e, -EBADMSG, "qcow2: the L1 and the refcount table overlap");
	return 0;
}

/* Extensions follow the header: type, length, and content padded to 8 bytes. `n` ends them at the latest. */
static int read_backing_format(const uint8_t *p, size_t n, struct qcow2_header *h, struct err *e)
{
	uint64_t at = h->version == 2 ? V2_END : get32(p + HEADER_LENGTH);

	while (at + 8 <= n && get32(p + at) != EXTENSION_END) {
		uint32_t type = get32(p + at), len = get32(p + at + 4);

		at += 8;
		if (len > n - at)
			return err_set(e, -EBADMSG, "qcow2: an extension is not inside the header");
		if (type == EXTENSION_BACKING_FORMAT) {
			if (len == 3 && memcmp(p + at, "raw", 3) == 0)
				h->backing_format = QCOW2_BACKING_RAW;
			else if (len == 5 && memcmp(p + at, "qcow2", 5) == 0)
				h->backing_format = QCOW2_BACKING_QCOW2;
			else
				return err_set(e, -ENOTSUP,
					       "qcow2: the backing file is neither raw nor qcow2");
		}
		at += ((uint64_t)len + 7) & ~7ull;
	}
	return 0;
}

static int read_backing(const uint8_t *p, size_t n, struct qcow2_header *h, struct err *e)
{
	uint64_t offset = get64(p + BACKING_OFFSET);
	uint32_t size = get32(p + BACKING_SIZE);

	if (offset == 0)
		return 0;
	if (size == 0 || size >= sizeof(h->backing) || offset > n || size > n - offset ||
	    offset + size > 1ull << h->cluster_bits)
		return err_set(e, -EBADMSG,
			       "qcow2: the backing file's name is not inside the header");
	if (memchr(p + offset, '\0', size))
		return err_set(e, -EBADMSG, "qcow2: the backing file's name holds a NUL");
	memcpy(h->backing, p + offset, size);
	return read_backing_format(p, (size_t)offset, h, e);
}

int qcow2_header_parse(const uint8_t *p, size_t n, uint64_t file_size, struct qcow2_header *h,
		       struct err *e)
{
	*h = (struct qcow2_header){ 0 };
	if (n < V2_END || memcmp(p + MAGIC, "QFI\xfb", 4) != 0)
		return err_set(e, -EBADMSG, "qcow2: not a qcow2 image");
	h->version = get32(p + VERSION);
	if (h->version != 2 && h->version != 3)
		return err_set(e, -ENOTSUP, "qcow2: version %u, not 2 or 3", h->version);
	h->cluster_bits = get32(p + CLUSTER_BITS);
	if (h->cluster_bits < 9 || h->cluster_bits > 21)
		return err_set(e, -EBADMSG, "qcow2: clusters of 2^%u bytes", h->cluster_bits);
	if (get32(p + CRYPT))
		return err_set(e, -ENOTSUP, "qcow2: encrypted");
	h->size = get64(p + SIZE);
	if (h->size > INT64_MAX || h->size % 512)
		return err_set(e, -EBADMSG, "qcow2: a disk of %llu bytes",
			       (unsigned long long)h->size);
	int r = read_features(p, n, h, e);

	if (r == 0)
		r = read_tables(p, file_size, h, e);
	return r < 0 ? r : read_backing(p, n, h, e);
}

static int table_offset(const struct qcow2_header *h, uint64_t entry, uint64_t mask,
			uint64_t file_size, uint64_t *offset)
{
	*offset = entry & mask;
	if (*offset && !inside(h, *offset, 1ull << h->cluster_bits, file_size))
		return -EBADMSG;
	return 0;
}

int qcow2_l1_entry(const struct qcow2_header *h, uint64_t entry, uint64_t file_size,
		   uint64_t *offset)
{
	return table_offset(h, entry, OFFSET_MASK, file_size, offset);
}

int qcow2_reftable_entry(const struct qcow2_header *h, uint64_t entry, uint64_t file_size,
			 uint64_t *offset)
{
	return table_offset(h, entry, ~0x1ffull, file_size, offset);
}

int qcow2_l2_entry(const struct qcow2_header *h, uint64_t entry, uint64_t file_size,
		   enum qcow2_kind *kind, uint64_t *offset, bool *owned)
{
	uint64_t cluster = 1ull << h->cluster_bits;

	if (entry & 1ull << 62)
		return -ENOTSUP;
	*offset = entry & OFFSET_MASK;
	*owned = entry & QCOW2_COPIED && *offset;
	*kind = h->version >= 3 && entry & 1 ? QCOW2_ZERO
		: *offset		     ? QCOW2_DATA
					     : QCOW2_UNALLOCATED;
	/* The last cluster may be cut off by the file's end: it reads as zeroes there. */
	if (*offset && (*offset % cluster || *offset < cluster || *offset >= file_size))
		return -EBADMSG;
	return 0;
}
