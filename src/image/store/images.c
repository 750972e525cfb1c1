/*
 * Images and their names. Every change here is one transaction; the records of the hot path are taken away
 * before the commit and written after it.
 *
 * Trust: documents were checked on their way in. Threads: one. #syscalls: openat getdents64
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "image/registries.h"
#include "image/store/db.h"
#include "image/store/store.h"
#include "wire/json.h"

static int say_word(struct store *s, const char *key, const char *value)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(4096);

	buf_addc(&b, '{');
	json_put_key(&b, key);
	json_put_string(&b, value);
	buf_addc(&b, '}');
	if (!b.error)
		s->say(s->say_arg, buf_str(&b));
	return b.error;
}

int image_add(struct store *s, const struct image_draft *d, const char *const *names,
	      size_t names_n, struct err *e)
{
	int r = store_change_begin(s, e);

	if (r)
		return r;
	r = db_run(s, e,
		   "INSERT INTO images(id, manifest, added) VALUES(?, ?, ?) "
		   "ON CONFLICT(id) DO UPDATE SET manifest = excluded.manifest",
		   "ssi", d->config, d->manifest, (int64_t)time(NULL));
	if (!r)
		r = db_run(s, e, "DELETE FROM image_layers WHERE image = ?", "s", d->config);
	for (size_t i = 0; !r && i < d->layers_n; i++)
		r = db_run(
			s, e,
			"INSERT INTO image_layers(image, position, layer, blob) VALUES(?, ?, ?, ?)",
			"siis", d->config, (int64_t)i, d->layers[i].number, d->layers[i].blob);
	for (size_t i = 0; !r && i < names_n; i++) {
		r = record_name_remove(s, names[i], e);
		if (!r)
			r = db_run(s, e, "INSERT OR REPLACE INTO names(name, image) VALUES(?, ?)",
				   "ss", names[i], d->config);
	}
	r = store_change_end(s, r, d->config, e);
	for (size_t i = 0; !r && i < names_n; i++) {
		struct reference ref;
		char familiar[1024];

		if (reference_parse(names[i], &ref, NULL) == 0 &&
		    reference_familiar(&ref, familiar, sizeof(familiar)) == 0)
			say_word(s, "imported", familiar);
	}
	if (!r && !names_n)
		say_word(s, "imported", d->config);
	return r;
}

/* By the start of an id: exactly one must have it. */
static int find_by_digits(struct store *s, const char *what, const char *hex, char id[DIGEST_SIZE],
			  struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	char start[DIGEST_SIZE];
	int r;

	snprintf(start, sizeof(start), "sha256:%s", hex);
	r = db_query(s, &q, e, "SELECT id FROM images WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2",
		     "s", start);
	if (!r)
		r = db_step(s, q, e);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	snprintf(id, DIGEST_SIZE, "%s", db_text(q, 0));
	r = db_step(s, q, e);
	return r == 1 ? err_set(e, -EINVAL, "image id '%s' is not unique: write more of it", what)
		      : r;
}

int image_find(struct store *s, const char *what, char id[DIGEST_SIZE], char name[1024],
	       struct err *e)
{
	const char *hex = str_after(what, "sha256:");
	cleanup_with(strlist_fini) struct strlist names = { .n = 0 };
	struct reference ref;
	int r;

	if (!hex && registries_local_names(what, &names) == -ENOMEM)
		return -ENOMEM;
	for (size_t i = 0; i < names.n; i++) {
		cleanup_query sqlite3_stmt *q = NULL;

		if (reference_parse(names.v[i], &ref, NULL) || reference_format(&ref, name, 1024))
			continue;
		r = db_query(s, &q, e, "SELECT image FROM names WHERE name = ?", "s", name);
		if (!r)
			r = db_step(s, q, e);
		if (r < 0)
			return r;
		if (r == 1) {
			snprintf(id, DIGEST_SIZE, "%s", db_text(q, 0));
			return 0;
		}
	}
	name[0] = '\0';
	r = digest_is_hex(hex ? hex : what, 4) ? find_by_digits(s, what, hex ? hex : what, id, e)
					       : -ENOENT;
	if (r != -ENOENT)
		return r;
	return err_set(e, -ENOENT, "image '%s': there is none of this name here", what);
}

