/*
 * A repository of a registry. Each request is a warren-fetch process, which has the secrets on its standard input and
 * gives its answer as lines; a body goes to whatever descriptor the caller has for it, a file or a layer's helper. A
 * token that one request got serves the next ones.
 *
 * Trust: the helper's lines repeat what the network said: they are bounded and only compared or shown. Threads: one.
 * #syscalls: memfd_create pipe2 write read fcntl
 */
#include "image/store/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/spawn.h"

#define REQUEST_MAX (256u << 10)

static void line(struct buf *b, const char *key, const char *value)
{
	/* A line break in a value would make a line of its own. */
	if (value && *value && !strpbrk(value, "\r\n"))
		buf_addf(b, "%s %s\n", key, value);
}

static void number(struct buf *b, const char *key, uint64_t v)
{
	buf_addf(b, "%s %llu\n", key, (unsigned long long)v);
}

/* A memfd with a text, -1 for none. */
static int text_fd(const struct buf *text)
{
	int fd = text->len ? memfd_create("certificate", MFD_CLOEXEC) : -1;

	if (fd >= 0 && (write_full(fd, text->data, text->len) || lseek(fd, 0, SEEK_SET) < 0))
		close_fd(&fd);
	return fd;
}

static void inherit(int fd, bool yes)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, yes ? 0 : FD_CLOEXEC);
}

enum { CERT_TEXTS = 3 };

static void write_request(const struct remote *r, const struct remote_request *q,
			  const int certs[CERT_TEXTS], struct buf *b)
{
	static const char *const cert_words[CERT_TEXTS] = { "authorities", "cert", "key" };
	char scope[400];
	const char *base = str_after(q->url, "http") && strstr(q->url, "://") ? "" : r->base;

	buf_addf(b, "url %s%s\n", base, q->url);
	line(b, "method", q->method ? q->method : "GET");
	line(b, "accept", q->accept);
	line(b, "type", q->type);
	line(b, "user", r->creds.user);
	line(b, "password", r->creds.password);
	line(b, "identity", r->creds.identity);
	line(b, "bearer", r->bearer);
	if (*r->ref.repository) {
		snprintf(scope, sizeof(scope), "repository:%s:%s", r->ref.repository,
			 r->push ? "pull,push" : "pull");
		line(b, "scope", scope);
	}
	if (r->insecure)
		number(b, "insecure", 1);
	if (q->max)
		number(b, "max", q->max);
	if (q->size)
		number(b, "size", q->size);
	if (q->body >= 0)
		number(b, "body", (uint64_t)q->body);
	if (q->source >= 0) {
		number(b, "source", (uint64_t)q->source);
		number(b, "upload", q->upload);
	}
	if (q->counter > 0)
		number(b, "counter", (uint64_t)q->counter);
	for (int i = 0; i < CERT_TEXTS; i++)
		if (certs[i] >= 0)
			number(b, cert_words[i], (uint64_t)certs[i]);
}

int remote_start(struct remote *r, const struct remote_request *q, struct remote_job *job,
		 struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(REQUEST_MAX);
	cleanup_fd int in = memfd_create("request", MFD_CLOEXEC);
	const char *argv[] = { "warren-fetch", NULL };
	char path[PATH_MAX];
	int p[2];

	*job = (struct remote_job){ -1, -1, -1 };
	int err = paths_helper("warren-fetch", path, sizeof(path), e);

	if (err)
		return err;
	cleanup_fd int authorities = text_fd(&r->certs.authorities);
	cleanup_fd int cert = text_fd(&r->certs.cert);
	cleanup_fd int key = text_fd(&r->certs.key);
	const int handed[] = { authorities, cert,      key,
			       q->body,	    q->source, q->counter > 0 ? q->counter : -1 };

	write_request(r, q, handed, &b);
	if (b.error || in < 0 || write_full(in, b.data, b.len) || lseek(in, 0, SEEK_SET) < 0 ||
	    pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, b.error ? b.error : -errno, "start warren-fetch");
	for (size_t i = 0; i < ARRAY_SIZE(handed); i++)
		inherit(handed[i], true);
	err = spawn_with_stderr(&job->pid, path, argv, (const int[3]){ in, p[1], -1 },
				&job->complaint, e);
	for (size_t i = 0; i < ARRAY_SIZE(handed); i++)
		inherit(handed[i], false);
	close(p[1]);
	job->out = p[0];
	if (err)
		close_fd(&job->out);
	return err;
}

static void read_line(struct remote *r, const char *s, struct remote_answer *a)
{
	const char *v;
	uint64_t n;

	if ((v = str_after(s, "status ")) && !str_to_u64(v, &n))
		a->status = (int)(n & 0xfff);
	else if ((v = str_after(s, "location ")))
		snprintf(a->location, sizeof(a->location), "%s", v);
	else if ((v = str_after(s, "digest ")))
		snprintf(a->digest, sizeof(a->digest), "%s", v);
	else if ((v = str_after(s, "type ")))
		snprintf(a->type, sizeof(a->type), "%s", v);
	else if ((v = str_after(s, "message ")))
		snprintf(a->message, sizeof(a->message), "%s", v);
	else if ((v = str_after(s, "bytes ")) && !str_to_u64(v, &n))
		a->bytes = n;
	else if ((v = str_after(s, "bearer "))) {
		free(r->bearer);
		r->bearer = strdup(v);
	}
}

