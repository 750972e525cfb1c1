/*
 * Rendering --format templates.
 *
 * There is no tree: the text is walked and acted upon at once. A body that must not run (the untaken side of
 * an `if`) is walked with `live` off, a `range` walks its body once for each element, from the same place.
 * That costs parsing again, which for the length of a --format nobody notices, and keeps this small.
 *
 * Trust: the template is the user's, the data ours. Still everything is bounded: nesting by DEPTH_MAX, work
 * by STEPS_MAX, output by the buffer. Threads: none. #syscalls: none
 */
#include "wire/template.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "wire/template_int.h"

enum { DEPTH_MAX = 32, STEPS_MAX = 1000000, VARS_MAX = 16, NAME_MAX_ = 64, STRING_MAX = 65536 };

struct var {
	char name[NAME_MAX_];
	json_object *v; /* owned */
};

struct walk {
	const char *text, *p; /* the whole, and where we are */
	struct buf *out;
	struct err *e;
	json_object *root;
	struct var vars[VARS_MAX];
	size_t vars_n;
	unsigned int steps;
	int depth;
};

/* How a body ended. */
enum stop { STOP_TEXT_END, STOP_END, STOP_ELSE };

static int fail(struct walk *w, const char *why)
{
	return err_set(w->e, -EINVAL, "template: at '%.20s': %s", w->p, why);
}

static void put_json(json_object **o)
{
	json_object_put(*o);
}

#define cleanup_json cleanup_with(put_json)

static void blanks(struct walk *w)
{
	while (isspace((unsigned char)*w->p))
		w->p++;
}

/* Whether the action is over: "}}" or " -}}". */
static bool at_close(const struct walk *w)
{
	return strncmp(w->p, "}}", 2) == 0 || strncmp(w->p, "-}}", 3) == 0;
}

static int close_action(struct walk *w)
{
	blanks(w);
	if (!at_close(w))
		return fail(w, "expected }}");
	bool trim = *w->p == '-';

	w->p += trim ? 3 : 2;
	if (trim)
		blanks(w);
	return 0;
}

static size_t word_len(const char *p)
{
	size_t n = 0;

	while (isalnum((unsigned char)p[n]) || p[n] == '_')
		n++;
	return n;
}

static bool take_word(struct walk *w, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(w->p, word, n) != 0 || word_len(w->p) != n)
		return false;
	w->p += n;
	return true;
}

static int set_var(struct walk *w, const char *name, size_t n, json_object *v)
{
	if (n >= NAME_MAX_ || w->vars_n == VARS_MAX)
		return fail(w, "too many variables");
	struct var *var = &w->vars[w->vars_n++];

	memcpy(var->name, name, n);
	var->name[n] = '\0';
	var->v = json_object_get(v);
	return 0;
}

static void drop_vars(struct walk *w, size_t to)
{
	while (w->vars_n > to)
		json_object_put(w->vars[--w->vars_n].v);
}

/* .A.B of `v`; `v` becomes the member. */
static int take_members(struct walk *w, bool live, json_object **v)
{
	while (*w->p == '.') {
		size_t n = word_len(w->p + 1);
		char name[NAME_MAX_];
		json_object *member = NULL;

		if (!n || n >= sizeof(name))
			return fail(w, "bad member name");
		memcpy(name, w->p + 1, n);
		name[n] = '\0';
		if (live && *v && !json_object_object_get_ex(*v, name, &member))
			return fail(w, "no such member");
		w->p += n + 1;
		json_object_get(member);
		json_object_put(*v);
		*v = member;
	}
	return 0;
}

static int take_string(struct walk *w, json_object **v)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(STRING_MAX);
	char quote = *w->p++;

	for (; *w->p && *w->p != quote; w->p++) {
		char c = *w->p;

		if (c == '\\' && quote == '"' && w->p[1]) {
			c = *++w->p;
			c = (char)(c == 'n' ? '\n' : c == 't' ? '\t' : c);
		}
		buf_addc(&b, c);
	}
	if (*w->p != quote)
		return fail(w, "a string does not end");
	w->p++;
	*v = json_object_new_string_len(buf_str(&b), (int)b.len);
	return b.error;
}

