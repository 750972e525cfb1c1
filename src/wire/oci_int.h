/* Shared by the two files of the config.json parser. */
#pragma once

#include "wire/json.h"
#include "wire/oci.h"

/* Functions for JSON_CALL; `dest` is the member that they fill. */
int oci_read_id_mappings(struct json_reader *r, const struct json_at *at,
			 const struct json_value *v, void *dest); /* struct oci_id_mappings */
int oci_read_linux(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		   void *dest); /* struct oci_linux * */
int oci_read_resources(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		       void *dest); /* struct oci_resources * */
int oci_read_seccomp(struct json_reader *r, const struct json_at *at, const struct json_value *v,
		     void *dest); /* struct oci_seccomp * */
