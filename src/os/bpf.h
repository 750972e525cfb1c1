/* bpf(2): loading a program and attaching it to a cgroup. */
#pragma once

#include <linux/bpf.h>
#include <stddef.h>

#include "base/err.h"

/* A program of BPF_PROG_TYPE_CGROUP_DEVICE. Returns its descriptor; -errno with the verifier's last words in
 * `e`. */
int bpf_load_cgroup_device(const struct bpf_insn *insns, size_t n, struct err *e);

/* BPF_CGROUP_DEVICE in `cgroup`, beside programs of others (BPF_F_ALLOW_MULTI); `replace` is the descriptor of
 * the one that it takes the place of, or -1. 0 or -errno. */
int bpf_attach_cgroup_device(int cgroup, int prog, int replace);
int bpf_detach_cgroup_device(int cgroup, int prog);

/* The programs attached to `cgroup` itself, at most `max`: their number, or -errno. */
int bpf_query_cgroup_device(int cgroup, uint32_t *ids, size_t max);
/* A descriptor of the program `id`, or -errno. */
int bpf_prog_by_id(uint32_t id);
