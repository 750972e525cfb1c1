/*
 * Which of a distribution's thousands of modules a guest gets: the few front ends and file systems below
 * and, by their own .modinfo, what those depend on. The rest stays in the package.
 *
 * Trust: module files come from the package that the user named; their headers are still checked.
 * Threads: none. #syscalls: memfd_create pread lseek
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "run/kernel_int.h"
#include "wire/modinfo.h"

/* More than any honest closure of the lists below. */
#define MODULES_MAX 128

/* Loaded in this order, dependencies first. What a kernel has built in is not found and not missed. */
static const char *const both[] = { "crc32c_generic", "erofs", "overlay", "fuse", NULL };
static const char *const pv[] = { "xen_blkfront", "xen_netfront", "xen_evtchn", "xen_gntalloc",
				  NULL };
static const char *const vm[] = { "virtio_mmio",
				  "virtio_pci",
				  "virtio_blk",
				  "virtio_net",
				  "virtio_console",
				  "virtio_rng",
				  "virtio_balloon",
				  "virtiofs",
				  "vmw_vsock_virtio_transport",
				  NULL };
/* Usual dependencies, so that one pass over a package finds all. */
static const char *const hints[] = { "libcrc32c",
				     "crc32c_intel",
				     "virtio",
				     "virtio_ring",
				     "net_failover",
				     "failover",
				     "virtio_pci_modern_dev",
				     "virtio_pci_legacy_dev",
				     "vsock",
				     "dax",
				     "rng_core",
				     "netfs",
				     "vmw_vsock_virtio_transport_common",
				     NULL };

void kernel_modules_fini(struct kernel_modules *m)
{
	for (size_t i = 0; i < m->n; i++) {
		buf_fini(&m->v[i].image);
		strlist_fini(&m->v[i].depends);
	}
	free(m->v);
	*m = (struct kernel_modules){ 0 };
}

static struct kernel_module *find(struct kernel_modules *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++) {
		if (streq(m->v[i].name, name))
			return &m->v[i];
	}
	return NULL;
}

int kernel_modules_add(struct kernel_modules *m, const char *name)
{
	if (!m->v)
		m->v = calloc(MODULES_MAX, sizeof(*m->v));
	if (!m->v)
		return -ENOMEM;
	if (find(m, name))
		return 0;
	if (m->n == MODULES_MAX || strlen(name) >= sizeof(m->v->name))
		return -E2BIG;
	struct kernel_module *one = &m->v[m->n++];

	memcpy(one->name, name, strlen(name) + 1); /* fits: checked above */
	buf_init(&one->image, KERNEL_MODULE_MAX);
	return 0;
}

static int add_all(struct kernel_modules *m, const char *const *names)
{
	int r = 0;

	for (; *names && r == 0; names++)
		r = kernel_modules_add(m, *names);
	return r;
}

int kernel_modules_wish(struct kernel_modules *m)
{
	const char *const *const lists[] = { both, pv, vm, hints };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lists) && r == 0; i++)
		r = add_all(m, lists[i]);
	return r;
}

uint32_t kernel_modules_stamp(void)
{
	const char *const *const lists[] = { both, pv, vm };
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		for (const char *const *name = lists[i]; *name; name++) {
			for (const char *c = *name; *c; c++)
				h = (h ^ (uint8_t)*c) * 16777619u;
			h = (h ^ ' ') * 16777619u;
		}
		h = (h ^ '\n') * 16777619u;
	}
	return h;
}

struct kernel_module *kernel_modules_match(struct kernel_modules *m, const char *path)
{
	static const char *const ends[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	char name[64];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (str_ends(base, ends[i]))
			n = strlen(base) - strlen(ends[i]);
	}
	if (n == 0 || n >= sizeof(name))
		return NULL;
	for (size_t i = 0; i < n; i++)
		name[i] = base[i] == '-' ? '_' : base[i];
	name[n] = '\0';
	struct kernel_module *one = find(m, name);

	return one && !one->found ? one : NULL;
}

/* In place: the compressed bytes go through a helper. */
static int unpack(struct kernel_module *one, struct err *e)
{
	cleanup_fd int in = memfd_create("module", MFD_CLOEXEC);
	cleanup_fd int out = memfd_create("module", MFD_CLOEXEC);
	int r;

	if (in < 0 || out < 0)
		return err_sys(e, -errno, "module '%s': memfd_create", one->name);
	r = write_full(in, one->image.data, one->image.len);
	if (r < 0)
		return err_sys(e, r, "module '%s'", one->name);
	lseek(in, 0, SEEK_SET);
	r = kernel_decompress(in, one->image.len, out, KERNEL_MODULE_MAX, one->name, e);
	if (r < 0)
		return r;
	lseek(out, 0, SEEK_SET);
	buf_clear(&one->image);
	r = read_all(out, &one->image);
	return r < 0 ? err_sys(e, r, "module '%s'", one->name) : 0;
}

int kernel_module_complete(struct kernel_modules *m, struct kernel_module *one, struct err *e)
{
	struct modinfo mi;
	int r = 0;

	if (one->image.len < 4 || memcmp(one->image.data, "\177ELF", 4) != 0)
		r = unpack(one, e);
	if (r == 0)
		r = modinfo_parse((const uint8_t *)one->image.data, one->image.len, &mi, e);
	if (r < 0)
		return err_wrap(e, "module '%s'", one->name);
	one->found = true;
	for (char *save, *word = strtok_r(mi.depends, ",", &save); word;
	     word = strtok_r(NULL, ",", &save)) {
		r = strlist_add(&one->depends, word);
		if (r == 0)
			r = kernel_modules_add(m, word);
		if (r < 0)
			return err_sys(e, r, "module '%s': dependencies", one->name);
	}
	return 0;
}

bool kernel_modules_missing(const struct kernel_modules *m)
{
	for (size_t i = 0; i < m->n; i++) {
		for (size_t k = 0; k < m->v[i].depends.n; k++) {
			struct kernel_modules view = *m;
			const struct kernel_module *d = find(&view, m->v[i].depends.v[k]);

			if (!d || !d->found)
				return true;
		}
	}
	return false;
}

static int place(struct kernel_modules *m, const char *name, struct strlist *out, struct err *e)
{
	struct kernel_module *one = find(m, name);
	int r = 0;

	if (!one || !one->found || one->placed)
		return 0;
	if (one->visiting)
		return err_set(e, -EBADMSG, "module '%s' depends on itself", name);
	one->visiting = true;
	for (size_t i = 0; i < one->depends.n && r == 0; i++)
		r = place(m, one->depends.v[i], out, e);
	one->visiting = false;
	one->placed = true;
	if (r == 0 && strlist_add(out, name) < 0)
		r = err_sys(e, -ENOMEM, "modules");
	return r;
}

static int place_all(struct kernel_modules *m, const char *const *names, struct strlist *out,
		     struct err *e)
{
	int r = 0;

	for (; *names && r == 0; names++)
		r = place(m, *names, out, e);
	return r;
}

int kernel_modules_order(struct kernel_modules *m, struct kernelinfo *info, struct err *e)
{
	const struct {
		const char *const *names;
		struct strlist *out;
	} walls[] = { { pv, &info->pv }, { vm, &info->vm } };

	for (size_t i = 0; i < ARRAY_SIZE(walls); i++) {
		for (size_t k = 0; k < m->n; k++)
			m->v[k].placed = false;
		int r = place_all(m, walls[i].names, walls[i].out, e);

		if (r == 0)
			r = place_all(m, both, walls[i].out, e);
		if (r < 0)
			return r;
	}
	return 0;
}
