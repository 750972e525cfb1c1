/* Lists as docker prints them: aligned columns, JSON lines, or a template a row. */
#pragma once

#include <stdio.h>

#include "base/err.h"

struct json_object;

struct column {
	const char *member; /* of the row's object */
	const char *title;
};

/* Prints `rows` (a JSON array of objects). `format`: NULL or "table": the columns in `columns` (`shown` of
 * them; the rest are known to "table TEMPLATE" as titles); "json": one object a line; "table TEMPLATE": a
 * table of those; else a template for each row. 0 or -errno. */
int table_print(FILE *f, const char *format, const struct column *columns, size_t shown,
		size_t known, struct json_object *rows, struct err *e);
/* Whole documents, as inspect prints them: a list, pretty or ("json") on one line, or a template for each. */
int table_print_documents(FILE *f, const char *format, struct json_object *list, struct err *e);
/* Only the one member of each row, as -q does. */
void table_print_member(FILE *f, const char *member, struct json_object *rows);
