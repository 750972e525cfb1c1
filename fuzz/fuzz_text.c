/* Small texts: image names, log lines, times, /etc/passwd and /etc/group of an image, a kernel's note of
 * what it is; and the words people type for sizes and times. */
#include "base/buf.h"
#include "base/str.h"
#include "fuzz.h"
#include "wire/caps.h"
#include "wire/kernelinfo.h"
#include "wire/logline.h"
#include "wire/passwd.h"
#include "wire/reference.h"

static void check_reference(const char *s)
{
	struct reference a, b;
	struct err e = ERR_INIT;
	char text[1024], shown[1024];
	int r = reference_parse(s, &a, &e);

	if (r) {
		FUZZ_CHECK_ERROR(r, e);
		return;
	}
	FUZZ_CHECK(reference_format(&a, text, sizeof(text)) == 0);
	FUZZ_CHECK(reference_familiar(&a, shown, sizeof(shown)) == 0);
	FUZZ_CHECK(reference_parse(text, &b, &e) == 0);
	FUZZ_CHECK(!strcmp(a.registry, b.registry) && !strcmp(a.repository, b.repository));
	FUZZ_CHECK(!strcmp(a.digest, b.digest));
	FUZZ_CHECK(reference_parse(shown, &b, &e) == 0);
	FUZZ_CHECK(!strcmp(a.registry, b.registry) && !strcmp(a.repository, b.repository));
}

static void check_logline(const char *s, size_t n)
{
	struct buf scratch = BUF_INIT(1 << 20), out = BUF_INIT(1 << 22);
	struct logline l, again;
	struct timespec t;
	char text[31];

	if (logline_parse(s, n, &scratch, &l) == 0) {
		struct buf second = BUF_INIT(1 << 20);

		FUZZ_CHECK(logline_add(&out, &l) == 0);
		FUZZ_CHECK(out.len && out.data[out.len - 1] == '\n');
		FUZZ_CHECK(logline_parse(out.data, out.len - 1, &second, &again) == 0);
		FUZZ_CHECK(again.stderr_ == l.stderr_);
		buf_fini(&second);
	}
	if (time_rfc3339_parse(s, n, &t) == 0) {
		struct timespec u;

		time_rfc3339_format(t, text);
		if (t.tv_sec >= 0 && t.tv_sec < 253402300800)
			FUZZ_CHECK(time_rfc3339_parse(text, strlen(text), &u) == 0 &&
				   u.tv_sec == t.tv_sec && u.tv_nsec == t.tv_nsec);
	}
	buf_fini(&scratch);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = fuzz_string(data, size);
	struct passwd_entry p;
	struct kernelinfo k = { 0 };
	struct err e = ERR_INIT;
	uint32_t gids[8], gid;
	uint64_t u;
	int64_t i;
	bool b;

	check_reference(s);
	check_logline(s, size);
	FUZZ_CHECK(!passwd_find(s, size, "root", 0, &p) || !strcmp(p.name, "root"));
	FUZZ_CHECK(!passwd_find(s, size, NULL, 1000, &p) || p.uid == 1000);
	group_find(s, size, "wheel", &gid);
	FUZZ_CHECK(group_memberships(s, size, "user", gids, 8) <= 8);
	if (kernelinfo_parse(s, &k, &e) == 0)
		kernelinfo_fini(&k);
	str_to_u64(s, &u);
	str_to_i64(s, &i);
	str_to_size(s, &u);
	str_to_duration(s, &u);
	str_to_bool(s, &b);
	cap_from_name(s);
	free(s);
	return 0;
}
