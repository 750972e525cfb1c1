/* The shared-directory server against requests that no kernel would send: one thing wrong a row. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../test.h"
#include "base/util.h"
#include "storage/share.h"

struct fixture {
	char dir[64];
	int proc;
	struct share *s;
	uint8_t reply[SHARE_MESSAGE_MAX];
};

/* Sends one request; its error, 0, or 1 when it was not answered. */
static int ask(struct fixture *f, uint32_t op, uint64_t node, const void *body, size_t n)
{
	uint8_t request[8192];
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + n), .opcode = op, .unique = 7, .nodeid = node
	};
	struct fuse_out_header out;

	memcpy(request, &h, sizeof(h));
	if (n)
		memcpy(request + sizeof(h), body, n);
	ssize_t r = share_request(f->s, request, sizeof(h) + n, f->reply);

	assert_true(r >= 0);
	if (!r)
		return 1;
	memcpy(&out, f->reply, sizeof(out));
	assert_int_equal(out.unique, 7);
	assert_int_equal(out.len, r);
	return out.error;
}

static int begin(void **state)
{
	static struct fixture f;
	struct err e = ERR_INIT;
	struct fuse_init_in init = { .major = 7, .minor = 38 };

	snprintf(f.dir, sizeof(f.dir), "/tmp/share-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	f.proc = open("/proc/self/fd", O_PATH | O_CLOEXEC);
	int dir = open(f.dir, O_PATH | O_CLOEXEC);

	assert_int_equal(symlinkat("/etc", dir, "link"), 0);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	f.s = share_new(&(struct share_config){ .root = dir, .proc = f.proc }, &e);
	assert_non_null(f.s);
	assert_int_equal(ask(&f, FUSE_INIT, 0, &init, 16), 0);
	*state = &f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;
	char path[128];

	share_free(f->s);
	close(f->proc);
	static const char *const names[] = { "link", "fifo", "file" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		unlink(path);
	}
	return rmdir(f->dir);
}

static uint64_t node_of(struct fixture *f, const char *name)
{
	struct fuse_entry_out out;

	assert_int_equal(ask(f, FUSE_LOOKUP, 1, name, strlen(name) + 1), 0);
	memcpy(&out, f->reply + sizeof(struct fuse_out_header), sizeof(out));
	return out.nodeid;
}

static void names_are_one_component(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *text;
		size_t n;
	} rows[] = {
		{ "..", 3 }, { ".", 2 }, { "", 1 },    { "a/b", 4 },	      { "/etc", 5 },
		{ "..", 2 }, { "", 0 },	 { "../", 4 }, { "link/passwd", 12 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(ask(f, FUSE_LOOKUP, 1, rows[i].text, rows[i].n), -EINVAL);
		assert_int_equal(ask(f, FUSE_UNLINK, 1, rows[i].text, rows[i].n), -EINVAL);
		assert_int_equal(ask(f, FUSE_RMDIR, 1, rows[i].text, rows[i].n), -EINVAL);
	}
}

static void links_are_not_followed(void **state)
{
	struct fixture *f = *state;
	uint64_t link = node_of(f, "link");

	assert_int_equal(ask(f, FUSE_LOOKUP, link, "passwd", 7), -ENOTDIR);
	assert_int_equal(ask(f, FUSE_OPENDIR, link, &(struct fuse_open_in){ 0 }, 8), -ENXIO);
	assert_int_equal(ask(f, FUSE_OPEN, link, &(struct fuse_open_in){ 0 }, 8), -ENXIO);
	assert_int_equal(ask(f, FUSE_OPEN, node_of(f, "fifo"), &(struct fuse_open_in){ 0 }, 8),
			 -ENXIO);
}

static void unknown_nodes_are_stale(void **state)
{
	struct fixture *f = *state;
	static const uint64_t nodes[] = { 0, 2, 63, 64, UINT32_MAX, UINT64_MAX, 1ull << 32 };
	struct fuse_setattr_in set = { .valid = FATTR_MODE };

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		assert_int_equal(ask(f, FUSE_LOOKUP, nodes[i], "a", 2), -ESTALE);
		assert_int_equal(ask(f, FUSE_GETATTR, nodes[i], &(struct fuse_getattr_in){ 0 }, 16),
				 -ESTALE);
		assert_int_equal(ask(f, FUSE_SETATTR, nodes[i], &set, sizeof(set)), -ESTALE);
		assert_int_equal(ask(f, FUSE_OPEN, nodes[i], &(struct fuse_open_in){ 0 }, 8),
				 -ESTALE);
		assert_int_equal(ask(f, FUSE_FORGET, nodes[i], &(struct fuse_forget_in){ 9 }, 8),
				 1);
	}
}

