/*
 * warren pull, push, login, logout: registries.
 *
 * A password never goes through an argument: it is asked for, read from standard input, or given by --creds for scripts
 * that know what they do; the store's program gets it in its environment.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: read write ioctl
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/images.h"
#include "os/file.h"
#include "wire/reference.h"

#define WORD 1200

struct settings {
	const char *platform, *creds, *tls_verify;
	bool quiet, all;
};

static const struct opt pull_opts[] = {
	OPT_STRING(0, "platform", "OS/ARCH[/VARIANT]", struct settings, platform,
		   "Which of several platforms"),
	OPT_STRING(0, "creds", "USER:PASSWORD", struct settings, creds,
		   "Credentials for this once"),
	OPT_STRING(0, "tls-verify", "true|false", struct settings, tls_verify,
		   "false: plain HTTP and unknown certificates are fine", .choices = "true|false"),
	OPT_BOOL('q', "quiet", struct settings, quiet, "Only the id"),
	OPT_END,
};

static const struct opt push_opts[] = {
	OPT_STRING(0, "creds", "USER:PASSWORD", struct settings, creds,
		   "Credentials for this once"),
	OPT_STRING(0, "tls-verify", "true|false", struct settings, tls_verify,
		   "false: plain HTTP and unknown certificates are fine", .choices = "true|false"),
	OPT_BOOL('q', "quiet", struct settings, quiet, "No progress"),
	OPT_END,
};

static void print_word(void *arg, struct json_object *o)
{
	const char *v = images_text(o, arg);

	if (*v)
		printf("%s\n", v);
}

static int ask(const struct settings *s, const char **words, size_t n, const char *result,
	       struct err *e)
{
	if (s->creds && setenv("WARREN_CREDENTIALS", s->creds, 1))
		return -ENOMEM;
	if (s->tls_verify)
		words[n++] = streq(s->tls_verify, "false") ? "insecure=1" : "secure=1";
	words[n] = NULL;
	int r = images_ask(words, s->quiet, print_word, (void *)(uintptr_t)result, e);

	unsetenv("WARREN_CREDENTIALS");
	return r;
}

static int run_pull(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	char image[WORD], platform[3][64];
	const char *words[8] = { "pull", image };
	size_t k;
	int r = images_platform(s->platform, platform, &k, e);

	(void)argc;
	snprintf(image, sizeof(image), "image=%s", argv[0]);
	for (size_t i = 0; !r && i < k; i++)
		words[2 + i] = platform[i];
	if (!r)
		r = ask(s, words, 2 + k, "pulled", e);
	return r < 0 ? err_wrap(e, "pull '%s'", argv[0]) : r;
}

extern const struct command cmd_pull;
const struct command cmd_pull = {
	.name = "pull",
	.args = "IMAGE",
	.summary = "Fetch an image from a registry",
	.opts = pull_opts,
	.settings_size = sizeof(struct settings),
	.run = run_pull,
	.min_args = 1,
	.max_args = 1,
};

static int run_push(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *s = settings;
	char image[WORD], destination[WORD];
	const char *words[6] = { "push", image };
	size_t n = 2;

	snprintf(image, sizeof(image), "image=%s", argv[0]);
	snprintf(destination, sizeof(destination), "destination=%s", argc > 1 ? argv[1] : "");
	if (argc > 1)
		words[n++] = destination;
	int r = ask(s, words, n, "pushed", e);

	return r < 0 ? err_wrap(e, "push '%s'", argv[0]) : r;
}

extern const struct command cmd_push;
const struct command cmd_push = {
	.name = "push",
	.args = "IMAGE [DESTINATION]",
	.summary = "Send an image to a registry",
	.opts = push_opts,
	.settings_size = sizeof(struct settings),
	.run = run_push,
	.min_args = 1,
	.max_args = 2,
	.complete_args = COMPLETE_IMAGE,
};

struct login_settings {
	const char *user, *password, *tls_verify;
	bool from_stdin;
};

static const struct opt login_opts[] = {
	OPT_STRING('u', "username", "NAME", struct login_settings, user, "User"),
	OPT_STRING('p', "password", "PASSWORD", struct login_settings, password,
		   "Password; others on this host can see it: better --password-stdin"),
	OPT_BOOL(0, "password-stdin", struct login_settings, from_stdin,
		 "Read the password from standard input"),
	OPT_STRING(0, "tls-verify", "true|false", struct login_settings, tls_verify,
		   "false: plain HTTP and unknown certificates are fine", .choices = "true|false"),
	OPT_END,
};

static int prompt(const char *what, bool echo, char *out, size_t size)
{
	struct termios old, quiet;
	bool changed = false;

	fprintf(stderr, "%s: ", what);
	if (!echo && tcgetattr(0, &old) == 0) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		changed = tcsetattr(0, TCSANOW, &quiet) == 0;
	}
	bool got = fgets(out, (int)size, stdin);

	if (changed) {
		tcsetattr(0, TCSANOW, &old);
		fputc('\n', stderr);
	}
	if (!got)
		return -ENODATA;
	out[strcspn(out, "\r\n")] = '\0';
	return 0;
}

static int read_password(const struct login_settings *s, char *out, size_t size, struct err *e)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(4096);

	if (s->password) {
		snprintf(out, size, "%s", s->password);
		return 0;
	}
	if (!s->from_stdin)
		return isatty(0) ? prompt("Password", false, out, size)
				 : err_set(e, -EINVAL,
					   "login: --password-stdin is needed when "
					   "standard input is no terminal");
	int r = read_all(0, &b);

	snprintf(out, size, "%.*s", (int)strcspn(buf_str(&b), "\r\n"), buf_str(&b));
	return r;
}

static int run_login(void *settings, int argc, char **argv, struct err *e)
{
	const struct login_settings *s = settings;
	char user[256] = "", password[4096], registry[300], creds[4400];
	struct settings also = { .tls_verify = s->tls_verify, .creds = creds };
	const char *words[6] = { "login", registry };
	int r = 0;

	snprintf(registry, sizeof(registry), "registry=%s", argc ? argv[0] : "docker.io");
	snprintf(user, sizeof(user), "%s", s->user ? s->user : "");
	if (!*user)
		r = isatty(0) ? prompt("Username", true, user, sizeof(user))
			      : err_set(e, -EINVAL, "login: --username is needed");
	if (!r)
		r = read_password(s, password, sizeof(password), e);
	if (r)
		return r;
	snprintf(creds, sizeof(creds), "%s:%s", user, password);
	r = ask(&also, words, 2, "login", e);
	explicit_bzero(password, sizeof(password));
	explicit_bzero(creds, sizeof(creds));
	if (!r)
		printf("Login Succeeded\n");
	return r;
}

extern const struct command cmd_login;
const struct command cmd_login = {
	.name = "login",
	.args = "[REGISTRY]",
	.summary = "Keep a user and password for a registry",
	.opts = login_opts,
	.settings_size = sizeof(struct login_settings),
	.run = run_login,
	.max_args = 1,
};

static const struct opt no_opts[] = { OPT_END };

static int run_logout(void *settings, int argc, char **argv, struct err *e)
{
	char registry[300];

	(void)settings;
	snprintf(registry, sizeof(registry), "registry=%s", argc ? argv[0] : "docker.io");
	int r = images_ask((const char *[]){ "logout", registry, NULL }, true, NULL, NULL, e);

	if (!r)
		printf("Removing login credentials for %s\n", registry + strlen("registry="));
	return r;
}

extern const struct command cmd_logout;
const struct command cmd_logout = {
	.name = "logout",
	.args = "[REGISTRY]",
	.summary = "Forget a registry's user and password",
	.opts = no_opts,
	.run = run_logout,
	.max_args = 1,
};
