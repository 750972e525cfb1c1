/*
 * Creating a guest: everything that the VMM may use is opened here, by the user's own rights, before it
 * exists: /dev/kvm, the kernel, the initramfs, the root disk. Then a monitor is forked, and whoever creates
 * waits until the container inside is made, so that an error of any layer comes back whole.
 *
 * Trust: config.json is the user's. Threads: none.
 * #syscalls: open fork pipe2 close_range ioctl setsid
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "machine/cpuid.h"
#include "machine/probe.h"
#include "os/file.h"
#include "os/sock.h"
#include "os/tty.h"
#include "run/guest_disk.h"
#include "run/guest_jail.h"
#include "run/guest_root.h"
#include "run/guest_upper.h"
#include "run/guest_wall.h"
#include "wire/caps.h"

#define MEMORY_DEFAULT (256ull << 20)
#define MEMORY_MIN     (64ull << 20)
#define MEMORY_MAX     (1ull << 40)
#define MEMORY_UNIT    (2ull << 20)
#define VCPUS_MAX      64
#define CONFIG_MAX     (8u << 20)

/* ---- what the VMM gets ---- */

const char *guest_kvm_mend(int code)
{
	struct stat st;

	if (code == ENOENT)
		return "modprobe kvm_intel or kvm_amd";
	if (code != EACCES && code != EPERM)
		return "free the device";
	/* A group helps only where the device has one that may use it. */
	if (stat("/dev/kvm", &st) == 0 && (st.st_gid == 0 || (st.st_mode & 060) != 060))
		return "chmod 666 /dev/kvm, as root";
	return "usermod -aG kvm $USER, and log in again";
}

int guest_kvm_open(int *fd, struct err *e)
{
	*fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (*fd >= 0 && ioctl(*fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION)
		return 0;
	if (*fd >= 0) {
		close_fd(fd);
		return err_set(
			e, -ENODEV,
			"/dev/kvm: is not KVM's device. Fix: remove it and modprobe kvm_intel or "
			"kvm_amd; or use --isolation container [KVM-02]");
	}
	int code = errno;

	return err_set(e, -code, "/dev/kvm: %s. Fix: %s; or use --isolation container [KVM-02]",
		       strerrordesc_np(code), guest_kvm_mend(code));
}

int guest_ready(const char *wall, const char *kernel, struct err *e)
{
	struct kernel k = KERNEL_INIT;
	struct cpu_probe cpu;
	struct err why = ERR_INIT;
	cleanup_fd int kvm = -1;
	int r = guest_kvm_open(&kvm, e);

	if (r == 0) {
		r = cpu_probe(kvm, false, &cpu, &why);
		if (r < 0 || cpu.kind == CPU_UNUSABLE)
			return err_set(e, r < 0 ? r : -ENOTSUP, "KVM does not do here: %s [PV-01]",
				       why.msg);
		r = kernel_open(&k, kernel, wall, e);
	}
	kernel_fini(&k);
	return r;
}

static int choose_memory(struct guest_machine *g, const struct oci_spec *spec, struct err *e)
{
	uint64_t want = MEMORY_DEFAULT;

	if (spec->vm && spec->vm->memory.set)
		want = (uint64_t)spec->vm->memory.v;
	else if (spec->linux_ && spec->linux_->resources &&
		 spec->linux_->resources->memory.limit.set &&
		 spec->linux_->resources->memory.limit.v > 0)
		want = GUEST_MEMORY_KERNEL +
		       MIN((uint64_t)spec->linux_->resources->memory.limit.v, MEMORY_MAX);
	if (want < MEMORY_MIN || want > MEMORY_MAX)
		return err_set(e, -EINVAL, "memory: a guest needs at least %llu MB, not %llu MB",
			       MEMORY_MIN >> 20, (unsigned long long)want >> 20);
	g->memory = ALIGN_UP(want, MEMORY_UNIT);
	return 0;
}

static int choose_vcpus(struct guest_machine *g, const struct oci_spec *spec, struct err *e)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	int64_t want = spec->vm && spec->vm->vcpus.set ? spec->vm->vcpus.v : 1;
	const char *wish = oci_annotation(spec, GUEST_VCPUS);

	if (wish && str_to_i64(wish, &want) < 0)
		return err_set(e, -EINVAL, "--vcpus '%s': not a number", wish);
	if (want < 1 || want > VCPUS_MAX || want > MAX(online, 1))
		return err_set(e, -EINVAL, "%s %lld: expected 1 to %ld", wish ? "--vcpus" : "vcpus",
			       (long long)want, MAX(MIN(online, (long)VCPUS_MAX), 1L));
	g->vcpus = (unsigned)want;
	return 0;
}

