/* Shared by the files behind the pv and vm walls: what is the same whatever machine runs the kernel.
 *
 * Processes: the monitor (the instance's process, whose end is the command's end) speaks with the agent
 * and with other programs of Warren; the VMM is its child, jailed, and only runs the machine.
 *
 *	warren exec … ---- guest.sock ----\
 *	keeper, terminal ---- stdio ---- monitor ==== agent's frames ==== VMM -- hvc1 -- warren-agent
 *	                                        \==== machine control ==/ \----- hvc0 -- kernel's console
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "net/port.h"
#include "os/loop.h"
#include "run/kernel.h"
#include "storage/block.h"
#include "wire/agent.h"
#include "wire/oci.h"

#define GUEST_SOCKET   "guest.sock"
#define GUEST_BOOT_LOG "boot.log"
#define GUEST_VSOCK \
	"vsock.sock" /* and vsock.sock_PORT: programs of the host that the guest may call */
#define GUEST_END	 "guest.end"  /* why the guest stopped, when not by itself */
#define GUEST_KEPT	 "guest.kept" /* exists when an ended domain is to be preserved */
#define GUEST_OOM	 "guest.oom"  /* exists when the OOM killer struck in the container */
#define GUEST_DISKS	 14
#define GUEST_CHAIN_MAX	 5 /* a qcow2 image and what it is based on */
#define GUEST_PATH_MAX	 4096
#define GUEST_SHARES_MAX 6
/* Lines to the guest: 0 the kernel's console, 1 the agent's, then one a shared directory. */
enum { GUEST_LINE_AGENT = 1, GUEST_LINE_SHARES };
/* One packet on guest.sock. */
#define GUEST_PACKET_MAX (192u << 10)

/* A directory of the host that config.json binds. */
struct guest_share {
	int root;	/* O_PATH, until its server has it */
	int line;	/* the VMM's end */
	int line_out;	/* the same socket: an event loop knows a descriptor once */
	unsigned mount; /* index in config.json */
	bool read_only;
	pid_t pid; /* the server */
};

/* A disk that the user gave. */
struct guest_disk {
	char path[GUEST_PATH_MAX], name[8]; /* "xvdc" */
	int fd[GUEST_CHAIN_MAX];	    /* the image, then what it is based on; -1: no more */
	bool qcow2[GUEST_CHAIN_MAX];	    /* else raw */
	bool read_only;
	struct block_limits limits;
};

enum guest_net_kind { GUEST_NET_NONE, GUEST_NET_TAP, GUEST_NET_PASST };

/* The guest's network device. */
struct guest_net {
	enum guest_net_kind kind;
	int fd[NET_QUEUES_MAX]; /* of the tap's queues; [0] is passt's socket once that runs */
	unsigned queues;
	uint8_t mac[6];
	uint16_t mtu;		       /* 0: as Ethernet has it */
	char address[20], gateway[16]; /* "10.0.2.15/24", "10.0.2.2"; "": none */
	bool host;		       /* passt: the gateway's address is the host's own loopback */
	pid_t pid;		       /* passt */
};

/* Everything that the VMM process gets; all descriptors are open already. */
struct guest_machine {
	int kvm;
	struct kernel kernel;
	char kernel_name[256]; /* for errors */
	char cmdline[2048];
	uint64_t memory; /* bytes */
	unsigned vcpus;
	bool isolated;
	int root;    /* EROFS image */
	int upper;   /* writable disk, -1: the guest writes to its memory */
	int console; /* socket: the kernel's console */
	int agent;   /* socket: the agent's channel */
	int control; /* SOCK_SEQPACKET: struct guest_order in, struct guest_report out */
	struct guest_share share[GUEST_SHARES_MAX];
	unsigned shares;
	char cpu[32]; /* CPU template, "": as the host */
	bool vsock;   /* it has sockets */
	struct guest_disk disk[GUEST_DISKS];
	unsigned disks;
	struct guest_net net;
};