static int pipeline(struct walk *w, json_object *dot, bool live, json_object **v);

static int take_variable(struct walk *w, json_object **v)
{
	size_t n = word_len(++w->p);

	if (!n) {
		*v = json_object_get(w->root);
		return 0;
	}
	for (size_t i = w->vars_n; i-- > 0;) {
		if (strlen(w->vars[i].name) == n && memcmp(w->vars[i].name, w->p, n) == 0) {
			w->p += n;
			*v = json_object_get(w->vars[i].v);
			return 0;
		}
	}
	return fail(w, "no such variable");
}

static int take_number(struct walk *w, json_object **v)
{
	char digits[24];
	int64_t number;
	size_t n = (size_t)(*w->p == '-') + strspn(w->p + (*w->p == '-'), "0123456789");

	if (n >= sizeof(digits))
		return fail(w, "bad number");
	memcpy(digits, w->p, n);
	digits[n] = '\0';
	if (str_to_i64(digits, &number))
		return fail(w, "bad number");
	w->p += n;
	*v = json_object_new_int64(number);
	return 0;
}

/* One operand: .A, $v.A, "s", 5, (pipeline), true. */
static int operand(struct walk *w, json_object *dot, bool live, json_object **v)
{
	int r = 0;

	*v = NULL;
	if (*w->p == '"' || *w->p == '`')
		return take_string(w, v);
	if (isdigit((unsigned char)*w->p) || (*w->p == '-' && isdigit((unsigned char)w->p[1])))
		return take_number(w, v);
	if (take_word(w, "true") || take_word(w, "false")) {
		*v = json_object_new_boolean(w->p[-2] == 'u');
		return 0;
	}
	if (take_word(w, "nil"))
		return 0;
	if (*w->p == '(') {
		if (++w->depth > DEPTH_MAX)
			return fail(w, "nested too deeply");
		w->p++;
		r = pipeline(w, dot, live, v);
		w->depth--;
		blanks(w);
		if (!r && *w->p != ')')
			r = fail(w, "expected )");
		w->p += !r;
	} else if (*w->p == '$') {
		r = take_variable(w, v);
	} else if (*w->p == '.') {
		*v = json_object_get(dot);
		if (!word_len(w->p + 1)) {
			w->p++;
			return 0;
		}
	} else {
		return fail(w, "expected a value");
	}
	if (!r)
		r = take_members(w, live, v);
	if (r) {
		json_object_put(*v);
		*v = NULL;
	}
	return r;
}

static bool at_operand_end(const struct walk *w)
{
	return at_close(w) || *w->p == '|' || *w->p == ')' || !*w->p;
}

/* A function and its arguments; `last` (may be absent) is what a pipe hands over. */
static int call(struct walk *w, json_object *dot, bool live, json_object *last, bool has_last,
		json_object **v)
{
	size_t len = word_len(w->p), n = 0;
	const struct template_function *f = template_function_find(w->p, len);
	json_object *args[ARGS_MAX] = { 0 };
	int r = 0;

	if (!f)
		return fail(w, "no such function");
	w->p += len;
	for (blanks(w); !r && !at_operand_end(w); blanks(w)) {
		if (n == ARGS_MAX - 1)
			r = fail(w, "too many arguments");
		else
			r = operand(w, dot, live, &args[n++]);
	}
	if (!r && has_last)
		args[n++] = json_object_get(last);
	if (!r && (n < f->min || n > f->max))
		r = fail(w, "wrong number of arguments");
	if (!r && live) {
		r = f->fn(args, n, v, w->e);
		if (r)
			err_wrap(w->e, "template");
	}
	for (size_t i = 0; i < n; i++)
		json_object_put(args[i]);
	return r;
}