static int choose_cpu(const struct guest_kind *kind, struct guest_machine *g,
		      const struct oci_spec *spec, struct err *e)
{
	const char *wish = oci_annotation(spec, GUEST_CPU);

	if (!wish)
		return 0;
	if (!streq(kind->name, "vm"))
		return err_set(e, -EOPNOTSUPP,
			       "--cpu-template: the processor of a %s guest is the host's",
			       kind->name);
	if (!cpu_template_find(wish) || strlen(wish) >= sizeof(g->cpu))
		return err_set(e, -EINVAL, "--cpu-template '%s': host, x86-64-v2 or x86-64-v3",
			       wish);
	snprintf(g->cpu, sizeof(g->cpu), "%s", wish);
	return 0;
}

int guest_size(const struct oci_spec *spec, uint64_t *memory, unsigned *vcpus, struct err *e)
{
	static struct guest_machine g;
	int r = choose_memory(&g, spec, e);

	if (r == 0)
		r = choose_vcpus(&g, spec, e);
	*memory = g.memory;
	*vcpus = g.vcpus;
	return r;
}

/* pv.md, "Merged or isolated": merged only when nothing is withheld from the workload anyway. */
static int choose_isolation(struct guest_machine *g, const struct oci_spec *spec, struct err *e)
{
	const char *wish = oci_annotation(spec, GUEST_PV_MEMORY);
	const struct oci_process *p = spec->process;

	if (wish && strcmp(wish, "merged") == 0) {
		g->isolated = false;
	} else if (wish && strcmp(wish, "isolated") == 0) {
		g->isolated = true;
	} else if (wish && strcmp(wish, "auto") != 0) {
		return err_set(e, -EINVAL, "--pv-memory '%s': auto, merged or isolated", wish);
	} else {
		uint64_t all = (1ull << cap_count()) - 1;

		g->isolated = !p || p->uid != 0 || p->no_new_privileges ||
			      (spec->linux_ && spec->linux_->seccomp) || !p->caps ||
			      (p->caps->bounding & all) != all;
	}
	return 0;
}

static int compose_cmdline(const struct guest_kind *kind, struct guest_machine *g,
			   const struct oci_spec *spec, struct err *e)
{
	struct buf line = BUF_INIT(sizeof(g->cmdline) - 1);

	buf_addf(&line, "%s nr_cpus=%u warren.control=%s%d warren.root=%s", kind->arguments,
		 g->vcpus, kind->line_device, GUEST_LINE_AGENT, kind->root_device);
	for (unsigned i = 0; i < g->shares; i++)
		buf_addf(&line, " warren.share=%s%u:%u", kind->share_device, kind->share_first + i,
			 g->share[i].mount);
	const char *more = oci_annotation(spec, GUEST_APPEND);

	if (more)
		buf_addf(&line, " %s", more);
	for (size_t i = 0; spec->vm && i < spec->vm->kernel_parameters.n; i++)
		buf_addf(&line, " %s", spec->vm->kernel_parameters.v[i]);
	int r = line.error;

	if (r == 0)
		memcpy(g->cmdline, line.data, line.len + 1);
	buf_fini(&line);
	return r < 0 ? err_set(e, -E2BIG, "kernel parameters: more than %zu bytes",
			       sizeof(g->cmdline) - 1)
		     : 0;
}