/* All descriptors of a machine, -1 for those that it has not; how many. */
#define GUEST_MACHINE_FDS \
	(8 + 3 * GUEST_SHARES_MAX + GUEST_DISKS * GUEST_CHAIN_MAX + NET_QUEUES_MAX)
size_t guest_machine_fds(const struct guest_machine *m, int fds[GUEST_MACHINE_FDS]);

/* Monitor to VMM. */
enum guest_order_kind {
	GUEST_ORDER_PAUSE,
	GUEST_ORDER_RESUME,
	GUEST_ORDER_STATS,
	GUEST_ORDER_MEMORY,	/* value: bytes */
	GUEST_ORDER_VSOCK_OPEN, /* value: a port of the guest; with two descriptors of one socket */
	GUEST_ORDER_VSOCK_ANSWER, /* value: the id; with two descriptors, or none */
	GUEST_ORDER_SHUTDOWN,	  /* value: enum guest_down; asks the guest's kernel */
	GUEST_ORDER_STOP
};

enum guest_down { GUEST_DOWN_POWEROFF, GUEST_DOWN_REBOOT };

struct guest_order {
	uint32_t kind;
	uint64_t value;
};

/* VMM to monitor. */
enum guest_report_kind {
	GUEST_REPORT_BUILT, /* the machine is made; the guest begins */
	GUEST_REPORT_STATS,
	GUEST_REPORT_FAILED,
	GUEST_REPORT_ENDED,
	GUEST_REPORT_VSOCK, /* a struct guest_vsock_wish instead */
};

/* The guest wants a port of the host: an order with `id` is owed. */
struct guest_vsock_wish {
	uint32_t kind, id, port;
};

enum guest_end { GUEST_ENDED_POWEROFF, GUEST_ENDED_REBOOT, GUEST_ENDED_CRASH, GUEST_ENDED_STOPPED };

struct guest_report {
	uint32_t kind;
	uint32_t end;	   /* ENDED: enum guest_end */
	struct err err;	   /* FAILED, or why it ended */
	uint32_t text_len; /* STATS: lines "name value" */
	char text[16384];
};

/* Runs the machine in the VMM process until its end; never returns. */
typedef void guest_vmm_fn(struct guest_machine *m);

void guest_machine_fini(struct guest_machine *m);

/* What a program asks of a monitor: this header, then `payload`. Descriptors by SCM_RIGHTS. */
enum guest_ask {
	GUEST_ASK_AGENT =
		1, /* payload: one agent frame, or all frames of one request; answers are frames */
	GUEST_ASK_START, /* answers OK or ERROR */
	GUEST_ASK_KILL,	 /* arg: signal, flags: AGENT_SIGNAL_ALL; OK or ERROR */
	GUEST_ASK_PAUSE,
	GUEST_ASK_RESUME,
	GUEST_ASK_PAUSED,  /* OK with 0 or 1 */
	GUEST_ASK_MACHINE, /* REPLY: hypervisor statistics */
	GUEST_ASK_CONSOLE, /* two descriptors: input and a socket for output, until hang-up */
	GUEST_ASK_MEMORY,  /* arg: megabytes that the machine should make do with; OK */
	GUEST_ASK_FORWARD, /* payload: a SIGNAL or RESIZE frame for the stream of this connection */
	GUEST_ASK_SHUTDOWN, /* arg: enum guest_down: a domain's kernel is asked to; OK */
};

struct guest_request {
	uint32_t ask;
	uint32_t arg, flags;
};

/* ---- guest_stream.c: our end of a stream ---- */

struct monitor;

struct guest_client {
	struct list link;
	struct monitor *m;
	struct loop_fd sock;
	uint32_t stream; /* the stream that this connection opened, 0: none */
};

