/*
 * The three files of /etc that are an instance's own: hosts, hostname, resolv.conf. With the host's network
 * they are the host's. A name server on the host's loopback cannot be reached from a private network and is
 * left out.
 *
 * Trust: options are the user's, the host's files the administrator's. Threads: none.
 * #syscalls: openat read close uname
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "bundle/make_int.h"

#define TEXT_MAX (64u << 10)

const char *make_hostname(struct make *m, char *out, size_t size)
{
	struct utsname u;

	if (m->o->hostname)
		snprintf(out, size, "%s", m->o->hostname);
	else if ((m->host_uts || m->host_net) && uname(&u) == 0)
		snprintf(out, size, "%s", u.nodename);
	else
		snprintf(out, size, "%.12s", m->r->id);
	return out;
}

static int check_hostname(struct make *m, const char *option, const char *s)
{
	size_t n = strlen(s);
	bool ok = n >= 1 && n <= 64 && s[0] != '-' && s[0] != '.';

	for (size_t i = 0; ok && i < n; i++)
		ok = isalnum((unsigned char)s[i]) || strchr("-._", s[i]);
	return ok ? 0
		  : err_set(m->e, -EINVAL, "%s '%s': not 1 to 64 letters, digits, '-', '_' and '.'",
			    option, s);
}

/* Lines of a host's file that `keep` likes. */
static void copy_lines(const char *path, bool (*keep)(const char *line), struct buf *out)
{
	cleanup_fclose FILE *f = fopen(path, "re");
	cleanup_free char *line = NULL;
	size_t size = 0;

	while (f && !out->error && getline(&line, &size, f) > 0)
		if (!keep || keep(line))
			buf_adds(out, line);
}

static bool reachable(const char *line)
{
	const char *server = str_after(line, "nameserver");

	if (!server)
		return line[0] != '#' && line[0] != ';';
	server += strspn(server, " \t");
	return !str_after(server, "127.") && !str_after(server, "::1");
}

/* A guest whose host asks a server on its own loopback: passt takes the question there. */
static bool asks_passt(const struct make *m, const struct buf *b)
{
	return m->r->guest && !b->error && !strstr(buf_str(b), "nameserver") &&
	       (m->network.kind == NETWORK_PRIVATE || m->network.kind == NETWORK_HOST);
}

static int make_resolv(struct make *m, struct buf *b)
{
	const struct bundle_options *o = m->o;

	if (!o->dns.n) {
		copy_lines("/etc/resolv.conf", m->host_net ? NULL : reachable, b);
		if (asks_passt(m, b))
			buf_adds(b, "nameserver " PASST_DNS "\n");
	}
	for (size_t i = 0; i < o->dns.n; i++) {
		if (o->dns.v[i][strspn(o->dns.v[i], "0123456789abcdefABCDEF.:%")])
			return err_set(m->e, -EINVAL, "--dns '%s': not an address", o->dns.v[i]);
		buf_addf(b, "nameserver %s\n", o->dns.v[i]);
	}
	for (size_t i = 0; i < o->dns_search.n; i++)
		buf_addf(b, "%s%s%s", i ? " " : "search ", o->dns_search.v[i],
			 i + 1 == o->dns_search.n ? "\n" : "");
	for (size_t i = 0; i < o->dns_option.n; i++)
		buf_addf(b, "options %s\n", o->dns_option.v[i]);
	return b->error;
}

static int make_hosts(struct make *m, const char *host, struct buf *b)
{
	if (m->host_net)
		copy_lines("/etc/hosts", NULL, b);
	else
		buf_addf(b,
			 "127.0.0.1\tlocalhost %s\n"
			 "::1\tlocalhost ip6-localhost ip6-loopback\n"
			 "fe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"
			 "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
			 host);
	for (size_t i = 0; i < m->o->add_host.n; i++) {
		const char *wish = m->o->add_host.v[i];
		size_t n = strcspn(wish, ":=");

		if (!n || !wish[n] || !wish[n + 1] || strpbrk(wish, " \t\n"))
			return err_set(m->e, -EINVAL, "--add-host '%s': expected HOST:ADDRESS",
				       wish);
		buf_addf(b, "%s\t%.*s\n", wish + n + 1, (int)n, wish);
	}
	return b->error;
}

static int hand_over(struct buf *b, char **out)
{
	*out = buf_steal(b);
	return *out ? 0 : -ENOMEM;
}

int make_files(struct make *m)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(TEXT_MAX);
	char host[256];
	int r;

	if (m->o->hostname && (r = check_hostname(m, "--hostname", m->o->hostname)))
		return r;
	if (m->o->domainname && (r = check_hostname(m, "--domainname", m->o->domainname)))
		return r;
	make_hostname(m, host, sizeof(host));
	if ((r = make_resolv(m, &b)) || (r = hand_over(&b, &m->out->resolv_conf)) ||
	    (r = make_hosts(m, host, &b)) || (r = hand_over(&b, &m->out->hosts)))
		return r;
	buf_addf(&b, "%s\n", host);
	if ((r = hand_over(&b, &m->out->hostname)))
		return r;
	if (!m->host_uts) {
		make_string(m, m->top, "hostname", host);
		if (m->o->domainname)
			make_string(m, m->top, "domainname", m->o->domainname);
	}
	return 0;
}
