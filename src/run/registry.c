/*
 * The registry: instances are directories below the root; names are symbolic links in ROOT/.names, so that
 * claiming one is a single atomic system call and a killed process leaves at most a link that leads
 * nowhere, which the next claim replaces.
 *
 * A keeper that was killed is noticed by whoever opens its instance next: state.json says that it runs,
 * the keeper's pid (with its start time) is gone. If the instance ended too it is cleaned up and its
 * record says what happened; if it goes on, it is left alone and the record says that nobody keeps it.
 *
 * Trust: the root belongs to the user. Threads: any, one subject each.
 * #syscalls: getrandom symlinkat readlinkat unlinkat mkdirat openat close
 */
#include "run/registry.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "image/image.h"
#include "run/disk.h"
#include "run/log.h"
#include "run/volume.h"

int registry_root(char **root, struct err *e)
{
	const char *wish = getenv("WARREN_RUN");

	return instance_root(wish && *wish ? wish : NULL, root, e);
}

int registry_new_id(char id[static 65], struct err *e)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char raw[32];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return err_sys(e, -EIO, "getrandom");
	for (size_t i = 0; i < sizeof(raw); i++) {
		id[2 * i] = hex[raw[i] >> 4];
		id[2 * i + 1] = hex[raw[i] & 15];
	}
	id[64] = '\0';
	return 0;
}

int registry_name_check(const char *name, struct err *e)
{
	size_t n = strlen(name);
	bool ok = n >= 1 && n <= 128 && isalnum((unsigned char)name[0]);

	for (size_t i = 1; ok && i < n; i++)
		ok = isalnum((unsigned char)name[i]) || strchr("_.-", name[i]);
	return ok ? 0
		  : err_set(e, -EINVAL,
			    "name '%s': must be a letter or digit, then letters, digits, '_', '.', "
			    "'-'",
			    name);
}

static int open_names(const char *root, struct err *e)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/.names", root) >= sizeof(path))
		return err_sys(e, -ENAMETOOLONG, "'%s'", root);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "mkdir '%s'", path);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? err_sys(e, -errno, "open '%s'", path) : fd;
}

static bool instance_exists(const char *root, const char *id)
{
	char path[PATH_MAX];

	return (size_t)snprintf(path, sizeof(path), "%s/%s", root, id) < sizeof(path) &&
	       access(path, F_OK) == 0;
}

/* The id that a name leads to. 0, -ENOENT. */
static int read_name(int names, const char *name, char *id, size_t size)
{
	ssize_t n = readlinkat(names, name, id, size - 1);

	if (n < 0)
		return -errno;
	id[n] = '\0';
	return 0;
}

int registry_name_claim(const char *root, const char *name, const char *id, struct err *e)
{
	int r = registry_name_check(name, e);

	if (r)
		return r;
	cleanup_fd int names = open_names(root, e);

	if (names < 0)
		return names;
	for (int tries = 0; tries < 16; tries++) {
		char holder[256];

		if (symlinkat(id, names, name) == 0)
			return 0;
		if (errno != EEXIST)
			return err_sys(e, -errno, "name '%s'", name);
		if (read_name(names, name, holder, sizeof(holder)))
			continue;
		if (instance_exists(root, holder))
			return err_set(
				e, -EEXIST,
				"name '%s' is in use by instance %.12s. Remove or rename that one",
				name, holder);
		unlinkat(names, name, 0);
	}
	return err_sys(e, -EBUSY, "name '%s'", name);
}

