/*
 * What the host asks for, one function a frame type. The container itself is made by the same code that
 * makes containers on a host (container/): here it runs on the guest's own kernel, so that capabilities,
 * limits, seccomp and the rest of config.json mean the same behind every wall.
 *
 * What belongs to the host is taken out of the config first: hooks have run there, host paths mean
 * nothing here, and the guest's network is the container's.
 *
 * Trust: the host is trusted. Threads: none.
 * #syscalls: clock_settime ioctl kill
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "wire/oci_stats.h"

#define CONTAINER_ID "guest"

static void answer_ok(struct agent *a, uint32_t id, uint32_t value)
{
	agent_put_u32(&a->tx, AGENT_OK, 0, id, value);
}

static void answer_error(struct agent *a, uint32_t id, const struct err *e)
{
	agent_put_error(&a->tx, id, e);
}

/* OK or the error, for requests that say no more. */
static void answer(struct agent *a, uint32_t id, int r, const struct err *e)
{
	if (r < 0)
		answer_error(a, id, e);
	else
		answer_ok(a, id, 0);
}

/* ---- the container ---- */

static bool is_bind(const struct oci_mount *m)
{
	if (m->type && streq(m->type, "bind"))
		return true;
	for (size_t i = 0; i < m->options.n; i++) {
		if (streq(m->options.v[i], "bind") || streq(m->options.v[i], "rbind"))
			return true;
	}
	return false;
}

/* Points bind mounts at what the host sent. The strings live as long as the process. */
static int adapt_mounts(struct oci_spec *spec, struct err *e)
{
	for (size_t i = 0; i < spec->mounts_n; i++) {
		struct oci_mount *m = &spec->mounts[i];
		char path[64];

		if (!is_bind(m))
			continue;
		snprintf(path, sizeof(path), AGENT_BINDS "/%zu", i);
		if (access(path, F_OK) < 0)
			return err_set(e, -ENOTSUP,
				       "mount '%s': '%s' of the host cannot be shared with a guest",
				       m->destination, m->source ? m->source : "?");
		m->source = strdup(path);
		if (!m->source)
			return err_sys(e, -ENOMEM, "guest");
	}
	return 0;
}

/* The disks that the user gave become devices of the container. The arrays live as long as the process. */
static int adapt_disks(const struct agent_options *o, struct oci_linux *l, struct err *e)
{
	struct oci_device *devices;
	struct oci_device_rule *rules;
	struct stat st;

	if (!o->disks_n || !l)
		return 0;
	if (!l->resources)
		l->resources = calloc(1, sizeof(*l->resources));
	devices = calloc(l->devices_n + o->disks_n, sizeof(*devices));
	rules = l->resources ? calloc(l->resources->devices_n + o->disks_n, sizeof(*rules)) : NULL;
	if (!devices || !rules)
		return err_sys(e, -ENOMEM, "guest");
	if (l->devices_n)
		memcpy(devices, l->devices, l->devices_n * sizeof(*devices));
	if (l->resources->devices_n)
		memcpy(rules, l->resources->devices, l->resources->devices_n * sizeof(*rules));
	l->devices = devices;
	l->resources->devices = rules;
	for (unsigned i = 0; i < o->disks_n; i++) {
		int r = setup_wait_device(o->disk[i], e);

		if (r < 0)
			return r;
		if (stat(o->disk[i], &st) < 0)
			return err_sys(e, -errno, "guest: '%s'", o->disk[i]);
		devices[l->devices_n++] = (struct oci_device){ .path = o->disk[i],
							       .type = 'b',
							       .major = major(st.st_rdev),
							       .minor = minor(st.st_rdev),
							       .file_mode = { true, 0660 } };
		rules[l->resources->devices_n++] = (struct oci_device_rule){
			true, 'b', major(st.st_rdev), minor(st.st_rdev), true, true, true
		};
	}
	return 0;
}

static int adapt_spec(struct agent *a, struct oci_spec *spec, struct err *e)
{
	struct oci_linux *l = spec->linux_;
	int r = adapt_disks(&a->options, l, e);

	if (r < 0)
		return r;

	spec->root_path = AGENT_ROOT;
	memset(spec->hooks, 0, sizeof(spec->hooks));
	if (l) {
		l->ns[OCI_NS_USER].present = false;
		l->uid_mappings = l->gid_mappings = (struct oci_id_mappings){ 0 };
		for (size_t i = 0; i < OCI_NS_COUNT; i++)
			l->ns[i].path = NULL;
		/* The machine's network is the container's own, and so are its sysctls. */
		l->ns[OCI_NS_NETWORK].present = true;
		l->ns[OCI_NS_NETWORK].path = "/proc/self/ns/net";
		l->cgroups_path = "/" CONTAINER_ID;
		l->net_devices_n = 0;
		l->intel_rdt.present = false;
	}
	return adapt_mounts(spec, e);
}

