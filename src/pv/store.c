/*
 * xenstore's tree, watches and transactions.
 *
 * A node has a name, a value and children. A watch is a path and a token; changing a node at or below the path
 * sends the token. A transaction works on a copy of the tree, and its end puts the copy in place unless the tree
 * changed meanwhile, in which case the guest is told EAGAIN and tries again, as drivers are used to.
 *
 * Trust: messages are the guest's. Lengths were bounded by the caller; strings here are looked for within them.
 * Quotas bound nodes, values, watches and transactions, so that a guest cannot make us grow. A guest writes only
 * below its home. Pure: no system call. Threads: one. #syscalls: none
 */
#include "pv/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define PATH_BYTES	 512u
#define VALUE_BYTES	 2048u
#define NODES_MAX	 2048u
#define WATCHES_MAX	 128u
#define TRANSACTIONS_MAX 8u
#define TOKEN_BYTES	 256u
#define CHANGES_MAX	 256u

struct node {
	struct node *next, *child; /* siblings in order of creation */
	char *name;
	char *value; /* NUL-terminated beyond `len` */
	size_t len;
};

struct watch {
	struct watch *next;
	char path[PATH_BYTES]; /* absolute */
	size_t cut;	       /* bytes of an event's path that the guest did not write itself */
	char token[TOKEN_BYTES];
};

struct change {
	struct change *next;
	char path[];
};

struct transaction {
	struct transaction *next;
	uint32_t id;
	uint64_t generation; /* of the tree when it began */
	struct node *root;
	size_t nodes;
	struct change *changes;
	size_t changed;
};

struct store {
	char home[64];
	store_changed_fn *changed;
	void *arg;
	struct node *root;
	size_t nodes;
	uint64_t generation;
	struct watch *watches;
	size_t watch_count;
	struct transaction *transactions;
	size_t transaction_count;
	uint32_t last_id;
};

/* The tree that an operation works on: the live one, or a transaction's. */
struct view {
	struct node **root;
	size_t *nodes;
	struct transaction *t;
};

static void node_free(struct node *n)
{
	while (n) {
		struct node *next = n->next;

		node_free(n->child);
		free(n->name);
		free(n->value);
		free(n);
		n = next;
	}
}

static struct node *node_new(const char *name, size_t n)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->name = strndup(name, n);
	node->value = calloc(1, 1);
	if (!node->name || !node->value) {
		node_free(node);
		return NULL;
	}
	return node;
}

/* A copy of a node and its children, without its siblings. */
static struct node *node_copy(const struct node *from)
{
	struct node *to = node_new(from->name, strlen(from->name));

	if (!to)
		return NULL;
	free(to->value);
	to->len = from->len;
	to->value = malloc(from->len + 1);
	if (!to->value) {
		node_free(to);
		return NULL;
	}
	memcpy(to->value, from->value, from->len + 1);
	struct node **end = &to->child;

	for (const struct node *c = from->child; c; c = c->next) {
		*end = node_copy(c);
		if (!*end) {
			node_free(to);
			return NULL;
		}
		end = &(*end)->next;
	}
	return to;
}

static size_t node_count(const struct node *n)
{
	size_t count = 1;

	for (const struct node *c = n->child; c; c = c->next)
		count += node_count(c);
	return count;
}

static struct node **child_slot(struct node *n, const char *name, size_t len)
{
	struct node **c = &n->child;

	while (*c && !(strlen((*c)->name) == len && !memcmp((*c)->name, name, len)))
		c = &(*c)->next;
	return c;
}

/* The next element of an absolute path; 0 at its end. */
static size_t element(const char **path)
{
	while (**path == '/')
		(*path)++;
	return strcspn(*path, "/");
}

static struct node *find(struct node *root, const char *path)
{
	struct node *n = root;
	size_t len;

	for (; n && (len = element(&path)); path += len)
		n = *child_slot(n, path, len);
	return n;
}

/* The node at `path`, made with its parents if need be. NULL with *r set. */
static struct node *make(struct view v, const char *path, int *r)
{
	struct node *n = *v.root;
	size_t len;

	for (; (len = element(&path)); path += len) {
		struct node **c = child_slot(n, path, len);

		if (!*c) {
			if (*v.nodes >= NODES_MAX) {
				*r = -ENOSPC;
				return NULL;
			}
			*c = node_new(path, len);
			if (!*c) {
				*r = -ENOMEM;
				return NULL;
			}
			(*v.nodes)++;
		}
		n = *c;
	}
	return n;
}

static int set_value(struct node *n, const void *value, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, value, len);
	copy[len] = '\0';
	free(n->value);
	n->value = copy;
	n->len = len;
	return 0;
}

