/*
 * Mount options: the words of config.md ("Linux mount options") to flags of mount(2) and mount_setattr(2).
 *
 * Trust: the words are the config's; unknown ones go to the file system as its own data, as the specification
 * says. Threads: none of its own. #syscalls: none
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "base/str.h"
#include "base/util.h"
#include "container/mount_int.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

static const struct flag_word {
	const char *word;
	unsigned long flag;
	uint64_t attr;
	bool clear;
} flag_words[] = {
	{ "ro", MS_RDONLY, MOUNT_ATTR_RDONLY, false },
	{ "rw", MS_RDONLY, MOUNT_ATTR_RDONLY, true },
	{ "nosuid", MS_NOSUID, MOUNT_ATTR_NOSUID, false },
	{ "suid", MS_NOSUID, MOUNT_ATTR_NOSUID, true },
	{ "nodev", MS_NODEV, MOUNT_ATTR_NODEV, false },
	{ "dev", MS_NODEV, MOUNT_ATTR_NODEV, true },
	{ "noexec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, false },
	{ "exec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, true },
	{ "nodiratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, false },
	{ "diratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, true },
	{ "nosymfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, false },
	{ "symfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, true },
	{ "noatime", MS_NOATIME, MOUNT_ATTR_NOATIME, false },
	{ "atime", MS_NOATIME, MOUNT_ATTR_NOATIME, true },
	{ "relatime", MS_RELATIME, MOUNT_ATTR_RELATIME, false },
	{ "norelatime", MS_RELATIME, MOUNT_ATTR_NOATIME, true },
	{ "strictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, false },
	{ "nostrictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, true },
	{ "async", MS_SYNCHRONOUS, 0, true },
	{ "sync", MS_SYNCHRONOUS, 0, false },
	{ "dirsync", MS_DIRSYNC, 0, false },
	{ "mand", MS_MANDLOCK, 0, false },
	{ "nomand", MS_MANDLOCK, 0, true },
	{ "silent", MS_SILENT, 0, false },
	{ "loud", MS_SILENT, 0, true },
	{ "lazytime", MS_LAZYTIME, 0, false },
	{ "nolazytime", MS_LAZYTIME, 0, true },
	{ "iversion", MS_I_VERSION, 0, false },
	{ "noiversion", MS_I_VERSION, 0, true },
	{ "acl", MS_POSIXACL, 0, false },
	{ "noacl", MS_POSIXACL, 0, true },
};

static const struct {
	const char *word;
	unsigned long flag;
} propagations[] = {
	{ "private", MS_PRIVATE },	 { "rprivate", MS_PRIVATE | MS_REC },
	{ "slave", MS_SLAVE },		 { "rslave", MS_SLAVE | MS_REC },
	{ "shared", MS_SHARED },	 { "rshared", MS_SHARED | MS_REC },
	{ "unbindable", MS_UNBINDABLE }, { "runbindable", MS_UNBINDABLE | MS_REC },
};

unsigned long mount_propagation(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(propagations); i++)
		if (streq(propagations[i].word, word))
			return propagations[i].flag;
	return 0;
}

static const struct flag_word *find_flag(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(flag_words); i++)
		if (streq(flag_words[i].word, word))
			return &flag_words[i];
	return NULL;
}

void mount_opts_each(void (*fn)(const char *word, void *arg), void *arg)
{
	static const char *const others[] = { "bind",  "rbind",	 "tmpcopyup",
					      "idmap", "ridmap", "remount" };
	char recursive[32];

	for (size_t i = 0; i < ARRAY_SIZE(flag_words); i++) {
		fn(flag_words[i].word, arg);
		if (!flag_words[i].attr)
			continue;
		snprintf(recursive, sizeof(recursive), "r%s", flag_words[i].word);
		fn(recursive, arg);
	}
	for (size_t i = 0; i < ARRAY_SIZE(propagations); i++)
		fn(propagations[i].word, arg);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		fn(others[i], arg);
}

/* The three access-time modes are one field of the attributes, not bits. */
static void change_attr(uint64_t *set, uint64_t *clear, const struct flag_word *w)
{
	bool is_atime = (w->attr & MOUNT_ATTR__ATIME) || w->flag == MS_RELATIME;

	if (is_atime) {
		*clear |= MOUNT_ATTR__ATIME;
		*set &= ~(uint64_t)MOUNT_ATTR__ATIME;
		if (!w->clear)
			*set |= w->attr;
		return;
	}
	if (w->clear) {
		*clear |= w->attr;
		*set &= ~w->attr;
	} else {
		*set |= w->attr;
		*clear &= ~w->attr;
	}
}

static bool take_word(const char *s, struct mount_opts *o)
{
	const struct flag_word *w = find_flag(s);
	unsigned long propagation = mount_propagation(s);

	if (w) {
		o->flags = w->clear ? o->flags & ~w->flag : o->flags | w->flag;
		change_attr(&o->set, &o->clear, w);
	} else if (propagation) {
		o->propagation = propagation & ~(unsigned long)MS_REC;
		o->prop_recursive = propagation & MS_REC;
	} else if (s[0] == 'r' && (w = find_flag(s + 1)) && w->attr) {
		change_attr(&o->rec_set, &o->rec_clear, w);
	} else if (streq(s, "bind")) {
		o->bind = true;
	} else if (streq(s, "rbind")) {
		o->bind = o->recursive = true;
	} else if (streq(s, "tmpcopyup")) {
		o->copy_up = true;
	} else if (streq(s, "idmap")) {
		o->idmap = true;
	} else if (streq(s, "ridmap")) {
		o->idmap = o->idmap_recursive = true;
	} else if (streq(s, "remount")) {
		o->flags |= MS_REMOUNT;
	} else {
		return streq(s, "defaults") || !*s;
	}
	return true;
}

int mount_opts_parse(const struct oci_mount *m, struct mount_opts *o, struct err *e)
{
	size_t len = 0;

	*o = (struct mount_opts){ .flags = 0 };
	for (size_t i = 0; i < m->options.n; i++) {
		const char *s = m->options.v[i];

		if (take_word(s, o))
			continue;
		int n = snprintf(o->data + len, sizeof(o->data) - len, "%s%s", len ? "," : "", s);

		if (n < 0 || (size_t)n >= sizeof(o->data) - len)
			return err_set(e, -EINVAL, "options are longer than %zu bytes",
				       sizeof(o->data));
		len += (size_t)n;
	}
	if (m->type && streq(m->type, "bind"))
		o->bind = true;
	if (m->uid_mappings.n || m->gid_mappings.n)
		o->idmap = true;
	if (o->idmap && !o->bind)
		return err_set(e, -EINVAL, "id mappings are for bind mounts only");
	return 0;
}