int registry_name_invent(const char *root, char **name, struct err *e)
{
	static const char *const moods[] = {
		"agile",  "amber",  "brave", "brisk",	"calm",	  "clever", "daring", "eager",
		"fleet",  "gentle", "happy", "hidden",	"jolly",  "keen",   "lively", "lucky",
		"mellow", "nimble", "noble", "patient", "plucky", "proud",  "quick",  "quiet",
		"rapid",  "ready",  "sharp", "shy",	"sleek",  "sly",    "smooth", "snug",
		"sober",  "spry",   "still", "sunny",	"swift",  "tidy",   "warm",   "wise",
	};
	static const char *const animals[] = {
		"badger",  "beaver", "bittern",	 "dormouse", "falcon",	 "ferret",  "finch",
		"fox",	   "gopher", "grouse",	 "hare",     "hedgehog", "heron",   "jackdaw",
		"kestrel", "lark",   "lynx",	 "magpie",   "marmot",	 "marten",  "mole",
		"newt",	   "otter",  "owl",	 "pika",     "plover",	 "polecat", "rabbit",
		"raven",   "shrew",  "squirrel", "stoat",    "swallow",	 "tern",    "thrush",
		"toad",	   "vole",   "weasel",	 "wren",     "vixen",
	};
	cleanup_fd int names = open_names(root, e);
	char s[64], holder[256];

	if (names < 0)
		return names;
	for (int tries = 0; tries < 20; tries++) {
		uint32_t dice[3];

		if (getrandom(dice, sizeof(dice), 0) != (ssize_t)sizeof(dice))
			return err_sys(e, -EIO, "getrandom");
		int n = snprintf(s, sizeof(s), "%s_%s", moods[dice[0] % ARRAY_SIZE(moods)],
				 animals[dice[1] % ARRAY_SIZE(animals)]);

		if (tries > 2)
			snprintf(s + n, sizeof(s) - (size_t)n, "%u", dice[2] % 10000);
		if (read_name(names, s, holder, sizeof(holder)) == 0)
			continue;
		*name = strdup(s);
		return *name ? 0 : -ENOMEM;
	}
	return err_set(e, -EEXIST, "no free name found; give one with --name");
}

void registry_name_release(const char *root, const char *name, const char *id)
{
	char holder[256];
	cleanup_fd int names = open_names(root, NULL);

	if (names >= 0 && name && !read_name(names, name, holder, sizeof(holder)) &&
	    streq(holder, id))
		unlinkat(names, name, 0);
}

/* The one id that begins with `word`. */
static int find_prefix(const char *root, const char *word, char **id, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	const char *found = NULL;
	int r = instance_list(root, &ids, e);

	for (size_t i = 0; !r && i < ids.n; i++) {
		if (!str_after(ids.v[i], word))
			continue;
		if (found)
			return err_set(e, -EEXIST,
				       "several instances have ids that begin with '%s'", word);
		found = ids.v[i];
	}
	if (r)
		return r;
	if (!found)
		return err_set(e, -ENOENT, "no such instance: %s", word);
	*id = strdup(found);
	return *id ? 0 : -ENOMEM;
}

int registry_find(const char *root, const char *word, char **id, struct err *e)
{
	char holder[256];
	const char *name = word[0] == '/' ? word + 1 : word;

	if (!*name || strchr(name, '/') || name[0] == '.')
		return err_set(e, -ENOENT, "no such instance: %s", word);
	if (strlen(name) == 64 && instance_exists(root, name)) {
		*id = strdup(name);
		return *id ? 0 : -ENOMEM;
	}
	cleanup_fd int names = open_names(root, e);

	if (names < 0)
		return names;
	if (read_name(names, name, holder, sizeof(holder)) == 0 && instance_exists(root, holder)) {
		*id = strdup(holder);
		return *id ? 0 : -ENOMEM;
	}
	return find_prefix(root, name, id, e);
}

void subject_fini(struct subject *s)
{
	record_fini(&s->rec);
	instance_fini(&s->in);
}

bool subject_orphaned(struct subject *s)
{
	enum instance_status st = instance_probe(&s->in);

	return (st == INSTANCE_RUNNING || st == INSTANCE_PAUSED || st == INSTANCE_CREATED) &&
	       s->in.keeper_pid && !instance_keeper_alive(&s->in);
}

/* state.json says that it runs, but neither it nor its keeper does. */
static bool left_behind(const struct subject *s)
{
	if (!s->in.keeper_pid || instance_keeper_alive(&s->in))
		return false;
	if (s->rec.restarting)
		return true;
	return s->in.status != INSTANCE_STOPPED && instance_probe(&s->in) == INSTANCE_STOPPED;
}

static int clean_up(struct subject *s, struct err *e)
{
	struct oci_spec *spec = NULL;

	instance_load_config(&s->in, &spec, NULL);
	int r = s->wall ? s->wall->cleanup(&s->in, spec, true, e) : 0;

	oci_spec_free(spec);
	return r;
}

static int tidy(struct subject *s, bool lock, struct err *e)
{
	if (!left_behind(s))
		return 0;
	char *now = time_now_rfc3339();
	int r = record_set(&s->rec.error, "the keeper was killed; the instance ended with it");

	if (!r && !s->rec.restarting) {
		s->rec.exit_code = 255;
		r = record_set(&s->rec.finished, now);
	}
	free(now);
	s->rec.restarting = false;
	if (r || !lock)
		return r;
	r = clean_up(s, e);
	s->in.status = INSTANCE_STOPPED;
	s->in.pid = 0;
	return r ? r : subject_save(s, e);
}