/* One more word of the command line. */
static int append_word(struct guest_machine *g, const char *key, const char *value, struct err *e)
{
	size_t n = strlen(g->cmdline);
	int k = snprintf(g->cmdline + n, sizeof(g->cmdline) - n, " %s%s", key, value);

	return k < 0 || (size_t)k >= sizeof(g->cmdline) - n
		       ? err_set(e, -E2BIG, "kernel parameters: too long")
		       : 0;
}

/* What the agent gives the device: guest/agent/net.c. */
static int append_net(struct guest_machine *g, struct err *e)
{
	const struct guest_net *n = &g->net;
	char text[64];

	snprintf(text, sizeof(text), "%s%s%s", n->address[0] ? n->address : "up",
		 n->gateway[0] ? "," : "", n->gateway);
	return append_word(g, "warren.net=", text, e);
}

static int choose_kernel(const struct guest_kind *kind, struct guest_machine *g,
			 const struct oci_spec *spec, struct err *e)
{
	const char *name = oci_annotation(spec, GUEST_KERNEL);
	const char *wish = name || !spec->vm ? name : spec->vm->kernel_path;

	const char *initrd = oci_annotation(spec, GUEST_INITRD);

	/* The specification wants an absolute path; a name of the store may come as "/name". */
	if (wish && wish[0] == '/' && !strchr(wish + 1, '/') && access(wish, F_OK) < 0)
		wish++;
	int r = kernel_open(&g->kernel, wish, kind->name, e);

	snprintf(g->kernel_name, sizeof(g->kernel_name), "%s",
		 wish ? wish : g->kernel.info.release);

	if (!initrd && spec->vm)
		initrd = spec->vm->kernel_initrd;
	return r == 0 && initrd ? kernel_add_initrd(&g->kernel, initrd, e) : r;
}

static int machine_open(const struct guest_kind *kind, struct guest_machine *g, struct instance *in,
			const struct wall_create *a, struct err *e)
{
	int r = choose_memory(g, a->spec, e);

	g->vsock = kind->vsock;

	if (r == 0)
		r = choose_vcpus(g, a->spec, e);
	if (r == 0)
		r = choose_cpu(kind, g, a->spec, e);
	if (r == 0)
		r = choose_isolation(g, a->spec, e);
	if (r == 0)
		r = guest_kvm_open(&g->kvm, e);
	if (r == 0)
		r = choose_kernel(kind, g, a->spec, e);
	if (r == 0)
		r = guest_shares_open(g, a->spec, e);
	if (r == 0)
		r = compose_cmdline(kind, g, a->spec, e);
	if (r == 0) {
		g->root = guest_root_open(a->overlay, a->spec->root_path, in->bundle, e);
		r = g->root < 0 ? g->root : 0;
	}
	if (r == 0)
		r = guest_upper_open(a->overlay, &g->upper, e);
	if (r == 0 && g->upper >= 0)
		r = append_word(g, "warren.upper=", kind->upper_device, e);
	if (r == 0 && !kind->network)
		r = guest_net_refuse(a->spec, kind->name, e);
	else if (r == 0)
		r = guest_net_open(&g->net, a->spec, in->id, e);
	if (r == 0 && g->net.kind != GUEST_NET_NONE)
		r = append_net(g, e);
	if (r == 0)
		r = guest_disks_open(g, a->spec, kind->disk_prefix, e);
	for (unsigned i = 0; r == 0 && i < g->disks; i++)
		r = append_word(g, "warren.disk=/dev/", g->disk[i].name, e);
	return r;
}

/* ---- domains ---- */

static int domain_action(const struct oci_spec *spec, const char *key, enum guest_action *out,
			 struct err *e)
{
	static const char *const names[] = { [GUEST_DESTROY] = "destroy",
					     [GUEST_RESTART] = "restart",
					     [GUEST_PRESERVE] = "preserve" };
	const char *wish = oci_annotation(spec, key);

	for (size_t i = 0; wish && i < ARRAY_SIZE(names); i++) {
		if (strcmp(wish, names[i]) == 0) {
			*out = (enum guest_action)i;
			return 0;
		}
	}
	return wish ? err_set(e, -EINVAL, "%s: '%s' is none of destroy, restart, preserve", key,
			      wish)
		    : 0;
}

