/*
 * Credentials as bytes: the challenge that a registry answers with, the token it gives out, and the files in which
 * docker and podman keep passwords (base64 of "user:password", which is no secrecy).
 *
 * Trust: challenges and tokens come from the network; files are the user's. All are bounded; a token with control
 * bytes is refused, because it goes into a header. Threads: any. #syscalls: none
 */
#include "wire/registry.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "wire/json.h"

#define FILE_MAX (1u << 20)

static void put_json(struct json_object **o)
{
	json_object_put(*o);
}

#define cleanup_json __attribute__((cleanup(put_json)))

/* key="value" or key=value; moves `*p` behind it and the comma. False at the end of the challenge. */
static bool parameter(const char **p, char *key, size_t key_size, char *value, size_t size)
{
	const char *s = *p + strspn(*p, " \t,");
	size_t n = strcspn(s, "= \t,"), k = 0;

	if (!n || s[n] != '=' || n >= key_size)
		return false;
	snprintf(key, key_size, "%.*s", (int)n, s);
	s += n + 1;
	if (*s == '"') {
		for (s++; *s && *s != '"'; s++) {
			s += *s == '\\' && s[1];
			if (k + 1 < size)
				value[k++] = *s;
		}
		s += *s == '"';
	} else {
		for (; *s && !strchr(", \t", *s); s++)
			if (k + 1 < size)
				value[k++] = *s;
	}
	value[k] = '\0';
	*p = s;
	return true;
}

static bool printable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

int challenge_parse(const char *header, struct challenge *out, struct err *e)
{
	const char *p = header;
	char key[64], value[1024];

	*out = (struct challenge){ .bearer = false };
	while (*p && !out->bearer) {
		p += strspn(p, " \t,");
		size_t n = strcspn(p, " \t,");

		if (!n)
			break;
		bool bearer = n == 6 && strncasecmp(p, "Bearer", 6) == 0;

		out->basic |= n == 5 && strncasecmp(p, "Basic", 5) == 0;
		p += n;
		while (parameter(&p, key, sizeof(key), value, sizeof(value))) {
			if (!bearer)
				continue;
			if (strcasecmp(key, "realm") == 0)
				snprintf(out->realm, sizeof(out->realm), "%s", value);
			else if (strcasecmp(key, "service") == 0)
				snprintf(out->service, sizeof(out->service), "%.511s", value);
			else if (strcasecmp(key, "scope") == 0)
				snprintf(out->scope, sizeof(out->scope), "%s", value);
		}
		out->bearer = bearer;
	}
	if (out->bearer && (!*out->realm || !printable(out->realm)))
		return err_set(e, -EINVAL, "WWW-Authenticate: Bearer without a usable realm");
	if (!out->bearer && !out->basic)
		return err_set(e, -EINVAL, "WWW-Authenticate: '%.100s': neither Bearer nor Basic",
			       header);
	return 0;
}

static const char *text(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (!o || !json_object_object_get_ex(o, key, &v) ||
	    json_object_get_type(v) != json_type_string)
		return NULL;
	return json_object_get_string(v);
}

int token_parse(const char *json, size_t n, char *token, size_t size, struct err *e)
{
	cleanup_json struct json_object *o = NULL;
	int r = json_parse(json, n, FILE_MAX, "token", &o, e);

	if (r)
		return r;
	const char *t = text(o, "token");

	if (!t || !*t)
		t = text(o, "access_token");
	if (!t || !*t || strlen(t) >= size || !printable(t))
		return err_set(e, -EINVAL, "token: the answer holds no usable token");
	snprintf(token, size, "%s", t);
	return 0;
}