static int pipeline(struct walk *w, json_object *dot, bool live, json_object **v)
{
	bool has = false;

	*v = NULL;
	for (;;) {
		cleanup_json json_object *before = *v;
		int r;

		*v = NULL;
		blanks(w);
		size_t len = word_len(w->p);

		if (len && template_function_find(w->p, len))
			r = call(w, dot, live, before, has, v);
		else if (has)
			r = fail(w, "a pipe leads to something that is no function");
		else
			r = operand(w, dot, live, v);
		if (r)
			return r;
		has = true;
		blanks(w);
		if (*w->p != '|')
			return 0;
		w->p++;
	}
}

static int body(struct walk *w, json_object *dot, bool live, enum stop *stop);

/* After a first body that ended with {{else ...}}: the rest up to {{end}}. */
static int else_part(struct walk *w, json_object *dot, bool live, enum stop stop, bool may_chain);

static int if_action(struct walk *w, json_object *dot, bool live, bool with)
{
	cleanup_json json_object *v = NULL;
	enum stop stop;
	int r = pipeline(w, dot, live, &v);
	bool yes = template_truth(v);

	if (!r)
		r = close_action(w);
	if (!r)
		r = body(w, with ? v : dot, live && yes, &stop);
	return r ? r : else_part(w, dot, live && !yes, stop, !with);
}

static int else_part(struct walk *w, json_object *dot, bool live, enum stop stop, bool may_chain)
{
	if (stop == STOP_TEXT_END)
		return fail(w, "{{end}} is missing");
	if (stop == STOP_END)
		return close_action(w);
	blanks(w);
	if (may_chain && take_word(w, "if"))
		return if_action(w, dot, live, false);
	int r = close_action(w);

	if (!r)
		r = body(w, dot, live, &stop);
	if (!r && stop != STOP_END)
		return fail(w, "{{end}} is missing");
	return r ? r : close_action(w);
}

struct range {
	char names[2][NAME_MAX_];
	size_t names_n;
	const char *start; /* of the body */
	enum stop stop;
	bool ran;
};

/* "$k, $v :=" */
static int range_names(struct walk *w, struct range *g)
{
	const char *assign = strstr(w->p, ":="), *end = strstr(w->p, "}}");

	if (!assign || (end && assign > end))
		return 0;
	while (g->names_n < 2 && *w->p == '$') {
		size_t n = word_len(w->p + 1);

		if (!n || n >= NAME_MAX_)
			return fail(w, "bad variable name");
		memcpy(g->names[g->names_n++], w->p + 1, n);
		w->p += n + 1;
		blanks(w);
		if (*w->p == ',') {
			w->p++;
			blanks(w);
		}
	}
	if (w->p != assign)
		return fail(w, "expected :=");
	w->p += 2;
	return 0;
}

static int range_once(struct walk *w, struct range *g, json_object *key, json_object *v)
{
	size_t before = w->vars_n;
	int r = 0;

	if (g->names_n == 2)
		r = set_var(w, g->names[0], strlen(g->names[0]), key);
	if (!r && g->names_n)
		r = set_var(w, g->names[g->names_n - 1], strlen(g->names[g->names_n - 1]), v);
	w->p = g->start;
	g->ran = true;
	if (!r)
		r = body(w, v, true, &g->stop);
	drop_vars(w, before);
	return r;
}

static int range_all(struct walk *w, struct range *g, json_object *v)
{
	int r = 0;

	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0; !r && i < json_object_array_length(v); i++) {
			cleanup_json json_object *key = json_object_new_int64((int64_t)i);

			r = range_once(w, g, key, json_object_array_get_idx(v, i));
		}
	} else if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, name, member)
		{
			cleanup_json json_object *key = json_object_new_string(name);

			r = range_once(w, g, key, member);
			if (r)
				break;
		}
	} else if (v) {
		r = fail(w, "range: neither a list nor a map");
	}
	return r;
}

static int range_action(struct walk *w, json_object *dot, bool live)
{
	cleanup_json json_object *v = NULL;
	struct range g = { .stop = STOP_TEXT_END };
	int r;

	blanks(w);
	r = range_names(w, &g);
	if (!r)
		r = pipeline(w, dot, live, &v);
	if (!r)
		r = close_action(w);
	g.start = w->p;
	if (!r && live)
		r = range_all(w, &g, v);
	if (!r && !g.ran)
		r = body(w, dot, false, &g.stop);
	return r ? r : else_part(w, dot, live && !g.ran, g.stop, false);
}

