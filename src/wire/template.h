/* The subset of Go's templates that scripts give to --format, over JSON values.
 *
 * {{.A.B}} {{json .}} {{index .M "k" 0}} {{range .L}}..{{else}}..{{end}} {{range $k, $v := .M}} {{if}}
 * {{else if}} {{with}} {{join .L ","}} {{split}} {{upper}} {{lower}} {{title}} {{len}} {{eq}} {{ne}} {{lt}} {{gt}}
 * {{and}} {{or}} {{not}} {{print}} {{println}} {{printf "%s %d"}} {{truncate .S 12}} pipes, parentheses,
 * {{- trim -}}, comments, $ and variables; \t and \n outside of actions as docker reads them. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct json_object;

/* Appends `text` rendered with `data`. 0; -EINVAL with "template: ...: why" in `e`; the buffer's error. */
int template_render(const char *text, struct json_object *data, struct buf *out, struct err *e);

/* "{{.ID}}\t{{.Names}}" -> "{{.ID}}\t{{.Names}}" with \t and \n as the characters themselves; to be freed. */
char *template_unescape(const char *text);
