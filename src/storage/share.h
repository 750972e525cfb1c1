/* A directory of the host as a guest sees it: the FUSE protocol (7.31 and later), server side. virtio-fs
 * carries its messages in queue buffers, the agent of a pv guest over its line; the server is the same. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct share;

enum {
	SHARE_WRITE_MAX = 128 << 10, /* data of one WRITE or READ */
	SHARE_MESSAGE_MAX = SHARE_WRITE_MAX + 4096,
};

struct share_config {
	int root; /* O_PATH descriptor of the directory, or of one regular file; taken over */
	int proc; /* /proc/self/fd as a directory descriptor; not owned */
	bool read_only;
	bool set_owner; /* files belong to who made them in the guest: needs CAP_CHOWN; else all are ours */
};

/* The process's umask should be 0: the guest has applied its own. NULL with `e` set; `root` is closed then too. */
struct share *share_new(const struct share_config *config, struct err *e);
void share_free(struct share *s);

/* Answers one request. `n` bytes of request, whole; the reply goes to `reply` (at least SHARE_MESSAGE_MAX
 * bytes). Returns the reply's length, 0 when the request wants none (FORGET), -EBADMSG when it is no FUSE
 * request at all (then the peer is broken). One thread at a time. */
ssize_t share_request(struct share *s, const void *request, size_t n, void *reply);
