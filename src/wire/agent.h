/* The control protocol between Warren and `warren-agent`, PID 1 of a guest (docs/FORMATS.md). Pure.
 *
 * A byte pipe carries frames: a header of 12 bytes, then `length` bytes of payload, all little-endian.
 *
 *	u32 length	at most AGENT_PAYLOAD_MAX
 *	u16 type	enum agent_type
 *	u16 flags	DATA, WINDOW, CLOSE: the descriptor 0, 1 or 2; requests: AGENT_MORE
 *	u32 stream	0: the connection itself
 *
 * Each side begins with HELLO. After it the host opens a stream with each request, by a number that is
 * not in use; the agent answers on that stream with OK, REPLY or ERROR, and ends it with EXIT where a
 * process or a copy runs in it (else the answer ends it). A request longer than one frame comes in
 * frames of one type that all but the last have AGENT_MORE.
 *
 * DATA flows per stream and descriptor under a window: a sender has AGENT_WINDOW_SIZE bytes of credit
 * and gets back what the receiver handed on by WINDOW frames, so one slow reader stops nobody else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define AGENT_MAGIC	   0x4e525257u /* "WRRN" */
#define AGENT_VERSION	   1u
#define AGENT_HEADER	   12u
#define AGENT_PAYLOAD_MAX  32768u
#define AGENT_WINDOW_SIZE  65536u
#define AGENT_REQUEST_MAX  (4u << 20) /* all frames of one request */
#define AGENT_MORE	   0x8000u
#define AGENT_GET_FOLLOW   1u /* GET: a link that is named is followed */
#define AGENT_EXIT_OOM	   1u /* the OOM killer struck in the container */
#define AGENT_SIGNAL_ALL   1u /* SIGNAL: every process of the container */
#define AGENT_CREATE_INIT  1u /* CREATE: a reaper of ours is PID 1 of the container */
#define AGENT_STREAM_LIMIT 1024u

enum agent_type {
	AGENT_HELLO = 1, /* both, stream 0: struct agent_hello */
	AGENT_CREATE,	 /* u32 flags, config.json: prepares the container; OK, later EXIT */
	AGENT_START,	 /* of the stream that CREATE opened; OK there */
	AGENT_EXEC,	 /* a JSON `process` object; OK with the pid, later EXIT */
	AGENT_SIGNAL,	 /* of a stream with a process: u32 signal, u32 flags; no answer */
	AGENT_RESIZE,	 /* of a stream with a terminal: u16 rows, u16 columns; no answer */
	AGENT_DATA,	 /* both */
	AGENT_WINDOW,	 /* both: u32 bytes */
	AGENT_CLOSE,	 /* both: no more DATA for this descriptor */
	AGENT_OK,	 /* u32 value */
	AGENT_REPLY,	 /* text, perhaps with AGENT_MORE */
	AGENT_ERROR,	 /* i32 negative errno, text */
	AGENT_EXIT,   /* i32 as waitpid() gives it, flags perhaps AGENT_EXIT_OOM; ends the stream */
	AGENT_STATS,  /* REPLY: `data` of an `events --stats` object */
	AGENT_PIDS,   /* REPLY: JSON array */
	AGENT_UPDATE, /* a JSON `resources` object; OK */
	AGENT_PAUSE,  /* the container's cgroup; OK */
	AGENT_RESUME, /* OK */
	AGENT_FREEZE, /* file systems; OK */
	AGENT_THAW,   /* OK */
	AGENT_TIME,   /* u64 ns since 1970; OK */
	AGENT_ENTROPY,	/* bytes; OK */
	AGENT_SHUTDOWN, /* u32: 0 power off, 1 reboot; OK, then the guest goes down */
	AGENT_PUT,	/* directory; DATA 0 is a tar stream; OK, then EXIT 0 or ERROR */
	AGENT_GET,	/* path; OK, DATA 1 is a tar stream, EXIT 0 or ERROR */
	AGENT_LOG,	/* to the host, stream 0: a line */
	AGENT_USER,	/* "USER[:GROUP]" by name or number; REPLY "UID GID", then further groups */
	AGENT_TOP,	/* REPLY: JSON array, a row of `top` for each process */
	AGENT_DIFF,	/* REPLY: "C/path\0" for each change: C, A or D */
	AGENT_TYPES,
};

struct agent_frame {
	enum agent_type type;
	uint16_t flags;
	uint32_t stream;
	const uint8_t *payload; /* points into the buffer that was parsed */
	uint32_t length;
};

/* The next frame at the start of `p`. Bytes that it takes (header included), 0 when more input is
 * needed, -EBADMSG with `e` set. Checks what each type must carry, so that the getters below may be
 * called without further looks. */
int agent_frame_parse(const uint8_t *p, size_t n, struct agent_frame *out, struct err *e);

/* Descriptor of DATA, WINDOW and CLOSE. */
static inline unsigned agent_fd(const struct agent_frame *f)
{
	return f->flags;
}

uint32_t agent_u32(const struct agent_frame *f, unsigned index);
uint16_t agent_u16(const struct agent_frame *f, unsigned index);
uint64_t agent_u64(const struct agent_frame *f);
/* AGENT_ERROR's code and text; the text is made printable. */
void agent_error(const struct agent_frame *f, struct err *e);
/* 0, or -EPROTO with `e` set when the peer is not one of ours. */
int agent_hello_check(const struct agent_frame *f, struct err *e);

/* Appends a frame. 0 or the buffer's error. */
int agent_put(struct buf *out, enum agent_type type, uint16_t flags, uint32_t stream, const void *p,
	      size_t n);
int agent_put_u32(struct buf *out, enum agent_type type, uint16_t flags, uint32_t stream,
		  uint32_t v);
int agent_put_hello(struct buf *out);
int agent_put_signal(struct buf *out, uint32_t stream, int sig, uint32_t flags);
int agent_put_resize(struct buf *out, uint32_t stream, uint16_t rows, uint16_t columns);
int agent_put_error(struct buf *out, uint32_t stream, const struct err *e);
/* A request or reply of any size, in as many frames as it takes. */
int agent_put_long(struct buf *out, enum agent_type type, uint32_t stream, const void *p, size_t n);

/* One direction of one descriptor. */
struct agent_flow {
	uint32_t credit; /* sender: bytes that may still go out */
	uint32_t owed;	 /* receiver: bytes handed on and not yet granted back */
	uint32_t held;	 /* receiver: bytes that came in and are not handed on */
	bool closed;
};

static inline void agent_flow_init(struct agent_flow *f)
{
	*f = (struct agent_flow){ .credit = AGENT_WINDOW_SIZE };
}

/* Sender: a WINDOW frame came. -EBADMSG when it grants more than the window. */
int agent_flow_grant(struct agent_flow *f, uint32_t bytes);
/* Receiver: DATA came. -EBADMSG when it is more than was granted, or after CLOSE. */
int agent_flow_receive(struct agent_flow *f, uint32_t bytes);
/* Receiver: bytes were handed on; appends a WINDOW frame when enough are owed. 0 or the buffer's error. */
int agent_flow_consume(struct agent_flow *f, uint32_t bytes, struct buf *out, uint32_t stream,
		       unsigned fd);
