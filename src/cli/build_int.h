/* What the files of `warren build` share. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "image/image.h"
#include "image/rootfs.h"
#include "wire/containerfile.h"
#include "wire/reference.h"
#include "wire/sha256.h"
#include "wire/tar.h"

struct build_stage {
	char name[64]; /* "" when it has none */
	char image[DIGEST_SIZE];
};

struct build {
	char context[PATH_MAX];	    /* real path */
	char image[DIGEST_SIZE];    /* so far: an id */
	struct image img;	    /* resolved */
	struct build_stage *stages; /* the last one is being built */
	size_t stages_n;
	struct strlist globals;	     /* ARGs before the first FROM */
	struct strlist vars;	     /* ARG and ENV, for expansion */
	struct strlist args;	     /* ARG, for RUN's environment */
	const struct strlist *given; /* --build-arg */
	struct strlist used;	     /* names of those that an ARG took */
	struct strlist shell;	     /* SHELL; n == 0: /bin/sh -c */
	struct strlist ignored;	     /* patterns of .dockerignore, '!' in front of exceptions */
	char workdir[PATH_MAX];
	const char *network, *isolation, *platform;
	size_t step;
	bool started, no_cache, quiet, pull;
};

/* One COPY or ADD. */
struct build_copy {
	char *const *sources;
	size_t n;
	const char *to;
	bool dir;	  /* `to` is a directory */
	const char *from; /* an image's id; NULL: the context */
	bool unpack;	  /* ADD: tar archives are unpacked */
	bool has_owner, has_mode;
	uint32_t uid, gid;
	mode_t mode;
};

typedef int build_commit_fn(struct build *b, const char *upper, const char *change,
			    const char *text, struct err *e);

/* Lays the sources out in a scratch tree, with the directories above the destination as the image has them, and commits
 * it, or finds it in the cache. No sources: only the directory. 0 or -errno. */
int build_tree(struct build *b, const struct build_copy *c, const char *change, const char *text,
	       build_commit_fn *commit, struct err *e);

/* The cache: `key` is of the current image, the text and `content`. True: b->image is what the step made
 * before. */
bool build_cached(struct build *b, const char *text, const char *content, char key[DIGEST_SIZE]);
void build_remember(const struct build *b, const char *key);

/* build_files.c: files from one place to another. */
struct build_files {
	const struct build *b;
	const struct build_copy *c;
	bool by_context;  /* names are below the context: .dockerignore counts */
	struct sha256 *h; /* gets names, kinds, modes and contents; NULL: nobody wants them */
};

/* `name` in `from` to `to_name` in `to` (-1: it is only looked at). `rel` is its path for .dockerignore. A directory's
 * content is put into the directory `to_name`. 1: something was there to copy; 0: all of it is ignored; -errno. */
int build_files_copy(const struct build_files *f, int from, const char *name, int to,
		     const char *to_name, const char *rel, struct err *e);
/* Whether .dockerignore leaves the path out. */
bool build_ignored(const struct build *b, const char *rel);
/* Reads the patterns of a text. 0 or -ENOMEM. */
int build_ignore_parse(const char *text, struct strlist *out);

/* build_steps.c: one instruction that is neither FROM nor ARG. `args`: with variables put in. 0 or -errno. */
int build_instruction(struct build *b, const struct instruction *in, const char *args,
		      const char *text, struct err *e);
/* For images_ask(): the id that a commit answered, to `arg`, of DIGEST_SIZE bytes. */
struct json_object;
void build_take_id(void *arg, struct json_object *o);
/* Reads the current image anew. */
int build_refresh(struct build *b, struct err *e);
/* cmd_build.c: an image by name, pulled when it is missing (with --pull: always). 0 or -errno. */
int build_image(const struct build *b, const char *name, const char *platform, struct image *img,
		struct err *e);
