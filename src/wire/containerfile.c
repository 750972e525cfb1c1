/*
 * Containerfiles, the subset that is built here: FROM, RUN, COPY, ADD, ENV, WORKDIR, ENTRYPOINT, CMD, USER, EXPOSE, LABEL,
 * ARG, VOLUME, STOPSIGNAL, HEALTHCHECK, SHELL, MAINTAINER. A backslash at a line's end goes on, '#' begins a comment line,
 * also between continued lines. RUN may have here-documents, whose lines are kept as they are.
 *
 * Trust: any text. Threads: any. #syscalls: none
 */
#include "wire/containerfile.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"

#define TEXT_MAX (1u << 20)

static bool known(const char *name)
{
	static const char *const names[] = { "ADD",	    "ARG",    "CMD",	    "COPY",
					     "ENTRYPOINT",  "ENV",    "EXPOSE",	    "FROM",
					     "HEALTHCHECK", "LABEL",  "MAINTAINER", "ONBUILD",
					     "RUN",	    "SHELL",  "STOPSIGNAL", "USER",
					     "VOLUME",	    "WORKDIR" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(names[i], name))
			return true;
	return false;
}

/* Appends a logical line to `b`; moves `*p` and `*line` behind it. */
static void take_line(const char **p, const char *end, size_t *line, struct buf *b)
{
	bool more = true;

	while (more && *p < end) {
		const char *nl = memchr(*p, '\n', (size_t)(end - *p)), *stop = nl ? nl : end;
		const char *s = *p, *first = s;

		*p = nl ? nl + 1 : end;
		(*line)++;
		while (first < stop && isspace((unsigned char)*first))
			first++;
		if (first < stop && *first == '#')
			continue;
		while (stop > s && isspace((unsigned char)stop[-1]))
			stop--;
		if (b->len && stop == s)
			continue;
		more = stop > s && stop[-1] == '\\';
		buf_add(b, s, (size_t)(stop - s) - more);
		if (!more)
			return;
	}
}

static int add(struct arena *a, const char *text, size_t line, const char *name,
	       struct instruction *out, struct err *e)
{
	size_t n = 0;

	text += strspn(text, " \t");
	for (; text[n] && !isspace((unsigned char)text[n]) && n < sizeof(out->name) - 1; n++)
		out->name[n] = (char)toupper((unsigned char)text[n]);
	out->name[n] = '\0';
	if (!known(out->name))
		return err_set(e, -EINVAL, "%s:%zu: '%.32s' is no instruction known here", name,
			       line, text);
	text += n;
	out->args = arena_strdup(a, text + strspn(text, " \t"));
	out->line = line;
	if (!out->args)
		return -ENOMEM;
	return *out->args
		       ? 0
		       : err_set(e, -EINVAL, "%s:%zu: %s without a value", name, line, out->name);
}

/* Where a word of the line begins a here-document: "<<", or a descriptor's number and that. A shift within $((1<<4)) is
 * none, nor what is quoted. NULL: nowhere. */
static const char *heredoc_at(const char *line)
{
	char quote = '\0';
	bool begins = true; /* a word, but for digits */

	for (const char *p = line; *p; p++) {
		if (begins && !quote && p[0] == '<' && p[1] == '<' && p[2] != '<')
			return p + 2;
		begins = !quote &&
			 (*p == ' ' || *p == '\t' || (begins && isdigit((unsigned char)*p)));
		if (*p == '\\' && quote != '\'' && p[1])
			p++;
		else if (quote ? *p == quote : *p == '"' || *p == '\'')
			quote = quote ? '\0' : *p;
	}
	return NULL;
}

/* The word that ends the here-document which a RUN begins, "" when it begins none. */
static void heredoc_of(const char *line, char word[64], bool *tabs)
{
	const char *p = line + strspn(line, " \t"), *at;

	*word = '\0';
	if (strncasecmp(p, "RUN", 3) != 0 || !(at = heredoc_at(p + 3)))
		return;
	*tabs = *at == '-';
	at += *tabs;
	size_t quote = *at == '"' || *at == '\'', n = 0;

	for (at += quote; isalnum((unsigned char)at[n]) || at[n] == '_'; n++)
		;
	if (n && n < 64)
		snprintf(word, 64, "%.*s", (int)n, at);
}

