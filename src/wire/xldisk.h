/* A disk as xl.cfg(5) and `--disk` write it (xl-disk-configuration(5), the part that is known here):
 * "PATH,FORMAT,VDEV,ACCESS" in this order, or "format=qcow2,vdev=xvda,access=ro,target=PATH", or both
 * mixed; "iops=100,bps=10M" are limits of our own; also the old "phy:PATH,VDEV,ACCESS". Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum xl_disk_format { XL_DISK_UNSAID, XL_DISK_RAW, XL_DISK_QCOW2 };

struct xl_disk {
	char path[4096];
	enum xl_disk_format format;
	char vdev[8]; /* "xvda" to "xvdp"; "": any */
	bool read_only;
	char backing[4096]; /* directory that the image's backing files may be in; "": its own */
	uint64_t iops, bps; /* at most, a second; 0: any number */
};

/* 0, or -EINVAL or -EOPNOTSUPP with `e` naming the part. */
int xl_disk_parse(const char *spec, struct xl_disk *out, struct err *e);

/* The same as text, with `path` in place of its own; to be freed. NULL without memory. */
char *xl_disk_format(const struct xl_disk *d, const char *path);
