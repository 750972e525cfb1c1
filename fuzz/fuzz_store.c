/* xenstore: any sequence of messages; replies are whole messages, in order, one for each request. */
#include "base/buf.h"
#include "fuzz.h"
#include "pv/store.h"

static void changed(void *arg, const char *path)
{
	(*(unsigned *)arg)++;
	FUZZ_CHECK(!strncmp(path, "/local/domain/1/", 16));
}

/* `out` is a run of messages, one of them the reply to `m`. */
static void check_replies(const struct buf *out, const struct xen_store_msg *m)
{
	unsigned replies = 0;

	for (size_t at = 0; at < out->len;) {
		struct xen_store_msg r;

		FUZZ_CHECK(out->len - at >= sizeof(r));
		memcpy(&r, out->data + at, sizeof(r));
		FUZZ_CHECK(r.len <= XEN_STORE_PAYLOAD_MAX && r.len <= out->len - at - sizeof(r));
		if (r.type != XS_WATCH_EVENT) {
			FUZZ_CHECK(r.req_id == m->req_id &&
				   (r.type == m->type || r.type == XS_ERROR));
			replies++;
		}
		at += sizeof(r) + r.len;
	}
	FUZZ_CHECK(replies == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_INIT(1 << 22);
	unsigned changes = 0;
	struct store *s = store_new("/local/domain/1", changed, &changes);

	FUZZ_CHECK(s && !store_write(s, "/local/domain/1/device/vbd/51712/state", "1", NULL));
	while (size >= 4) {
		const struct xen_store_msg m = { .type = data[0],
						 .req_id = 5,
						 .tx_id = data[1] % 4,
						 .len = (uint32_t)(data[2] | data[3] << 8) % 600 };

		data += 4;
		size -= 4;
		if (m.len > size || m.type == XS_WATCH_EVENT || m.type == XS_ERROR)
			break;
		uint8_t *copy = malloc(m.len ? m.len : 1);

		FUZZ_CHECK(copy);
		memcpy(copy, data, m.len);
		store_request(s, &m, copy, &out);
		FUZZ_CHECK(!out.error);
		check_replies(&out, &m);
		buf_clear(&out);
		free(copy);
		data += m.len;
		size -= m.len;
		store_write(s, "/local/domain/0/backend/vbd/1/51712/state", "2", &out);
		buf_clear(&out);
	}
	store_free(s);
	buf_fini(&out);
	return 0;
}