static void unknown_handles_are_bad(void **state)
{
	struct fixture *f = *state;
	static const uint64_t handles[] = { 0, 1, 15, 16, UINT32_MAX, UINT64_MAX };
	static const uint32_t ops[] = { FUSE_READ, FUSE_WRITE, FUSE_READDIR, FUSE_READDIRPLUS };

	for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
		struct fuse_write_in rw = { .fh = handles[i] };
		struct fuse_release_in release = { .fh = handles[i] };

		for (size_t k = 0; k < ARRAY_SIZE(ops); k++)
			assert_int_equal(ask(f, ops[k], 1, &rw, 40), -EBADF);
		assert_int_equal(ask(f, FUSE_RELEASE, 1, &release, sizeof(release)), -EBADF);
		assert_int_equal(ask(f, FUSE_RELEASEDIR, 1, &release, sizeof(release)), -EBADF);
	}
}

/* A directory's handle is no file's, and the other way round. */
static void handles_keep_their_kind(void **state)
{
	struct fixture *f = *state;
	struct fuse_open_out open;

	assert_int_equal(ask(f, FUSE_OPENDIR, 1, &(struct fuse_open_in){ 0 }, 8), 0);
	memcpy(&open, f->reply + sizeof(struct fuse_out_header), sizeof(open));
	struct fuse_read_in in = { .fh = open.fh, .size = 100 };

	assert_int_equal(ask(f, FUSE_READ, 1, &in, sizeof(in)), -EBADF);
	assert_int_equal(ask(f, FUSE_READDIR, 1, &in, sizeof(in)), 0);
}

static void forgotten_nodes_are_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t link = node_of(f, "link");

	assert_int_equal(node_of(f, "link"), link);
	ask(f, FUSE_FORGET, link, &(struct fuse_forget_in){ 1 }, 8);
	assert_int_equal(ask(f, FUSE_READLINK, link, NULL, 0), 0);
	ask(f, FUSE_FORGET, link, &(struct fuse_forget_in){ UINT64_MAX }, 8);
	assert_int_equal(ask(f, FUSE_READLINK, link, NULL, 0), -ESTALE);
	ask(f, FUSE_FORGET, 1, &(struct fuse_forget_in){ UINT64_MAX }, 8); /* the root stays */
	assert_int_equal(ask(f, FUSE_GETATTR, 1, &(struct fuse_getattr_in){ 0 }, 16), 0);
}

static void cut_messages(void **state)
{
	struct fixture *f = *state;
	uint8_t request[64] = { 0 };
	struct fuse_in_header h = { .len = 64, .opcode = FUSE_GETATTR, .nodeid = 1 };

	memcpy(request, &h, sizeof(h));
	assert_int_equal(share_request(f->s, request, 39, f->reply), -EBADMSG);
	assert_int_equal(share_request(f->s, request, 63, f->reply), -EBADMSG);
	assert_int_equal(share_request(f->s, request, 0, f->reply), -EBADMSG);
	assert_int_equal(ask(f, FUSE_GETATTR, 1, request, 15), -EINVAL);
	assert_int_equal(ask(f, FUSE_WRITE, 1, request, 39), -EINVAL);
	assert_int_equal(ask(f, 9999, 1, request, 16), -ENOSYS);
	assert_int_equal(ask(f, FUSE_SETXATTR, 1, "\x10\0\0\0\0\0\0\0user.a\0short", 20), -EINVAL);
}

static void lying_write_sizes(void **state)
{
	struct fixture *f = *state;
	struct {
		struct fuse_create_in in;
		char name[5];
	} create = { { .flags = O_RDWR, .mode = S_IFREG | 0600 }, "file" };
	struct fuse_open_out open;

	assert_int_equal(ask(f, FUSE_CREATE, 1, &create, sizeof(create.in) + 5), 0);
	memcpy(&open, f->reply + sizeof(struct fuse_out_header) + sizeof(struct fuse_entry_out),
	       sizeof(open));
	struct fuse_write_in w = { .fh = open.fh, .size = 4096 };

	assert_int_equal(ask(f, FUSE_WRITE, 1, &w, sizeof(w)), -EINVAL);
	w.size = 0;
	assert_int_equal(ask(f, FUSE_WRITE, 1, &w, sizeof(w)), 0);
	w.offset = UINT64_MAX;
	assert_int_equal(ask(f, FUSE_WRITE, 1, &w, sizeof(w)), -EINVAL);
}

static void nothing_before_init(void **state)
{
	struct fixture *f = *state;
	struct fuse_init_in old = { .major = 7, .minor = 12 };

	assert_int_equal(ask(f, FUSE_DESTROY, 0, NULL, 0), 0);
	assert_int_equal(ask(f, FUSE_GETATTR, 1, &(struct fuse_getattr_in){ 0 }, 16), -EPROTO);
	assert_int_equal(ask(f, FUSE_INIT, 0, &old, 16), -EPROTO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(names_are_one_component),
		TEST(links_are_not_followed),
		TEST(unknown_nodes_are_stale),
		TEST(unknown_handles_are_bad),
		TEST(handles_keep_their_kind),
		TEST(forgotten_nodes_are_gone),
		TEST(cut_messages),
		TEST(lying_write_sizes),
		TEST(nothing_before_init),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