/* {{$x := pipeline}}. 1: it was one. */
static int assignment(struct walk *w, json_object *dot, bool live)
{
	size_t n = *w->p == '$' ? word_len(w->p + 1) : 0;
	const char *name = w->p + 1, *after = name + n;
	json_object *v = NULL;

	while (n && isspace((unsigned char)*after))
		after++;
	if (!n || strncmp(after, ":=", 2) != 0)
		return 0;
	w->p = after + 2;
	int r = pipeline(w, dot, live, &v);

	if (!r)
		r = set_var(w, name, n, v);
	json_object_put(v);
	return r ? r : 1;
}

/* Behind "{{". 1: this action ended the body. */
static int action(struct walk *w, json_object *dot, bool live, enum stop *stop)
{
	cleanup_json json_object *v = NULL;
	int r;

	blanks(w);
	if (strncmp(w->p, "/*", 2) == 0) {
		const char *end = strstr(w->p, "*/");

		if (!end)
			return fail(w, "a comment does not end");
		w->p = end + 2;
		return close_action(w);
	}
	if (take_word(w, "end")) {
		*stop = STOP_END;
		return 1;
	}
	if (take_word(w, "else")) {
		*stop = STOP_ELSE;
		return 1;
	}
	if (take_word(w, "if"))
		return if_action(w, dot, live, false);
	if (take_word(w, "with"))
		return if_action(w, dot, live, true);
	if (take_word(w, "range"))
		return range_action(w, dot, live);
	r = assignment(w, dot, live);
	if (!r) {
		r = pipeline(w, dot, live, &v);
		if (!r && live)
			r = template_print(w->out, v);
	}
	return r < 0 ? r : close_action(w);
}

/* Walks text and actions until the text or the body ends; then *p is behind the word "end" or "else". */
static int body(struct walk *w, json_object *dot, bool live, enum stop *stop)
{
	size_t vars = w->vars_n;
	int r = 0;

	if (++w->depth > DEPTH_MAX)
		return fail(w, "nested too deeply");
	*stop = STOP_TEXT_END;
	while (!r && *w->p) {
		const char *open = strstr(w->p, "{{");
		size_t n = open ? (size_t)(open - w->p) : strlen(w->p);
		bool trim = open && open[2] == '-' && isspace((unsigned char)open[3]);

		if (++w->steps > STEPS_MAX)
			return fail(w, "too much work");
		size_t keep = n;

		while (trim && keep && isspace((unsigned char)w->p[keep - 1]))
			keep--;
		if (live)
			r = buf_add(w->out, w->p, keep);
		w->p += n;
		if (r || !open)
			break;
		w->p += trim ? 3 : 2;
		r = action(w, dot, live, stop);
	}
	drop_vars(w, vars);
	w->depth--;
	return r == 1 ? 0 : r;
}

int template_render(const char *text, json_object *data, struct buf *out, struct err *e)
{
	struct walk w = { .text = text, .p = text, .out = out, .e = e, .root = data };
	enum stop stop;
	int r = body(&w, data, true, &stop);

	if (!r && stop != STOP_TEXT_END)
		r = fail(&w, "{{end}} or {{else}} without a beginning");
	drop_vars(&w, 0);
	if (!r && out->error)
		r = err_sys(e, out->error, "template: result");
	return r;
}

char *template_unescape(const char *text)
{
	char *s = malloc(strlen(text) + 1), *to = s;
	bool inside = false;

	for (; s && *text; text++) {
		if (strncmp(text, "{{", 2) == 0)
			inside = true;
		else if (strncmp(text, "}}", 2) == 0)
			inside = false;
		if (!inside && text[0] == '\\' && (text[1] == 't' || text[1] == 'n'))
			*to++ = *++text == 't' ? '\t' : '\n';
		else
			*to++ = *text;
	}
	if (s)
		*to = '\0';
	return s;
}
