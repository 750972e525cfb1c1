/* The pv and vm walls: guests behind `struct wall_ops`. */
#pragma once

#include "run/guest.h"
#include "run/guest_int.h"
#include "run/vm.h"
#include "run/wall.h"

/* Besides a limit on the container, which the guest's own cgroup holds: for its kernel and the agent. */
#define GUEST_MEMORY_KERNEL (96ull << 20)

/* What differs between machines. */
struct guest_kind {
	const char *name;	  /* "pv", "vm" */
	const char *arguments;	  /* of every kernel */
	const char *root_device;  /* "/dev/xvda" */
	const char *upper_device; /* "/dev/xvdb" */
	const char *disk_prefix;  /* "xvd": of further disks */
	const char *line_device;  /* "/dev/hvc": a number is appended; 1 is the agent's line */
	bool vsock;		  /* the machine has sockets */
	/* Of shared directories: a number from `share_first` is appended. */
	const char *share_device;
	unsigned share_first;
	bool network; /* its machine has a network device */
	guest_vmm_fn *vmm;
};

/* Opens /dev/kvm; the error names the mend. 0 or -errno. */
int guest_kvm_open(int *fd, struct err *e);
/* What an administrator does so that /dev/kvm opens, by the errno that it gave. */
const char *guest_kvm_mend(int code);

/* Whether the CPU and a kernel do for `wall`. 0, or -errno with the mend. */
int guest_ready(const char *wall, const char *kernel, struct err *e);
/* What config.json means for the machine's size. 0 or -errno. */
int guest_size(const struct oci_spec *spec, uint64_t *memory, unsigned *vcpus, struct err *e);
/* Whether it ended by a fault. */
bool guest_crashed(struct instance *in);
int guest_create(const struct guest_kind *kind, struct instance *in, const struct wall_create *a,
		 struct wall_process *p, struct err *e);
int guest_start(struct instance *in, const struct oci_spec *spec, struct wall_process *p,
		struct err *e);
int guest_kill(struct instance *in, int sig, bool all, struct err *e);
int guest_exec(struct instance *in, const struct wall_exec *x, struct wall_process *p,
	       struct err *e);
int guest_pause(struct instance *in, struct err *e);
int guest_resume(struct instance *in, struct err *e);
int guest_paused(struct instance *in);
int guest_update(struct instance *in, const struct oci_resources *r, struct err *e);
int guest_stats(struct instance *in, struct oci_stats *st, struct err *e);
int guest_pids(struct instance *in, pid_t **pids, struct err *e);
int64_t guest_oom_kills(struct instance *in);
bool guest_kept(struct instance *in);
int guest_cleanup(struct instance *in, const struct oci_spec *spec, bool force, struct err *e);

/* A terminal for a process inside: raw, since the guest's own does the editing. The master goes to
 * `console_socket`, or to `*master` when that is -1; `*slave` is for the monitor. 0 or -errno. */
int guest_terminal(const struct oci_process *pr, int console_socket, int *master, int *slave,
		   struct err *e);

/* Leaves the calling thread of a vm's VMM the system calls that its kind has. 0 or -errno. */
int vm_wall_confine(enum vm_thread thread);

/* Packs (`follow`: the target of a link that is named) or unpacks in the guest; `fd` carries the tar stream. */
int guest_copy(struct instance *in, bool put, bool follow, const char *path, int fd, struct err *e);

/* cp by docker's rules, between `host` ("-": a tar stream on our stdin or stdout) and the running guest. */
int guest_cp(struct instance *in, bool into, const char *host, const char *inside, bool archive,
	     bool follow, struct err *e);

/* What only the agent sees (guest_look.c). */
int guest_user(struct instance *in, const char *wish, struct user_ids *out, struct err *e);
int guest_top(struct instance *in, struct buf *rows, struct err *e);
int guest_changes(struct instance *in, struct buf *lines, struct err *e);
/* A request of one frame, whose REPLY goes to `text`. 0 or -errno. */
int guest_agent_ask(struct instance *in, enum agent_type type, const void *p, size_t n,
		    struct buf *text, struct err *e);

/* What both guest walls do alike, for their `struct wall_ops`. */
#define GUEST_WALL_OPS                                                                      \
	.guest = true, .start = guest_start, .kill = guest_kill, .exec = guest_exec,        \
	.pause = guest_pause, .resume = guest_resume, .paused = guest_paused,               \
	.update = guest_update, .stats = guest_stats, .pids = guest_pids, .copy = guest_cp, \
	.user = guest_user, .top = guest_top, .changes = guest_changes,                     \
	.oom_kills = guest_oom_kills, .kept = guest_kept, .cleanup = guest_cleanup
