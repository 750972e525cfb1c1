/* The words that config.json may use, for those who must list them (`features`). Each table ends with NULL. */
#pragma once

#include "wire/json.h"

extern const struct json_word oci_ns_words[];		  /* enum oci_ns */
extern const struct json_word oci_seccomp_action_words[]; /* enum oci_seccomp_action */
extern const struct json_word oci_seccomp_op_words[];	  /* enum oci_seccomp_op */
extern const struct json_word oci_mpol_words[];		  /* MPOL_* */
extern const struct json_word oci_mpol_flag_words[];	  /* MPOL_F_* */