static int create_container(struct agent *a, struct stream *s, uint32_t flags, struct err *e)
{
	const struct oci_process *p = a->spec->process;
	int theirs[3] = { -1, -1, -1 }, r = 0;
	struct container_args args = {
		.spec = a->spec,
		.id = CONTAINER_ID,
		.bundle = AGENT_BUNDLE,
		.dir = a->bundle_dir,
		.stdio = { -1, -1, -1 },
		.console_socket = -1,
		.init_reaper = flags & AGENT_CREATE_INIT,
	};

	if (!p || !p->terminal) {
		r = stream_pipes(s, theirs);
		if (r < 0)
			return err_sys(e, r, "guest: pipe");
		memcpy(args.stdio, theirs, sizeof(theirs));
	}
	r = container_create(&s->c, &args, e);
	for (int i = 0; i < 3; i++)
		close_fd(&theirs[i]);
	return r;
}

static void do_create(struct agent *a, struct stream *s)
{
	struct err e = ERR_INIT;
	uint32_t flags;
	int r = 0;

	memcpy(&flags, s->request.data, 4); /* the shape table asks for at least four bytes */
	if (a->spec)
		r = err_set(&e, -EEXIST, "guest: it has a container already");
	else if (!a->root_ready)
		r = (e = a->root_error).code;
	if (r == 0)
		r = oci_spec_parse(s->request.data + 4, s->request.len - 4, "config.json", &a->spec,
				   &e);
	if (r == 0)
		r = adapt_spec(a, a->spec, &e);
	if (r == 0)
		r = create_container(a, s, le32toh(flags), &e);
	if (r < 0) {
		oci_spec_free(a->spec);
		a->spec = NULL;
		answer_error(a, s->id, &e);
		stream_free(s);
		return;
	}
	s->is_container = true;
	a->container = s;
	buf_fini(&s->request);
	answer_ok(a, s->id, (uint32_t)s->c.pid);
	stream_attach(s);
}

static void do_start(struct agent *a, struct stream *s)
{
	struct err e = ERR_INIT;
	int r;

	if (!s || !s->is_container || s->started)
		return;
	r = container_start(&s->c, a->spec, CONTAINER_ID, AGENT_BUNDLE, a->bundle_dir, &e);
	s->started = r == 0;
	answer(a, s->id, r, &e);
}

static int exec_process(struct agent *a, struct stream *s, const struct oci_process *p,
			struct err *e)
{
	int theirs[3] = { -1, -1, -1 }, r = 0;
	struct container_exec x = {
		.spec = a->spec,
		.process = p,
		.stdio = { -1, -1, -1 },
		.console_socket = -1,
	};

	if (!a->container || a->container->exited)
		return err_set(e, -ESRCH, "the container is not running");
	x.cgroup = &a->container->c.cgroup;
	x.pid = a->container->c.pid;
	x.pidfd = a->container->c.pidfd;
	if (!p->terminal) {
		r = stream_pipes(s, theirs);
		if (r < 0)
			return err_sys(e, r, "guest: pipe");
		memcpy(x.stdio, theirs, sizeof(theirs));
	}
	r = container_exec(&s->c, &x, e);
	for (int i = 0; i < 3; i++)
		close_fd(&theirs[i]);
	return r;
}

static void do_exec(struct agent *a, struct stream *s)
{
	struct oci_spec *one = NULL;
	struct err e = ERR_INIT;
	int r = oci_process_parse(s->request.data, s->request.len, "process", &one, &e);

	if (r == 0)
		r = exec_process(a, s, one->process, &e);
	oci_spec_free(one);
	if (r < 0) {
		answer_error(a, s->id, &e);
		stream_free(s);
		return;
	}
	buf_fini(&s->request);
	answer_ok(a, s->id, (uint32_t)s->c.pid);
	stream_attach(s);
}

static void do_signal(struct agent *a, struct stream *s, const struct agent_frame *f)
{
	int sig = (int)agent_u32(f, 0);
	struct err ignored = ERR_INIT;

	if (!s || s->exited || s->c.pidfd < 0)
		return;
	if (s->is_container)
		container_kill(s->c.pidfd, &s->c.cgroup, sig, agent_u32(f, 1) & AGENT_SIGNAL_ALL,
			       &ignored);
	else
		pidfd_send_signal(s->c.pidfd, sig, NULL, 0);
	(void)a;
}

static void do_resize(struct stream *s, const struct agent_frame *f)
{
	struct winsize w = { .ws_row = agent_u16(f, 0), .ws_col = agent_u16(f, 1) };

	if (s && s->c.master >= 0)
		ioctl(s->c.master, TIOCSWINSZ, &w);
}

