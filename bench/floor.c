/*
 * floor: the least that a container can cost on this kernel.
 *
 * Seven new namespaces and a cgroup by one clone3, the root by a bind mount and pivot_root, /proc, /dev with its six
 * nodes, then exec. It checks nothing, drops no capability, loads no seccomp filter and reads no configuration: every
 * runtime does more, and none can be faster.
 *
 * floor ROOT COMMAND [ARG...]; the environment's FLOOR_CGROUP_FD is an open v2 directory in which to make the cgroup,
 * if there is one.
 *
 * Trust: argv is the bench's. Threads: none.
 * #syscalls: clone3 mount pivot_root umount2 mkdir mknod sethostname chdir execve wait4 mkdirat unlinkat openat
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(long r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void make_dev(void)
{
	static const struct {
		const char *path;
		unsigned minor, major;
	} nodes[] = {
		{ "dev/null", 3, 1 },	{ "dev/zero", 5, 1 },	 { "dev/full", 7, 1 },
		{ "dev/random", 8, 1 }, { "dev/urandom", 9, 1 }, { "dev/tty", 0, 5 },
	};

	must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"),
	     "mount /dev");
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		must(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)),
		     nodes[i].path);
}

static void child(char **argv)
{
	must(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "mount slave");
	must(mount(argv[1], argv[1], NULL, MS_BIND | MS_REC, NULL), "bind root");
	must(chdir(argv[1]), "chdir");
	must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount /proc");
	make_dev();
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount old root");
	must(chdir("/"), "chdir /");
	must(sethostname("floor", 5), "sethostname");
	execv(argv[2], argv + 2);
	must(-1, argv[2]);
}

int main(int argc, char **argv)
{
	const char *given = getenv("FLOOR_CGROUP_FD");
	struct clone_args args = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
			 CLONE_NEWCGROUP,
		.exit_signal = SIGCHLD,
	};
	char name[32];
	int parent = given ? (int)strtol(given, NULL, 10) : -1, status;

	if (argc < 3) {
		fprintf(stderr, "usage: floor ROOT COMMAND [ARG...]\n");
		return 125;
	}
	snprintf(name, sizeof(name), "floor-%d", (int)getpid());
	if (parent >= 0) {
		must(mkdirat(parent, name, 0755), "make cgroup");
		args.cgroup = (uint64_t)openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		args.flags |= CLONE_INTO_CGROUP;
	}
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	must(pid, "clone3");
	if (!pid)
		child(argv);
	must(waitpid((pid_t)pid, &status, 0), "wait");
	if (parent >= 0)
		unlinkat(parent, name, AT_REMOVEDIR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