int remote_finish(struct remote *r, struct remote_job *job, struct remote_answer *a, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(REQUEST_MAX);
	int bad = read_all(job->out, &b);

	close_fd(&job->out);
	*a = (struct remote_answer){ .status = 0 };
	int err = spawn_finish(job->pid, job->complaint, r->base, e);

	if (err)
		return err;
	for (char *save = NULL, *s = b.data ? strtok_r(b.data, "\n", &save) : NULL; s;
	     s = strtok_r(NULL, "\n", &save))
		read_line(r, s, a);
	if (bad || !a->status)
		return err_set(e, -EPROTO, "%s: warren-fetch gave no answer", r->base);
	return 0;
}

int remote_ask(struct remote *r, const struct remote_request *q, struct remote_answer *a,
	       struct err *e)
{
	struct remote_job job;
	int err = remote_start(r, q, &job, e);

	return err ? err : remote_finish(r, &job, a, e);
}

int remote_counter(void)
{
	static const uint64_t none;
	int fd = memfd_create("counter", MFD_CLOEXEC);

	if (fd >= 0 && pwrite(fd, &none, sizeof(none), 0) != sizeof(none))
		close_fd(&fd);
	return fd;
}

uint64_t remote_counted(int counter)
{
	uint64_t n = 0;

	return pread(counter, &n, sizeof(n), 0) == sizeof(n) ? n : 0;
}

int remote_ask_shown(struct remote *r, const struct remote_request *q, const char *digest,
		     uint64_t total, const char *state, struct remote_answer *a, struct err *e)
{
	cleanup_fd int counter = r->s->progress ? remote_counter() : -1;
	struct remote_request with = *q;
	struct remote_job job;

	with.counter = MAX(counter, 0);
	int err = remote_start(r, &with, &job, e);

	if (err)
		return err;
	for (struct pollfd p = { .fd = job.out, .events = POLLIN };
	     counter >= 0 && poll(&p, 1, 100) == 0;)
		store_progress(r->s, digest, state, remote_counted(counter), total);
	return remote_finish(r, &job, a, e);
}

int remote_get(struct remote *r, const struct remote_request *q, struct remote_answer *a,
	       struct buf *out, struct err *e)
{
	cleanup_fd int body = memfd_create("body", MFD_CLOEXEC);
	struct remote_request with = *q;

	if (body < 0)
		return err_sys(e, -errno, "%s: memory for the answer", r->base);
	with.body = body;
	int err = remote_ask(r, &with, a, e);

	if (err)
		return err;
	if (lseek(body, 0, SEEK_SET) < 0)
		return -errno;
	err = read_all(body, out);
	return err ? err_sys(e, err, "%s: the answer", r->base) : 0;
}

int remote_refusal(const struct remote *r, const struct remote_answer *a, const char *what,
		   struct err *e)
{
	const char *m = a->message, *sep = *m ? ": " : "";

	if (a->status == 404)
		return err_set(e, -ENOENT, "%s: %s: not found%s%s", r->ref.registry, what, sep, m);
	if (a->status == 401 || a->status == 403)
		return err_set(e, -EACCES,
			       "%s: %s: access denied%s%s. Fix: warren login %s, if it is private",
			       r->ref.registry, what, sep, m, r->ref.registry);
	if (a->status == 429)
		return err_set(e, -EBUSY, "%s: %s: too many requests%s%s", r->ref.registry, what,
			       sep, m);
	return err_set(e, -EPROTO, "%s: %s: HTTP status %d%s%s", r->ref.registry, what, a->status,
		       sep, m);
}

static bool on_loopback(const char *registry)
{
	return streq(registry, "localhost") || str_after(registry, "localhost:") ||
	       str_after(registry, "127.") || str_after(registry, "[::1]");
}

/* A registry on loopback, or one that --tls-verify=false was given for, may speak plain HTTP. */
static int find_scheme(struct remote *r, const char *host, struct err *e)
{
	const struct remote_request ping = { .url = "/v2/", .body = -1, .source = -1 };
	struct remote_answer a;
	struct err first = ERR_INIT;

	snprintf(r->base, sizeof(r->base), "https://%s", host);
	if (!r->insecure)
		return 0;
	if (remote_ask(r, &ping, &a, &first) == 0)
		return 0;
	snprintf(r->base, sizeof(r->base), "http://%s", host);
	return remote_ask(r, &ping, &a, e);
}

enum remote_tls remote_tls_for(enum remote_tls tls, bool insecure)
{
	return tls == REMOTE_TLS_AUTO && insecure ? REMOTE_TLS_OPTIONAL : tls;
}

int remote_open(struct remote *r, struct store *s, const struct reference *ref, const char *creds,
		enum remote_tls tls, bool push, struct err *e)
{
	*r = (struct remote){ .s = s, .ref = *ref, .push = push };
	r->insecure = tls == REMOTE_TLS_OPTIONAL ||
		      (tls == REMOTE_TLS_AUTO && on_loopback(ref->registry));
	int bad = registry_certs_load(ref->registry, &r->certs, e);

	if (bad)
		return bad;
	if (creds) {
		size_t n = strcspn(creds, ":");

		if (!n || !creds[n] || n >= sizeof(r->creds.user) ||
		    strlen(creds + n + 1) >= sizeof(r->creds.password))
			return err_set(e, -EINVAL, "credentials: expected USER:PASSWORD");
		snprintf(r->creds.user, sizeof(r->creds.user), "%.*s", (int)n, creds);
		snprintf(r->creds.password, sizeof(r->creds.password), "%s", creds + n + 1);
	} else {
		int err = auth_find(ref->registry, &r->creds, e);

		if (err)
			return err;
	}
	return find_scheme(
		r, streq(ref->registry, "docker.io") ? "registry-1.docker.io" : ref->registry, e);
}

void remote_close(struct remote *r)
{
	free(r->bearer);
	registry_certs_fini(&r->certs);
	explicit_bzero(&r->creds, sizeof(r->creds));
	*r = (struct remote){ .s = NULL };
}