void registry_message(const char *json, size_t n, char *out, size_t size)
{
	cleanup_json struct json_object *o = NULL;
	struct json_object *list = NULL, *first;

	out[0] = '\0';
	if (json_parse(json, n, FILE_MAX, "answer", &o, NULL) ||
	    !json_object_object_get_ex(o, "errors", &list) ||
	    json_object_get_type(list) != json_type_array || !json_object_array_length(list))
		return;
	first = json_object_array_get_idx(list, 0);
	if (json_object_get_type(first) != json_type_object)
		return;
	const char *code = text(first, "code"), *message = text(first, "message");

	snprintf(out, size, "%.64s%s%.400s", code ? code : "", code && message ? ": " : "",
		 message ? message : "");
	for (char *p = out; *p; p++)
		*p = (unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p;
}

static int base64_value(char c)
{
	static const char set[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c ? strchr(set, c) : NULL;

	return p ? (int)(p - set) : -1;
}

static int base64_decode(const char *s, char *out, size_t size)
{
	uint32_t word = 0;
	size_t n = 0;
	int have = 0;

	for (; *s && *s != '='; s++) {
		int v = base64_value(*s);

		if (v < 0)
			return -EINVAL;
		word = word << 6 | (uint32_t)v;
		if ((have += 6) < 8)
			continue;
		have -= 8;
		if (n + 1 >= size)
			return -EMSGSIZE;
		out[n++] = (char)(word >> have);
	}
	out[n] = '\0';
	return strlen(out) == n ? 0 : -EINVAL;
}

static char *base64_encode(const char *s)
{
	static const char set[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(s), k = 0;
	char *out = malloc(n / 3 * 4 + 8);

	for (size_t i = 0; out && i < n; i += 3) {
		uint32_t w = (uint32_t)(unsigned char)s[i] << 16;

		w |= i + 1 < n ? (uint32_t)(unsigned char)s[i + 1] << 8 : 0;
		w |= i + 2 < n ? (uint32_t)(unsigned char)s[i + 2] : 0;
		out[k++] = set[w >> 18];
		out[k++] = set[w >> 12 & 63];
		out[k++] = i + 1 < n ? set[w >> 6 & 63] : '=';
		out[k++] = i + 2 < n ? set[w & 63] : '=';
	}
	if (out)
		out[k] = '\0';
	return out;
}

/* How the files name a registry: docker.io has a long old name. */
static const char *file_key(const char *registry)
{
	return streq(registry, "docker.io") ? "https://index.docker.io/v1/" : registry;
}

static int read_entry(struct json_object *entry, const char *name, const char *registry,
		      struct credentials *out, struct err *e)
{
	char pair[sizeof(out->user) + sizeof(out->password)];
	const char *auth = text(entry, "auth"), *identity = text(entry, "identitytoken");

	if (identity && strlen(identity) < sizeof(out->identity))
		snprintf(out->identity, sizeof(out->identity), "%s", identity);
	if (!auth || !*auth)
		return *out->identity ? 1 : 0;
	char *colon = base64_decode(auth, pair, sizeof(pair)) ? NULL : strchr(pair, ':');

	if (!colon || (size_t)(colon - pair) >= sizeof(out->user) ||
	    strlen(colon + 1) >= sizeof(out->password))
		return err_set(e, -EINVAL, "%s: auths.%s.auth: not base64 of USER:PASSWORD", name,
			       registry);
	snprintf(out->user, sizeof(out->user), "%.*s", (int)(colon - pair), pair);
	snprintf(out->password, sizeof(out->password), "%s", colon + 1);
	return 1;
}

int credentials_parse(const char *json, size_t n, const char *name, const char *registry,
		      struct credentials *out, struct err *e)
{
	cleanup_json struct json_object *o = NULL;
	struct json_object *map = NULL, *entry = NULL;
	int r = json_parse(json, n, FILE_MAX, name, &o, e);

	*out = (struct credentials){ .user = "" };
	if (r)
		return r;
	const char *helper = text(o, "credsStore"), *keys[] = { file_key(registry), registry };

	json_object_object_get_ex(o, "credHelpers", &map);
	if (json_object_get_type(map) == json_type_object && text(map, registry))
		helper = text(map, registry);
	if (helper && *helper &&
	    !helper[strspn(helper, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
				   "RSTUVWXYZ0123456789-_")]) {
		snprintf(out->helper, sizeof(out->helper), "%.127s", helper);
		return 1;
	}
	json_object_object_get_ex(o, "auths", &map);
	for (size_t i = 0; i < 2 && json_object_get_type(map) == json_type_object; i++)
		if (json_object_object_get_ex(map, keys[i], &entry) &&
		    json_object_get_type(entry) == json_type_object)
			return read_entry(entry, name, registry, out, e);
	return 0;
}

int credentials_parse_helper(const char *json, size_t n, struct credentials *out, struct err *e)
{
	cleanup_json struct json_object *o = NULL;
	int r = json_parse(json, n, FILE_MAX, "credential helper", &o, e);

	if (r)
		return r;
	const char *user = text(o, "Username"), *secret = text(o, "Secret");

	if (!user || !secret || strlen(user) >= sizeof(out->user) ||
	    strlen(secret) >= sizeof(out->password))
		return err_set(e, -EINVAL,
			       "credential helper: no Username and Secret in its answer");
	if (streq(user, "<token>"))
		snprintf(out->identity, sizeof(out->identity), "%s", secret);
	else
		snprintf(out->user, sizeof(out->user), "%s", user);
	snprintf(out->password, sizeof(out->password), "%s", secret);
	return 0;
}

int credentials_edit(const char *json, size_t n, const char *name, const char *registry,
		     const char *user, const char *password, char **out, struct err *e)
{
	cleanup_json struct json_object *o = NULL;
	struct json_object *auths = NULL, *entry;
	int r = n ? json_parse(json, n, FILE_MAX, name, &o, e) : 0;

	if (r)
		return r;
	o = o ? o : json_object_new_object();
	if (!json_object_object_get_ex(o, "auths", &auths) ||
	    json_object_get_type(auths) != json_type_object) {
		auths = json_object_new_object();
		json_object_object_add(o, "auths", auths);
	}
	json_object_object_del(auths, file_key(registry));
	if (*user) {
		cleanup_free char *pair = NULL, *packed = NULL;

		if (asprintf(&pair, "%s:%s", user, password) < 0 || !(packed = base64_encode(pair)))
			return -ENOMEM;
		entry = json_object_new_object();
		json_object_object_add(entry, "auth", json_object_new_string(packed));
		json_object_object_add(auths, file_key(registry), entry);
	}
	*out = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
								JSON_C_TO_STRING_NOSLASHESCAPE));
	return *out ? 0 : -ENOMEM;
}
