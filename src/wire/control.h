/* The keeper's control protocol: one packet of a SOCK_SEQPACKET socket is one message.
 *
 * A message is a 16-byte head (little endian: type, flags, two arguments, length of the body) and a body.
 * The first message each way is HELLO with CONTROL_VERSION; a keeper answers another version with an
 * ERROR that names both. docs/FORMATS.md, "control socket". */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	CONTROL_VERSION = 1,
	CONTROL_HEAD = 16,
	CONTROL_BODY_MAX = 32768,
	CONTROL_PACKET_MAX = CONTROL_HEAD + CONTROL_BODY_MAX,
	CONTROL_MAGIC = 0x6b726157, /* "Wark" */
};

enum control_type {
	CONTROL_HELLO = 1, /* a: CONTROL_MAGIC, b: CONTROL_VERSION */
	/* from a client */
	CONTROL_START,	/* begin to run; the creator sends it once; body: struct control_start */
	CONTROL_ATTACH, /* flags: CONTROL_STREAM_* wanted */
	CONTROL_STDIN,	/* body: bytes; an empty body is the end of input */
	CONTROL_RESIZE, /* a: rows, b: columns */
	CONTROL_SIGNAL, /* a: signal number, b: 1 when the end that it may bring is wished for, so that
			 * the restart policy does not apply; answered by OK or ERROR */
	CONTROL_STOP,	/* a: signal number, b: milliseconds until SIGKILL (CONTROL_FOREVER: never);
			 * no restart; answered by OK at once */
	CONTROL_WAIT,	/* a: enum control_wait; answered by EXIT */
	CONTROL_POLICY, /* a: enum control_policy, b: most retries, 0 for no limit; answered by OK */
	/* from the keeper */
	CONTROL_OK = 64, /* the request was done */
	CONTROL_ERROR,	 /* a: -errno, b: exit status to use or 0; body: the text */
	CONTROL_STARTED, /* a: pid of the first process */
	CONTROL_STDOUT,	 /* body: bytes */
	CONTROL_STDERR,	 /* body: bytes */
	CONTROL_EXIT,	 /* a: exit status, flags: CONTROL_EXIT_* */
};

enum {
	CONTROL_STREAM_STDIN = 1,
	CONTROL_STREAM_STDOUT = 2,
	CONTROL_STREAM_STDERR = 4,
	CONTROL_EXIT_TIMEOUT = 1,  /* --timeout ended it */
	CONTROL_EXIT_RESTARTS = 2, /* the restart policy will start it again */
};

#define CONTROL_FOREVER UINT32_MAX

enum control_wait {
	CONTROL_WAIT_END,  /* it has ended and the restart policy does not start it again */
	CONTROL_WAIT_EXIT, /* its next exit, whatever follows */
};

enum control_policy {
	CONTROL_POLICY_NO,
	CONTROL_POLICY_ON_FAILURE,
	CONTROL_POLICY_ALWAYS,
	CONTROL_POLICY_UNLESS_STOPPED,
};

enum {
	CONTROL_START_TTY = 1,
	CONTROL_START_STDIN = 2,
	CONTROL_START_STDIN_ONCE = 4, /* input ends when the one who sends it leaves */
	CONTROL_START_REMOVE = 8,     /* --rm */
	CONTROL_START_MAX = 4096 + 48,
};

/* All that a keeper needs to know; it reads no configuration itself. */
struct control_start {
	uint32_t flags;
	enum control_policy policy;
	uint32_t retries;      /* of CONTROL_POLICY_ON_FAILURE, 0: no limit */
	uint32_t log_max_file; /* at least 1 */
	uint64_t log_max_size; /* bytes, 0: no limit */
	uint64_t timeout_ms;   /* 0: none */
	const char *log;       /* path, "": nothing is logged */
};

struct control_msg {
	enum control_type type;
	uint16_t flags;
	uint32_t a, b;
	const void *body; /* into the packet */
	size_t n;
};

/* Writes the head of `m`; the body follows it in the packet. */
void control_head(const struct control_msg *m, uint8_t head[static CONTROL_HEAD]);

/* Judges a packet that came in. `to_keeper`: it is a client's, else the keeper's. 0, or -EPROTO with the
 * member named. */
int control_parse(const void *packet, size_t n, int to_keeper, struct control_msg *m,
		  struct err *e);

/* Bytes written to `out`, or 0 when the path is too long. */
size_t control_start_pack(const struct control_start *s, uint8_t out[static CONTROL_START_MAX]);
/* `s->log` points into the body. 0, or -EPROTO with the member named. */
int control_start_parse(const void *body, size_t n, struct control_start *s, struct err *e);
