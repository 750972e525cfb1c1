/*
 * What a guest has looked up and opened.
 *
 * Nodes and handles are slots of growing arrays; their numbers are what the guest knows. A node is found again
 * by device and inode number, so that two names of one file are one node. Slots are reused only after the
 * guest gave them back; a number that is not in use is answered with ESTALE or EBADF.
 *
 * Trust: numbers and counts are the guest's. How many slots it may hold is bounded by our limit on open
 * descriptors: then it gets ENFILE. Threads: one at a time. #syscalls: close
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"
#include "storage/share_int.h"

enum { ROOT = FUSE_ROOT_ID, NONE = 0 };

static uint32_t bucket_of(const struct share *s, uint64_t dev, uint64_t ino)
{
	uint64_t x = (ino ^ dev << 32 ^ dev >> 32) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(x >> 32) & (s->buckets_n - 1);
}

static void hash_in(struct share *s, uint32_t i)
{
	uint32_t *b = &s->buckets[bucket_of(s, s->nodes[i].dev, s->nodes[i].ino)];

	s->nodes[i].next = *b;
	*b = i;
}

static void hash_out(struct share *s, uint32_t i)
{
	uint32_t *p = &s->buckets[bucket_of(s, s->nodes[i].dev, s->nodes[i].ino)];

	while (*p != i)
		p = &s->nodes[*p].next;
	*p = s->nodes[i].next;
}

/* Doubles the nodes, and the buckets with them. */
static int grow_nodes(struct share *s)
{
	uint32_t n = s->nodes_n ? s->nodes_n * 2 : 64;
	struct share_node *nodes = n > s->nodes_n ? realloc(s->nodes, n * sizeof(*nodes)) : NULL;

	if (!nodes)
		return -ENOMEM;
	s->nodes = nodes;
	uint32_t *buckets = calloc(n, sizeof(*buckets));

	if (!buckets)
		return -ENOMEM;
	free(s->buckets);
	s->buckets = buckets;
	s->buckets_n = n;
	for (uint32_t i = s->nodes_n; i < n; i++)
		nodes[i] = (struct share_node){ .fd = -1 };
	for (uint32_t i = n; i-- > MAX(s->nodes_n, 2u);) {
		nodes[i].next = s->nodes_free;
		s->nodes_free = i;
	}
	for (uint32_t i = 1; i < s->nodes_n; i++)
		if (nodes[i].fd >= 0)
			hash_in(s, i);
	s->nodes_n = n;
	return 0;
}

int share_tables_init(struct share *s)
{
	struct stat st;
	int r = grow_nodes(s);

	if (r)
		return r;
	if (fstat(s->config.root, &st) < 0)
		return -errno;
	s->nodes[ROOT] = (struct share_node){
		.fd = s->config.root, .dev = st.st_dev, .ino = st.st_ino, .lookups = 1
	};
	hash_in(s, ROOT);
	return 0;
}

void share_tables_fini(struct share *s)
{
	for (uint32_t i = 0; i < s->nodes_n; i++)
		if (s->nodes[i].fd >= 0)
			close(s->nodes[i].fd);
	for (uint32_t i = 0; i < s->handles_n; i++)
		if (s->handles[i].fd >= 0)
			close(s->handles[i].fd);
	free(s->nodes);
	free(s->handles);
	free(s->buckets);
}

struct share_node *share_node_get(struct share *s, uint64_t id)
{
	return id && id < s->nodes_n && s->nodes[id].fd >= 0 ? &s->nodes[id] : NULL;
}

int share_node_add(struct share *s, int fd, const struct stat *st, uint64_t *id)
{
	uint32_t i = s->buckets[bucket_of(s, st->st_dev, st->st_ino)];

	while (i != NONE && (s->nodes[i].dev != st->st_dev || s->nodes[i].ino != st->st_ino))
		i = s->nodes[i].next;
	if (i != NONE) {
		/* The descriptor that is there pins the inode: it is the same file. */
		close(fd);
		s->nodes[i].lookups++;
		*id = i;
		return 0;
	}
	if (s->nodes_free == NONE) {
		int r = grow_nodes(s);

		if (r) {
			close(fd);
			return r;
		}
	}
	i = s->nodes_free;
	s->nodes_free = s->nodes[i].next;
	s->nodes[i] = (struct share_node){
		.fd = fd, .dev = st->st_dev, .ino = st->st_ino, .lookups = 1
	};
	hash_in(s, i);
	*id = i;
	return 0;
}

void share_node_forget(struct share *s, uint64_t id, uint64_t n)
{
	struct share_node *node = share_node_get(s, id);

	if (!node || id == ROOT)
		return;
	node->lookups -= MIN(node->lookups, n);
	if (node->lookups)
		return;
	hash_out(s, (uint32_t)id);
	close(node->fd);
	node->fd = -1;
	node->next = s->nodes_free;
	s->nodes_free = (uint32_t)id;
}

struct share_handle *share_handle_get(struct share *s, uint64_t fh, bool directory)
{
	if (fh >= s->handles_n || s->handles[fh].fd < 0 || s->handles[fh].directory != directory)
		return NULL;
	return &s->handles[fh];
}

/* The free list of handles ends in UINT32_MAX: slot 0 is an ordinary one. */
static int grow_handles(struct share *s)
{
	uint32_t n = s->handles_n ? s->handles_n * 2 : 16;
	struct share_handle *h = n > s->handles_n ? realloc(s->handles, n * sizeof(*h)) : NULL;

	if (!h)
		return -ENOMEM;
	s->handles = h;
	for (uint32_t i = s->handles_n; i < n; i++)
		h[i] = (struct share_handle){ .fd = -1, .next = i + 1 < n ? i + 1 : UINT32_MAX };
	s->handles_free = s->handles_n;
	s->handles_n = n;
	return 0;
}

int share_handle_add(struct share *s, int fd, bool directory, uint64_t *fh)
{
	if (!s->handles_n || s->handles_free == UINT32_MAX) {
		int r = grow_handles(s);

		if (r) {
			close(fd);
			return r;
		}
	}
	uint32_t i = s->handles_free;

	s->handles_free = s->handles[i].next;
	s->handles[i] = (struct share_handle){ .fd = fd, .directory = directory };
	*fh = i;
	return 0;
}

void share_handle_drop(struct share *s, uint64_t fh)
{
	close(s->handles[fh].fd);
	s->handles[fh] = (struct share_handle){ .fd = -1, .next = s->handles_free };
	s->handles_free = (uint32_t)fh;
}