struct guest_stream {
	struct list link;
	struct monitor *m;
	uint32_t id;
	struct guest_client *client; /* NULL: the main process, or nobody cares any more */
	bool is_main, has_fds, ended;
	int status;	/* when `ended` */
	int fds[3];	/* to read, to write, to write; owned */
	bool always[3]; /* not to be polled: regular files, /dev/null */
	bool late[3];	/* polled as ready, and was not */
	struct loop_fd watch[3];
	struct agent_flow flow[3];
	struct buf out[3]; /* 1 and 2: not yet written */
	bool closing[3];
	struct loop_timer again; /* for `always` and `late` */
	int terminal;		 /* a descriptor whose size is the terminal's, or -1; not owned */
};

/* Takes over `fds` (-1: none). NULL without memory. */
struct guest_stream *guest_stream_new(struct monitor *m, uint32_t id, const int fds[3]);
void guest_stream_free(struct guest_stream *s);
/* Begins to carry input. */
void guest_stream_start(struct guest_stream *s);
/* DATA, WINDOW or CLOSE from the agent. -EBADMSG when it breaks the rules. */
int guest_stream_frame(struct guest_stream *s, const struct agent_frame *f);
/* EXIT came: reported when all output is written. */
void guest_stream_end(struct guest_stream *s, int status);
void guest_stream_resize(struct guest_stream *s);

/* ---- guest_share.c ---- */

bool guest_mount_is_bind(const struct oci_mount *mt);
/* Opens the directories that `spec` binds. 0 or -errno. */
int guest_shares_open(struct guest_machine *g, const struct oci_spec *spec, struct err *e);
/* Starts their servers; the directories are theirs then, the lines the VMM's. 0 or -errno. */
int guest_shares_start(struct guest_machine *g, struct err *e);
void guest_shares_fini(struct guest_machine *g);

/* ---- guest_console.c: the kernel's console ---- */

/* Begins the log anew. 0 or -errno. */
int guest_console_open(struct monitor *m, struct err *e);
void guest_console_ready(struct loop_fd *w, uint32_t events);
void guest_console_typed(struct loop_fd *w, uint32_t events);
/* "; the kernel's last line: ..." for errors, or "". */
void guest_console_last_line(struct monitor *m, char *out, size_t size);

/* ---- guest_domain.c: a machine without an agent, whose kernel and disks are all the user's ---- */

/* What its configuration says becomes of it. */
enum guest_action { GUEST_DESTROY, GUEST_RESTART, GUEST_PRESERVE };

/* The VMM told the guest's end. */
void guest_domain_ended(struct monitor *m, const struct guest_report *rep);
/* The VMM is gone; true when the domain begins again. */
bool guest_domain_again(struct monitor *m);
/* A signal for the command: 0, or -EOPNOTSUPP with `e` set. */
int guest_domain_signal(struct monitor *m, int sig, struct err *e);

/* ---- guest_net.c ---- */

/* Decides by config.json and opens what is to be opened; `id` is the instance's. 0 or -errno. */
int guest_net_open(struct guest_net *n, const struct oci_spec *spec, const char *id, struct err *e);
/* For a machine without a network device: words that ask for one are errors. */
int guest_net_refuse(const struct oci_spec *spec, const char *wall, struct err *e);
/* Starts passt where it is wanted; what it says goes to `log`. 0 or -errno. */
int guest_net_start(struct guest_net *n, int log, struct err *e);
/* In the VMM: what the machine sends frames by. NULL: no device, or with `e` set. */
struct net_port *guest_net_port(struct guest_net *n, struct err *e);
void guest_net_fini(struct guest_net *n);

/* ---- guest_monitor.c ---- */

enum monitor_phase {
	MONITOR_BOOTING,
	MONITOR_CREATING,
	MONITOR_CREATED,
	MONITOR_RUNNING,
	MONITOR_ENDED
};

