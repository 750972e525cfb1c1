/* Device rules as a BPF program. */
#pragma once

#include <linux/bpf.h>
#include <stddef.h>

#include "wire/oci.h"

/* Instructions for the rules, which hold in the order given, later ones having the last word, on top of "nothing
 * is allowed". `*out` is to be freed. Their number, or -ENOMEM, -E2BIG. */
int cgroup_bpf_compile(const struct oci_device_rule *rules, size_t n, struct bpf_insn **out);

/* Whether the rule leaves nothing of those before it. */
bool cgroup_rule_covers_all(const struct oci_device_rule *r);

/* What every container may use besides (runtime-spec, config-linux.md, "Default Devices", and mknod of
 * anything), to be put after its own rules. */
extern const struct oci_device_rule cgroup_default_devices[];
extern const size_t cgroup_default_devices_n;
