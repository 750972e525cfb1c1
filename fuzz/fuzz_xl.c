/* xl.cfg files and disks. */
#include "fuzz.h"
#include "wire/xlcfg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct xl_domain d;
	static struct xl_disk one, again;
	char *text = fuzz_string(data, size);
	struct err e = ERR_INIT;
	int r = xl_domain_parse(text, size, "vm.cfg", &d, &e);

	if (r) {
		FUZZ_CHECK_ERROR(r, e);
	} else {
		FUZZ_CHECK(*d.name && d.kernel && d.cmdline && d.memory && d.vcpus);
		FUZZ_CHECK(d.disks <= XL_DISKS_MAX);
		xl_domain_fini(&d);
	}
	if (xl_disk_parse(text, &one, &e) == 0) {
		char *shown = xl_disk_format(&one, one.path);

		/* Absolute paths are; a directory with a comma cannot be written back. */
		FUZZ_CHECK(one.path[0] != '/' || strchr(one.backing, ',') ||
			   xl_disk_parse(shown, &again, &e) == 0);
		free(shown);
	}
	free(text);
	return 0;
}
