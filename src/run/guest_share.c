/*
 * Directories of the host inside a guest: for each directory that config.json binds, a server process
 * (storage/share.c) speaks FUSE over a socket of its own. Behind the vm wall that is the back of a virtio-fs device
 * (virtio/fs.c), behind the pv wall a line to warren-agent; either way the guest's kernel mounts it.
 *
 * The server is born by the monitor before the VMM, keeps the directory and the line, and gives up everything
 * else: other paths (landlock), other capabilities, other system calls. The VMM carries its bytes and never
 * has the directory.
 *
 * Trust: requests are the guest's; storage/share.c judges them. A server that ends ends the guest, whose
 * processes would wait for ever. Threads: none.
 * #syscalls: open fork read write socketpair exit_group
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/confine.h"
#include "os/file.h"
#include "run/guest_int.h"
#include "run/guest_jail.h"
#include "storage/share.h"

bool guest_mount_is_bind(const struct oci_mount *mt)
{
	if (mt->type && streq(mt->type, "bind"))
		return true;
	for (size_t i = 0; i < mt->options.n; i++)
		if (streq(mt->options.v[i], "bind") || streq(mt->options.v[i], "rbind"))
			return true;
	return false;
}

static bool is_read_only(const struct oci_mount *mt)
{
	bool ro = false;

	for (size_t i = 0; i < mt->options.n; i++) {
		if (streq(mt->options.v[i], "ro") || streq(mt->options.v[i], "rro"))
			ro = true;
		else if (streq(mt->options.v[i], "rw"))
			ro = false;
	}
	return ro;
}

int guest_shares_open(struct guest_machine *g, const struct oci_spec *spec, struct err *e)
{
	for (size_t i = 0; i < spec->mounts_n; i++) {
		const struct oci_mount *mt = &spec->mounts[i];

		if (!guest_mount_is_bind(mt) || !mt->source)
			continue;
		int fd = open(mt->source, O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 && errno == ENOTDIR) /* files are copied in */
			continue;
		if (fd < 0)
			return err_sys(e, -errno, "mount '%s': source '%s'", mt->destination,
				       mt->source);
		if (g->shares == GUEST_SHARES_MAX) {
			close(fd);
			return err_set(e, -E2BIG,
				       "mount '%s': a guest shares at most %d directories",
				       mt->destination, GUEST_SHARES_MAX);
		}
		g->share[g->shares++] = (struct guest_share){
			.root = fd,
			.line = -1,
			.line_out = -1,
			.mount = (unsigned)i,
			.read_only = is_read_only(mt),
		};
	}
	return 0;
}

static void __attribute__((noreturn)) serve(struct share *s, int line)
{
	static uint8_t request[SHARE_MESSAGE_MAX + 4096], reply[SHARE_MESSAGE_MAX];

	for (;;) {
		struct fuse_in_header h;

		if (read_full(line, &h, sizeof(h)) != sizeof(h) || h.len < sizeof(h) ||
		    h.len > sizeof(request))
			break;
		size_t rest = h.len - sizeof(h);

		memcpy(request, &h, sizeof(h));
		if (read_full(line, request + sizeof(h), rest) != (ssize_t)rest)
			break;
		ssize_t n = share_request(s, request, h.len, reply);

		if (n < 0 || (n && write_full(line, reply, (size_t)n)))
			break;
	}
	_exit(0);
}

static void __attribute__((noreturn)) server(struct guest_share *sh, int line)
{
	static const int calls[] = {
		SYS_read,	  SYS_write,	    SYS_close,	   SYS_openat,	   SYS_newfstatat,
		SYS_fstat,	  SYS_fchmodat,	    SYS_fchownat,  SYS_utimensat,  SYS_ftruncate,
		SYS_readlinkat,	  SYS_symlinkat,    SYS_mknodat,   SYS_mkdirat,	   SYS_unlinkat,
		SYS_renameat2,	  SYS_linkat,	    SYS_fstatfs,   SYS_fsetxattr,  SYS_fgetxattr,
		SYS_flistxattr,	  SYS_fremovexattr, SYS_pread64,   SYS_pwrite64,   SYS_fsync,
		SYS_fdatasync,	  SYS_lseek,	    SYS_fallocate, SYS_getdents64, SYS_fcntl,
		SYS_mmap,	  SYS_munmap,	    SYS_mremap,	   SYS_brk,	   SYS_exit_group,
		SYS_rt_sigreturn,
	};
	struct err e = ERR_INIT;
	struct rlimit files;
	int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

	prctl(PR_SET_NAME, "warren-share");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	umask(0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur =
			files.rlim_max; /* a descriptor for each file that the guest knows */
		setrlimit(RLIMIT_NOFILE, &files);
	}
	struct share *s = share_new(&(struct share_config){ .root = sh->root,
							    .proc = proc,
							    .read_only = sh->read_only,
							    .set_owner = geteuid() == 0 },
				    &e);
	const struct confine c = {
		.writable = &sh->root,
		.writable_n = 1,
		.keep_caps = 0x1f, /* CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID */
		.calls = calls,
		.calls_n = ARRAY_SIZE(calls),
	};

	if (proc < 0 || !s || confine_self(&c, &e))
		_exit(1);
	serve(s, line);
}

int guest_shares_start(struct guest_machine *g, struct err *e)
{
	pid_t parent = getpid();

	for (unsigned i = 0; i < g->shares; i++) {
		struct guest_share *sh = &g->share[i];
		int line[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0)
			return err_sys(e, -errno, "shared directory: socket");
		sh->pid = fork();
		if (sh->pid == 0) {
			sigset_t none;

			sigemptyset(&none);
			sigprocmask(SIG_SETMASK, &none, NULL);
			if (getppid() != parent)
				_exit(1);
			guest_keep_only((int[2]){ sh->root, line[0] }, 2);
			server(sh, line[0]);
		}
		close(line[0]);
		sh->line = line[1];
		sh->line_out = fcntl(line[1], F_DUPFD_CLOEXEC, 3);
		close_fd(&sh->root);
		if (sh->pid < 0 || sh->line_out < 0)
			return err_sys(e, -errno, "shared directory: fork");
		fcntl(sh->line, F_SETFL, O_NONBLOCK);
	}
	return 0;
}

void guest_shares_fini(struct guest_machine *g)
{
	for (unsigned i = 0; i < g->shares; i++) {
		close_fd(&g->share[i].root);
		close_fd(&g->share[i].line);
		close_fd(&g->share[i].line_out);
	}
}
