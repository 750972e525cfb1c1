/* The conversation between init and the process that creates or starts it: whole messages over a
 * SOCK_SEQPACKET pair or connection. The end of the conversation means that the command runs, or that the
 * other side died; who waits for a reply knows which. */
#pragma once

#include "base/err.h"

enum sync_type {
	/* from init */
	SYNC_ERROR = 1, /* `err` says why it gives up; `value`: the program could not be run */
	SYNC_PID,	/* `value`: of the process that goes on in place of the sender */
	SYNC_MAP,	/* write my id maps; answered by SYNC_GO */
	SYNC_HOOKS, /* namespaces and mounts stand: run the runtime's hooks; answered by SYNC_GO */
	SYNC_TERMINAL, /* with the master's descriptor */
	SYNC_CREATED,  /* waiting for SYNC_START */
	SYNC_LISTENER, /* with the seccomp notification descriptor */
	/* to init */
	SYNC_GO,
	SYNC_START,
	SYNC_CGROUP, /* with the descriptors to join by; `value`: cgroup.kept */
};

struct sync_msg {
	int type;
	int value;
	struct err err;
};

/* `err` may be NULL, `fd` -1. 0 or -errno. */
int sync_send(int sock, enum sync_type type, int value, const struct err *err, int fd);

/* As above with several descriptors. */
int sync_send_fds(int sock, enum sync_type type, int value, const int *fds, int n);

/* 0, or -errno; -EPIPE when the other side is gone. `fd` may be NULL: a descriptor that comes is closed. */
int sync_recv(int sock, struct sync_msg *m, int *fd);

/* Waits for one type. Another message, or the end, is an error; SYNC_ERROR becomes `e`. */
int sync_expect(int sock, enum sync_type type, struct err *e);

/* As sync_expect, for a message with descriptors: `fds` has room for SYS_FDS_MAX. */
int sync_expect_fds(int sock, enum sync_type type, int *value, int *fds, int *n, struct err *e);

/* Takes a SYNC_ERROR over. -ENOENT and -EACCES are kept for the program that could not be run; with any other
 * cause they become -EINVAL, the text stays. Returns e->code. */
int sync_error(const struct sync_msg *m, struct err *e);