/* ---- what is asked of the whole guest ---- */

static int do_stats(struct agent *a, uint32_t id, struct err *e)
{
	struct buf text = BUF_INIT(AGENT_REQUEST_MAX);
	struct oci_stats st = { 0 };
	int r;

	if (!a->container)
		return err_set(e, -ESRCH, "the container is not running");
	r = cgroup_stats(&a->container->c.cgroup, &st, e);
	if (r == 0)
		r = oci_stats_print(&st, CONTAINER_ID, &text);
	if (r == 0)
		r = agent_put_long(&a->tx, AGENT_REPLY, id, text.data, text.len);
	oci_stats_fini(&st);
	buf_fini(&text);
	return r < 0 && !e->code ? err_sys(e, r, "guest: stats") : r;
}

static int do_pids(struct agent *a, uint32_t id, struct err *e)
{
	struct buf text = BUF_INIT(AGENT_REQUEST_MAX);
	cleanup_free pid_t *pids = NULL;
	int n;

	if (!a->container)
		return err_set(e, -ESRCH, "the container is not running");
	n = cgroup_pids(&a->container->c.cgroup, &pids, e);
	if (n < 0)
		return n;
	buf_addc(&text, '[');
	for (int i = 0; i < n; i++)
		buf_addf(&text, "%s%d", i ? "," : "", (int)pids[i]);
	buf_addc(&text, ']');
	int r = agent_put_long(&a->tx, AGENT_REPLY, id, buf_str(&text), text.len);

	buf_fini(&text);
	return r < 0 ? err_sys(e, r, "guest: pids") : 0;
}

/* Requests that are answered with a text. */
static int do_look(struct agent *a, const struct agent_frame *f, struct err *e)
{
	struct buf text = BUF_INIT(16u << 20);
	char wish[513];
	int r;

	if (f->type == AGENT_USER) {
		memcpy(wish, f->payload, f->length); /* at most 512: the shape table */
		wish[f->length] = '\0';
		r = look_user(a, wish, &text, e);
	} else {
		r = f->type == AGENT_TOP ? look_processes(a, &text, e) : look_changes(a, &text, e);
	}
	if (r == 0)
		r = text.error ? text.error
			       : agent_put_long(&a->tx, AGENT_REPLY, f->stream, buf_str(&text),
						text.len);
	buf_fini(&text);
	return r < 0 && !e->code ? err_sys(e, r, "guest: the answer") : r;
}

static int do_update(struct agent *a, struct stream *s, struct err *e)
{
	struct oci_spec *one = NULL;
	int r;

	if (!a->container)
		return err_set(e, -ESRCH, "the container is not running");
	r = oci_resources_parse(s->request.data, s->request.len, "resources", &one, e);
	if (r == 0 && one->linux_ && one->linux_->resources)
		r = cgroup_update(&a->container->c.cgroup, one->linux_->resources, e);
	oci_spec_free(one);
	return r;
}

static int do_pause(struct agent *a, bool pause, struct err *e)
{
	if (!a->container)
		return err_set(e, -ESRCH, "the container is not running");
	return cgroup_freeze(&a->container->c.cgroup, pause, e);
}

static int do_time(uint64_t ns, struct err *e)
{
	struct timespec t = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	return clock_settime(CLOCK_REALTIME, &t) < 0 ? err_sys(e, -errno, "guest: set the clock")
						     : 0;
}

static int do_entropy(const uint8_t *p, uint32_t n, struct err *e)
{
	struct {
		struct rand_pool_info info;
		uint8_t bytes[4096];
	} pool;
	cleanup_fd int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "guest: /dev/urandom");
	pool.info.entropy_count = (int)n * 8;
	pool.info.buf_size = (int)n;
	memcpy(pool.info.buf, p, n); /* at most 4096: the shape table */
	return ioctl(fd, RNDADDENTROPY, &pool) < 0 ? err_sys(e, -errno, "guest: add entropy") : 0;
}

static int do_copy(struct agent *a, struct stream *s, const struct agent_frame *f, struct err *e)
{
	char path[4097];
	pid_t pid = a->container && !a->container->exited ? a->container->c.pid : 0;

	memcpy(path, f->payload, f->length); /* at most 4096: the shape table */
	path[f->length] = '\0';
	return copy_start(s, pid, f->type == AGENT_PUT, f->flags & AGENT_GET_FOLLOW, path, e);
}

/* ---- dispatch ---- */

/* The pieces of CREATE, EXEC and UPDATE gather in the stream. True when this was the last. */
static bool gather(struct stream *s, const struct agent_frame *f)
{
	buf_add(&s->request, f->payload, f->length);
	return !(f->flags & AGENT_MORE);
}

