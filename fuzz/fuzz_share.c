/* The shared-directory server: a stream of FUSE requests against a small tree, read-only so that a run leaves
 * nothing behind. Each input is requests of one length byte (times 8) and a body; the header's length is right
 * except when the first byte is odd. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "storage/share.h"

static char dir[] = "/tmp/fuzz-share-XXXXXX";
static int proc;

static void clean(void)
{
	int d = open(dir, O_PATH);

	unlinkat(d, "file", 0);
	unlinkat(d, "link", 0);
	unlinkat(d, "sub", AT_REMOVEDIR);
	rmdir(dir);
}

static void prepare(void)
{
	FUZZ_CHECK(mkdtemp(dir));
	int d = open(dir, O_PATH);

	close(openat(d, "file", O_CREAT | O_WRONLY, 0600));
	FUZZ_CHECK(symlinkat("/etc", d, "link") == 0 && mkdirat(d, "sub", 0700) == 0);
	close(d);
	proc = open("/proc/self/fd", O_PATH | O_CLOEXEC);
	atexit(clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t reply[SHARE_MESSAGE_MAX];
	struct err e = ERR_INIT;
	struct fuse_init_in init = { .major = 7, .minor = 38 };
	struct {
		struct fuse_in_header h;
		uint8_t body[2048];
	} request;

	if (!proc)
		prepare();
	struct share *s = share_new(&(struct share_config){ .root = open(dir, O_PATH),
							    .proc = proc,
							    .read_only = true },
				    &e);

	FUZZ_CHECK(s);
	request.h = (struct fuse_in_header){ .len = sizeof(request.h) + 16, .opcode = FUSE_INIT };
	memcpy(request.body, &init, 16);
	FUZZ_CHECK(share_request(s, &request, request.h.len, reply) > 0);
	while (size >= 4) {
		size_t n = (size_t)data[0] * 8;
		bool lie = data[0] & 1;

		request.h = (struct fuse_in_header){ .opcode = data[1], .nodeid = data[2] };
		data += 3;
		size -= 3;
		n = n < size ? n : size;
		memcpy(request.body, data, n);
		data += n;
		size -= n;
		request.h.len = (uint32_t)(sizeof(request.h) + n + (lie ? data[-1] : 0));
		ssize_t r = share_request(s, &request, sizeof(request.h) + n, reply);

		FUZZ_CHECK(r < 0 || r <= SHARE_MESSAGE_MAX);
	}
	share_free(s);
	return 0;
}
