/* Option tables: one array a command drives parsing, --help, the man page and shell completion. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum opt_kind {
	OPT_END_,
	OPT_BOOL_,     /* bool; --x, --x=false, --no-x is spelled out where wanted */
	OPT_STRING_,   /* const char *, points into argv; the last one wins */
	OPT_INT_,      /* int64_t */
	OPT_SIZE_,     /* uint64_t bytes; "512m" */
	OPT_DURATION_, /* uint64_t ns; "10", "1m30s" */
	OPT_LIST_,     /* struct strlist; may be given many times */
	OPT_CALL_,     /* fn(value, settings + offset, err) */
	OPT_GROUP_,    /* the options of another table */
	OPT_HEADING_,  /* no option: a title over those that follow, in help and manual */
};

/* What shells offer for the value. */
enum opt_complete { COMPLETE_NONE, COMPLETE_FILE, COMPLETE_DIR, COMPLETE_INSTANCE, COMPLETE_IMAGE };

struct opt {
	enum opt_kind kind;
	char letter; /* 0: no short form */
	const char *name;
	const char *metavar; /* NULL for flags */
	const char *help;
	size_t offset; /* of the value in the command's settings */
	const struct opt *group;
	int (*call)(const char *value, void *dest, struct err *e);
	enum opt_complete complete;
	const char *choices; /* "json|text": other values are refused */
};

#define OPT_BOOL(c, n, type, member, text)                                                       \
	{                                                                                        \
		.kind = OPT_BOOL_, .letter = (c), .name = (n), .offset = offsetof(type, member), \
		.help = (text)                                                                   \
	}
#define OPT_VALUE(k, c, n, meta, type, member, text, ...)                       \
	{                                                                       \
		.kind = (k), .letter = (c), .name = (n), .metavar = (meta),     \
		.offset = offsetof(type, member), .help = (text), ##__VA_ARGS__ \
	}
#define OPT_STRING(...)	  OPT_VALUE(OPT_STRING_, __VA_ARGS__)
#define OPT_INT(...)	  OPT_VALUE(OPT_INT_, __VA_ARGS__)
#define OPT_SIZE(...)	  OPT_VALUE(OPT_SIZE_, __VA_ARGS__)
#define OPT_DURATION(...) OPT_VALUE(OPT_DURATION_, __VA_ARGS__)
#define OPT_LIST(...)	  OPT_VALUE(OPT_LIST_, __VA_ARGS__)
#define OPT_CALL(...)	  OPT_VALUE(OPT_CALL_, __VA_ARGS__)
/* Takes in another table; `member` is the embedded settings struct that it fills. */
#define OPT_GROUP(table, type, member)                                                 \
	{                                                                              \
		.kind = OPT_GROUP_, .group = (table), .offset = offsetof(type, member) \
	}
#define OPT_HEADING(text)                            \
	{                                            \
		.kind = OPT_HEADING_, .help = (text) \
	}
#define OPT_END                  \
	{                        \
		.kind = OPT_END_ \
	}

struct command {
	const char *name;
	const char *args;    /* "IMAGE [COMMAND [ARG...]]" */
	const char *summary; /* one line */
	const char *text;    /* further paragraphs for --help and the man page, or NULL */
	const struct opt *opts;
	size_t settings_size; /* zeroed and handed to `run` */
	/* Gets the words left after the options, NULL-terminated. Returns the exit status, or
	 * -errno with `e` set, which main prints and turns into 125. */
	int (*run)(void *settings, int argc, char **argv, struct err *e);
	bool stop_at_arg; /* options end at the first other word: run, exec */
	bool hidden;
	int min_args, max_args;		   /* max_args -1: any number */
	const struct command *const *subs; /* NULL-terminated; then `run` is NULL */
	enum opt_complete complete_args;
};

/* Members of a command whose words are one instance or image after the other. */
#define ARGS_INSTANCES \
	.args = "INSTANCE...", .min_args = 1, .max_args = -1, .complete_args = COMPLETE_INSTANCE
#define ARGS_IMAGES \
	.args = "IMAGE...", .min_args = 1, .max_args = -1, .complete_args = COMPLETE_IMAGE

/* Parses argv[1..] by `opts` into `settings`. Moves the remaining words to the front of argv and
 * returns their number; -EINVAL with `e` set on anything unknown; -ECANCELED when --help was asked.
 */
int opt_parse(const struct opt *opts, bool stop_at_arg, void *settings, int argc, char **argv,
	      struct err *e);

/* Frees the lists that parsing filled. */
void opt_free(const struct opt *opts, void *settings);

/* Calls `fn` for each option and heading, groups flattened. */
void opt_each(const struct opt *opts, void (*fn)(const struct opt *o, void *arg), void *arg);

/* The option that `--name` or `-l` means (`len` bytes of `name`, or `letter`), groups searched;
 * NULL: none. */
const struct opt *opt_find(const struct opt *opts, const char *name, size_t len, char letter);
