/* What the template's evaluator and its functions share. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { ARGS_MAX = 16 };

/* Arguments are borrowed; `*out` is owned by the caller. 0 or -errno with `e` set. */
typedef int template_fn(json_object *const *args, size_t n, json_object **out, struct err *e);

struct template_function {
	const char *name;
	size_t min, max;
	template_fn *fn;
};

/* By name (not terminated), or NULL. */
const struct template_function *template_function_find(const char *name, size_t n);

/* Go's idea of truth: not null, false, 0, "" or empty. */
bool template_truth(json_object *v);
/* Go's %v. */
int template_print(struct buf *b, json_object *v);
