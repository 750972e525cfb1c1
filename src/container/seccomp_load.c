/*
 * From a compiled profile to a bound process, and the way of the listener.
 *
 * With SCMP_ACT_NOTIFY in the profile the kernel makes a descriptor when the filter is loaded, in the
 * process that is bound. That process cannot send it itself once its own calls are notified, so its parent
 * fetches it (pidfd_getfd) and hands it to whoever listens at listenerPath: one message with the
 * container process state of config-linux.md as JSON and the descriptor beside it, then the connection closes.
 *
 * Trust: the listener is the caller's agent; nothing is read from it. Threads: the one that
 * starts the container. #syscalls: socket connect sendmsg close
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "container/seccomp.h"
#include "os/seccomp.h"
#include "os/sys.h"
#include "wire/json.h"

int container_seccomp_load(const struct seccomp_program *p, int *listener, struct err *e)
{
	int r = os_seccomp_load(cbpf_start(&p->code), p->code.n, p->flags);

	*listener = -1;
	if (r < 0)
		return err_sys(e, r,
			       "linux.seccomp: load a filter of %u instructions with flags %#x",
			       p->code.n, p->flags);
	if (p->notify)
		*listener = r;
	return 0;
}

/* config-linux.md, "The Container Process State" */
static int process_state(const struct oci_seccomp *profile, const char *state, pid_t pid,
			 struct buf *out)
{
	buf_adds(out, "{\"ociVersion\":\"1.3.0\",\"fds\":[\"seccompFd\"]");
	buf_addf(out, ",\"pid\":%d", (int)pid);
	if (profile->listener_metadata) {
		json_put_key(out, "metadata");
		json_put_string(out, profile->listener_metadata);
	}
	json_put_key(out, "state");
	buf_adds(out, state);
	return buf_adds(out, "}");
}

int container_seccomp_hand_over(const struct oci_seccomp *profile, const char *state, pid_t pid,
				int listener, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(1 << 20);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (!profile->listener_path)
		return err_set(
			e, -EINVAL,
			"linux.seccomp: SCMP_ACT_NOTIFY is used and listenerPath is not set");
	if (strlen(profile->listener_path) >= sizeof(addr.sun_path))
		return err_sys(e, -ENAMETOOLONG, "linux.seccomp: listenerPath '%s'",
			       profile->listener_path);
	memcpy(addr.sun_path, profile->listener_path, strlen(profile->listener_path));
	int r = process_state(profile, state, pid, &text);

	if (r)
		return err_sys(e, r, "linux.seccomp: the container process state");
	cleanup_fd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return err_sys(e, -errno, "linux.seccomp: socket");
	if (connect(sock, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(e, -errno, "linux.seccomp: connect to listenerPath '%s'",
			       profile->listener_path);
	r = sys_send_fd(sock, text.data, text.len, listener);
	if (r)
		return err_sys(e, r, "linux.seccomp: hand the listener to '%s'",
			       profile->listener_path);
	return 0;
}
