/* qcow2 images: the header and what table entries mean (QEMU's docs/interop/qcow2.txt). Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* How much of the file's start qcow2_header_parse wants. */
#define QCOW2_HEAD 4096u
/* Tables larger than these are refused: they describe 2 PB at the usual cluster size. */
#define QCOW2_L1_MAX	   (4u << 20) /* entries */
#define QCOW2_REFTABLE_MAX (8u << 20) /* bytes */

#define QCOW2_COPIED (1ull << 63)

/* What the image says that its backing file is. */
enum qcow2_backing { QCOW2_BACKING_UNSAID, QCOW2_BACKING_RAW, QCOW2_BACKING_QCOW2 };

struct qcow2_header {
	unsigned version;      /* 2 or 3 */
	unsigned cluster_bits; /* 9 to 21 */
	uint64_t size;	       /* of the disk, bytes */
	uint64_t l1_offset;
	uint32_t l1_entries;
	uint64_t reftable_offset;
	uint64_t reftable_bytes;
	bool sixteen_bit_refcounts; /* what writing needs */
	bool dirty;		    /* refcounts may be wrong: not to be written */
	bool has_autoclear;
	char backing[1024]; /* name, "" for none; never opened by us */
	enum qcow2_backing backing_format;
};

/* `file_size` is the size of the whole file. 0, or -EBADMSG, -ENOTSUP with `e` naming the field. */
int qcow2_header_parse(const uint8_t *p, size_t n, uint64_t file_size, struct qcow2_header *out,
		       struct err *e);

enum qcow2_kind { QCOW2_UNALLOCATED, QCOW2_ZERO, QCOW2_DATA };

/* An entry of the L1 table, host order: the offset of an L2 table (0: none). 0 or -EBADMSG. */
int qcow2_l1_entry(const struct qcow2_header *h, uint64_t entry, uint64_t file_size,
		   uint64_t *offset);

/* An entry of an L2 table, host order. `*offset` is the cluster's, also of a preallocated zero one (else 0);
 * `*owned`: no snapshot shares it. 0, -EBADMSG, or -ENOTSUP for a compressed cluster. */
int qcow2_l2_entry(const struct qcow2_header *h, uint64_t entry, uint64_t file_size,
		   enum qcow2_kind *kind, uint64_t *offset, bool *owned);

/* An entry of the refcount table: the offset of a block (0: none). 0 or -EBADMSG. */
int qcow2_reftable_entry(const struct qcow2_header *h, uint64_t entry, uint64_t file_size,
			 uint64_t *offset);