static int cut_out(struct view v, const char *path)
{
	char parent[PATH_BYTES];
	const char *slash = strrchr(path, '/');

	if (!slash || !slash[1])
		return -EINVAL;
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	struct node *p = find(*v.root, parent);
	struct node **c = p ? child_slot(p, slash + 1, strlen(slash + 1)) : NULL;

	if (!c || !*c)
		return -ENOENT;
	struct node *gone = *c;

	*v.nodes -= node_count(gone);
	*c = gone->next;
	gone->next = NULL;
	node_free(gone);
	return 0;
}

/* Replies */

static void put(struct buf *out, uint32_t type, uint32_t req_id, uint32_t tx_id, const void *p,
		size_t n)
{
	const struct xen_store_msg m = {
		.type = type, .req_id = req_id, .tx_id = tx_id, .len = (uint32_t)n
	};

	buf_add(out, &m, sizeof(m));
	buf_add(out, p, n);
}

static const char *error_name(int r)
{
	switch (r) {
	case -ENOENT:
		return "ENOENT";
	case -EINVAL:
		return "EINVAL";
	case -EACCES:
		return "EACCES";
	case -EEXIST:
		return "EEXIST";
	case -EAGAIN:
		return "EAGAIN";
	case -ENOSPC:
		return "ENOSPC";
	case -ENOSYS:
		return "ENOSYS";
	case -E2BIG:
		return "E2BIG";
	default:
		return "ENOMEM";
	}
}

static bool at_or_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	if (n == 1 && top[0] == '/')
		return true;
	return !strncmp(path, top, n) && (path[n] == '\0' || path[n] == '/');
}

static void send_event(const struct watch *w, const char *path, struct buf *out)
{
	char b[PATH_BYTES + TOKEN_BYTES + 2];
	size_t n = strlen(path + w->cut) + 1, t = strlen(w->token) + 1;

	memcpy(b, path + w->cut, n);
	memcpy(b + n, w->token, t);
	put(out, XS_WATCH_EVENT, 0, 0, b, n + t);
}

/* A removed node also touches watches below it. */
static void fire(struct store *s, const char *path, bool removed, struct buf *out)
{
	s->generation++;
	for (const struct watch *w = s->watches; w && out; w = w->next) {
		if (at_or_below(path, w->path))
			send_event(w, path, out);
		else if (removed && at_or_below(w->path, path))
			send_event(w, w->path, out);
	}
}

/* Remembers a change until its transaction ends. */
static int remember(struct transaction *t, const char *path)
{
	if (t->changed >= CHANGES_MAX)
		return -ENOSPC;
	size_t n = strlen(path) + 1;
	struct change *c = malloc(sizeof(*c) + n), **end = &t->changes;

	if (!c)
		return -ENOMEM;
	c->next = NULL;
	memcpy(c->path, path, n);
	while (*end)
		end = &(*end)->next;
	*end = c;
	t->changed++;
	return 0;
}

/* Operations of the guest. Each gets its payload as NUL-terminated text of `len` bytes. */

struct request {
	struct store *s;
	struct view v;
	const struct xen_store_msg *m;
	const char *text;
	size_t len;
	char path[PATH_BYTES]; /* absolute, of the first string */
	struct buf *out;
};

static void reply(struct request *q, const void *p, size_t n)
{
	put(q->out, q->m->type, q->m->req_id, q->m->tx_id, p, n);
}

static int reply_ok(struct request *q)
{
	reply(q, "OK", 3);
	return 0;
}

/* The guest changed its path: the reply, then what follows from it, now or at the transaction's end. */
static int changed(struct request *q, bool removed)
{
	if (q->v.t) {
		int r = remember(q->v.t, q->path);

		return r ? r : reply_ok(q);
	}
	reply_ok(q);
	fire(q->s, q->path, removed, q->out);
	if (q->s->changed)
		q->s->changed(q->s->arg, q->path);
	return 0;
}

/* Makes a path absolute and refuses what is none. */
static int absolute(const struct store *s, const char *text, char *path)
{
	size_t n = strlen(text);

	if (!n)
		return -EINVAL;
	int r = text[0] == '/' ? snprintf(path, PATH_BYTES, "%s", text)
			       : snprintf(path, PATH_BYTES, "%s/%s", s->home, text);

	if (r < 0 || (size_t)r >= PATH_BYTES)
		return -E2BIG;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] > '~')
			return -EINVAL;
	n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	return strstr(path, "//") ? -EINVAL : 0;
}

static bool may_write(const struct request *q)
{
	return at_or_below(q->path, q->s->home) && strcmp(q->path, q->s->home);
}

