/* warren-agent: what its files share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "container/container.h"
#include "os/loop.h"
#include "wire/agent.h"
#include "wire/oci.h"

/* Where things are in the guest. */
#define AGENT_DIR    "/run/warren"
#define AGENT_ROOT   "/run/warren/root"	 /* the container's root */
#define AGENT_IMAGE  "/run/warren/image" /* the read-only disk */
#define AGENT_UPPER  "/run/warren/upper" /* what is written */
#define AGENT_BUNDLE "/run/warren/bundle"
#define AGENT_BINDS \
	"/run/warren/binds" /* what the host bound into the container, by the mount's index */

#define AGENT_SHARES_MAX 6
#define AGENT_DISKS_MAX	 14

/* From the kernel's command line. */
struct agent_options {
	char control[64]; /* warren.control=/dev/hvc1 */
	char root[64];	  /* warren.root=/dev/xvda; "": the initramfs itself, for tests */
	char upper[64];	  /* warren.upper=/dev/xvdb; "": memory */
	char net[64];	  /* warren.net=10.0.2.15/24,10.0.2.2; "": only loopback */
	char lower[64];	  /* warren.rootdir=DIR: a directory that is the root already */
	char share[AGENT_SHARES_MAX][64]; /* warren.share=/dev/hvc2:3: directories of the host */
	unsigned shares_n;
	char disk[AGENT_DISKS_MAX]
		 [64]; /* warren.disk=/dev/xvdc: further disks, for the container */
	unsigned disks_n;
};

struct agent;

/* Something that runs for the host: the container's command, an exec, a copy. */
struct stream {
	struct list link;
	struct agent *agent;
	uint32_t id;
	struct container c; /* pid, pidfd, master */
	bool is_container;
	bool started;
	bool answered; /* its first OK or ERROR went out */
	bool exited;
	int status; /* as waitpid gives it */
	int fds[3]; /* our ends: 0 to write, 1 and 2 to read; -1 closed */
	struct loop_fd watch[3];
	struct agent_flow flow[3];
	struct buf input; /* for descriptor 0, not yet taken by the process */
	bool input_closed;
	struct buf request;	  /* pieces of CREATE and EXEC */
	struct loop_timer linger; /* after the exit: for what a terminal still holds */
	struct err *failure;	  /* of a copy, from its child; NULL else */
	int failure_fd;
};

struct agent {
	struct loop loop;
	struct agent_options options;
	int control;
	struct loop_fd control_watch;
	struct buf rx, tx;
	bool greeted;
	struct loop_fd signals;
	struct list streams;
	unsigned streams_n;

	struct err root_error; /* why the root could not be made */
	bool root_ready;
	struct oci_spec *spec; /* of the container */
	struct stream *container;
	int bundle_dir;
	bool going_down;
	int down_mode;
};

/* setup.c: PID 1's first duties. */
int setup_early(struct err *e);
int setup_modules(struct agent_options *o, struct err *e);
/* Back ends connect while we go on: waits until the device is there. 0 or -errno. */
int setup_wait_device(const char *path, struct err *e);
int setup_root(const struct agent_options *o, struct err *e);
void setup_cgroups(void);
/* Writes all that is cached; with `freeze` also holds new writes back. 0 or -errno. */
int setup_freeze(bool freeze, struct err *e);
/* Ends every process and the guest; does not return when we are PID 1. */
void setup_shutdown(int mode);

/* net.c: wakes the interfaces and gives them addresses. 0 or -errno. */
int net_setup(const struct agent_options *o, struct err *e);

/* channel.c: frames to and from the host. */
/* Opens a line to the host, raw and without blocking: a device (waits for it), or "line:N" (line.c). A descriptor
 * or -errno. */
int channel_device(const char *path, struct err *e);
int channel_open(struct agent *a, struct err *e);
/* Call after anything was added to `tx`. */
void channel_kick(struct agent *a);
/* True while the host takes our frames slowly: producers wait. */
bool channel_full(const struct agent *a);
void channel_log(struct agent *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* look.c: what only the guest's side sees; REPLY's text. 0 or -errno. */
int look_user(struct agent *a, const char *wish, struct buf *text, struct err *e);
int look_processes(struct agent *a, struct buf *text, struct err *e);
int look_changes(struct agent *a, struct buf *text, struct err *e);

/* stream.c */
struct stream *stream_new(struct agent *a, uint32_t id);
struct stream *stream_find(struct agent *a, uint32_t id);
void stream_free(struct stream *s);
/* Starts forwarding once `s->c` has pid and, with a terminal, master; else `fds` are our pipe ends. */
void stream_attach(struct stream *s);
void stream_data(struct stream *s, const uint8_t *p, uint32_t n);
void stream_grant(struct stream *s, unsigned fd, uint32_t bytes);
void stream_close_input(struct stream *s);
/* The host reads again: producers that waited go on. */
void stream_resume_all(struct agent *a);
void stream_exited(struct stream *s, int status);
/* Pipes for descriptors 0 to 2: `theirs` for the process, ours into `s->fds`. 0 or -errno. */
int stream_pipes(struct stream *s, int theirs[3]);

/* request.c: acts on a frame. -EBADMSG ends the connection. */
int request_handle(struct agent *a, const struct agent_frame *f, struct err *e);

/* copy.c: forks a child that packs or unpacks in the container's root. 0 or -errno. */
int copy_start(struct stream *s, pid_t container, bool put, bool follow, const char *path,
	       struct err *e);

/* share.c: mounts the directories that the host shares below AGENT_BINDS. 0 or -errno. */
int share_start_all(const struct agent_options *o, struct err *e);

/* line.c: opens line `n` of a pv guest; a process of its own carries its bytes. A socket or -errno. */
int line_open(unsigned n, struct err *e);