static int domain_actions(struct guest_monitor_args *ma, struct err *e)
{
	int r = domain_action(ma->spec, GUEST_ON_POWEROFF, &ma->action[GUEST_ENDED_POWEROFF], e);

	if (r == 0)
		r = domain_action(ma->spec, GUEST_ON_REBOOT, &ma->action[GUEST_ENDED_REBOOT], e);
	return r < 0 ? r
		     : domain_action(ma->spec, GUEST_ON_CRASH, &ma->action[GUEST_ENDED_CRASH], e);
}

/* A machine of which Warren brings nothing but the machine. */
static int domain_open(const struct guest_kind *kind, struct guest_machine *g,
		       const struct oci_spec *spec, struct err *e)
{
	struct buf line = BUF_INIT(sizeof(g->cmdline) - 1);
	int r = 0;

	if (strcmp(kind->name, "pv") != 0 || !spec->vm || !spec->vm->kernel_path)
		return err_set(e, -EINVAL, "a domain is a pv guest with a vm.kernel");
	r = choose_memory(g, spec, e);
	if (r == 0)
		r = choose_vcpus(g, spec, e);
	if (r == 0)
		r = choose_isolation(g, spec, e);
	if (r == 0)
		r = guest_kvm_open(&g->kvm, e);
	if (r == 0)
		r = kernel_file_open(spec->vm->kernel_path, &g->kernel.vmlinux, e);
	snprintf(g->kernel_name, sizeof(g->kernel_name), "%s", spec->vm->kernel_path);
	if (r == 0 && spec->vm->kernel_initrd)
		r = kernel_initrd_open(spec->vm->kernel_initrd, &g->kernel.initramfs, e);
	for (size_t i = 0; i < spec->vm->kernel_parameters.n; i++)
		buf_addf(&line, "%s%s", i ? " " : "", spec->vm->kernel_parameters.v[i]);
	if (r == 0 && line.error)
		r = err_set(e, -E2BIG, "kernel parameters: more than %zu bytes",
			    sizeof(g->cmdline) - 1);
	if (r == 0)
		memcpy(g->cmdline, buf_str(&line), line.len + 1);
	buf_fini(&line);
	return r < 0 ? r : guest_disks_open(g, spec, kind->disk_prefix, e);
}

/* ---- the monitor's birth ---- */

/* u32 flags, then the instance's config.json. */
static int load_config(struct buf *out, struct instance *in, uint32_t flags, struct err *e)
{
	uint8_t head[4] = { (uint8_t)flags };

	buf_add(out, head, sizeof(head));
	int r = file_read(in->dir, "config.json", out);

	return r < 0 ? err_sys(e, r, "config.json of the instance") : 0;
}

int guest_terminal(const struct oci_process *pr, int console_socket, int *master, int *slave,
		   struct err *e)
{
	struct tty_mode raw = TTY_MODE_INIT;
	cleanup_fd int m = -1;

	if (openpty(&m, slave, NULL, NULL, NULL) < 0)
		return err_sys(e, -errno, "terminal");
	fcntl(m, F_SETFD, FD_CLOEXEC);
	fcntl(*slave, F_SETFD, FD_CLOEXEC);
	/* The line discipline that counts is the one in the guest. */
	tty_raw(&raw, *slave);
	if (pr->rows || pr->cols)
		tty_size_set(m, pr->rows, pr->cols);
	if (console_socket < 0) {
		*master = steal_fd(&m);
		return 0;
	}
	ssize_t r = sock_send(console_socket, "/dev/ptmx", 9, &m, 1, 0);

	return r < 0 ? err_sys(e, (int)r, "console socket") : 0;
}