int image_tag(struct store *s, const char *what, const char *name, struct err *e)
{
	char id[DIGEST_SIZE], old[1024], whole[1024];
	struct reference ref;
	int r = image_find(s, what, id, old, e);

	if (!r)
		r = reference_parse(name, &ref, e);
	if (r)
		return r;
	if (*ref.digest)
		return err_set(e, -EINVAL, "name '%s': a digest is not a name to give", name);
	if (reference_format(&ref, whole, sizeof(whole)))
		return err_set(e, -EINVAL, "name '%s' is too long", name);
	r = store_change_begin(s, e);
	if (r)
		return r;
	r = record_name_remove(s, whole, e);
	if (!r)
		r = db_run(s, e, "INSERT OR REPLACE INTO names(name, image) VALUES(?, ?)", "ss",
			   whole, id);
	return store_change_end(s, r, id, e);
}

/* How many names the image has. */
static int count_names(struct store *s, const char *id, int64_t *n, struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	int r = db_query(s, &q, e, "SELECT count(*) FROM names WHERE image = ?", "s", id);

	if (!r)
		r = db_step(s, q, e);
	if (r < 0)
		return r;
	*n = sqlite3_column_int64(q, 0);
	return 0;
}

/* Forgets the image; what belonged to it alone is left to store_collect(). Needs an open change. The
 * records go first: an instance that claims the image looks for them after its claim. */
static int forget(struct store *s, const char *id, struct err *e)
{
	char user[256];
	int r = records_remove(s, id, e);

	if (r)
		return r;
	claims_find(s, id, user, sizeof(user));
	if (*user)
		return err_set(e, -EBUSY,
			       "image '%.12s' is used by instance '%s'. Fix: warren rm %s", id + 7,
			       user, user);
	if ((r = db_run(s, e, "DELETE FROM names WHERE image = ?", "s", id)) ||
	    (r = db_run(s, e, "DELETE FROM image_layers WHERE image = ?", "s", id)))
		return r;
	return db_run(s, e, "DELETE FROM images WHERE id = ?", "s", id);
}

static int untag(struct store *s, const char *name, const char *id, struct err *e)
{
	int r = record_name_remove(s, name, e);

	if (!r)
		r = db_run(s, e, "DELETE FROM names WHERE name = ?", "s", name);
	r = store_change_end(s, r, id, e);
	return r ? r : say_word(s, "untagged", name);
}

int image_remove(struct store *s, const char *what, bool force, struct err *e)
{
	char id[DIGEST_SIZE], name[1024];
	int64_t names = 0;
	int r = store_change_begin(s, e);

	if (r)
		return r;
	r = image_find(s, what, id, name, e);
	if (!r)
		r = count_names(s, id, &names, e);
	if (!r && *name && names > 1)
		return untag(s, name, id, e);
	if (!r && !*name && names > 1 && !force)
		r = err_set(e, -EBUSY, "image '%s' has %lld names: remove them, or use --force",
			    what, (long long)names);
	if (!r)
		r = forget(s, id, e);
	r = store_change_end(s, r, NULL, e);
	if (r)
		return r;
	if (*name)
		say_word(s, "untagged", name);
	say_word(s, "deleted", id);
	return store_collect(s, NULL, e);
}

static int list_names(struct store *s, const char *id, struct buf *b, struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	int r = db_query(s, &q, e, "SELECT name FROM names WHERE image = ? ORDER BY name", "s", id);

	json_put_key(b, "names");
	buf_addc(b, '[');
	for (bool first = true; !r && (r = db_step(s, q, e)) == 1; first = false, r = 0) {
		struct reference ref;
		char familiar[1024];

		if (!first)
			buf_addc(b, ',');
		bool ok = reference_parse(db_text(q, 0), &ref, NULL) == 0 &&
			  reference_familiar(&ref, familiar, sizeof(familiar)) == 0;
		json_put_string(b, ok ? familiar : db_text(q, 0));
	}
	buf_addc(b, ']');
	return r;
}

static void put_labels(const struct image_config *c, struct buf *b)
{
	if (!c->labels.n)
		return;
	buf_adds(b, ",\"labels\":{");
	for (size_t i = 0; i < c->labels.n; i++) {
		buf_adds(b, i ? "," : "");
		json_put_string(b, c->labels.v[i].key);
		buf_addc(b, ':');
		json_put_string(b, c->labels.v[i].value);
	}
	buf_addc(b, '}');
}

/* A nameless image all of whose layers another one has at the same places is a step of that one's making, and there is
 * nothing to see in it. */
