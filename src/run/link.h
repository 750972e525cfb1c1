/* A client's connection to a keeper. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "run/registry.h"
#include "wire/control.h"

struct link_packet {
	uint8_t bytes[CONTROL_PACKET_MAX];
};

/* Connects to the instance's keeper and greets it. The socket; -ECONNREFUSED (and `e` set) when nobody
 * keeps the instance; other -errno. */
int link_open(const struct subject *s, struct err *e);
/* Greets over a socket that is connected already. 0 or -errno. */
int link_greet(int sock, struct err *e);

/* 0 or -errno; -EAGAIN with MSG_DONTWAIT in `flags`. */
int link_send(int sock, const struct control_msg *m, int flags);
/* The next message; its body lies in `p`. 0; -EAGAIN with MSG_DONTWAIT; -ECONNRESET when the keeper is gone;
 * -EPROTO. */
int link_recv(int sock, struct link_packet *p, struct control_msg *m, int flags, struct err *e);

/* The creator's START for this instance. 0 or -errno. */
int link_start(int sock, const struct subject *s, struct err *e);

/* Sends a request and waits for its OK or ERROR; other messages are skipped. 0 or -errno. */
int link_request(int sock, const struct control_msg *m, struct err *e);

/* Opens, requests, closes. 0 or -errno. */
int link_once(const struct subject *s, const struct control_msg *m, struct err *e);
