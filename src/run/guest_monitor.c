/*
 * The monitor: one small process beside every pv or vm guest, whose life and exit status stand for the
 * command's. It starts the jailed VMM, waits for the agent's greeting, has the container made, and then
 * moves frames between the agent, the command's descriptors, and other programs that connect to it.
 *
 * Phases: BOOTING (until HELLO), CREATING (until the agent's OK), CREATED, RUNNING, ENDED. Before CREATED a
 * failure goes whole to the creator, who waits for it.
 *
 * Trust: the guest behind the agent is hostile: its frames are parsed strictly, and one that breaks the
 * rules ends the guest with the reason in `guest.end`. Threads: none.
 * #syscalls: fork wait4 read write sendto recvfrom epoll_wait signalfd4 kill exit_group
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "run/guest_disk.h"
#include "run/guest_int.h"
#include "run/guest_jail.h"
#include "wire/tar.h"

/* Input of processes is read while less than this waits for the agent. */
#define TX_HIGH (256u << 10)
#define TX_MAX	(32u << 20)
#define RX_MAX	(4 * AGENT_PAYLOAD_MAX)
/* From the VMM's start to the agent's greeting. */
#define BOOT_NS (60ull * 1000000000)
/* From the command's end to the guest's, for writing back. */
#define DOWN_NS (10ull * 1000000000)
/* Streams of the monitor's own requests; clients get later ones. */
enum { STREAM_MAIN = 1, STREAM_SETUP, STREAM_FILES, STREAM_FIRST };

bool monitor_full(const struct monitor *m)
{
	return m->tx.len > TX_HIGH;
}

/* ---- ends ---- */

static void tell_creator(struct monitor *m, const struct err *e)
{
	if (m->report < 0)
		return;
	/* A creator that died meanwhile is noticed by nobody: the guest ends with the pipe's error. */
	if (write_full(m->report, e, sizeof(*e)) < 0 && m->end.code == 0)
		err_set(&m->end, -EPIPE, "the creator went away");
	close_fd(&m->report);
}

/* The guest ended or must end for a reason that is not the command's. */
void monitor_failed(struct monitor *m, const struct err *e)
{
	if (m->phase == MONITOR_ENDED)
		return;
	m->phase = MONITOR_ENDED;
	m->end = *e;
	err_sanitize(&m->end); /* it may quote the guest's kernel */
	m->status = 125 << 8;
	tell_creator(m, e);
	loop_stop(&m->loop, 0);
}

static void protocol_broken(struct monitor *m, const struct err *e)
{
	struct err why = *e;

	err_wrap(&why, "the guest was stopped");
	monitor_failed(m, &why);
}

/* Nothing of the guest outlives its command; but what it wrote to its disk must get there. */
void monitor_command_ended(struct monitor *m, int status)
{
	m->status = status;
	m->phase = MONITOR_ENDED;
	if (!m->has_disk || m->args->domain) {
		loop_stop(&m->loop, 0);
		return;
	}
	agent_put_u32(&m->tx, AGENT_SHUTDOWN, 0, STREAM_SETUP, 0);
	loop_arm(&m->loop, &m->down_timer, DOWN_NS);
	monitor_kick(m);
}

static void down_too_long(struct loop_timer *t)
{
	loop_stop(&container_of(t, struct monitor, down_timer)->loop, 0);
}

void monitor_stream_done(struct guest_stream *s)
{
	struct monitor *m = s->m;

	if (s->is_main) {
		monitor_command_ended(m, s->status);
		return;
	}
	if (s->client) {
		uint32_t v = htole32((uint32_t)s->status);
		struct agent_frame f = { .type = AGENT_EXIT,
					 .stream = s->id,
					 .payload = (const uint8_t *)&v,
					 .length = 4 };

		guest_client_frame(s->client, &f);
	}
}

/* ---- the agent's channel ---- */