static int op_read(struct request *q)
{
	struct node *n = find(*q->v.root, q->path);

	if (!n)
		return -ENOENT;
	reply(q, n->value, n->len);
	return 0;
}

static int op_directory(struct request *q)
{
	struct node *n = find(*q->v.root, q->path);
	char list[XEN_STORE_PAYLOAD_MAX];
	size_t used = 0;

	if (!n)
		return -ENOENT;
	for (const struct node *c = n->child; c; c = c->next) {
		size_t len = strlen(c->name) + 1;

		if (used + len > sizeof(list))
			return -E2BIG;
		memcpy(list + used, c->name, len);
		used += len;
	}
	reply(q, list, used);
	return 0;
}

static int op_write(struct request *q)
{
	size_t skip = strlen(q->text) + 1;
	int r = 0;

	if (skip > q->len)
		return -EINVAL;
	if (!may_write(q))
		return -EACCES;
	if (q->len - skip > VALUE_BYTES)
		return -E2BIG;
	struct node *n = make(q->v, q->path, &r);

	if (n)
		r = set_value(n, q->text + skip, q->len - skip);
	return r ? r : changed(q, false);
}

static int op_mkdir(struct request *q)
{
	int r = 0;

	if (!may_write(q))
		return -EACCES;
	bool there = find(*q->v.root, q->path);

	if (!make(q->v, q->path, &r))
		return r;
	return there ? reply_ok(q) : changed(q, false);
}

static int op_rm(struct request *q)
{
	if (!may_write(q))
		return -EACCES;
	int r = cut_out(q->v, q->path);

	return r ? r : changed(q, true);
}

static int op_get_perms(struct request *q)
{
	if (!find(*q->v.root, q->path))
		return -ENOENT;
	reply(q, "n1", 3);
	return 0;
}

static int op_set_perms(struct request *q)
{
	return find(*q->v.root, q->path) ? reply_ok(q) : -ENOENT;
}

static int op_watch(struct request *q)
{
	struct store *s = q->s;
	size_t skip = strlen(q->text) + 1;
	const char *token = q->text + skip;

	if (skip >= q->len || strlen(token) >= TOKEN_BYTES)
		return -EINVAL;
	if (s->watch_count >= WATCHES_MAX)
		return -ENOSPC;
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	memcpy(w->path, q->path, sizeof(w->path));
	memcpy(w->token, token, strlen(token) + 1);
	w->cut = q->text[0] == '/' || q->text[0] == '@' ? 0 : strlen(s->home) + 1;
	w->next = s->watches;
	s->watches = w;
	s->watch_count++;
	reply_ok(q);
	send_event(w, w->path, q->out); /* every watch fires once when it is set */
	return 0;
}

static int op_unwatch(struct request *q)
{
	size_t skip = strlen(q->text) + 1;

	if (skip >= q->len)
		return -EINVAL;
	for (struct watch **w = &q->s->watches; *w; w = &(*w)->next)
		if (!strcmp((*w)->path, q->path) && !strcmp((*w)->token, q->text + skip)) {
			struct watch *gone = *w;

			*w = gone->next;
			free(gone);
			q->s->watch_count--;
			return reply_ok(q);
		}
	return -ENOENT;
}

static int op_reset_watches(struct request *q)
{
	while (q->s->watches) {
		struct watch *w = q->s->watches;

		q->s->watches = w->next;
		free(w);
	}
	q->s->watch_count = 0;
	return reply_ok(q);
}

static void transaction_free(struct transaction *t)
{
	while (t->changes) {
		struct change *c = t->changes;

		t->changes = c->next;
		free(c);
	}
	node_free(t->root);
	free(t);
}

static int op_start(struct request *q)
{
	struct store *s = q->s;

	if (q->m->tx_id)
		return -EINVAL;
	if (s->transaction_count >= TRANSACTIONS_MAX)
		return -ENOSPC;
	struct transaction *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->root = node_copy(s->root);
	if (!t->root) {
		free(t);
		return -ENOMEM;
	}
	t->nodes = s->nodes;
	t->generation = s->generation;
	t->id = ++s->last_id ? s->last_id : ++s->last_id;
	t->next = s->transactions;
	s->transactions = t;
	s->transaction_count++;
	char id[16];
	int n = snprintf(id, sizeof(id), "%u", t->id);

	reply(q, id, (size_t)n + 1);
	return 0;
}

