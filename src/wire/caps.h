/* Capability names. */
#pragma once

/* "CAP_CHOWN" or "chown", any case. The number, or -EINVAL. */
int cap_from_name(const char *name);
/* "CAP_CHOWN"; NULL beyond the last that the kernel's headers know. */
const char *cap_name(int cap);
/* The number of known capabilities. */
int cap_count(void);
