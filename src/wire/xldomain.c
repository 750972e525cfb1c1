/*
 * What the keys of xl.cfg mean for a domain here. Keys that would change what the domain is and cannot be
 * fulfilled are errors; those of Xen's that change nothing here are remarked upon; unknown ones are errors,
 * since most are slips.
 *
 * Trust: any text. Threads: any. #syscalls: none
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "wire/xlcfg.h"
#include "wire/xlcfg_int.h"

#define MEMORY_DEFAULT 128 /* MB, as xl */
#define MEMORY_TOP     (1u << 20)
#define ARENA_TOP      (1u << 20)

struct domain_reader {
	struct xlcfg cfg;
	struct xl_domain *d;
	const char *root, *extra;
	size_t remarks;
	struct err *e;
};

static int wrong(struct domain_reader *r, const struct xlcfg_setting *s, unsigned line, int code,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static int wrong(struct domain_reader *r, const struct xlcfg_setting *s, unsigned line, int code,
		 const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(r->e, code, "%s:%u: %s: %s", r->cfg.file, line, s->key, text);
}

static int remark(struct domain_reader *r, const struct xlcfg_setting *s, const char *text)
{
	if (r->remarks + 1 < ARRAY_SIZE(r->d->remarks))
		r->d->remarks[r->remarks++] = arena_printf(&r->d->memory_, "%s:%u: %s: %s",
							   r->cfg.file, s->line, s->key, text);
	return 0;
}

typedef int take_fn(struct domain_reader *r, const struct xlcfg_setting *s);

static int number(struct domain_reader *r, const struct xlcfg_setting *s, uint64_t min,
		  uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s->v[0].text, &end, 0);
	if (*end || errno || s->v[0].text[0] == '-' || *out < min || *out > max)
		return wrong(r, s, s->line, -EINVAL, "'%s' is no number from %llu to %llu",
			     s->v[0].text, (unsigned long long)min, (unsigned long long)max);
	return 0;
}

static int take_name(struct domain_reader *r, const struct xlcfg_setting *s)
{
	r->d->name = s->v[0].text;
	return *r->d->name ? 0 : wrong(r, s, s->line, -EINVAL, "is empty");
}

static int take_memory(struct domain_reader *r, const struct xlcfg_setting *s)
{
	uint64_t mb;
	int err = number(r, s, 1, MEMORY_TOP, &mb);

	if (err == 0)
		r->d->memory = mb << 20;
	return err;
}

static int take_maxmem(struct domain_reader *r, const struct xlcfg_setting *s)
{
	uint64_t mb;
	int err = number(r, s, 1, MEMORY_TOP, &mb);

	return err ? err : remark(r, s, "a domain's memory does not grow: it gets 'memory'");
}

static int take_vcpus(struct domain_reader *r, const struct xlcfg_setting *s)
{
	uint64_t n;
	int err = number(r, s, 1, 64, &n);

	if (err == 0)
		r->d->vcpus = (unsigned)n;
	return err;
}

static int take_maxvcpus(struct domain_reader *r, const struct xlcfg_setting *s)
{
	uint64_t n;
	int err = number(r, s, 1, 64, &n);

	return err ? err : remark(r, s, "vCPUs are not added: it gets 'vcpus'");
}

static int take_kernel(struct domain_reader *r, const struct xlcfg_setting *s)
{
	r->d->kernel = s->v[0].text;
	return 0;
}

static int take_ramdisk(struct domain_reader *r, const struct xlcfg_setting *s)
{
	r->d->ramdisk = s->v[0].text;
	return 0;
}

static int take_cmdline(struct domain_reader *r, const struct xlcfg_setting *s)
{
	r->d->cmdline = s->v[0].text;
	return 0;
}

static int take_root(struct domain_reader *r, const struct xlcfg_setting *s)
{
	r->root = s->v[0].text;
	return 0;
}

static int take_extra(struct domain_reader *r, const struct xlcfg_setting *s)
{
	r->extra = s->v[0].text;
	return 0;
}

static int take_uuid(struct domain_reader *r, const struct xlcfg_setting *s)
{
	const char *u = s->v[0].text;
	bool good = strlen(u) == 36;

	for (size_t i = 0; good && i < 36; i++)
		good = i == 8 || i == 13 || i == 18 || i == 23
			       ? u[i] == '-'
			       : strchr("0123456789abcdefABCDEF", u[i]) != NULL;
	r->d->uuid = u;
	return good ? 0 : wrong(r, s, s->line, -EINVAL, "'%s' is no UUID", u);
}

static int take_type(struct domain_reader *r, const struct xlcfg_setting *s)
{
	const char *t = s->v[0].text;

	if (streq(t, "pv") || streq(t, "generic") || streq(t, "linux"))
		return 0;
	return wrong(r, s, s->line, -EOPNOTSUPP,
		     "'%s': domains here are pv. Fix: type=\"pv\", or run an image with warren "
		     "run --vm",
		     t);
}

static const char *const actions[] = {
	[XL_DESTROY] = "destroy", [XL_RESTART] = "restart", [XL_PRESERVE] = "preserve"
};

const char *xl_action_name(enum xl_action a)
{
	return actions[a];
}

static int take_action(struct domain_reader *r, const struct xlcfg_setting *s)
{
	enum xl_action *to = streq(s->key, "on_poweroff") ? &r->d->on_poweroff
			     : streq(s->key, "on_reboot") ? &r->d->on_reboot
							  : &r->d->on_crash;

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (streq(s->v[0].text, actions[i])) {
			*to = (enum xl_action)i;
			return 0;
		}
	}
	return wrong(r, s, s->line, -EINVAL, "'%s' is none of destroy, restart, preserve",
		     s->v[0].text);
}

