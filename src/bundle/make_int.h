/* What the files of bundle/ share while one config.json is made. */
#pragma once

#include <json-c/json.h>

#include "bundle/bundle.h"
#include "wire/network.h"

struct make {
	const struct bundle_request *r;
	const struct bundle_options *o;
	struct bundle *out;
	struct err *e;
	bool no_memory; /* an object could not be made: looked at once, at the end */

	struct json_object *top, *process, *linux_, *mounts, *resources, *annotations;

	uint32_t uid, gid;
	struct network_wish network;
	bool host_net, host_pid, host_ipc, host_uts, host_cgroup, user_ns;
};

/* JSON objects; each sets `no_memory` on failure. */
struct json_object *make_object(struct make *m, struct json_object *in, const char *key);
struct json_object *make_list(struct make *m, struct json_object *in, const char *key);
void make_set(struct make *m, struct json_object *in, const char *key, struct json_object *v);
void make_string(struct make *m, struct json_object *in, const char *key, const char *v);
void make_number(struct make *m, struct json_object *in, const char *key, int64_t v);
void make_bool(struct make *m, struct json_object *in, const char *key, bool v);
/* Appends to a list. */
void make_item(struct make *m, struct json_object *list, const char *v);
/* A list of the words in `words`, which are separated by commas. */
void make_words(struct make *m, struct json_object *in, const char *key, const char *words);

/* Each adds its part. 0 or -errno. */
int make_process(struct make *m);
int make_rights(struct make *m); /* capabilities, security options, masked paths, sysctl */
int make_mounts(struct make *m);
int make_files(struct make *m); /* hosts, hostname, resolv.conf */
int make_limits(struct make *m);
int make_devices(struct make *m);

/* The container's host name. */
const char *make_hostname(struct make *m, char *out, size_t size);