/* The command's descriptors, the monitor's to keep. */
static int take_stdio(struct guest_monitor_args *ma, const struct wall_create *a, int *master,
		      struct err *e)
{
	if (a->spec->process && a->spec->process->terminal) {
		int r = guest_terminal(a->spec->process, a->console_socket, master, &ma->terminal,
				       e);

		if (r < 0)
			return r;
		ma->stdio[0] = ma->terminal;
		ma->stdio[1] = fcntl(ma->terminal, F_DUPFD_CLOEXEC, 3);
		return ma->stdio[1] < 0 ? err_sys(e, -errno, "terminal") : 0;
	}
	for (int i = 0; i < 3; i++) {
		ma->stdio[i] = fcntl(a->stdio[i] >= 0 ? a->stdio[i] : i, F_DUPFD_CLOEXEC, 3);
		if (ma->stdio[i] < 0 && errno != EBADF)
			return err_sys(e, -errno, "standard descriptors");
	}
	return 0;
}

static void __attribute__((noreturn)) monitor_child(struct guest_monitor_args *ma)
{
	struct guest_machine *g = ma->machine;
	/* The creator's lock lives on its own opening of the directory. */
	ma->dir = openat(ma->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int keep[5 + GUEST_MACHINE_FDS] = { ma->dir, ma->report, ma->stdio[0], ma->stdio[1],
					    ma->stdio[2] };
	size_t n = 5 + guest_machine_fds(g, keep + 5);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (ma->terminal >= 0)
		ioctl(ma->terminal, TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	guest_keep_only(keep, n);
	guest_monitor_run(ma);
}

/* The monitor's word: the container is made, or why not. */
static int await_report(int fd, pid_t pid, struct err *e)
{
	struct err told = ERR_INIT;
	ssize_t n = read_full(fd, &told, sizeof(told));

	if (n == (ssize_t)sizeof(told)) {
		err_sanitize(&told);
		if (told.code == 0)
			return 0;
		if (e)
			*e = told;
	} else {
		told.code = err_set(e, -EPROTO, "the guest's monitor died");
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return told.code;
}

static int launch(struct guest_monitor_args *ma, struct wall_process *p, struct err *e)
{
	int report[2];

	if (pipe2(report, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	ma->report = report[1];
	p->pid = fork();
	if (p->pid == 0)
		monitor_child(ma);
	close(report[1]);
	if (p->pid < 0) {
		close(report[0]);
		return err_sys(e, -errno, "fork");
	}
	int r = await_report(report[0], p->pid, e);

	close(report[0]);
	if (r < 0)
		return r;
	p->pidfd = pidfd_open(p->pid, 0);
	return p->pidfd < 0 ? err_sys(e, -errno, "pidfd_open") : 0;
}

int guest_create(const struct guest_kind *kind, struct instance *in, const struct wall_create *a,
		 struct wall_process *p, struct err *e)
{
	static struct guest_machine g; /* too large for a stack */
	g = (struct guest_machine){
		.kvm = -1,
		.upper = -1,
		.root = -1,
		.console = -1,
		.agent = -1,
		.control = -1,
		.kernel = KERNEL_INIT,
	};
	struct guest_monitor_args ma = {
		.spec = a->spec,
		.config = BUF_INIT(CONFIG_MAX),
		.dir = in->dir,
		.stdio = { -1, -1, -1 },
		.terminal = -1,
		.machine = &g,
		.vmm = kind->vmm,
	};
	const char *domain = oci_annotation(a->spec, GUEST_DOMAIN);
	int r;

	ma.domain = domain && strcmp(domain, "true") == 0;
	r = ma.domain ? domain_open(kind, &g, a->spec, e) : machine_open(kind, &g, in, a, e);
	if (r == 0 && ma.domain)
		r = domain_actions(&ma, e);
	if (r == 0)
		r = load_config(&ma.config, in, a->init_reaper ? AGENT_CREATE_INIT : 0, e);
	if (r == 0)
		r = take_stdio(&ma, a, &p->master, e);
	if (r == 0)
		r = launch(&ma, p, e);
	for (int i = 0; i < 3; i++)
		close_fd(&ma.stdio[i]);
	buf_fini(&ma.config);
	guest_machine_fini(&g);
	if (r == 0) {
		in->status = INSTANCE_CREATED;
		r = instance_set_pid(in, p->pid, e);
	}
	if (r == 0)
		r = instance_save(in, e);
	if (r < 0 && p->pidfd >= 0)
		pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
	return r;
}