void monitor_kick(struct monitor *m)
{
	bool was_full = monitor_full(m);

	while (m->tx.len && !m->vmm_gone) {
		ssize_t n = send(m->agent.fd, m->tx.data, m->tx.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* the VMM's end is told by its own socket */
		buf_consume(&m->tx, (size_t)n);
	}
	if (m->tx.error) {
		struct err e = ERR_INIT;

		err_set(&e, -ENOBUFS, "its agent takes nothing");
		protocol_broken(m, &e);
		return;
	}
	loop_watch(&m->loop, &m->agent, m->tx.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
	if (!was_full || monitor_full(m))
		return;
	list_for_each (pos, &m->streams)
		guest_stream_start(list_item(pos, struct guest_stream, link));
}

/* Files that the container's mounts bind, as one tar below the agent's directory. */
static void add_bound_file(struct buf *tar, const struct oci_mount *mt, size_t index)
{
	static const char zeroes[TAR_BLOCK];
	cleanup_fd int fd = mt->source ? open(mt->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	struct buf content = BUF_INIT(1 << 20);
	char name[32];
	struct stat st;

	/* What is no small regular file cannot be carried; the agent says so by the mount's name. */
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || read_all(fd, &content) < 0) {
		buf_fini(&content);
		return;
	}
	snprintf(name, sizeof(name), "binds/%zu", index);
	tar_add_header(tar, &(struct tar_entry){ .type = TAR_FILE,
						 .path = name,
						 .link = "",
						 .mode = st.st_mode & 07777,
						 .uid = st.st_uid,
						 .gid = st.st_gid,
						 .size = content.len,
						 .mtime = st.st_mtime });
	buf_add(tar, content.data, content.len);
	buf_add(tar, zeroes, tar_pad(content.len));
	buf_fini(&content);
}

/* Sends them; they fit the window or are refused. */
static int send_files(struct monitor *m, const struct oci_spec *spec, struct err *e)
{
	struct buf tar = BUF_INIT(AGENT_WINDOW_SIZE - 2 * TAR_BLOCK);
	static const char end[2 * TAR_BLOCK];
	int r = 0;

	for (size_t i = 0; i < spec->mounts_n; i++) {
		if (guest_mount_is_bind(&spec->mounts[i]))
			add_bound_file(&tar, &spec->mounts[i], i);
	}
	if (tar.error) {
		r = err_sys(e, tar.error, "files bound into the guest");
	} else if (tar.len) {
		m->files = true;
		agent_put(&m->tx, AGENT_PUT, 0, STREAM_FILES, "/run/warren", strlen("/run/warren"));
		for (size_t at = 0; at < tar.len; at += AGENT_PAYLOAD_MAX)
			agent_put(&m->tx, AGENT_DATA, 0, STREAM_FILES, tar.data + at,
				  MIN(tar.len - at, (size_t)AGENT_PAYLOAD_MAX));
		agent_put(&m->tx, AGENT_DATA, 0, STREAM_FILES, end, sizeof(end));
		agent_put(&m->tx, AGENT_CLOSE, 0, STREAM_FILES, NULL, 0);
	}
	buf_fini(&tar);
	return r;
}

static void send_create(struct monitor *m, const struct guest_monitor_args *a)
{
	agent_put_long(&m->tx, AGENT_CREATE, STREAM_MAIN, a->config.data, a->config.len);
}

/* The agent greeted: the clock, randomness, files, the container. The agent does one after the other, but
 * for the files, whose end CREATE waits for. */
static void greet(struct monitor *m, const struct guest_monitor_args *a)
{
	struct err e = ERR_INIT;
	uint8_t random[64];
	struct timespec t;
	uint64_t ns;

	loop_disarm(&m->boot_timer);
	m->phase = MONITOR_CREATING;
	agent_put_hello(&m->tx);
	clock_gettime(CLOCK_REALTIME, &t);
	ns = htole64((uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec);
	agent_put(&m->tx, AGENT_TIME, 0, STREAM_SETUP, &ns, sizeof(ns));
	if (getrandom(random, sizeof(random), 0) == sizeof(random))
		agent_put(&m->tx, AGENT_ENTROPY, 0, STREAM_SETUP, random, sizeof(random));
	if (send_files(m, a->spec, &e) < 0) {
		monitor_failed(m, &e);
		return;
	}
	if (!m->files)
		send_create(m, a);
	monitor_kick(m);
}

static void main_created(struct monitor *m)
{
	struct err none = ERR_INIT;

	m->phase = MONITOR_CREATED;
	tell_creator(m, &none);
	guest_stream_resize(m->main);
	guest_stream_start(m->main);
}

/* An answer to CREATE or START. */
static void main_answer(struct monitor *m, const struct agent_frame *f)
{
	struct err e = ERR_INIT;

	if (f->type == AGENT_ERROR)
		agent_error(f, &e);
	if (m->phase == MONITOR_CREATING) {
		if (e.code)
			monitor_failed(m, &e);
		else
			main_created(m);
		return;
	}
	if (!e.code && m->phase == MONITOR_CREATED)
		m->phase = MONITOR_RUNNING;
	struct guest_client *c = m->starter;

	m->starter = NULL;
	if (c)
		guest_client_frame(c, f);
}

/* The monitor's own requests: the clock may fail, the files may not. */
static void setup_answer(struct monitor *m, const struct agent_frame *f)
{
	struct err e = ERR_INIT;

	if (f->stream != STREAM_FILES || m->phase != MONITOR_CREATING)
		return;
	if (f->type == AGENT_ERROR) {
		agent_error(f, &e);
		monitor_failed(m, &e);
	} else if (f->type == AGENT_EXIT) {
		send_create(m, m->args);
	}
}

static int agent_frame(struct monitor *m, const struct agent_frame *f)
{
	struct guest_stream *s = NULL;

	if (f->stream == 0)
		return f->type == AGENT_LOG || f->type == AGENT_HELLO ? 0 : -EBADMSG;
	if (f->stream < STREAM_FIRST && f->stream != STREAM_MAIN) {
		setup_answer(m, f);
		return 0;
	}
	list_for_each (pos, &m->streams) {
		s = list_item(pos, struct guest_stream, link);
		if (s->id == f->stream)
			break;
		s = NULL;
	}
	if (!s) /* of a stream that was given up */
		return 0;
	switch (f->type) {
	case AGENT_DATA:
	case AGENT_WINDOW:
	case AGENT_CLOSE:
		return s->ended ? -EBADMSG : guest_stream_frame(s, f);
	case AGENT_EXIT:
		if (s->ended)
			return -EBADMSG;
		if (s->is_main && f->flags & AGENT_EXIT_OOM)
			file_replace(m->dir, GUEST_OOM, "", 0, 0600, 0);
		guest_stream_end(s, (int)agent_u32(f, 0));
		return 0;
	case AGENT_OK:
	case AGENT_ERROR:
	case AGENT_REPLY:
		if (s->is_main) {
			main_answer(m, f);
			return 0;
		}
		if (s->client)
			guest_client_frame(s->client, f);
		/* What has no process or copy ends with its answer; so does a failure. */
		if (f->type == AGENT_ERROR || (!s->has_fds && !(f->flags & AGENT_MORE)))
			guest_stream_free(s);
		else if (f->type == AGENT_OK)
			guest_stream_start(s);
		return 0;
	default:
		return -EBADMSG;
	}
}

static void agent_ready(struct loop_fd *w, uint32_t events)
{
	struct monitor *m = container_of(w, struct monitor, agent);
	struct err e = ERR_INIT;
	size_t at = 0;
	int used = 0;

	if (events & (EPOLLIN | EPOLLHUP)) {
		char *p = buf_reserve(&m->rx, AGENT_PAYLOAD_MAX);
		ssize_t n = p ? recv(w->fd, p, AGENT_PAYLOAD_MAX, MSG_DONTWAIT) : 0;

		if (n > 0) {
			buf_commit(&m->rx, (size_t)n);
		} else if (n == 0) { /* the VMM closed it: its report follows */
			loop_unwatch(&m->loop, w);
			return;
		}
	}
	while (m->phase != MONITOR_ENDED) {
		struct agent_frame f;

		used = agent_frame_parse((const uint8_t *)m->rx.data + at, m->rx.len - at, &f, &e);
		if (used <= 0)
			break;
		at += (size_t)used;
		if (m->phase == MONITOR_BOOTING) {
			used = agent_hello_check(&f, &e);
			if (used < 0)
				break;
			greet(m, m->args);
		} else if (agent_frame(m, &f) < 0) {
			used = err_set(&e, -EBADMSG, "its agent broke the protocol (frame %d)",
				       (int)f.type);
			break;
		}
	}
	buf_consume(&m->rx, at);
	if (used < 0)
		protocol_broken(m, &e);
	else if (m->phase != MONITOR_ENDED)
		monitor_kick(m);
}

/* ---- the VMM ---- */

static void vmm_ended(struct monitor *m, const struct err *why)
{
	struct err e = ERR_INIT;
	char line[256] = "";

	if (m->phase == MONITOR_ENDED)
		return;
	if (m->phase <= MONITOR_CREATING)
		guest_console_last_line(m, line, sizeof(line));
	err_set(&e, why->code ? why->code : -ESHUTDOWN, "the guest ended%s%s%s%s",
		m->phase <= MONITOR_CREATING ? " before it was ready" : "", why->msg[0] ? ": " : "",
		why->msg, line);
	monitor_failed(m, &e);
}

/* A domain has no agent that would greet: it is there. */
static void vmm_built(struct monitor *m)
{
	struct err none = ERR_INIT;

	if (!m->args->domain || m->phase == MONITOR_ENDED)
		return;
	loop_disarm(&m->boot_timer);
	if (m->phase == MONITOR_BOOTING)
		m->phase = MONITOR_CREATED;
	tell_creator(m, &none);
}

static void vmm_ready(struct loop_fd *w, uint32_t events)
{
	struct monitor *m = container_of(w, struct monitor, vmm_control);
	static struct guest_report rep;
	ssize_t n = recv(w->fd, &rep, sizeof(rep), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == (ssize_t)sizeof(struct guest_vsock_wish) && rep.kind == GUEST_REPORT_VSOCK) {
		struct guest_vsock_wish wish;

		memcpy(&wish, &rep, sizeof(wish));
		guest_vsock_wish(m, &wish);
		return;
	}
	if (n != (ssize_t)sizeof(rep)) { /* killed: the loop's SIGCHLD says how */
		loop_unwatch(&m->loop, w);
		return;
	}
	err_sanitize(&rep.err);
	if (rep.kind == GUEST_REPORT_STATS) {
		struct guest_client *c = m->asker;
		struct agent_frame f = {
			.type = AGENT_REPLY,
			.payload = (const uint8_t *)rep.text,
			.length = (uint32_t)MIN((size_t)rep.text_len, sizeof(rep.text)),
		};

		m->asker = NULL;
		if (c)
			guest_client_frame(c, &f);
		return;
	}
	if (rep.kind == GUEST_REPORT_BUILT)
		vmm_built(m);
	else if (rep.kind == GUEST_REPORT_FAILED)
		monitor_failed(m, &rep.err);
	else if (m->args->domain && m->phase != MONITOR_ENDED)
		guest_domain_ended(m, &rep);
	else
		vmm_ended(m, &rep.err);
}

static void boot_too_long(struct loop_timer *t)
{
	struct monitor *m = container_of(t, struct monitor, boot_timer);
	struct err e = ERR_INIT;
	char line[256];

	guest_console_last_line(m, line, sizeof(line));
	err_set(&e, -ETIMEDOUT, "the guest's agent did not greet within %llu s%s",
		BOOT_NS / 1000000000ull, line);
	monitor_failed(m, &e);
}

/* ---- signals to the monitor are the command's ---- */

/* A guest goes on without its network; but one that was promised the host's and never had it does not begin. */
static void net_changed(struct monitor *m)
{
	struct guest_net *n = &m->args->machine->net;
	struct err e = ERR_INIT;
	int status;

	if (n->pid <= 0 || waitpid(n->pid, &status, WNOHANG) != n->pid)
		return;
	n->pid = 0;
	if (m->boot_log >= 0)
		dprintf(m->boot_log, "\nwarren: passt ended: the guest has no network\n");
	if (!n->host || m->phase > MONITOR_CREATING)
		return;
	err_set(&e, -ENETUNREACH,
		"--network host: passt ended; does this host have a default route? See logs "
		"--boot");
	monitor_failed(m, &e);
}

static void child_changed(struct monitor *m)
{
	const struct guest_machine *g = m->args->machine;
	struct err e = ERR_INIT;
	int status;

	for (unsigned i = 0; i < g->shares; i++) {
		if (waitpid(g->share[i].pid, &status, WNOHANG) != g->share[i].pid)
			continue;
		err_set(&e, -EPIPE, "the server of the directory at '%s' ended",
			m->args->spec->mounts[g->share[i].mount].destination);
		monitor_failed(m, &e);
		return;
	}
	net_changed(m);
	if (waitpid(m->vmm, &status, WNOHANG) != m->vmm)
		return;
	m->vmm_gone = true;
	if (m->phase == MONITOR_ENDED) {
		loop_stop(&m->loop, 0);
		return;
	}

	vmm_ready(&m->vmm_control, 0); /* its last words */
	if (guest_domain_again(m))
		return;
	if (m->phase == MONITOR_ENDED) {
		loop_stop(&m->loop, 0);
		return;
	}
	if (WIFSIGNALED(status))
		err_set(&e, -EPROTO, "its VMM was killed by signal %d (%s)", WTERMSIG(status),
			sigdescr_np(WTERMSIG(status)));
	vmm_ended(m, &e);
}

static void signal_came(struct loop_fd *w, uint32_t events)
{
	struct monitor *m = container_of(w, struct monitor, signals);
	struct signalfd_siginfo si;

	(void)events;
	while (read(w->fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD) {
			child_changed(m);
		} else if (si.ssi_signo == SIGWINCH) {
			if (m->main)
				guest_stream_resize(m->main);
		} else if (m->args->domain) {
			guest_domain_signal(m, (int)si.ssi_signo, NULL);
		} else if (m->main) {
			agent_put_signal(&m->tx, STREAM_MAIN, (int)si.ssi_signo, 0);
			monitor_kick(m);
		}
	}
}

static int watch_signals(struct monitor *m)
{
	static const int signals[] = { SIGCHLD, SIGWINCH, SIGTERM, SIGINT, SIGHUP,
				       SIGQUIT, SIGUSR1,  SIGUSR2, SIGCONT };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	signal(SIGTTIN, SIG_IGN);
	int fd = signal_fd_open(&set);

	if (fd < 0)
		return fd;
	m->signals = (struct loop_fd){ .fd = fd, .fn = signal_came };
	return loop_watch(&m->loop, &m->signals, EPOLLIN);
}

/* ---- life ---- */

static void write_end(struct monitor *m)
{
	if (m->end.code)
		file_replace(m->dir, GUEST_END, m->end.msg, strlen(m->end.msg), 0600, 0);
	if (m->end.code && m->boot_log >= 0)
		dprintf(m->boot_log, "\nwarren: %s\n", m->end.msg);
}

/* The VMM has what the machine needs, nothing of the monitor's. */
static void machine_keep(const struct guest_machine *g)
{
	int keep[GUEST_MACHINE_FDS];

	guest_keep_only(keep, guest_machine_fds(g, keep));
}

static int make_sockets(struct guest_machine *g, bool agent, int ours[3], struct err *e)
{
	int console[2], line[2] = { -1, -1 }, control[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, console) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
	    (agent && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, line) < 0))
		return err_sys(e, -errno, "sockets of the guest");
	g->console = console[1];
	g->control = control[1];
	g->agent = line[1];
	ours[0] = console[0];
	ours[1] = control[0];
	ours[2] = line[0];
	return 0;
}

static int watch_vmm(struct monitor *m, const int ours[3], struct err *e)
{
	m->console = (struct loop_fd){ .fd = ours[0], .fn = guest_console_ready };
	m->vmm_control = (struct loop_fd){ .fd = ours[1], .fn = vmm_ready };
	m->agent = (struct loop_fd){ .fd = ours[2], .fn = agent_ready };
	if (loop_watch(&m->loop, &m->console, EPOLLIN) < 0 ||
	    loop_watch(&m->loop, &m->vmm_control, EPOLLIN) < 0 ||
	    (ours[2] >= 0 && loop_watch(&m->loop, &m->agent, EPOLLIN) < 0))
		return err_sys(e, -ENOMEM, "monitor: event loop");
	loop_arm(&m->loop, &m->boot_timer, BOOT_NS);
	return 0;
}

int monitor_start_vmm(struct monitor *m, struct err *e)
{
	struct guest_machine *g = m->args->machine;
	int ours[3] = { -1, -1, -1 };

	m->has_disk = g->upper >= 0;
	for (unsigned i = 0; i < g->disks; i++)
		m->has_disk |= !g->disk[i].read_only;
	int r = make_sockets(g, !m->args->domain, ours, e);

	if (r == 0)
		r = guest_shares_start(g, e);
	if (r == 0)
		r = guest_net_start(&g->net, m->boot_log, e);
	if (r < 0)
		return r;
	guest_jail_prepare();
	m->began = now_ns();
	m->vmm_gone = false;
	m->vmm = fork();
	if (m->vmm < 0)
		return err_sys(e, -errno, "start the VMM");
	if (m->vmm == 0) {
		sigset_t none;

		/* A monitor that is dead already is noticed by its closed sockets. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		machine_keep(g);
		m->args->vmm(g);
	}
	close_fd(&g->console);
	close_fd(&g->control);
	close_fd(&g->agent);
	return watch_vmm(m, ours, e);
}

static int set_up(struct monitor *m, struct guest_monitor_args *a, struct err *e)
{
	int r = loop_init(&m->loop);

	if (r == 0)
		r = watch_signals(m);
	if (r < 0)
		return err_sys(e, r, "monitor");
	r = guest_console_open(m, e);
	if (r < 0)
		return r;
	unlinkat(m->dir, GUEST_END, 0);
	unlinkat(m->dir, GUEST_OOM, 0);
	unlinkat(m->dir, GUEST_KEPT, 0);
	r = monitor_start_vmm(m, e);
	if (r < 0)
		return r;
	if (!a->domain) /* a domain may be started again with the same files */
		guest_machine_fini(a->machine);
	/* After the fork: the VMM gets nothing of these. */
	r = guest_clients_listen(m, e);
	if (r == 0)
		r = guest_vsock_listen(m, e);
	if (r < 0)
		return r;
	if (a->domain)
		return 0;
	m->main = guest_stream_new(m, STREAM_MAIN, a->stdio);
	if (!m->main)
		return err_sys(e, -ENOMEM, "monitor");
	m->main->is_main = true;
	m->main->has_fds = true;
	m->main->terminal = a->terminal;
	return 0;
}

void guest_monitor_run(struct guest_monitor_args *a)
{
	static struct monitor m = {
		.report = -1,
		.console_in = -1,
		.console_out = -1,
		.boot_log = -1,
		.console_input = { .fd = -1 },
		.listener = { .fd = -1 },
		.vsock = { .fd = -1 },
		.next_stream = STREAM_FIRST,
	};
	struct err e = ERR_INIT;

	m.args = a;
	prctl(PR_SET_NAME, "warren-guest");
	m.dir = a->dir;
	m.report = a->report;
	m.console_input.fn = guest_console_typed;
	m.boot_timer.fn = boot_too_long;
	m.down_timer.fn = down_too_long;
	list_init(&m.streams);
	list_init(&m.clients);
	list_init(&m.callers);
	buf_init(&m.rx, RX_MAX);
	buf_init(&m.tx, TX_MAX);
	if (set_up(&m, a, &e) < 0)
		monitor_failed(&m, &e);
	else
		loop_run(&m.loop);
	/* Nothing of the guest outlives its command. */
	if (m.vmm > 0 && !m.vmm_gone) {
		kill(m.vmm, SIGKILL);
		waitpid(m.vmm, NULL, 0);
	}
	write_end(&m);
	int complain = m.main ? m.main->fds[2] : a->domain ? a->stdio[2] : -1;

	if (m.end.code && complain >= 0)
		dprintf(complain, "warren: %s\n", m.end.msg);
	guest_clients_fini(&m);
	guest_vsock_fini(&m);
	guest_exit_like(m.status);
}

size_t guest_machine_fds(const struct guest_machine *m, int fds[GUEST_MACHINE_FDS])
{
	const int own[] = { m->kvm,	m->root,  m->upper,  m->kernel.vmlinux, m->kernel.initramfs,
			    m->console, m->agent, m->control };
	size_t n = ARRAY_SIZE(own);

	memcpy(fds, own, sizeof(own));
	for (unsigned i = 0; i < m->shares; i++) {
		fds[n++] = m->share[i].root;
		fds[n++] = m->share[i].line;
		fds[n++] = m->share[i].line_out;
	}
	for (unsigned i = 0; i < m->disks; i++)
		for (unsigned k = 0; k < GUEST_CHAIN_MAX; k++)
			fds[n++] = m->disk[i].fd[k];
	for (unsigned i = 0; i < NET_QUEUES_MAX; i++)
		fds[n++] = i < m->net.queues ? m->net.fd[i] : -1;
	return n;
}

void guest_machine_fini(struct guest_machine *m)
{
	close_fd(&m->kvm);
	kernel_fini(&m->kernel);
	close_fd(&m->root);
	close_fd(&m->upper);
	close_fd(&m->console);
	close_fd(&m->agent);
	close_fd(&m->control);
	guest_shares_fini(m);
	guest_disks_fini(m);
	guest_net_fini(&m->net);
}
