/*
 * A small D-Bus client over a UNIX socket.
 *
 * Authentication is EXTERNAL with an empty identity, so that the daemon takes the user from the socket's credentials;
 * it works from inside a user namespace, where our own idea of our uid would be wrong. After BEGIN only messages
 * travel (wire/dbus.c).
 *
 * Trust: the daemon is the system's; its bytes are bounded and checked all the same. Threads: one a connection.
 * #syscalls: socket connect poll read write close
 */
#include "container/bus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "os/file.h"
#include "os/loop.h"
#include "os/sock.h"

enum { CALL_SECONDS = 30 };

static int say(struct bus *b, const char *text, size_t n, struct err *e)
{
	int r = write_full(b->fd, text, n);

	return r ? err_sys(e, r, "D-Bus: send") : 0;
}

/* One line of the authentication, without "\r\n", checked for its first word. */
static int expect(struct bus *b, const char *word, uint64_t deadline, struct err *e)
{
	char line[256];
	size_t n = 0;

	while (n < sizeof(line) - 1) {
		ssize_t r = sock_read_until(b->fd, line + n, 1, deadline);

		if (r <= 0)
			return err_sys(e, r ? (int)r : -ECONNRESET, "D-Bus: authentication");
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = '\0';
	if (!str_after(line, word))
		return err_set(e, -EACCES, "D-Bus: authentication refused: %s", line);
	return 0;
}

static int authenticate(struct bus *b, struct err *e)
{
	static const char first[] = "\0AUTH EXTERNAL\r\n", second[] = "DATA\r\n",
			  last[] = "BEGIN\r\n";
	uint64_t deadline = now_ns() + CALL_SECONDS * 1000000000ULL;
	int r = say(b, first, sizeof(first) - 1, e);

	if (!r)
		r = expect(b, "DATA", deadline, e);
	if (!r)
		r = say(b, second, sizeof(second) - 1, e);
	if (!r)
		r = expect(b, "OK", deadline, e);
	return r ? r : say(b, last, sizeof(last) - 1, e);
}

/* The value of one of a transport's keys: "unix:path=/run/bus,guid=..." */
static int connect_one(const char *address, size_t n)
{
	char value[128];
	const char *rest = str_after(address, "unix:");

	while (rest && rest < address + n) {
		size_t len = strcspn(rest, ",;");
		bool abstract = str_after(rest, "abstract=") != NULL;
		const char *path = abstract ? str_after(rest, "abstract=")
					    : str_after(rest, "path=");

		if (path && len - (size_t)(path - rest) < sizeof(value)) {
			memcpy(value, path, len - (size_t)(path - rest));
			value[len - (size_t)(path - rest)] = '\0';
			return sock_connect(value, abstract);
		}
		rest += len;
		rest += *rest == ',';
	}
	return -EOPNOTSUPP;
}

int bus_open(struct bus *b, const char *addresses, struct err *e)
{
	const struct dbus_msg hello = {
		.path = "/org/freedesktop/DBus",
		.interface = "org.freedesktop.DBus",
		.destination = "org.freedesktop.DBus",
		.member = "Hello",
	};
	struct dbus_msg reply;
	int r = -EINVAL;

	*b = (struct bus){ .fd = -1, .in = BUF_INIT(2 * DBUS_MESSAGE_MAX) };
	for (const char *at = addresses; *at && b->fd < 0; at += *at == ';') {
		size_t n = strcspn(at, ";");

		r = connect_one(at, n);
		b->fd = r < 0 ? -1 : r;
		at += n;
	}
	if (b->fd < 0)
		return err_sys(e, r, "D-Bus: connect to '%s'", addresses);
	r = authenticate(b, e);
	if (!r)
		r = bus_call(b, &hello, NULL, &reply, NULL, e);
	if (r)
		bus_close(b);
	return r;
}

void bus_close(struct bus *b)
{
	close_fd(&b->fd);
	buf_fini(&b->in);
}

/* The next message, whatever it is. */
static int next(struct bus *b, struct dbus_msg *m, uint64_t deadline, struct err *e)
{
	buf_consume(&b->in, b->used);
	b->used = 0;
	for (;;) {
		int r = dbus_parse(b->in.data ? b->in.data : "", b->in.len, m, &b->used);

		if (r)
			return r < 0 ? err_sys(e, r, "D-Bus: malformed message") : 0;
		char *room = buf_reserve(&b->in, 4096);

		if (!room)
			return err_sys(e, b->in.error, "D-Bus: receive");
		ssize_t n = sock_read_until(b->fd, room, 4096, deadline);

		if (n <= 0)
			return err_sys(e, n ? (int)n : -ECONNRESET, "D-Bus: receive");
		buf_commit(&b->in, (size_t)n);
	}
}

static int peer_error(const struct dbus_msg *m, char *error_name, struct err *e)
{
	struct dbus_reader r = { .p = m->body, .n = m->body_n };
	const char *text = "";

	if (m->signature && *m->signature == 's')
		dbus_get_string(&r, &text);
	if (error_name)
		snprintf(error_name, 64, "%s", m->error_name ? m->error_name : "");
	return err_set(e, -EREMOTEIO, "%s: %s", m->error_name ? m->error_name : "error", text);
}

int bus_call(struct bus *b, const struct dbus_msg *call, const struct buf *body,
	     struct dbus_msg *reply, char *error_name, struct err *e)
{
	cleanup_with(buf_fini) struct buf out = BUF_INIT(DBUS_MESSAGE_MAX);
	uint64_t deadline = now_ns() + CALL_SECONDS * 1000000000ULL;
	struct dbus_msg m = *call;

	if (error_name)
		*error_name = '\0';
	m.type = DBUS_CALL;
	m.serial = ++b->serial;
	m.body = body ? (const unsigned char *)body->data : NULL;
	m.body_n = body ? body->len : 0;
	int r = body && body->error ? body->error : dbus_print(&m, &out);

	r = r ? err_sys(e, r, "D-Bus") : say(b, out.data, out.len, e);
	while (!r) {
		r = next(b, reply, deadline, e);
		if (!r && reply->type == DBUS_SIGNAL && b->on_signal)
			b->on_signal(b, reply);
		if (!r && reply->reply_serial == m.serial && reply->type == DBUS_RETURN)
			return 0;
		if (!r && reply->reply_serial == m.serial && reply->type == DBUS_ERROR)
			r = peer_error(reply, error_name, e);
	}
	err_wrap(e, "%s.%s", call->interface, call->member);
	return r;
}

int bus_wait(struct bus *b, const int *done, uint64_t deadline, struct err *e)
{
	int r = 0;

	while (!r && !*done) {
		struct dbus_msg m;

		r = next(b, &m, deadline, e);
		if (!r && m.type == DBUS_SIGNAL && b->on_signal)
			b->on_signal(b, &m);
	}
	return r;
}
