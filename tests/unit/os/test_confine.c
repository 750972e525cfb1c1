/* What a confined thread may still ask the kernel. Each case runs in a process of its own. */
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../test.h"
#include "base/util.h"
#include "os/confine.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static const int calls[] = { SYS_getppid, SYS_exit_group };
static const uint32_t requests[] = { FIONREAD, BLKDISCARD };

static void confine(const uint32_t *of_ioctl)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    confine_thread(calls, ARRAY_SIZE(calls), of_ioctl,
			   of_ioctl ? ARRAY_SIZE(requests) : 0) < 0)
		_exit(99);
}

static void allowed_call(void)
{
	confine(requests);
	syscall(SYS_getppid);
}

static void other_call(void)
{
	confine(requests);
	syscall(SYS_getuid);
}

static void allowed_ioctls(void)
{
	int n;

	confine(requests);
	ioctl(-1, FIONREAD, &n);
	ioctl(-1, BLKDISCARD, &n);
}

static void other_ioctl(void)
{
	confine(requests);
	ioctl(-1, TIOCSTI, "x");
}

static void ioctl_that_is_not_listed(void)
{
	confine(NULL);
	ioctl(-1, FIONREAD, NULL);
}

static void *confined_thread(void *arg)
{
	confine(requests);
	for (;;)
		syscall(SYS_getppid);
	return arg;
}

static void other_threads_are_free(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, confined_thread, NULL))
		_exit(98);
	usleep(20000);
	if (syscall(SYS_getuid) < 0)
		_exit(97);
}

/* The exit status of a process that does it, or minus the signal that ended it. */
static int outcome(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_only_what_is_listed(void **state)
{
	(void)state;
#ifdef SANITIZED
	skip(); /* the sanitizer makes calls of its own, and no filter is loaded */
#endif
	assert_int_equal(outcome(allowed_call), 0);
	assert_int_equal(outcome(other_call), -SIGSYS);
	assert_int_equal(outcome(allowed_ioctls), 0);
	assert_int_equal(outcome(other_ioctl), -SIGSYS);
	assert_int_equal(outcome(ioctl_that_is_not_listed), -SIGSYS);
	assert_int_equal(outcome(other_threads_are_free), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_only_what_is_listed) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
