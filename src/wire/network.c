/*
 * Words of --network, and the addresses in them.
 *
 * Trust: the text is the user's, and the guest's agent reads addresses of its kernel's command line with the same
 * functions. Threads: none. #syscalls: none
 */
#include "wire/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

int network_ipv4(const char *text, uint32_t *address)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		unsigned byte = 0, digits = 0;

		for (; *text >= '0' && *text <= '9' && digits < 4; digits++)
			byte = byte * 10 + (unsigned)(*text++ - '0');
		if (!digits || digits > 3 || byte > 255 || *text != (i < 3 ? '.' : '\0'))
			return -EINVAL;
		text += i < 3;
		v = v << 8 | byte;
	}
	*address = v;
	return 0;
}

int network_address(const char *text, uint32_t *address, uint32_t *mask)
{
	const char *slash = strchr(text, '/');
	char first[16];
	uint64_t bits;

	if (!slash || (size_t)(slash - text) >= sizeof(first) || str_to_u64(slash + 1, &bits) ||
	    bits < 1 || bits > 32)
		return -EINVAL;
	memcpy(first, text, (size_t)(slash - text));
	first[slash - text] = '\0';
	*mask = UINT32_MAX << (32 - bits);
	return network_ipv4(first, address);
}

static int parse_mac(const char *s, struct network_wish *w)
{
	for (int i = 0; i < 6; i++, s += 3) {
		unsigned v = 0;

		for (int k = 0; k < 2; k++) {
			const char *digits = "0123456789abcdef", *d;

			d = s[k] ? strchr(digits, s[k] | 0x20) : NULL;
			if (!d)
				return -EINVAL;
			v = v << 4 | (unsigned)(d - digits);
		}
		if (s[2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		w->mac[i] = (uint8_t)v;
	}
	w->has_mac = true;
	return w->mac[0] & 1 ? -EINVAL : 0; /* a group's */
}

static int parse_word(const char *word, struct network_wish *w)
{
	const char *ip = str_after(word, "ip="), *gw = str_after(word, "gw="),
		   *mac = str_after(word, "mac="), *queues = str_after(word, "queues=");
	uint32_t a, mask;
	uint64_t n;

	if (ip) {
		snprintf(w->address, sizeof(w->address), "%s", ip);
		return strlen(ip) < sizeof(w->address) ? network_address(ip, &a, &mask) : -EINVAL;
	}
	if (gw) {
		snprintf(w->gateway, sizeof(w->gateway), "%s", gw);
		return strlen(gw) < sizeof(w->gateway) ? network_ipv4(gw, &a) : -EINVAL;
	}
	if (mac)
		return parse_mac(mac, w);
	if (!queues || str_to_u64(queues, &n) || n < 1 || n > NETWORK_QUEUES_MAX)
		return -EINVAL;
	w->queues = (unsigned)n;
	return 0;
}

static int parse_tap(const char *text, struct network_wish *w, struct err *e)
{
	size_t n = strcspn(text, ",");

	if (!n || n > NETWORK_NAME_MAX || memchr(text, '/', n))
		return err_set(e, -EINVAL, "--network 'tap:%s': no interface can have that name",
			       text);
	memcpy(w->tap, text, n);
	for (text += n; *text;) {
		char word[40];

		n = strcspn(++text, ",");
		snprintf(word, sizeof(word), "%.*s", (int)MIN(n, sizeof(word)), text);
		if (n >= sizeof(word) || parse_word(word, w))
			return err_set(e, -EINVAL,
				       "--network tap:%s: '%.*s' is none of ip=ADDRESS/BITS, "
				       "gw=ADDRESS, mac=ADDRESS, queues=1..%d",
				       w->tap, (int)n, text, NETWORK_QUEUES_MAX);
		text += n;
	}
	if (w->gateway[0] && !w->address[0])
		return err_set(e, -EINVAL, "--network tap:%s: gw without ip", w->tap);
	return 0;
}

int network_parse(const char *text, struct network_wish *w, struct err *e)
{
	static const char *const names[] = { "private", "host", "none" };
	const char *tap = str_after(text, "tap:");

	*w = (struct network_wish){ .queues = 1 };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (streq(text, names[i])) {
			w->kind = (enum network_kind)i;
			return 0;
		}
	}
	if (!tap)
		return err_set(
			e, -EINVAL,
			"--network '%s': expected host, private or none, or tap:NAME for a guest",
			text);
	w->kind = NETWORK_TAP;
	return parse_tap(tap, w, e);
}
