/*
 * Containerfiles, the subset that is built here: FROM, RUN, COPY, ADD, ENV, WORKDIR, ENTRYPOINT, CMD, USER, EXPOSE, LABEL,
 * ARG, VOLUME, STOPSIGNAL. A backslash at a line's end goes on, '#' begins a comment line, also between continued lines.
 *
 * Trust: any text. Threads: any. #syscalls: none
 */
#include "wire/containerfile.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"

#define TEXT_MAX (1u << 20)

static bool known(const char *name)
{
	static const char *const names[] = { "ADD",	   "ARG",    "CMD",	   "COPY",
					     "ENTRYPOINT", "ENV",    "EXPOSE",	   "FROM",
					     "LABEL",	   "RUN",    "STOPSIGNAL", "USER",
					     "VOLUME",	   "WORKDIR" };

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
		return err_set(e, -EINVAL, "%s: line %zu: '%.32s' is no instruction known here",
			       name, line, text);
	text += n;
	out->args = arena_strdup(a, text + strspn(text, " \t"));
	out->line = line;
	if (!out->args)
		return -ENOMEM;
	return *out->args ? 0
			  : err_set(e, -EINVAL, "%s: line %zu: %s without a value", name, line,
				    out->name);
}

int containerfile_parse(const char *text, size_t n, const char *name, struct arena *a,
			struct instruction **out, size_t *out_n, struct err *e)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(TEXT_MAX);
	const char *p = text, *end = text + n;
	size_t line = 0, count = 0;
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
