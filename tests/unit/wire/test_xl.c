/* xl.cfg and the disks in it: what is understood, and what is refused with the place where it stands. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/xlcfg.h"

static void disks(void **state)
{
	static const struct {
		const char *text, *path, *vdev;
		enum xl_disk_format format;
		bool read_only;
	} good[] = {
		{ "/a.img,raw,xvda,w", "/a.img", "xvda", XL_DISK_RAW, false },
		{ "/a.img", "/a.img", "", XL_DISK_UNSAID, false },
		{ "/a.img, qcow2, xvdb, ro", "/a.img", "xvdb", XL_DISK_QCOW2, true },
		{ "/a.img,,,r", "/a.img", "", XL_DISK_UNSAID, true },
		{ "/a.img,ro", "/a.img", "", XL_DISK_UNSAID, true },
		{ "format=qcow2, vdev=xvda, access=ro, target=/x,y z", "/x,y z", "xvda",
		  XL_DISK_QCOW2, true },
		{ "/a=b.img,raw", "/a=b.img", "", XL_DISK_RAW, false },
		{ "phy:/dev/sda1,xvda,w", "/dev/sda1", "xvda", XL_DISK_RAW, false },
		{ "tap:qcow2:/q,xvdc,r", "/q", "xvdc", XL_DISK_QCOW2, true },
		{ "/a,raw,xvda,rw,backendtype=phy,discard", "/a", "xvda", XL_DISK_RAW, false },
	};
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "no path" },
		{ "format=raw", "no target" },
		{ "/a,vhd", "format 'vhd'" },
		{ "/a,raw,sda", "vdev 'sda'" },
		{ "/a,raw,xvdq", "vdev 'xvdq'" },
		{ "/a,raw,xvda,x", "access 'x'" },
		{ "/a,raw,xvda,w,more", "more than target" },
		{ "/a,shape=round", "'shape': no such part" },
		{ "/a,devtype=cdrom", "devtype 'cdrom'" },
	};
	struct xl_disk d, again;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(xl_disk_parse(good[i].text, &d, &e), 0);
		assert_string_equal(d.path, good[i].path);
		assert_string_equal(d.vdev, good[i].vdev);
		assert_int_equal(d.format, good[i].format);
		assert_int_equal(d.read_only, good[i].read_only);
		char *text = xl_disk_format(&d, d.path);

		assert_int_equal(xl_disk_parse(text, &again, &e), 0);
		assert_memory_equal(&d, &again, sizeof(d));
		free(text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err_clear(&e);
		assert_true(xl_disk_parse(bad[i].text, &d, &e) < 0);
		assert_non_null(strstr(e.msg, bad[i].says));
	}
}

static int parse(const char *text, struct xl_domain *d, struct err *e)
{
	err_clear(e);
	return xl_domain_parse(text, strlen(text), "f", d, e);
}

static void settings(void **state)
{
	static struct xl_domain d;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(parse("name='a';kernel=\"/k\\\"\\\\n\"# x\n memory = 0x100\nextra='a'\n"
			       "extra += ' b'\ndisk=['/x,raw,xvda,w', # one\n]\ndisk+=['/y']\n"
			       "on_reboot='destroy'",
			       &d, &e),
			 0);
	assert_string_equal(d.name, "a");
	assert_string_equal(d.kernel, "/k\"\\n");
	assert_int_equal(d.memory, 256 << 20);
	assert_int_equal(d.vcpus, 1);
	assert_string_equal(d.cmdline, "a b");
	assert_int_equal(d.disks, 2);
	assert_int_equal(d.on_reboot, XL_DESTROY);
	assert_int_equal(d.on_poweroff, XL_DESTROY);
	xl_domain_fini(&d);

	assert_int_equal(parse("name='a'\nkernel='k'\nroot='/dev/xvda'\ncmdline='mine'", &d, &e),
			 0);
	assert_string_equal(d.cmdline, "mine");
	assert_int_equal(d.on_reboot, XL_RESTART);
	xl_domain_fini(&d);
}

static void refusals(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "f: name: is missing" },
		{ "name='a'", "f: kernel: is missing" },
		{ "\n\nname", "f:3: expected =" },
		{ "name='a", "f:1: expected '" },
		{ "name='a\\", "f:1: expected '" },
		{ "name=[", "f:1: expected a number" },
		{ "name=['a']", "f:1: name: is no list" },
		{ "disk=['/a'\n'/b']", "f:2: expected , or ]" },
		{ "name='a' memory=1", "f:1: expected the end of the line" },
		{ "memory=1x", "'1x' is no number" },
		{ "memory=99999999", "memory: '99999999'" },
		{ "extra='a'\nextra+=['b']", "f:2: extra: += joins" },
		{ "vif=['x']", "f:1: vif: 'x': pv domains have no network" },
		{ "\001", "f:1: expected a key, not '?'" },
		{ "colour=1", "f:1: colour: no such key here" },
	};
	static struct xl_domain d;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(parse(bad[i].text, &d, &e) < 0);
		if (!strstr(e.msg, bad[i].says))
			fail_msg("%s: %s", bad[i].text, e.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks),
		cmocka_unit_test(settings),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
