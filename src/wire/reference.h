/* Image names as docker reads them, and content digests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define DIGEST_SIZE 72 /* "sha256:" + 64 hex digits + NUL */

/* A whole name: docker.io/library/debian:12, quay.io:443/a/b@sha256:... */
struct reference {
	char registry[256];	  /* "docker.io", "localhost:5000" */
	char repository[256];	  /* "library/debian" */
	char tag[129];		  /* "latest"; "" when there is only a digest */
	char digest[DIGEST_SIZE]; /* "" when none was given */
	bool short_name; /* no registry was written: registries.conf may say where to look */
};

/* Parses and completes a name ("debian" is docker.io/library/debian:latest). 0, or -EINVAL with
 * what is wrong with which part. */
int reference_parse(const char *s, struct reference *r, struct err *e);

/* registry/repository[:tag][@digest]; 0 or -ENAMETOOLONG. */
int reference_format(const struct reference *r, char *out, size_t size);

/* The name as people write it: without docker.io/library/, with its tag. */
int reference_familiar(const struct reference *r, char *out, size_t size);

/* Whether `s` is "sha256:" and 64 lower-case hex digits; other algorithms are not known here. */
bool digest_valid(const char *s);
/* Whether all of `s` are lower-case hex digits, and how many: at least `min`, at most 64. */
bool digest_is_hex(const char *s, size_t min);
/* Writes "sha256:..." of 32 raw bytes. */
void digest_from_bytes(const unsigned char raw[32], char out[DIGEST_SIZE]);
/* The digest of a whole buffer. */
void digest_of(const void *p, size_t n, char out[DIGEST_SIZE]);
