/*
 * Image names. The grammar is that of the distribution specification (1.1, "Pulling manifests")
 * with docker's completions: a first part with a dot, a colon or the name "localhost" is a
 * registry; without one it is docker.io, where a lone word lives under library/; without tag and
 * digest the tag is "latest".
 *
 * Trust: input is anything. Threads: any. #syscalls: none
 */
#include "wire/reference.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "wire/sha256.h"

static bool lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool digest_is_hex(const char *s, size_t min)
{
	size_t n = strspn(s, "0123456789abcdef");

	return !s[n] && n >= min && n <= 64;
}

bool digest_valid(const char *s)
{
	const char *hex = str_after(s, "sha256:");

	return hex && digest_is_hex(hex, 64);
}

void digest_from_bytes(const unsigned char raw[32], char out[DIGEST_SIZE])
{
	memcpy(out, "sha256:", 7);
	for (int i = 0; i < 32; i++)
		snprintf(out + 7 + 2 * i, 3, "%02x", raw[i]);
}

void digest_of(const void *p, size_t n, char out[DIGEST_SIZE])
{
	struct sha256 h;
	unsigned char raw[32];

	sha256_init(&h);
	sha256_add(&h, p, n);
	sha256_finish(&h, raw);
	digest_from_bytes(raw, out);
}

/* One path part: runs of a-z0-9 joined by '.', '_', '__' or any number of '-'. */
static bool part_ok(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t start = i;

		while (i < n && lower_alnum(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == n)
			return true;
		start = i;
		while (i < n && s[i] == s[start])
			i++;
		size_t run = i - start;

		if (s[start] == '.' ? run != 1 : s[start] == '_' ? run > 2 : s[start] != '-')
			return false;
	}
	return false;
}

static int repository_check(const char *whole, const char *s, struct err *e)
{
	for (const char *p = s;; p++) {
		size_t n = strcspn(p, "/");

		if (!part_ok(p, n))
			return err_set(e, -EINVAL, "image name '%s': '%.*s' is not %s", whole,
				       (int)n, p,
				       n ? "lower-case letters and digits joined by '.', '_' or '-'"
					 : "a name: it is empty");
		p += n;
		if (!*p)
			return 0;
	}
}

static int registry_check(const char *whole, const char *s, struct err *e)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-[]:");
	const char *colon = strrchr(s, ':');
	uint64_t port;

	if (s[n] || s[0] == '.' || s[0] == '-' || s[0] == ':' || strstr(s, ".."))
		return err_set(e, -EINVAL, "image name '%s': '%s' is not a registry's name", whole,
			       s);
	if (colon && colon[1] && !strchr(colon, ']') &&
	    (str_to_u64(colon + 1, &port) || port == 0 || port > 65535))
		return err_set(e, -EINVAL, "image name '%s': registry port '%s' is not a port",
			       whole, colon + 1);
	if (colon && !colon[1])
		return err_set(e, -EINVAL, "image name '%s': the registry's port is empty", whole);
	return 0;
}

static int tag_check(const char *whole, const char *s, struct err *e)
{
	size_t n = strlen(s);
	bool ok = n >= 1 && n <= 128 && s[0] != '.' && s[0] != '-';

	for (size_t i = 0; ok && i < n; i++)
		ok = isalnum((unsigned char)s[i]) || strchr("._-", s[i]);
	return ok ? 0
		  : err_set(e, -EINVAL,
			    "image name '%s': tag '%s' is not 1 to 128 letters, digits, '.', '_' "
			    "or '-'",
			    whole, s);
}

/* Cuts "@digest" and ":tag" off the end of `name`. */
static int take_suffixes(const char *whole, char *name, struct reference *r, struct err *e)
{
	char *at = strchr(name, '@'), *slash, *colon;

	if (at) {
		*at++ = '\0';
		if (!digest_valid(at))
			return err_set(e, -EINVAL,
				       "image name '%s': '%s' is not a digest (sha256: and 64 hex "
				       "digits)",
				       whole, at);
		memcpy(r->digest, at, strlen(at) + 1);
	}
	slash = strrchr(name, '/');
	colon = strrchr(name, ':');
	if (colon && (!slash || colon > slash)) {
		*colon++ = '\0';
		int err = tag_check(whole, colon, e);

		if (err)
			return err;
		memcpy(r->tag, colon, strlen(colon) + 1);
	} else if (!at) {
		memcpy(r->tag, "latest", 7);
	}
	return 0;
}

/* Whether the part before the first slash is read as a registry. */
static bool begins_with_registry(const char *name)
{
	const char *slash = strchr(name, '/');
	size_t first = slash ? (size_t)(slash - name) : 0;

	return slash && (memchr(name, '.', first) || memchr(name, ':', first) ||
			 (first == 9 && !memcmp(name, "localhost", 9)));
}

int reference_parse(const char *s, struct reference *r, struct err *e)
{
	char name[512];
	size_t n = strlen(s);

	*r = (struct reference){ .short_name = false };
	if (n == 0)
		return err_set(e, -EINVAL, "image name is empty");
	if (n >= sizeof(name))
		return err_set(e, -EINVAL, "image name '%.40s...' is longer than %zu bytes", s,
			       sizeof(name) - 1);
	memcpy(name, s, n + 1);
	int err = take_suffixes(s, name, r, e);

	if (err)
		return err;
	char *path = name, *slash = strchr(name, '/');
	bool has_registry = begins_with_registry(name);

	if (has_registry) {
		*slash = '\0';
		path = slash + 1;
		err = registry_check(s, name, e);
		if (err)
			return err;
	}
	r->short_name = !has_registry;
	const char *registry = has_registry ? name : "docker.io";

	if (streq(registry, "index.docker.io"))
		registry = "docker.io";
	err = repository_check(s, path, e);
	if (err)
		return err;
	const char *library = streq(registry, "docker.io") && !strchr(path, '/') ? "library/" : "";

	if (strlen(registry) >= sizeof(r->registry) ||
	    strlen(library) + strlen(path) >= sizeof(r->repository))
		return err_set(e, -EINVAL, "image name '%.40s...' is too long", s);
	snprintf(r->registry, sizeof(r->registry), "%s", registry);
	snprintf(r->repository, sizeof(r->repository), "%s%s", library, path);
	return 0;
}

static int format(const char *registry, const char *repository, const struct reference *r,
		  char *out, size_t size)
{
	int n = snprintf(out, size, "%s%s%s%s%s%s%s", registry, *registry ? "/" : "", repository,
			 *r->tag ? ":" : "", r->tag, *r->digest ? "@" : "", r->digest);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int reference_format(const struct reference *r, char *out, size_t size)
{
	return format(r->registry, r->repository, r, out, size);
}

int reference_familiar(const struct reference *r, char *out, size_t size)
{
	const char *lone = str_after(r->repository, "library/");

	if (!streq(r->registry, "docker.io"))
		return format(r->registry, r->repository, r, out, size);
	if (lone && !strchr(lone, '/'))
		return format("", lone, r, out, size);
	/* What is shown can be typed: it must not be taken for something else. */
	return format(lone || begins_with_registry(r->repository) ? r->registry : "", r->repository,
		      r, out, size);
}
