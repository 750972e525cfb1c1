/*
 * Tables.
 *
 * A table is rendered by a template like any other format, to lines whose cells are split by tabs; then the
 * columns are made as wide as their widest cell and three blanks, at least ten, as docker does.
 *
 * Trust: cells may hold what an instance or image says; control bytes are shown as '?'.
 * Threads: none. #syscalls: write
 */
#include "cli/table.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "wire/template.h"

enum { COLUMNS_MAX = 32, WIDTH_MIN = 10, GAP = 3, TEXT_MAX = 64 << 20 };

/* Letters on the screen: bytes that begin a UTF-8 sequence. */
static size_t width_of(const char *s, size_t n)
{
	size_t w = 0;

	for (size_t i = 0; i < n; i++)
		w += ((unsigned char)s[i] & 0xc0) != 0x80;
	return w;
}

static void print_cell(FILE *f, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		putc((unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i], f);
}

/* Lines of tab-separated cells, aligned. */
static void print_aligned(FILE *f, const char *text)
{
	size_t widths[COLUMNS_MAX] = { 0 };

	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		const char *cell = p, *end = p + strcspn(p, "\n");

		for (size_t c = 0; c < COLUMNS_MAX && cell <= end; c++) {
			size_t n = strcspn(cell, "\t\n"), w = width_of(cell, n);

			widths[c] = w > widths[c] ? w : widths[c];
			cell += n + 1;
		}
	}
	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		const char *cell = p, *end = p + strcspn(p, "\n");

		for (size_t c = 0; cell <= end; c++) {
			size_t n = strcspn(cell, "\t\n"), w = width_of(cell, n);
			size_t full = c < COLUMNS_MAX ? widths[c] + GAP : 0;

			print_cell(f, cell, n);
			if (full < WIDTH_MIN)
				full = WIDTH_MIN;
			cell += n + 1;
			for (; cell <= end && w < full; w++)
				putc(' ', f);
		}
		putc('\n', f);
	}
}

static int default_template(struct buf *b, const struct column *columns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_addf(b, "%s{{.%s}}", i ? "\t" : "", columns[i].member);
	return b->error;
}

static json_object *titles(const struct column *columns, size_t n)
{
	json_object *o = json_object_new_object();

	for (size_t i = 0; i < n; i++)
		json_object_object_add(o, columns[i].member,
				       json_object_new_string(columns[i].title));
	return o;
}

static int render_rows(const char *template, json_object *rows, struct buf *out, struct err *e)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		int r = template_render(template, json_object_array_get_idx(rows, i), out, e);

		if (r || (r = buf_addc(out, '\n')))
			return r;
	}
	return 0;
}

int table_print(FILE *f, const char *format, const struct column *columns, size_t shown,
		size_t known, json_object *rows, struct err *e)
{
	cleanup_with(buf_fini) struct buf template = BUF_INIT(65536), out = BUF_INIT(TEXT_MAX);
	const char *own = format ? str_after(format, "table") : "";
	bool table = own && (!*own || *own == ' ');
	cleanup_free char *unescaped = NULL;
	int r = 0;

	if (format && streq(format, "json"))
		format = "{{json .}}";
	if (table && !own[strspn(own, " ")])
		r = default_template(&template, columns, shown);
	else
		unescaped = template_unescape(table ? own + strspn(own, " ") : format);
	if (r || (!unescaped && !template.len))
		return r ? r : -ENOMEM;
	const char *t = unescaped ? unescaped : buf_str(&template);

	/* Without a row the titles show whether the template is one. */
	if (table || !json_object_array_length(rows)) {
		json_object *head = titles(columns, known);

		r = template_render(t, head, &out, e);
		json_object_put(head);
		if (!r && table)
			r = buf_addc(&out, '\n');
		else
			buf_clear(&out);
	}
	if (!r)
		r = render_rows(t, rows, &out, e);
	if (r)
		return r;
	if (table)
		print_aligned(f, buf_str(&out));
	else
		fwrite(buf_str(&out), 1, out.len, f);
	return 0;
}

void table_print_member(FILE *f, const char *member, json_object *rows)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		json_object *v = NULL;

		json_object_object_get_ex(json_object_array_get_idx(rows, i), member, &v);
		fprintf(f, "%s\n", json_object_get_string(v));
	}
}

int table_print_documents(FILE *f, const char *format, struct json_object *list, struct err *e)
{
	bool plain = format && streq(format, "json");
	cleanup_free char *template = format && !plain ? template_unescape(format) : NULL;
	cleanup_with(buf_fini) struct buf b = BUF_INIT(16u << 20);

	if (!template)
		fprintf(f, "%s\n",
			json_object_to_json_string_ext(
				list, JSON_C_TO_STRING_NOSLASHESCAPE |
					      (plain ? JSON_C_TO_STRING_PLAIN
						     : JSON_C_TO_STRING_PRETTY |
							       JSON_C_TO_STRING_SPACED)));
	for (size_t i = 0; template && i < json_object_array_length(list); i++) {
		int r = template_render(template, json_object_array_get_idx(list, i), &b, e);

		if (r)
			return r;
		buf_addc(&b, '\n');
	}
	fputs(buf_str(&b), f);
	return b.error;
}
