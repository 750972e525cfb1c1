/* What CPUID tells a guest of its features and its package. */
#include "../test.h"
#include "base/util.h"
#include "machine/cpuid.h"

/* All that a host could have. */
static struct kvm_cpuid_entry2 shaped(const char *template, uint32_t function, uint32_t index,
				      unsigned vcpu, unsigned n)
{
	struct kvm_cpuid_entry2 entry = {
		.function = function, .index = index, .eax = ~0u, .ebx = ~0u, .ecx = ~0u, .edx = ~0u
	};

	cpuid_shape(&entry, 1, cpu_template_find(template), vcpu, n, false);
	return entry;
}

static void templates_are_found(void **state)
{
	(void)state;
	assert_ptr_equal(cpu_template_find(NULL), cpu_template_find("host"));
	assert_non_null(cpu_template_find("x86-64-v3"));
	assert_null(cpu_template_find("x86-64-v9"));
	assert_null(cpu_template_find(""));
}

static const struct {
	uint32_t function, reg, bit;
	const char *name;
	bool host, v3, v2;
} features[] = {
	{ 1, 'c', 20, "SSE4.2", true, true, true },
	{ 1, 'c', 28, "AVX", true, true, false },
	{ 1, 'c', 12, "FMA", true, true, false },
	{ 1, 'c', 26, "XSAVE", true, true, false },
	{ 7, 'b', 5, "AVX2", true, true, false },
	{ 7, 'b', 8, "BMI2", true, true, false },
	{ 7, 'b', 9, "ERMS", true, true, true },
	{ 7, 'b', 16, "AVX512F", true, false, false },
	{ 7, 'c', 11, "AVX512-VNNI", true, false, false },
	{ 7, 'd', 24, "AMX-TILE", true, false, false },
	{ 0x80000001, 'c', 5, "LZCNT", true, true, false },
	{ 0xd, 'a', 2, "AVX state", true, true, false },
	{ 0xd, 'a', 6, "ZMM state", true, false, false },
};

static bool has(const char *template, size_t i)
{
	struct kvm_cpuid_entry2 c = shaped(template, features[i].function, 0, 0, 1);
	uint32_t v = features[i].reg == 'a'   ? c.eax
		     : features[i].reg == 'b' ? c.ebx
		     : features[i].reg == 'c' ? c.ecx
					      : c.edx;

	return v >> features[i].bit & 1;
}

static void templates_withhold_features(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (has("host", i) != features[i].host || has("x86-64-v3", i) != features[i].v3 ||
		    has("x86-64-v2", i) != features[i].v2)
			fail_msg("%s", features[i].name);
	}
}

static void one_package_of_single_threads(void **state)
{
	(void)state;
	struct kvm_cpuid_entry2 c = shaped(NULL, 1, 0, 2, 3);

	assert_int_equal(c.ebx >> 24, 2);
	assert_int_equal(c.ebx >> 16 & 0xff, 3);
	assert_true(c.edx >> 28 & 1);
	assert_false(shaped(NULL, 1, 0, 0, 1).edx >> 28 & 1);
	c = shaped(NULL, 0xb, 0, 2, 3);
	assert_int_equal(c.ebx, 1);
	assert_int_equal(c.edx, 2);
	assert_int_equal(c.ecx, 1 << 8);
	c = shaped(NULL, 0xb, 1, 2, 3);
	assert_int_equal(c.eax, 2); /* bits that hold a core's number */
	assert_int_equal(c.ebx, 3);
	assert_int_equal(c.ecx, 1 | 2 << 8);
	assert_int_equal(shaped(NULL, 0xb, 2, 2, 3).ebx, 0);
	c = shaped(NULL, 0x80000008, 0, 2, 3);
	assert_int_equal(c.ecx, 2 | 2 << 12);
	assert_int_equal(shaped(NULL, 0x80000008, 0, 0, 1).ecx, 0);
	assert_int_equal(shaped(NULL, 4, 0, 0, 3).eax >> 26, 2);
	assert_int_equal(shaped(NULL, 0x8000001e, 0, 2, 3).eax, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates_are_found),
		cmocka_unit_test(templates_withhold_features),
		cmocka_unit_test(one_package_of_single_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
