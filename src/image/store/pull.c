/*
 * Pulling: manifest by name, then everything by digest. Small documents are fetched here; layers by processes
 * of their own, up to three at once, each a pipe from warren-fetch into warren-unpack, so that the network,
 * the decompressor and the disk work at the same time and no packed layer waits on disk.
 *
 * Trust: the registry is hostile: every document and layer is checked against the digest and size that led to it;
 * only the first manifest of a tag is taken at its word (and at its Docker-Content-Digest). Threads: one.
 * #syscalls: pipe2 fork wait4 memfd_create
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "image/store/layout.h"
#include "image/store/remote.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/spawn.h"

#define DOCUMENT_MAX (4u << 20)
#define AT_ONCE	     3
#define ACCEPT                                                                                  \
	"application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " \
	"application/vnd.docker.distribution.manifest.list.v2+json, "                           \
	"application/vnd.docker.distribution.manifest.v2+json"

struct pulling {
	struct layout l;
	struct remote r;
	struct buf top;		  /* the manifest that the name led to */
	char digest[DIGEST_SIZE]; /* its digest */
};

static struct pulling *of(struct layout *l)
{
	return container_of(l, struct pulling, l);
}

static int fetch_document(struct layout *l, const struct image_descriptor *d, struct buf *out)
{
	struct pulling *p = of(l);
	struct remote_answer a;
	char url[512];
	bool manifest = strstr(d->media_type, "manifest") || strstr(d->media_type, "index");

	if (streq(d->digest, p->digest))
		return buf_add(out, buf_str(&p->top), p->top.len);
	if (d->size > DOCUMENT_MAX)
		return err_set(l->e, -EFBIG, "%s: %s: %llu bytes, at most %u are read", l->source,
			       d->digest, (unsigned long long)d->size, DOCUMENT_MAX);
	snprintf(url, sizeof(url), "/v2/%s/%s/%s", p->r.ref.repository,
		 manifest ? "manifests" : "blobs", d->digest);
	const struct remote_request q = {
		.url = url, .accept = manifest ? ACCEPT : NULL, .source = -1, .max = d->size
	};
	int r = remote_get(&p->r, &q, &a, out, l->e);

	if (r)
		return err_wrap(l->e, "%s: %s", l->source, d->digest);
	if (a.status != 200)
		return remote_refusal(&p->r, &a, d->digest, l->e);
	return layout_check(l, d, out, d->digest);
}

/* The secrets and the place, for a layer's process; read back by image_pull_layer(). */
static int write_secrets(const struct remote *r)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(128u << 10);
	int fd = memfd_create("layer", MFD_CLOEXEC);

	buf_addf(&b, "%s\n%s\n%s\n%d\n%s\n%s\n%s\n%s\n", r->base, r->ref.registry,
		 r->ref.repository, r->insecure, r->creds.user, r->creds.password,
		 r->creds.identity, r->bearer ? r->bearer : "");
	if (fd >= 0 && (b.error || write_full(fd, b.data, b.len) || lseek(fd, 0, SEEK_SET) < 0))
		close_fd(&fd);
	return fd;
}

static int start_layer(struct layout *l, const struct image_descriptor *d, const char *diff_id,
		       int counter, pid_t *pid)
{
	cleanup_fd int secrets = write_secrets(&of(l)->r);
	char self[PATH_MAX], digest[96], size[40], diff[96], name[600], count[32];
	const char *argv[] = { "warren-store",
			       l->s->path,
			       l->s->rootless ? "user" : "root",
			       "layer",
			       digest,
			       size,
			       diff,
			       name,
			       NULL,
			       NULL };
	int r = paths_helper("warren-store", self, sizeof(self), l->e);

	if (r)
		return r;
	if (secrets < 0)
		return err_sys(l->e, -errno, "%s", l->source);
	snprintf(digest, sizeof(digest), "digest=%s", d->digest);
	snprintf(size, sizeof(size), "size=%llu", (unsigned long long)d->size);
	snprintf(diff, sizeof(diff), "diff_id=%s", diff_id);
	snprintf(name, sizeof(name), "name=%s", l->source);
	if (counter >= 0) {
		snprintf(count, sizeof(count), "counter=%d", counter);
		argv[8] = count;
		fcntl(counter, F_SETFD, 0);
	}
	/* Its answers go where ours go. */
	r = spawn_program(pid, self, argv, (const int[3]){ secrets, 1, 2 }, l->e);
	if (counter >= 0)
		fcntl(counter, F_SETFD, FD_CLOEXEC);
	return r;
}

