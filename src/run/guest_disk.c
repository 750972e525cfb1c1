/*
 * Disks that the user gives a guest: raw and qcow2 files and block devices, by annotations of config.json in
 * xl's own syntax. All files are opened here, by the user's own rights; the VMM gets the descriptors.
 *
 * A disk belongs to one guest: its file is locked (flock) through the descriptor that the VMM has, so that the
 * lock lives exactly as long as the VMM does. Read-only disks and backing files are shared, but not with a
 * writer.
 *
 * Trust: an image is hostile. The files that it is based on are only looked for below its own directory, or the
 * one that the user names ("backing="), and their format is that of their first bytes only where nobody writes
 * to them: a raw backing file is the user's, not a guest's. Threads: none.
 * #syscalls: openat openat2 flock pread64 fstat
 */
#include "run/guest_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/sys.h"
#include "run/guest.h"
#include "wire/qcow2.h"
#include "wire/xldisk.h"

static int lock_file(int fd, bool read_only, const char *path, struct err *e)
{
	if (flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return err_sys(e, -errno, "lock '%s'", path);
	return err_set(e, -EBUSY,
		       "'%s': in use by another instance. Fix: stop that one, give both read-only "
		       "access, or make an overlay (qemu-img create -f qcow2 -b)",
		       path);
}

static int check_kind(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "'%s'", path);
	if (S_ISDIR(st.st_mode))
		return err_sys(e, -EISDIR, "'%s'", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, -EINVAL, "'%s': neither a file nor a block device", path);
	return 0;
}

/* The name of the backing file that a qcow2 image has, "" for none. */
static int read_backing(int fd, const char *path, struct qcow2_header *h, struct err *e)
{
	uint8_t head[QCOW2_HEAD];
	ssize_t n = pread(fd, head, sizeof(head), 0);
	struct stat st;

	if (n < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "read '%s'", path);
	int r = qcow2_header_parse(head, (size_t)n, (uint64_t)st.st_size, h, e);

	return r < 0 ? err_wrap(e, "'%s'", path) : 0;
}

static bool has_qcow2_magic(int fd)
{
	char magic[4];

	return pread(fd, magic, 4, 0) == 4 && memcmp(magic, "QFI\373", 4) == 0;
}

