/* A connection to a D-Bus daemon: calls, and the signals that come between. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/dbus.h"

struct bus {
	int fd;
	uint32_t serial;
	struct buf in; /* received, from a message's start */
	size_t used;   /* length of the message handed out last, still in `in` */
	/* Sees every signal that arrives while a call or bus_wait() waits; may be NULL. */
	void (*on_signal)(struct bus *b, const struct dbus_msg *m);
	void *arg;
};

/* Connects to the first of `addresses` ("unix:path=/run/dbus/system_bus_socket;unix:abstract=x") that answers,
 * proves our user and says Hello. 0 or -errno. */
int bus_open(struct bus *b, const char *addresses, struct err *e);
void bus_close(struct bus *b);

/* Calls a method and waits (at most 30 s) for the answer, which is valid until the next use of `b`. `body` may be
 * NULL, then `signature` is too. 0; -errno with the peer's own words in `e`, and its error name in `error_name` (64
 * bytes, may be NULL). */
int bus_call(struct bus *b, const struct dbus_msg *call, const struct buf *body,
	     struct dbus_msg *reply, char *error_name, struct err *e);

/* Takes messages until `*done` (set by on_signal) or `deadline`. 0 or -errno. */
int bus_wait(struct bus *b, const int *done, uint64_t deadline, struct err *e);
