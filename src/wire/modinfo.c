/*
 * Packages carry no modules.dep (it is made at installation), so dependencies are read from where depmod
 * would: the NUL-separated "key=value" strings of the module's .modinfo section.
 *
 * Trust: every byte is hostile. Threads: none. #syscalls: none
 */
#include "wire/modinfo.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"

/* The section's bytes, or NULL when a header or the section does not lie inside the file. */
static const uint8_t *section(const uint8_t *p, size_t n, const Elf64_Shdr *s)
{
	if (s->sh_type == SHT_NOBITS || s->sh_offset > n || s->sh_size > n - s->sh_offset)
		return NULL;
	return p + s->sh_offset;
}

static void copy(char *out, size_t size, const char *s, size_t n)
{
	n = n < size ? n : size - 1;
	memcpy(out, s, n);
	out[n] = '\0';
}

static void read_pairs(const char *p, size_t n, struct modinfo *out)
{
	while (n) {
		size_t len = strnlen(p, n);
		const struct {
			const char *key;
			char *dest;
			size_t size;
		} keys[] = {
			{ "name=", out->name, sizeof(out->name) },
			{ "depends=", out->depends, sizeof(out->depends) },
			{ "vermagic=", out->vermagic, sizeof(out->vermagic) },
		};

		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			size_t k = strlen(keys[i].key);

			if (len >= k && memcmp(p, keys[i].key, k) == 0)
				copy(keys[i].dest, keys[i].size, p + k, len - k);
		}
		p += len;
		n -= len;
		while (n && !*p) {
			p++;
			n--;
		}
	}
}

int modinfo_parse(const uint8_t *p, size_t n, struct modinfo *out, struct err *e)
{
	Elf64_Ehdr eh;
	Elf64_Shdr names, s;

	*out = (struct modinfo){ 0 };
	if (n < sizeof(eh))
		return err_set(e, -EBADMSG, "module: shorter than an ELF header");
	memcpy(&eh, p, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_machine != EM_X86_64 || eh.e_type != ET_REL)
		return err_set(e, -EBADMSG, "module: not a relocatable x86-64 ELF file");
	if (eh.e_shentsize != sizeof(s) || eh.e_shoff > n ||
	    (uint64_t)eh.e_shnum * sizeof(s) > n - eh.e_shoff || eh.e_shstrndx >= eh.e_shnum)
		return err_set(e, -EBADMSG, "module: its section table is not inside the file");
	memcpy(&names, p + eh.e_shoff + eh.e_shstrndx * sizeof(s), sizeof(names));
	const uint8_t *strings = section(p, n, &names);

	if (!strings)
		return err_set(e, -EBADMSG, "module: its section names are not inside the file");
	for (unsigned i = 0; i < eh.e_shnum; i++) {
		memcpy(&s, p + eh.e_shoff + i * sizeof(s), sizeof(s));
		if (s.sh_name >= names.sh_size ||
		    strncmp((const char *)strings + s.sh_name, ".modinfo",
			    (size_t)(names.sh_size - s.sh_name)) != 0)
			continue;
		const uint8_t *info = section(p, n, &s);

		if (!info)
			return err_set(e, -EBADMSG, "module: .modinfo is not inside the file");
		read_pairs((const char *)info, (size_t)s.sh_size, out);
		break;
	}
	if (!out->name[0])
		return err_set(e, -EBADMSG, "module: it does not say its name");
	for (char *c = out->name; *c; c++)
		*c = *c == '-' ? '_' : *c;
	for (char *c = out->depends; *c; c++)
		*c = *c == '-' ? '_' : *c;
	return 0;
}