/* The lines up to the one that is `word`; what was there when the whole instruction is the here-document. */
static int take_heredoc(const char **p, const char *end, size_t *line, const char *word, bool tabs,
			struct buf *b)
{
	while (*p < end) {
		const char *nl = memchr(*p, '\n', (size_t)(end - *p)), *stop = nl ? nl : end;
		const char *s = *p, *first = s;

		*p = nl ? nl + 1 : end;
		(*line)++;
		while (tabs && first < stop && *first == '\t')
			first++;
		buf_addc(b, '\n');
		buf_add(b, first, (size_t)(stop - first));
		if ((size_t)(stop - first) == strlen(word) && !strncmp(first, word, strlen(word)))
			return 0;
	}
	return -EINVAL;
}

int containerfile_parse(const char *text, size_t n, const char *name, struct arena *a,
			struct instruction **out, size_t *out_n, struct err *e)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(TEXT_MAX);
	const char *p = text, *end = text + n;
	size_t line = 0, count = 0;
	char word[64];
	bool tabs = false;
	int r = 0;

	if (n > TEXT_MAX || memchr(text, '\0', n))
		return err_set(e, -EINVAL, "%s: %s", name,
			       n > TEXT_MAX ? "larger than 1 MiB" : "a NUL byte");
	for (size_t i = 0; i < n; i++)
		count += text[i] == '\n';
	*out = arena_calloc(a, count + 1, sizeof(**out));
	*out_n = 0;
	if (!*out)
		return -ENOMEM;
	while (!r && p < end) {
		size_t at = line + 1;

		buf_clear(&b);
		take_line(&p, end, &line, &b);
		heredoc_of(buf_str(&b), word, &tabs);
		if (*word && take_heredoc(&p, end, &line, word, tabs, &b))
			return err_set(e, -EINVAL, "%s:%zu: the here-document has no line '%s'",
				       name, at, word);
		if (b.len && buf_str(&b)[strspn(buf_str(&b), " \t")])
			r = add(a, buf_str(&b), at, name, &(*out)[(*out_n)++], e);
	}
	return r;
}

static const char *value_of(const struct strlist *vars, const char *name, size_t n)
{
	for (size_t i = vars->n; i-- > 0;)
		if (strncmp(vars->v[i], name, n) == 0 && vars->v[i][n] == '=')
			return vars->v[i] + n + 1;
	return NULL;
}

static size_t name_length(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

char *containerfile_expand(const char *s, const struct strlist *vars)
{
	struct buf b = BUF_INIT(TEXT_MAX);

	while (*s) {
		bool brace = s[0] == '$' && s[1] == '{';
		size_t n = *s == '$' ? name_length(s + 1 + brace) : 0;
		const char *rest = s + 1 + brace + n, *v, *close = brace ? strchr(rest, '}') : rest;

		if (s[0] == '\\' && s[1] == '$') {
			buf_addc(&b, '$');
			s += 2;
			continue;
		}
		if (!n || !close) {
			buf_addc(&b, *s++);
			continue;
		}
		v = value_of(vars, s + 1 + brace, n);
		if (brace && rest[0] == ':' && rest[1] == '-' && !(v && *v))
			buf_add(&b, rest + 2, (size_t)(close - rest - 2));
		else if (brace && rest[0] == ':' && rest[1] == '+') {
			if (v && *v)
				buf_add(&b, rest + 2, (size_t)(close - rest - 2));
		} else if (v)
			buf_adds(&b, v);
		s = close + brace;
	}
	return buf_steal(&b);
}

int containerfile_words(const char *s, struct strlist *out)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(TEXT_MAX);

	for (s += strspn(s, " \t"); *s; s += strspn(s, " \t")) {
		char quote = 0;

		buf_clear(&b);
		for (; *s && (quote || (*s != ' ' && *s != '\t')); s++) {
			if (*s == quote)
				quote = 0;
			else if (!quote && (*s == '"' || *s == '\''))
				quote = *s;
			else if (*s == '\\' && quote != '\'' && s[1])
				buf_addc(&b, *++s);
			else
				buf_addc(&b, *s);
		}
		if (quote)
			return -EINVAL;
		int r = b.error ? b.error : strlist_add(out, buf_str(&b));

		if (r)
			return r;
	}
	return 0;
}