static int take_disks(struct domain_reader *r, const struct xlcfg_setting *s)
{
	struct err why = ERR_INIT;

	for (size_t i = 0; i < s->n; i++) {
		if (r->d->disks == XL_DISKS_MAX)
			return wrong(r, s, s->v[i].line, -E2BIG, "more than %d", XL_DISKS_MAX);
		int err = xl_disk_parse(s->v[i].text, &r->d->disk[r->d->disks++], &why);

		if (err < 0)
			return wrong(r, s, s->v[i].line, err, "'%s': %s", s->v[i].text, why.msg);
	}
	return 0;
}

static int take_vif(struct domain_reader *r, const struct xlcfg_setting *s)
{
	return s->n ? wrong(r, s, s->v[0].line, -EOPNOTSUPP,
			    "'%s': pv domains have no network yet. Fix: vif = []", s->v[0].text)
		    : 0;
}

static int take_bootloader(struct domain_reader *r, const struct xlcfg_setting *s)
{
	return wrong(r, s, s->line, -EOPNOTSUPP,
		     "'%s': no boot loader is run. Fix: name the kernel with 'kernel' and its "
		     "initramfs with 'ramdisk'",
		     s->v[0].text);
}

/* Lists of devices that are not there: fine while empty. */
static int take_nothing(struct domain_reader *r, const struct xlcfg_setting *s)
{
	return s->n && (s->is_list || *s->v[0].text)
		       ? wrong(r, s, s->line, -EOPNOTSUPP, "there are no such devices here")
		       : 0;
}

static int take_idle(struct domain_reader *r, const struct xlcfg_setting *s)
{
	return remark(r, s, "has no effect here");
}

static const struct key {
	const char *name;
	take_fn *take;
	bool list;
} keys[] = {
	{ "bootloader", take_bootloader, false },
	{ "builder", take_type, false },
	{ "channel", take_nothing, true },
	{ "cmdline", take_cmdline, false },
	{ "cpu_weight", take_idle, false },
	{ "cpus", take_idle, false },
	{ "disk", take_disks, true },
	{ "dtdev", take_nothing, true },
	{ "extra", take_extra, false },
	{ "irqs", take_nothing, true },
	{ "kernel", take_kernel, false },
	{ "keymap", take_idle, false },
	{ "localtime", take_idle, false },
	{ "maxmem", take_maxmem, false },
	{ "maxvcpus", take_maxvcpus, false },
	{ "memory", take_memory, false },
	{ "name", take_name, false },
	{ "on_crash", take_action, false },
	{ "on_poweroff", take_action, false },
	{ "on_reboot", take_action, false },
	{ "on_watchdog", take_idle, false },
	{ "p9", take_nothing, true },
	{ "pci", take_nothing, true },
	{ "ramdisk", take_ramdisk, false },
	{ "root", take_root, false },
	{ "sdl", take_idle, false },
	{ "seclabel", take_idle, false },
	{ "serial", take_idle, false },
	{ "type", take_type, false },
	{ "usbdev", take_nothing, true },
	{ "uuid", take_uuid, false },
	{ "vcpus", take_vcpus, false },
	{ "vfb", take_nothing, true },
	{ "vif", take_vif, true },
	{ "vnc", take_idle, false },
	{ "vtpm", take_nothing, true },
};

static int take_setting(struct domain_reader *r, const struct xlcfg_setting *s)
{
	const char *near = NULL;
	size_t best = str_slips_allowed(s->key) + 1;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t slips = str_distance(s->key, keys[i].name);

		if (slips == 0) {
			if (s->is_list && !keys[i].list)
				return wrong(r, s, s->line, -EINVAL, "is no list");
			/* xl takes a lone string for a list of one. */
			return keys[i].take(r, s);
		}
		if (slips < best) {
			best = slips;
			near = keys[i].name;
		}
	}
	return wrong(r, s, s->line, -EINVAL, "no such key here%s%s%s", near ? "; is '" : "",
		     near ? near : "", near ? "' meant?" : "");
}

/* root and extra make a command line, unless one stands there. */
static int compose_cmdline(struct domain_reader *r)
{
	struct xl_domain *d = r->d;

	if (d->cmdline)
		return 0;
	d->cmdline = arena_printf(&d->memory_, "%s%s%s%s", r->root ? "root=" : "",
				  r->root ? r->root : "", r->root && r->extra ? " " : "",
				  r->extra ? r->extra : "");
	return d->cmdline ? 0 : err_set(r->e, -ENOMEM, "%s: too much text", r->cfg.file);
}

int xl_domain_parse(const char *text, size_t n, const char *file, struct xl_domain *out,
		    struct err *e)
{
	struct domain_reader r = { .d = out, .e = e };
	int err;

	*out = (struct xl_domain){ .memory = (uint64_t)MEMORY_DEFAULT << 20,
				   .vcpus = 1,
				   .on_poweroff = XL_DESTROY,
				   .on_reboot = XL_RESTART,
				   .on_crash = XL_DESTROY };
	arena_init(&out->memory_, ARENA_TOP);
	r.cfg.file = file;
	r.cfg.memory = &out->memory_;
	err = xlcfg_read(&r.cfg, text, n, e);
	for (size_t i = 0; err == 0 && i < r.cfg.n; i++)
		err = take_setting(&r, &r.cfg.v[i]);
	if (err == 0 && !out->name)
		err = err_set(e, -EINVAL, "%s: name: is missing", file);
	if (err == 0 && !out->kernel)
		err = err_set(e, -EINVAL, "%s: kernel: is missing", file);
	if (err == 0)
		err = compose_cmdline(&r);
	if (err < 0)
		xl_domain_fini(out);
	return err;
}

void xl_domain_fini(struct xl_domain *d)
{
	arena_fini(&d->memory_);
}