int subject_open_id(struct subject *s, const char *root, const char *id, bool lock, struct err *e)
{
	*s = (struct subject)SUBJECT_INIT;
	record_init(&s->rec);
	int r = instance_open(&s->in, root, id, lock, e);

	if (!r)
		r = record_load(&s->rec, &s->in, e);
	if (!r && s->in.wall)
		r = wall_of(&s->in, &s->wall, e);
	if (!r)
		r = tidy(s, lock, e);
	if (r)
		subject_fini(s);
	return r;
}

int subject_open(struct subject *s, const char *root, const char *word, bool lock, struct err *e)
{
	cleanup_free char *id = NULL;
	int r = registry_find(root, word, &id, e);

	if (r) {
		*s = (struct subject)SUBJECT_INIT;
		record_init(&s->rec);
		return r;
	}
	return subject_open_id(s, root, id, lock, e);
}

int subject_reopen(struct subject *s, const char *root, bool lock, struct err *e)
{
	cleanup_free char *id = strdup(s->in.id);

	if (!id)
		return -ENOMEM;
	subject_fini(s);
	return subject_open_id(s, root, id, lock, e);
}

int subject_save(struct subject *s, struct err *e)
{
	int r = record_store(&s->rec, &s->in, e);

	return r ? r : instance_save(&s->in, e);
}

/* Its process is gone, but its keeper has not written yet how it ended. */
static bool is_ending(struct subject *s)
{
	return (s->in.status == INSTANCE_RUNNING || s->in.status == INSTANCE_PAUSED) &&
	       instance_probe(&s->in) == INSTANCE_STOPPED && instance_keeper_alive(&s->in);
}

enum subject_status subject_status(struct subject *s)
{
	if (s->rec.removing)
		return SUBJECT_REMOVING;
	if (s->rec.restarting)
		return SUBJECT_RESTARTING;
	if (s->in.status == INSTANCE_CREATING && !s->in.pid)
		return s->in.keeper_state && instance_keeper_alive(&s->in) ? SUBJECT_CREATED
									   : SUBJECT_DEAD;
	if (is_ending(s))
		return SUBJECT_RUNNING;
	switch (s->wall ? wall_status(&s->in) : INSTANCE_STOPPED) {
	case INSTANCE_RUNNING:
		return SUBJECT_RUNNING;
	case INSTANCE_PAUSED:
		return SUBJECT_PAUSED;
	case INSTANCE_CREATING:
	case INSTANCE_CREATED:
		return SUBJECT_CREATED;
	case INSTANCE_STOPPED:
		break;
	}
	return s->rec.started || s->rec.finished ? SUBJECT_EXITED : SUBJECT_CREATED;
}

const char *subject_status_name(enum subject_status st)
{
	static const char *const names[] = {
		[SUBJECT_CREATED] = "created",	 [SUBJECT_RUNNING] = "running",
		[SUBJECT_PAUSED] = "paused",	 [SUBJECT_RESTARTING] = "restarting",
		[SUBJECT_REMOVING] = "removing", [SUBJECT_EXITED] = "exited",
		[SUBJECT_DEAD] = "dead",
	};

	return names[st];
}

bool subject_alive(struct subject *s)
{
	enum instance_status st = instance_probe(&s->in);

	return st == INSTANCE_RUNNING || st == INSTANCE_PAUSED || st == INSTANCE_CREATED ||
	       is_ending(s);
}

int subject_remove(struct subject *s, const char *root, struct err *e)
{
	int r = clean_up(s, e);

	return r ? r : subject_forget(s, root, e);
}

int subject_forget(struct subject *s, const char *root, struct err *e)
{
	int r;

	if (s->rec.log)
		log_remove(s->rec.log);
	if (s->rec.disk) {
		r = disk_remove(s->rec.disk, e);
		if (r)
			return r;
	}
	volumes_release(&s->rec.volumes, s->in.id, s->rec.auto_remove || s->rec.remove_volumes);
	if (s->rec.image_data && s->rec.image_id)
		image_release(s->rec.image_data, s->rec.image_id, s->in.id);
	if (s->rec.name)
		registry_name_release(root, s->rec.name, s->in.id);
	return instance_remove(&s->in, root, e);
}
