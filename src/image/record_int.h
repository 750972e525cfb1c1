/* Resolved-image records: the small files by which `run` finds an image without the database. The
 * store writes them, image/resolve.c reads them; docs/FORMATS.md describes them. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "wire/reference.h"

#define RECORD_FIRST_LINE "warren-image 1"
#define RECORD_MAX	  (5u << 20)

/* "names/<64 hex>" for a whole reference. */
void record_name_path(const char *reference, char out[80]);
/* "ids/<64 hex>" for a digest. */
void record_id_path(const char *id, char out[80]);