/* Opens `name`, as an image wrote it, below the directory. */
static int open_backing(const char *dir, const char *name, struct err *e)
{
	const char *inside = str_after(name, dir);
	cleanup_fd int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return err_sys(e, -errno, "backing directory '%s'", dir);
	if (name[0] == '/' && (!inside || inside[0] != '/'))
		inside = NULL;
	else
		inside = inside && name[0] == '/' ? inside + strspn(inside, "/") : name;
	int fd = inside ? sys_openat2(at, inside, O_RDONLY | O_CLOEXEC, 0,
				      RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
			: -EXDEV;

	if (fd == -EXDEV)
		return err_set(e, -EXDEV,
			       "backing file '%s' is outside '%s'. Fix: name its directory with "
			       "backing=DIR",
			       name, dir);
	return fd < 0 ? err_sys(e, fd, "backing file '%s'", name) : fd;
}

static int open_chain(struct guest_disk *d, const char *dir, struct err *e)
{
	struct qcow2_header h;

	for (unsigned i = 0; d->qcow2[i]; i++) {
		const char *what = i ? h.backing : d->path;
		char name[GUEST_PATH_MAX];

		snprintf(name, sizeof(name), "%s", what);
		int r = read_backing(d->fd[i], name, &h, e);

		if (r < 0 || !h.backing[0])
			return r;
		if (i + 1 == GUEST_CHAIN_MAX)
			return err_set(e, -ELOOP, "'%s': based on more than %d files", d->path,
				       GUEST_CHAIN_MAX - 1);
		int fd = open_backing(dir, h.backing, e);

		if (fd < 0)
			return fd;
		d->fd[i + 1] = fd;
		r = check_kind(fd, h.backing, e);
		if (r == 0)
			r = lock_file(fd, true, h.backing, e);
		if (r < 0)
			return r;
		/* Nor is what it is based on guessed: that may have been a guest's raw disk before. */
		if (h.backing_format == QCOW2_BACKING_UNSAID && has_qcow2_magic(fd))
			return err_set(e, -EINVAL,
				       "'%s' does not say what its backing file is. Fix: qemu-img "
				       "rebase -u -F qcow2 -b '%s' '%s'",
				       name, h.backing, name);
		d->qcow2[i + 1] = h.backing_format == QCOW2_BACKING_QCOW2;
	}
	return 0;
}

static int open_disk(struct guest_disk *d, const struct xl_disk *x, struct err *e)
{
	char dir[sizeof(x->path)];

	for (unsigned i = 0; i < GUEST_CHAIN_MAX; i++)
		d->fd[i] = -1;
	d->read_only = x->read_only;
	snprintf(d->path, sizeof(d->path), "%s", x->path);
	d->fd[0] = open(x->path, (x->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (d->fd[0] < 0)
		return err_sys(e, -errno, "'%s'", x->path);
	int r = check_kind(d->fd[0], x->path, e);

	if (r == 0)
		r = lock_file(d->fd[0], x->read_only, x->path, e);
	if (r < 0)
		return r;
	/* A guest may write any magic to a raw disk: its format is said, not guessed. */
	if (x->format == XL_DISK_UNSAID && has_qcow2_magic(d->fd[0]))
		return err_set(e, -EINVAL,
			       "'%s' begins like a qcow2 image. Fix: say format=qcow2, or "
			       "format=raw",
			       x->path);
	d->limits = (struct block_limits){ .iops = x->iops, .bps = x->bps };
	d->qcow2[0] = x->format == XL_DISK_QCOW2;
	snprintf(dir, sizeof(dir), "%s", x->path);
	return open_chain(d, x->backing[0] ? x->backing : dirname(dir), e);
}

static bool is_taken(const struct guest_machine *g, const char *name)
{
	for (unsigned i = 0; i < g->disks; i++)
		if (streq(g->disk[i].name, name))
			return true;
	return false;
}

/* The device: as wished where the machine lets disks be named, else the next one. */
static int name_disk(struct guest_machine *g, struct guest_disk *d, const char *prefix,
		     const char *wish, struct err *e)
{
	unsigned first = g->root >= 0 ? 2 : 0;
	bool named = streq(prefix, "xvd");

	if (wish[0] && !named)
		return err_set(e, -EOPNOTSUPP, "vdev '%s': only pv guests name their disks", wish);
	if (wish[0]) {
		if ((unsigned)(wish[3] - 'a') < first)
			return err_set(e, -EBUSY, "vdev '%s': is the instance's own root", wish);
		if (is_taken(g, wish))
			return err_set(e, -EEXIST, "vdev '%s': another disk has it already", wish);
		snprintf(d->name, sizeof(d->name), "%s", wish);
		return 0;
	}
	/* Counted by the guest: without a disk to write to there is none at its place. */
	if (!named && g->root >= 0 && g->upper < 0)
		first = 1;
	for (char c = (char)('a' + first); c <= 'p'; c++) {
		snprintf(d->name, sizeof(d->name), "%s%c", prefix, c);
		if (!is_taken(g, d->name))
			return 0;
	}
	return err_set(e, -ENOSPC, "no name is left for it");
}

static int add_disk(struct guest_machine *g, const char *prefix, const char *text, struct err *e)
{
	static struct xl_disk x;
	int r = xl_disk_parse(text, &x, e);

	if (r == 0 && g->disks == GUEST_DISKS)
		r = err_set(e, -E2BIG, "more than %d", GUEST_DISKS);
	if (r == 0)
		r = name_disk(g, &g->disk[g->disks], prefix, x.vdev, e);
	return r < 0 ? r : open_disk(&g->disk[g->disks++], &x, e);
}

int guest_disks_open(struct guest_machine *g, const struct oci_spec *spec, const char *prefix,
		     struct err *e)
{
	char image[GUEST_PATH_MAX + 32];
	int r = 0;

	/* Those with a name of their own first: others take what is left. */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; r == 0 && i < spec->annotations.n; i++) {
			const struct oci_pair *p = &spec->annotations.v[i];
			static struct xl_disk x;

			if (!str_after(p->key, GUEST_DISK "."))
				continue;
			r = xl_disk_parse(p->value, &x, e);
			if (r == 0 && (x.vdev[0] == '\0') == (pass == 1))
				r = add_disk(g, prefix, p->value, e);
			if (r < 0)
				err_wrap(e, "disk");
		}
	}
	if (r == 0 && spec->vm && spec->vm->image_path) {
		snprintf(image, sizeof(image), "format=%s,access=ro,target=%s",
			 spec->vm->image_format, spec->vm->image_path);
		r = add_disk(g, prefix, image, e);
		if (r < 0)
			err_wrap(e, "config.json: vm.image");
	}
	return r;
}

void guest_disks_fini(struct guest_machine *g)
{
	for (unsigned i = 0; i < g->disks; i++)
		for (unsigned k = 0; k < GUEST_CHAIN_MAX; k++)
			close_fd(&g->disk[i].fd[k]);
	g->disks = 0;
}

struct block *guest_disk_block(struct guest_disk *d, guest_disk_raw_fn *raw, struct err *e)
{
	struct block *b = NULL;
	int n = GUEST_CHAIN_MAX;

	while (n && d->fd[n - 1] < 0)
		n--;
	for (int i = n - 1; i >= 0; i--) {
		bool read_only = i || d->read_only;

		/* Only the image itself is the device's: what it is based on is read for it. */
		b = d->qcow2[i] ? block_qcow2_new(steal_fd(&d->fd[i]), read_only, b, e)
		    : i == 0	? raw(steal_fd(&d->fd[i]), read_only, e)
				: block_raw_new(steal_fd(&d->fd[i]), read_only, e);
		if (!b)
			break;
	}
	if (b && (d->limits.iops || d->limits.bps))
		b = block_limit_new(b, &d->limits, e);
	if (!b)
		err_wrap(e, "disk '%s'", d->path);
	return b;
}
