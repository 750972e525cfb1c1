/* xenstore: a small tree of strings through which guest drivers and host back ends find each other. Pure: bytes
 * in, bytes out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/xen.h"

struct store;

/* Called for each path that the guest changed, after it was (after the commit, in a transaction). May write to
 * the store. */
typedef void store_changed_fn(void *arg, const char *path);

/* `home` is the guest's directory ("/local/domain/1"): relative paths begin there and only there may the guest
 * write. NULL without memory. */
struct store *store_new(const char *home, store_changed_fn *changed, void *arg);
void store_free(struct store *s);

/* The host's side: absolute paths. Watches of the guest fire into `out`, which may be NULL. 0 or -errno. */
int store_write(struct store *s, const char *path, const char *value, struct buf *out);
int store_remove(struct store *s, const char *path, struct buf *out);
/* The value, NUL-terminated, valid until the next change; NULL when there is none. */
const char *store_read(const struct store *s, const char *path);

/* One message of the guest, `payload` being m->len bytes (at most XEN_STORE_PAYLOAD_MAX). The reply, and watch
 * events that it caused, are appended to `out`. */
void store_request(struct store *s, const struct xen_store_msg *m, const uint8_t *payload,
		   struct buf *out);