struct monitor {
	struct loop loop;
	enum monitor_phase phase;
	int dir;    /* the instance's */
	int report; /* pipe to the creator: a struct err; -1 when told */
	pid_t vmm;
	bool vmm_gone;
	struct loop_fd signals, vmm_control, agent, console, listener;
	struct buf rx, tx;
	bool greeted;
	struct list streams, clients;
	struct loop_fd vsock; /* listens, where the guest has sockets */
	struct list callers;  /* of it, who have not said where to */
	uint32_t next_stream;
	struct guest_stream *main;
	struct guest_client *starter, *asker; /* wait for START's and for STATS' answers */
	int console_in, console_out;	      /* an attached console; -1: none */
	struct loop_fd console_input;
	int boot_log;
	uint64_t boot_log_size;
	struct loop_timer boot_timer, down_timer;
	uint64_t began;	    /* ns: when the VMM was started */
	bool again;	    /* a domain that restarts: when its VMM is gone */
	bool has_disk;	    /* the guest has something to write back before it ends */
	bool paused, files; /* files: sent before CREATE */
	struct guest_monitor_args *args;
	struct err end; /* why the guest stopped, if it was not the command's end */
	int status;	/* the command's, as waitpid gives it */
};

/* True while the agent takes our frames slowly. */
bool monitor_full(const struct monitor *m);
/* After adding to `tx`. */
void monitor_kick(struct monitor *m);
/* The command ended, or has to: the guest goes down, orderly where it has a disk. */
void monitor_command_ended(struct monitor *m, int status);
/* It ends now, for a reason that is not its command's. */
void monitor_failed(struct monitor *m, const struct err *e);
/* Starts the VMM and watches its sockets. 0 or -errno. */
int monitor_start_vmm(struct monitor *m, struct err *e);
void monitor_order(struct monitor *m, enum guest_order_kind kind, uint64_t value);
/* A stream is finished: its status goes to who asked. */
void monitor_stream_done(struct guest_stream *s);

/* guest_vsock.c */
int guest_vsock_listen(struct monitor *m, struct err *e);
void guest_vsock_wish(struct monitor *m, const struct guest_vsock_wish *w);
void guest_vsock_fini(struct monitor *m);

/* guest_clients.c */
int guest_clients_listen(struct monitor *m, struct err *e);
void guest_clients_fini(struct monitor *m);
/* A frame that answers what a client asked. */
void guest_client_frame(struct guest_client *c, const struct agent_frame *f);
void guest_client_error(struct guest_client *c, int code, const char *text);
void guest_client_ok(struct guest_client *c, uint32_t value);

struct guest_monitor_args {
	const struct oci_spec *spec;
	struct buf config; /* config.json as it is sent to the guest */
	uint32_t create_flags;
	int dir;
	int stdio[3]; /* given over */
	int terminal; /* the slave side, or -1; then stdio[0] and [1] are it too */
	struct guest_machine *machine;
	guest_vmm_fn *vmm;
	int report;
	bool domain;				       /* there is no agent */
	enum guest_action action[GUEST_ENDED_STOPPED]; /* of a domain, by how it ended */
};

/* The monitor's process: never returns. */
void guest_monitor_run(struct guest_monitor_args *a) __attribute__((noreturn));

/* Ends this process as one of wait status `status` ended, so that whoever waits for us sees it. */
void guest_exit_like(int status) __attribute__((noreturn));

/* ---- guest_client.c: in other processes ---- */

/* Connects to the monitor of the instance whose directory is `dir`. A socket, or -errno (-ESRCH: no
 * monitor there). */
int guest_connect(int dir, struct err *e);
/* Sends a request with up to three descriptors. 0 or -errno. */
int guest_send(int sock, const struct guest_request *rq, const void *payload, size_t n,
	       const int *fds, unsigned fds_n, struct err *e);
/* One answer. `text` (may be NULL) gathers REPLY. The frame's type, or -errno with ERROR's text in `e`. */
int guest_answer(int sock, uint32_t *value, struct buf *text, struct err *e);
/* Connects, asks, waits for the answer, closes. The value of OK (0 for REPLY), or -errno. */
int guest_ask(int dir, const struct guest_request *rq, const void *payload, size_t n,
	      struct buf *text, struct err *e);