struct under_way {
	pid_t pid;   /* 0: none */
	int counter; /* -1: none */
};

static void show(struct layout *l, const struct image_manifest *m, const struct under_way *v)
{
	for (size_t i = 0; i < m->layers_n; i++)
		if (v[i].pid && v[i].counter >= 0)
			store_progress(l->s, m->layers[i].digest, "Pulling",
				       remote_counted(v[i].counter), m->layers[i].size);
}

/* 0 when a child ended well; 1: it has said what was wrong; -errno. */
static int reap(struct layout *l, const struct image_manifest *m, struct under_way *v,
		size_t *running)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, l->s->progress ? WNOHANG : 0)) <= 0) {
		if (pid < 0 && errno != EINTR)
			return err_sys(l->e, -errno, "wait for a layer");
		show(l, m, v);
		if (pid == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
	for (size_t i = 0; i < m->layers_n; i++) {
		if (v[i].pid != pid)
			continue;
		v[i].pid = 0;
		close_fd(&v[i].counter);
		(*running)--;
		if (WIFEXITED(status)) {
			bool good = !WEXITSTATUS(status);

			store_progress(l->s, m->layers[i].digest, good ? "Pulled" : "Failed",
				       good ? m->layers[i].size : 0, m->layers[i].size);
			return !good;
		}
		return err_set(l->e, -EPROTO, "%s: layer %zu: warren-store was killed by signal %d",
			       l->source, i, WTERMSIG(status));
	}
	return 0;
}

/* Looks the layer up, or begins to bring it. */
static int begin_layer(struct layout *l, const struct image_manifest *m, const char *diff_id,
		       size_t i, struct layer *out, struct under_way *v, size_t *running)
{
	const struct image_descriptor *d = &m->layers[i];
	int r = layer_find(l->s, diff_id, d->digest, out, l->e);

	if (r < 0)
		return r;
	if (r) {
		store_progress(l->s, d->digest, "Exists", d->size, d->size);
		return 0;
	}
	if (!l->s->progress)
		store_status(l->s, "layer %zu of %zu: pulling %.19s, %.1f MB", i + 1, m->layers_n,
			     d->digest, (double)d->size / 1e6);
	v->counter = l->s->progress ? remote_counter() : -1;
	r = start_layer(l, d, diff_id, v->counter, &v->pid);
	if (r)
		close_fd(&v->counter);
	*running += !r;
	return r;
}

static int fetch_layers(struct layout *l, const struct image_manifest *m,
			const struct image_config *c, struct layer *out)
{
	struct under_way *v = arena_calloc(&l->arena, m->layers_n, sizeof(*v));
	size_t running = 0, i = 0;
	int r = v ? 0 : -ENOMEM;

	for (size_t k = 0; v && k < m->layers_n; k++)
		v[k].counter = -1;
	while (!r && (i < m->layers_n || running)) {
		if (i == m->layers_n || running == AT_ONCE) {
			r = reap(l, m, v, &running);
			continue;
		}
		r = begin_layer(l, m, c->diff_ids.v[i], i, &out[i], &v[i], &running);
		i++;
	}
	while (running) {
		struct err more = ERR_INIT, *keep = l->e;

		l->e = &more;
		reap(l, m, v, &running);
		l->e = keep;
	}
	if (r > 0)
		/* The layer's process has told the caller; nothing is to be added. */
		return -ECANCELED;
	for (i = 0; !r && i < m->layers_n; i++) {
		r = layer_find(l->s, c->diff_ids.v[i], m->layers[i].digest, &out[i], l->e);
		if (r == 0)
			return err_set(l->e, -EIO, "%s: layer %zu vanished", l->source, i);
		r = r < 0 ? r : 0;
	}
	return r;
}

static const struct layout_ops registry_ops = { fetch_document, fetch_layers };

/* The manifest or index that the name leads to. */
static int fetch_top(struct pulling *p, struct image_descriptor *d, struct err *e)
{
	struct remote *r = &p->r;
	struct remote_answer a;
	char url[700], what[700];

	snprintf(what, sizeof(what), "%s%s%s", r->ref.repository, *r->ref.digest ? "@" : ":",
		 *r->ref.digest ? r->ref.digest : r->ref.tag);
	snprintf(url, sizeof(url), "/v2/%s/manifests/%s", r->ref.repository,
		 *r->ref.digest ? r->ref.digest : r->ref.tag);
	const struct remote_request q = {
		.url = url, .accept = ACCEPT, .source = -1, .max = DOCUMENT_MAX
	};
	int err = remote_get(r, &q, &a, &p->top, e);

	if (err)
		return err;
	if (a.status != 200)
		return remote_refusal(r, &a, what, e);
	digest_of(buf_str(&p->top), p->top.len, p->digest);
	const char *want = *r->ref.digest	    ? r->ref.digest
			   : digest_valid(a.digest) ? a.digest
						    : NULL;

	if (want && !streq(want, p->digest))
		return err_set(e, -EBADMSG, "%s: %s: the manifest's digest is %s, not %s",
			       r->ref.registry, what, p->digest, want);
	/* What the document is, it says itself, or the header does. */
	struct image_manifest m;

	err = image_manifest_parse(buf_str(&p->top), p->top.len, what, &p->l.arena, &m, e);
	*d = (struct image_descriptor){ .digest = p->digest, .size = p->top.len };
	d->media_type = m.is_index ? "application/vnd.oci.image.index.v1+json"
				   : "application/vnd.oci.image.manifest.v1+json";
	return err;
}

static void say_id(struct store *s, const char *id)
{
	char text[128];

	snprintf(text, sizeof(text), "{\"pulled\":\"%.80s\"}", id);
	s->say(s->say_arg, text);
}

/* One place that may have it: a mirror or the registry itself. */
static int pull_from(struct store *s, const struct pull_request *want, const char *whole,
		     const struct reference *place, enum remote_tls tls, struct err *e)
{
	struct pulling p = { .top = BUF_INIT(DOCUMENT_MAX) };
	struct image_descriptor d;
	const char *names[] = { whole };

	p.l = (struct layout){ .ops = &registry_ops,
			       .s = s,
			       .r = &want->platform,
			       .dir = -1,
			       .source = whole,
			       .arena = ARENA_INIT(64u << 20),
			       .e = e };
	int r = remote_open(&p.r, s, place, want->creds, tls, false, e);

	if (!r)
		r = fetch_top(&p, &d, e);
	if (!r)
		r = layout_bring(&p.l, &d, names, 1);
	remote_close(&p.r);
	buf_fini(&p.top);
	arena_fini(&p.l.arena);
	return r;
}

/* The places of one whole name, in registries.conf's order. A layer's process that failed has spoken for itself. */
static int pull_name(struct store *s, const struct pull_request *want, const struct registries *c,
		     const char *name, struct err *e)
{
	struct reference ref, place;
	struct err why = ERR_INIT;
	char whole[1024], id[DIGEST_SIZE], known[1024];
	bool insecure;
	int r = reference_parse(name, &ref, e), failed = 0;

	if (r)
		return r;
	if (reference_format(&ref, whole, sizeof(whole)))
		return err_set(e, -EINVAL, "image name '%.40s...' is too long", name);
	const struct registries_rule *rule = registries_find(c, &ref);

	if (rule && rule->blocked)
		return err_set(e, -EACCES, "registry '%s' is blocked by registries.conf",
			       rule->prefix);
	for (size_t i = 0;; i++) {
		r = registries_place(rule, &ref, i, &place, &insecure, e);
		if (r <= 0)
			break;
		if (failed && why.code)
			store_status(s, "%s", why.msg);
		err_clear(&why);
		failed = pull_from(s, want, whole, &place, remote_tls_for(want->tls, insecure),
				   &why);
		if (!failed)
			break;
	}
	if (r >= 0 && failed) {
		*e = why;
		return failed;
	}
	if (r > 0)
		r = image_find(s, whole, id, known, e);
	if (!r)
		say_id(s, id);
	return r;
}

int image_pull(struct store *s, const struct pull_request *want, struct err *e)
{
	cleanup_with(registries_fini) struct registries c = { .n = 0 };
	cleanup_with(strlist_fini) struct strlist names = { .n = 0 };
	int r = registries_load(&c, e);

	if (!r)
		r = registries_candidates(&c, want->image, &names, e);
	if (r)
		return r;
	for (size_t i = 0; i < names.n; i++) {
		/* The words for the last one are the command's own. */
		if (i)
			store_status(s, "%s", e->msg);
		err_clear(e);
		r = pull_name(s, want, &c, names.v[i], e);
		if (!r)
			return 0;
	}
	return r;
}

/* The lines of write_secrets(). */
static int read_secrets(struct remote *r, struct buf *b, struct err *e)
{
	char *f[8], *p;

	if (read_all(0, b) || !b->data)
		return err_set(e, -EPROTO, "layer: no request");
	p = b->data;
	for (int i = 0; i < 8; i++) {
		char *nl = strchr(p, '\n');

		if (!nl)
			return err_set(e, -EPROTO, "layer: request cut short");
		*nl = '\0';
		f[i] = p;
		p = nl + 1;
	}
	snprintf(r->base, sizeof(r->base), "%s", f[0]);
	snprintf(r->ref.registry, sizeof(r->ref.registry), "%s", f[1]);
	snprintf(r->ref.repository, sizeof(r->ref.repository), "%s", f[2]);
	r->insecure = streq(f[3], "1");
	snprintf(r->creds.user, sizeof(r->creds.user), "%s", f[4]);
	snprintf(r->creds.password, sizeof(r->creds.password), "%s", f[5]);
	snprintf(r->creds.identity, sizeof(r->creds.identity), "%s", f[6]);
	r->bearer = *f[7] ? strdup(f[7]) : NULL;
	return registry_certs_load(r->ref.registry, &r->certs, e);
}

int image_pull_layer(struct store *s, const char *digest, uint64_t size, const char *diff_id,
		     const char *name, int counter, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf secrets = BUF_INIT(128u << 10);
	__attribute__((cleanup(remote_close))) struct remote r = { .s = s };
	char url[512], what[700];
	struct err fetch = ERR_INIT;
	struct remote_answer a;
	struct remote_job job;
	struct layer out;
	int p[2];
	int err = read_secrets(&r, &secrets, e);

	if (err)
		return err;
	if (!digest_valid(digest) || !digest_valid(diff_id) || pipe2(p, O_CLOEXEC) < 0)
		return err_set(e, -EINVAL, "layer: bad request");
	snprintf(url, sizeof(url), "/v2/%s/blobs/%s", r.ref.repository, digest);
	snprintf(what, sizeof(what), "%s: layer %.19s", name, digest);
	const struct remote_request q = { .url = url,
					  .body = p[1],
					  .source = -1,
					  .size = size,
					  .max = size,
					  .counter = counter };

	err = remote_start(&r, &q, &job, e);
	close(p[1]);
	cleanup_fd int in = p[0];

	if (err)
		return err;
	const struct layer_source src = {
		.fd = in, .name = what, .digest = digest, .diff_id = diff_id, .size = size
	};

	err = layer_add(s, &src, &out, e);
	close_fd(&in);
	int bad = remote_finish(&r, &job, &a, &fetch);

	if (!bad && a.status != 200 && a.status != 206)
		bad = remote_refusal(&r, &a, what, &fetch);
	/* Whoever failed first has the reason: a broken pipe is only the echo. */
	if (bad && err && !strstr(fetch.msg, "Broken pipe")) {
		*e = fetch;
		return err_wrap(e, "%s", what);
	}
	return err;
}
