"""A pytest plugin (`-p caselimit`): a case that takes longer than WARREN_TEST_CASE_SECONDS fails, and the next one runs."""
import os
import signal

import pytest

SECONDS = int(os.environ.get("WARREN_TEST_CASE_SECONDS", "0"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    def late(*_):
        raise TimeoutError(f"{item.name} took longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
