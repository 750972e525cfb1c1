/* Disks of the user's in a guest. */
#pragma once

#include "run/guest_int.h"
#include "storage/block.h"

/* Opens and locks what `spec` names (annotations, vm.image); `prefix`: "xvd" or "vd". After `g->root` and
 * `g->upper`. 0 or -errno. */
int guest_disks_open(struct guest_machine *g, const struct oci_spec *spec, const char *prefix,
		     struct err *e);
void guest_disks_fini(struct guest_machine *g);
/* How the VMM reads and writes a raw image: block_raw_new or block_uring_new. */
typedef struct block *guest_disk_raw_fn(int fd, bool read_only, struct err *e);
/* In the VMM: takes the descriptors. NULL with `e` set. */
struct block *guest_disk_block(struct guest_disk *d, guest_disk_raw_fn *raw, struct err *e);
