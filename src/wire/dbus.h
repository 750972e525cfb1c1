/* D-Bus messages as bytes (D-Bus specification 0.38, "Message Protocol"), little-endian only: both ends are on this
 * machine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { DBUS_MESSAGE_MAX = 1 << 20 }; /* ours; the protocol would allow 128 MiB */

enum dbus_type {
	DBUS_CALL = 1,
	DBUS_RETURN = 2,
	DBUS_ERROR = 3,
	DBUS_SIGNAL = 4,
};

/* Strings are NULL when the header has no such field; after dbus_parse() they point into its bytes. */
struct dbus_msg {
	enum dbus_type type;
	uint32_t serial, reply_serial;
	const char *path, *interface, *member, *error_name, *destination, *sender, *signature;
	const unsigned char *body;
	size_t body_n;
};

/* Appends the whole message; `m->body` are marshalled values as the dbus_put functions make them in a buffer of
 * their own. 0 or the buffer's -errno. */
int dbus_print(const struct dbus_msg *m, struct buf *out);

/* 1: one message of `*used` bytes; 0: more bytes are needed; -EBADMSG, -EMSGSIZE. */
int dbus_parse(const void *p, size_t n, struct dbus_msg *m, size_t *used);

/* Values of a body. */
void dbus_put_u32(struct buf *b, uint32_t v);
void dbus_put_u64(struct buf *b, uint64_t v);
void dbus_put_bool(struct buf *b, bool v);
void dbus_put_string(struct buf *b, const char *s); /* an object path too */
void dbus_put_signature(struct buf *b, const char *s);
/* Structs and dictionary entries begin on 8 bytes. */
void dbus_put_struct(struct buf *b);
/* An array whose elements are aligned to `align`: what it returns goes to the other one at the end. */
size_t dbus_array_begin(struct buf *b, size_t align);
void dbus_array_end(struct buf *b, size_t begin, size_t align);

struct dbus_reader {
	const unsigned char *p;
	size_t n, at;
};

/* 0 or -EBADMSG. */
int dbus_get_u32(struct dbus_reader *r, uint32_t *v);
int dbus_get_string(struct dbus_reader *r, const char **s); /* an object path too */
int dbus_get_signature(struct dbus_reader *r, const char **s);