#define INTERMEDIATE                                                                              \
	"(NOT EXISTS (SELECT 1 FROM names WHERE image = id) AND EXISTS (SELECT 1 FROM images AS " \
	"other WHERE other.id <> images.id AND (EXISTS (SELECT 1 FROM names WHERE image = "       \
	"other.id)) AND NOT EXISTS (SELECT 1 FROM image_layers AS l WHERE l.image = images.id "   \
	"AND NOT EXISTS (SELECT 1 FROM image_layers AS k WHERE k.image = other.id AND "           \
	"k.position = l.position AND k.layer = l.layer))))"

int image_list_all(struct store *s, struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	int r = db_query(s, &q, e,
			 "SELECT id, manifest, added, (SELECT coalesce(sum(bytes), 0) FROM "
			 "image_layers JOIN layers ON number = layer WHERE image = id), (SELECT "
			 "count(*) FROM image_layers WHERE image = id), " INTERMEDIATE
			 " FROM images ORDER BY added DESC",
			 "");

	while (!r && (r = db_step(s, q, e)) == 1) {
		__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(1u << 20);
		__attribute__((cleanup(buf_fini))) struct buf config = BUF_INIT(4u << 20);
		struct arena a = ARENA_INIT(16u << 20);
		struct image_config c = { .created = NULL };
		const char *id = db_text(q, 0);

		buf_addc(&b, '{');
		json_put_key(&b, "id");
		json_put_string(&b, id);
		json_put_key(&b, "manifest");
		json_put_string(&b, db_text(q, 1));
		if (sqlite3_column_int64(q, 5))
			buf_adds(&b, ",\"intermediate\":true");
		buf_addf(&b, ",\"added\":%lld,\"bytes\":%lld,\"layers\":%lld",
			 (long long)sqlite3_column_int64(q, 2),
			 (long long)sqlite3_column_int64(q, 3),
			 (long long)sqlite3_column_int64(q, 4));
		if (blob_get(s, id, &config, NULL) == 0 &&
		    image_config_parse(buf_str(&config), config.len, id, &a, &c, NULL) == 0 &&
		    c.created) {
			json_put_key(&b, "created");
			json_put_string(&b, c.created);
		}
		put_labels(&c, &b);
		arena_fini(&a);
		r = list_names(s, id, &b, e);
		buf_addc(&b, '}');
		if (!r && !b.error)
			s->say(s->say_arg, buf_str(&b));
	}
	return r;
}

int image_layer_sizes(struct store *s, const char *what, struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	char id[DIGEST_SIZE], name[1024], text[64];
	int r = image_find(s, what, id, name, e);

	if (!r)
		r = db_query(s, &q, e,
			     "SELECT bytes FROM image_layers JOIN layers ON number = layer WHERE "
			     "image = ? ORDER BY position",
			     "s", id);
	while (!r && (r = db_step(s, q, e)) == 1) {
		snprintf(text, sizeof(text), "{\"layerBytes\":%lld}",
			 (long long)sqlite3_column_int64(q, 0));
		s->say(s->say_arg, text);
		r = 0;
	}
	return r;
}

/* The images that prune would remove, one a call (removing changes the answer). 1, 0, -errno. */
static int next_unused(struct store *s, bool all, int64_t *after, char id[DIGEST_SIZE],
		       struct err *e)
{
	cleanup_query sqlite3_stmt *q = NULL;
	char user[256];
	int r = db_query(s, &q, e,
			 "SELECT id FROM images WHERE ?1 OR NOT EXISTS (SELECT 1 FROM names WHERE "
			 "image = id) ORDER BY id LIMIT -1 OFFSET ?2",
			 "ii", (int64_t)all, *after);

	while (!r && (r = db_step(s, q, e)) == 1) {
		snprintf(id, DIGEST_SIZE, "%s", db_text(q, 0));
		claims_find(s, id, user, sizeof(user));
		if (!*user)
			return 1;
		(*after)++;
		r = 0;
	}
	return r;
}

int image_prune(struct store *s, bool all, struct err *e)
{
	char id[DIGEST_SIZE], text[64];
	uint64_t freed = 0;
	int64_t after = 0;
	int r;

	while ((r = next_unused(s, all, &after, id, e)) == 1) {
		r = store_change_begin(s, e);
		if (r)
			return r;
		r = forget(s, id, e);
		bool busy = r == -EBUSY;

		r = store_change_end(s, r, NULL, e);
		if (r && !busy)
			return r;
		if (busy)
			after++;
		else
			say_word(s, "deleted", id);
	}
	if (r < 0)
		return r;
	r = store_collect(s, &freed, e);
	snprintf(text, sizeof(text), "{\"freed\":%llu}", (unsigned long long)freed);
	s->say(s->say_arg, text);
	return r;
}