int containerfile_list(const char *s, struct strlist *out)
{
	struct json_object *o = *s == '[' ? json_tokener_parse(s) : NULL;
	int r = json_object_is_type(o, json_type_array);

	for (size_t i = 0; r == 1 && i < json_object_array_length(o); i++) {
		struct json_object *v = json_object_array_get_idx(o, i);

		if (!json_object_is_type(v, json_type_string))
			r = 0;
		else if (strlist_add(out, json_object_get_string(v)))
			r = -ENOMEM;
	}
	json_object_put(o);
	return r;
}

int containerfile_flag(const char **args, char *name, size_t name_size, char *value, size_t size)
{
	const char *p = *args;

	if (p[0] != '-' || p[1] != '-')
		return 0;
	size_t n = strcspn(p, " \t"), key = strcspn(p, "= \t");

	if (key - 2 >= name_size || n - key >= size)
		return -EINVAL;
	snprintf(name, name_size, "%.*s", (int)(key - 2), p + 2);
	snprintf(value, size, "%.*s", (int)(n > key ? n - key - 1 : 0), p + key + (n > key));
	*args = p + n + strspn(p + n, " \t");
	return 1;
}

static int health_time(const char *name, const char *value, struct json_object *o)
{
	static const struct {
		const char *flag, *key;
	} known[] = { { "interval", "Interval" },
		      { "timeout", "Timeout" },
		      { "start-period", "StartPeriod" },
		      { "start-interval", "StartInterval" } };
	uint64_t v;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (streq(known[i].flag, name) && !str_to_duration(value, &v) && v <= INT64_MAX) {
			json_object_object_add(o, known[i].key, json_object_new_int64((int64_t)v));
			return 0;
		}
	if (!streq(name, "retries") || str_to_u64(value, &v) || v > INT32_MAX)
		return -EINVAL;
	json_object_object_add(o, "Retries", json_object_new_int64((int64_t)v));
	return 0;
}

int containerfile_health(const char *args, struct json_object **out)
{
	struct json_object *o = json_object_new_object(), *test = json_object_new_array();
	cleanup_with(strlist_fini) struct strlist words = { .n = 0 };
	char name[64], value[64];
	int r;

	json_object_object_add(o, "Test", test);
	while ((r = containerfile_flag(&args, name, sizeof(name), value, sizeof(value))) == 1)
		if (health_time(name, value, o)) {
			r = -EINVAL;
			break;
		}
	const char *cmd = strncasecmp(args, "CMD", 3) == 0 && strchr(" \t", args[3])
				  ? args + 3 + strspn(args + 3, " \t")
				  : NULL;

	if (!r && strcasecmp(args, "NONE") == 0) {
		json_object_array_add(test, json_object_new_string("NONE"));
	} else if (!r && cmd && *cmd) {
		bool list = containerfile_list(cmd, &words) == 1 && words.n;

		json_object_array_add(test, json_object_new_string(list ? "CMD" : "CMD-SHELL"));
		for (size_t i = 0; list && i < words.n; i++)
			json_object_array_add(test, json_object_new_string(words.v[i]));
		if (!list)
			json_object_array_add(test, json_object_new_string(cmd));
	} else {
		r = -EINVAL;
	}
	if (r)
		json_object_put(o);
	else
		*out = o;
	return r;
}