/* Requests that open a stream of their own. */
static int request_stream(struct agent *a, const struct agent_frame *f, struct err *e)
{
	struct stream *s = stream_find(a, f->stream);
	struct err failure = ERR_INIT;
	int r;

	if (s && (s->c.pid || !s->request.len))
		return err_set(e, -EBADMSG, "stream %u is in use", f->stream);
	if (!s && a->streams_n >= AGENT_STREAM_LIMIT) {
		err_set(&failure, -EAGAIN, "guest: more than %u things at once",
			AGENT_STREAM_LIMIT);
		answer_error(a, f->stream, &failure);
		return 0;
	}
	if (!s)
		s = stream_new(a, f->stream);
	if (!s)
		return err_sys(e, -ENOMEM, "guest");
	if (f->type == AGENT_PUT || f->type == AGENT_GET) {
		r = do_copy(a, s, f, &failure);
		answer(a, s->id, r, &failure);
		if (r < 0)
			stream_free(s);
		else
			stream_attach(s);
		return 0;
	}
	if (!gather(s, f))
		return 0;
	if (s->request.error) {
		err_set(&failure, -E2BIG, "guest: a request of more than %u bytes",
			AGENT_REQUEST_MAX);
		answer_error(a, s->id, &failure);
		stream_free(s);
	} else if (f->type == AGENT_CREATE) {
		do_create(a, s);
	} else if (f->type == AGENT_EXEC) {
		do_exec(a, s);
	} else {
		r = do_update(a, s, &failure);
		answer(a, s->id, r, &failure);
		stream_free(s);
	}
	return 0;
}

/* Requests with one answer. */
static void request_simple(struct agent *a, const struct agent_frame *f)
{
	struct err e = ERR_INIT;
	int r = 0;

	switch (f->type) {
	case AGENT_STATS:
		r = do_stats(a, f->stream, &e);
		break;
	case AGENT_PIDS:
		r = do_pids(a, f->stream, &e);
		break;
	case AGENT_USER:
	case AGENT_TOP:
	case AGENT_DIFF:
		r = do_look(a, f, &e);
		if (r < 0)
			answer_error(a, f->stream, &e);
		return;
	case AGENT_PAUSE:
	case AGENT_RESUME:
		r = do_pause(a, f->type == AGENT_PAUSE, &e);
		break;
	case AGENT_FREEZE:
	case AGENT_THAW:
		r = setup_freeze(f->type == AGENT_FREEZE, &e);
		break;
	case AGENT_TIME:
		r = do_time(agent_u64(f), &e);
		break;
	case AGENT_ENTROPY:
		r = do_entropy(f->payload, f->length, &e);
		break;
	case AGENT_SHUTDOWN:
		a->going_down = true;
		a->down_mode = (int)agent_u32(f, 0);
		break;
	default:
		r = err_set(&e, -ENOSYS, "guest: no request %d", (int)f->type);
	}
	if (r < 0 || (f->type != AGENT_STATS && f->type != AGENT_PIDS))
		answer(a, f->stream, r, &e);
}

/* DATA, WINDOW and CLOSE of a stream; frames for one that just ended are no mistake. */
static int request_flow(struct stream *s, const struct agent_frame *f, struct err *e)
{
	if (!s)
		return 0;
	switch (f->type) {
	case AGENT_DATA:
		if (agent_fd(f) != 0 || agent_flow_receive(&s->flow[0], f->length) < 0)
			return err_set(e, -EBADMSG, "stream %u: data beyond its window", s->id);
		stream_data(s, f->payload, f->length);
		break;
	case AGENT_WINDOW:
		if (agent_fd(f) != 0)
			stream_grant(s, agent_fd(f), agent_u32(f, 0));
		break;
	default:
		if (agent_fd(f) == 0)
			stream_close_input(s);
	}
	return 0;
}

int request_handle(struct agent *a, const struct agent_frame *f, struct err *e)
{
	struct stream *s = stream_find(a, f->stream);

	switch (f->type) {
	case AGENT_CREATE:
	case AGENT_EXEC:
	case AGENT_UPDATE:
	case AGENT_PUT:
	case AGENT_GET:
		return request_stream(a, f, e);
	case AGENT_START:
		do_start(a, s);
		return 0;
	case AGENT_SIGNAL:
		do_signal(a, s, f);
		return 0;
	case AGENT_RESIZE:
		do_resize(s, f);
		return 0;
	case AGENT_DATA:
	case AGENT_WINDOW:
	case AGENT_CLOSE:
		return request_flow(s, f, e);
	default:
		request_simple(a, f);
		return 0;
	}
}