static int op_end(struct request *q)
{
	struct store *s = q->s;
	struct transaction *t = q->v.t, **at = &s->transactions;

	if (!t)
		return -EINVAL;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	s->transaction_count--;
	bool commit = q->text[0] == 'T', stale = t->generation != s->generation;

	if (commit && !stale) {
		struct node *old = s->root;

		s->root = t->root;
		s->nodes = t->nodes;
		t->root = old;
	}
	if (commit && stale) {
		transaction_free(t);
		return -EAGAIN;
	}
	reply_ok(q);
	for (struct change *c = commit ? t->changes : NULL; c; c = c->next) {
		fire(s, c->path, !find(s->root, c->path), q->out);
		if (s->changed)
			s->changed(s->arg, c->path);
	}
	transaction_free(t);
	return 0;
}

static int op_domain_path(struct request *q)
{
	char path[80];
	uint64_t id = 0;
	size_t n = strspn(q->text, "0123456789");

	if (!n || n > 5 || q->text[n])
		return -EINVAL;
	id = strtoul(q->text, NULL, 10);
	int len = snprintf(path, sizeof(path), "/local/domain/%llu", (unsigned long long)id);

	reply(q, path, (size_t)len + 1);
	return 0;
}

static const struct {
	int (*fn)(struct request *q);
	bool path; /* begins with a path */
} operations[] = {
	[XS_DIRECTORY] = { op_directory, true },
	[XS_READ] = { op_read, true },
	[XS_GET_PERMS] = { op_get_perms, true },
	[XS_WATCH] = { op_watch, true },
	[XS_UNWATCH] = { op_unwatch, true },
	[XS_TRANSACTION_START] = { op_start, false },
	[XS_TRANSACTION_END] = { op_end, false },
	[XS_GET_DOMAIN_PATH] = { op_domain_path, false },
	[XS_WRITE] = { op_write, true },
	[XS_MKDIR] = { op_mkdir, true },
	[XS_RM] = { op_rm, true },
	[XS_SET_PERMS] = { op_set_perms, true },
	[XS_RESET_WATCHES] = { op_reset_watches, false },
};

static int perform(struct request *q, uint32_t tx_id)
{
	uint32_t type = q->m->type;

	if (type >= ARRAY_SIZE(operations) || !operations[type].fn)
		return -ENOSYS;
	q->v = (struct view){ &q->s->root, &q->s->nodes, NULL };
	if (tx_id) {
		struct transaction *t = q->s->transactions;

		while (t && t->id != tx_id)
			t = t->next;
		if (!t)
			return -ENOENT;
		q->v = (struct view){ &t->root, &t->nodes, t };
	}
	if (operations[type].path) {
		/* Special names of watches ("@releaseDomain") are kept as they are. */
		int r = q->text[0] == '@'
				? (snprintf(q->path, sizeof(q->path), "%.255s", q->text), 0)
				: absolute(q->s, q->text, q->path);

		if (r)
			return r;
	}
	return operations[type].fn(q);
}

void store_request(struct store *s, const struct xen_store_msg *m, const uint8_t *payload,
		   struct buf *out)
{
	char text[XEN_STORE_PAYLOAD_MAX + 1];
	size_t len = MIN(m->len, XEN_STORE_PAYLOAD_MAX);
	struct request q = { .s = s, .m = m, .text = text, .len = len, .out = out };

	memcpy(text, payload, len);
	text[len] = '\0';
	int r = perform(&q, m->tx_id);

	if (r) {
		const char *name = error_name(r);

		put(out, XS_ERROR, m->req_id, m->tx_id, name, strlen(name) + 1);
	}
}

/* The host's side */

int store_write(struct store *s, const char *path, const char *value, struct buf *out)
{
	int r = 0;
	struct node *n = make((struct view){ &s->root, &s->nodes, NULL }, path, &r);

	if (n)
		r = set_value(n, value, strlen(value));
	if (!r)
		fire(s, path, false, out);
	return r;
}

int store_remove(struct store *s, const char *path, struct buf *out)
{
	int r = cut_out((struct view){ &s->root, &s->nodes, NULL }, path);

	if (!r)
		fire(s, path, true, out);
	return r;
}

const char *store_read(const struct store *s, const char *path)
{
	struct node *n = find(s->root, path);

	return n && strlen(n->value) == n->len ? n->value : NULL;
}

struct store *store_new(const char *home, store_changed_fn *on_change, void *arg)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	snprintf(s->home, sizeof(s->home), "%s", home);
	s->changed = on_change;
	s->arg = arg;
	s->nodes = 1;
	s->root = node_new("", 0);
	if (!s->root) {
		free(s);
		return NULL;
	}
	return s;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	while (s->watches) {
		struct watch *w = s->watches;

		s->watches = w->next;
		free(w);
	}
	while (s->transactions) {
		struct transaction *t = s->transactions;

		s->transactions = t->next;
		transaction_free(t);
	}
	node_free(s->root);
	free(s);
}
