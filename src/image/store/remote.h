/* A repository of a registry (distribution-spec 1.1), asked through warren-fetch. */
#pragma once

#include "image/registries.h"
#include "image/store/store.h"
#include "wire/registry.h"

enum remote_tls {
	REMOTE_TLS_AUTO,     /* registries.conf decides; a registry on loopback may do without */
	REMOTE_TLS_REQUIRED, /* --tls-verify=true */
	REMOTE_TLS_OPTIONAL, /* --tls-verify=false: plain HTTP and unknown certificates are fine */
};

struct remote {
	struct store *s;
	struct reference ref;
	char base[300]; /* "https://registry-1.docker.io" */
	bool insecure;	/* plain HTTP and unknown certificates are fine */
	bool push;	/* the token must allow writing */
	struct credentials creds;
	struct registry_certs certs;
	char *bearer; /* the token so far, or NULL */
};

struct remote_request {
	const char *method; /* NULL: GET */
	const char *url;    /* a path below base, or a whole URL */
	const char *accept, *type;
	int body;		    /* descriptor, -1: not wanted */
	int source;		    /* descriptor of what is sent, -1: nothing */
	uint64_t max, size, upload; /* size 0: not known */
	int counter;		    /* a file that gets the number of bytes so far; 0: none */
};

struct remote_answer {
	int status;
	char location[4096], digest[256], type[256], message[512];
	uint64_t bytes;
};

/* A request under way. */
struct remote_job {
	int pid;
	int out, complaint;
};

/* Finds the registry's address and the credentials: `creds` ("user:password") or those of the user's files.
 * 0 or -errno. */
int remote_open(struct remote *r, struct store *s, const struct reference *ref, const char *creds,
		enum remote_tls tls, bool push, struct err *e);
void remote_close(struct remote *r);

int remote_start(struct remote *r, const struct remote_request *q, struct remote_job *job,
		 struct err *e);
/* Waits for it. 0 when there was an answer of whatever status, else -errno. */
int remote_finish(struct remote *r, struct remote_job *job, struct remote_answer *a, struct err *e);
/* remote_start() and remote_finish(), and store_progress() about `digest` of `total` bytes in between. */
int remote_ask_shown(struct remote *r, const struct remote_request *q, const char *digest,
		     uint64_t total, const char *state, struct remote_answer *a, struct err *e);
/* A counter for a request: a descriptor, and what it says. */
int remote_counter(void);
uint64_t remote_counted(int counter);
int remote_ask(struct remote *r, const struct remote_request *q, struct remote_answer *a,
	       struct err *e);
/* As remote_ask, with the body in `out`. */
int remote_get(struct remote *r, const struct remote_request *q, struct remote_answer *a,
	       struct buf *out, struct err *e);
/* -errno and words for a status that is not what was hoped for. */
int remote_refusal(const struct remote *r, const struct remote_answer *a, const char *what,
		   struct err *e);

/* push.c: sends a blob unless it is there, and a manifest under the name of `r`. 0 or -errno. */
int remote_put_blob(struct remote *r, int fd, uint64_t size, const char *digest, struct err *e);
int remote_put_manifest(struct remote *r, int fd, uint64_t size, const char *type, struct err *e);
/* remote_open() at the place that registries.conf gives the name, never a mirror. */
int remote_open_place(struct remote *r, struct store *s, const struct reference *ref,
		      const char *creds, enum remote_tls tls, bool push, struct err *e);

/* artifact.c: files as they are. `to`: a directory. 0 or -errno. */
int artifact_push(struct store *s, const char *name, const char *type, const char *const *files,
		  size_t n, const char *creds, enum remote_tls tls, struct err *e);
int artifact_pull(struct store *s, const char *name, const char *to, const char *creds,
		  enum remote_tls tls, struct err *e);

/* auth.c: the user's credential files. */
int auth_find(const char *registry, struct credentials *out, struct err *e);
/* Sets (user "" removes) the entry in the file that `login` writes. 0 or -errno. */
int auth_store(const char *registry, const char *user, const char *password, char *path,
	       size_t size, struct err *e);

/* pull.c, push.c */
struct pull_request {
	const char *image, *creds;
	enum remote_tls tls;
	struct import_request platform;
};

int image_pull(struct store *s, const struct pull_request *p, struct err *e);
/* One layer, in a process of its own: the request's secrets come on standard input. */
int image_pull_layer(struct store *s, const char *digest, uint64_t size, const char *diff_id,
		     const char *name, int counter, struct err *e);
int image_push(struct store *s, const char *image, const char *destination, const char *creds,
	       enum remote_tls tls, struct err *e);
int registry_login(struct store *s, const char *registry, const char *creds, enum remote_tls tls,
		   struct err *e);
/* `tls`, or what registries.conf says of a place that it marks insecure. */
enum remote_tls remote_tls_for(enum remote_tls tls, bool insecure);
