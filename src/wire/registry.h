/* What a registry and its clients' files say about credentials (distribution-spec 1.1; docker's token
 * authentication). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* A WWW-Authenticate header's challenge. */
struct challenge {
	bool bearer, basic;
	char realm[1024], service[512], scope[1024];
};

/* Reads the value of one WWW-Authenticate header; of several challenges the first bearer one counts. 0;
 * -EINVAL when there is none that is known. */
int challenge_parse(const char *header, struct challenge *out, struct err *e);

/* {"token": ...} or {"access_token": ...}. 0 or -EINVAL. */
int token_parse(const char *json, size_t n, char *token, size_t size, struct err *e);

/* The first message of {"errors":[{"code","message"}]}, "" when there is none. */
void registry_message(const char *json, size_t n, char *out, size_t size);

struct credentials {
	char user[256], password[4096],
		identity[8192]; /* identity: a refresh token in place of both */
	char helper[128];	/* docker-credential-<helper> knows them */
};

/* The entry for `registry` of docker's config.json or podman's auth.json. 1: found, 0: not, -errno. */
int credentials_parse(const char *json, size_t n, const char *name, const char *registry,
		      struct credentials *out, struct err *e);
/* A helper's answer: {"Username","Secret"}. 0 or -errno. */
int credentials_parse_helper(const char *json, size_t n, struct credentials *out, struct err *e);

/* The file with the entry for `registry` set (user "" removes it); other members stay as they are. The
 * result is to be freed. 0 or -errno. */
int credentials_edit(const char *json, size_t n, const char *name, const char *registry,
		     const char *user, const char *password, char **out, struct err *e);
