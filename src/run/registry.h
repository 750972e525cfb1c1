/* Finding instances as people name them: by name, by id, by the beginning of an id. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "run/instance.h"
#include "run/record.h"
#include "run/wall.h"

/* An instance with all that is known about it. */
struct subject {
	struct instance in;
	struct record rec;
	const struct wall_ops *wall; /* NULL while half-made */
};

#define SUBJECT_INIT                \
	{                           \
		.in = INSTANCE_INIT \
	}

void subject_fini(struct subject *s);

/* The root directory: WARREN_RUN, else instance_root()'s choice. To be freed. 0 or -errno. */
int registry_root(char **root, struct err *e);

/* 64 random hex digits. 0 or -errno. */
int registry_new_id(char id[static 65], struct err *e);

/* Names are [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 128 letters. 0 or -EINVAL. */
int registry_name_check(const char *name, struct err *e);
/* Claims a name; a claim whose instance is gone gives way. -EEXIST names the instance that has it. */
int registry_name_claim(const char *root, const char *name, const char *id, struct err *e);
/* Invents a name that nobody has right now ("brave_otter"), to be freed. 0 or -errno. */
int registry_name_invent(const char *root, char **name, struct err *e);
/* Gives up a name if it is this instance's. */
void registry_name_release(const char *root, const char *name, const char *id);

/* The full id of what `word` names, to be freed. 0; -ENOENT "no such instance: x"; -EEXIST when several ids
 * begin so. */
int registry_find(const char *root, const char *word, char **id, struct err *e);

/* Finds and opens. If its keeper was killed this is noticed here: what is left of an ended instance is
 * cleaned up and the record says so (needs `lock`; without it, it is only said). 0 or -errno. */
int subject_open(struct subject *s, const char *root, const char *word, bool lock, struct err *e);
/* The same by full id. */
int subject_open_id(struct subject *s, const char *root, const char *id, bool lock, struct err *e);
/* Closes and opens again: the state may have changed. */
int subject_reopen(struct subject *s, const char *root, bool lock, struct err *e);
/* Stores the record and saves the state. */
int subject_save(struct subject *s, struct err *e);

/* docker's words. */
enum subject_status {
	SUBJECT_CREATED,
	SUBJECT_RUNNING,
	SUBJECT_PAUSED,
	SUBJECT_RESTARTING,
	SUBJECT_REMOVING,
	SUBJECT_EXITED,
	SUBJECT_DEAD, /* its creation was never finished */
};

enum subject_status subject_status(struct subject *s);
const char *subject_status_name(enum subject_status st);
/* Running or paused, or ended so recently that its keeper is still busy with it. */
bool subject_alive(struct subject *s);
/* Runs, but its keeper was killed. */
bool subject_orphaned(struct subject *s);

/* Removes everything of an instance that does not run: what its wall holds, layers, log, name, directory.
 * Wants the lock. 0 or -errno. */
int subject_remove(struct subject *s, const char *root, struct err *e);
/* The same after the wall's cleanup. */
int subject_forget(struct subject *s, const char *root, struct err *e);
