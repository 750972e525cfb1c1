"""warren build: the subset of Containerfiles, the cache of steps, and what is refused."""
import os
from pathlib import Path

import pytest
from test_image import Store, needs_root

pytestmark = needs_root

FILE = """
# a comment
ARG BASE=busybox
FROM ${BASE}
ENV GREETING="hi there" X=1
LABEL a=b c="d e"
WORKDIR /srv/app
COPY file .
COPY sub /data/
COPY file /tmp/
RUN echo "$GREETING from $(pwd)" > out && \\
    # between two lines
    cat /data/deep >> out
EXPOSE 80/tcp 81
VOLUME ["/vol"]
USER nobody
CMD ["cat", "out", "file"]
"""


@pytest.fixture
def store(tmp_path):
    if not Path("/bin/busybox").exists():
        pytest.skip("busybox-static is not installed")
    s = Store(tmp_path / "data")
    s.env["WARREN_RUN"] = str(tmp_path / "run")
    s.ok("image", "build-rootfs", "-q", "busybox")
    return s


@pytest.fixture
def context(tmp_path):
    c = tmp_path / "context"
    (c / "sub").mkdir(parents=True)
    (c / "file").write_text("hello\n")
    (c / "sub/deep").write_text("deep\n")
    (c / "Containerfile").write_text(FILE)
    return c


def test_what_is_built_runs(store, context):
    store.ok("build", "-q", "-t", "it", str(context))
    assert store.ok("run", "--rm", "it") == "hi there from /srv/app\ndeep\nhello\n"
    config = store.inspect("it")["Config"]
    assert config["Labels"] == {"a": "b", "c": "d e"} and config["User"] == "nobody"
    assert set(config["ExposedPorts"]) == {"80/tcp", "81"} and set(config["Volumes"]) == {"/vol"}
    assert config["Env"][1:] == ["GREETING=hi there", "X=1"] and config["WorkingDir"] == "/srv/app"
    assert store.ok("run", "--rm", "it", "stat", "-c", "%a", "/tmp", "/tmp/file") == "1777\n644\n"
    assert store.ok("ps", "-aq") == ""


def test_quiet_prints_the_id_alone(store, context):
    (context / "Containerfile").write_text("FROM busybox\nRUN true\n")
    done = store.run("build", "-q", str(context))
    assert done.returncode == 0 and done.stdout.startswith("sha256:") and done.stderr == ""


def test_the_cache(store, context):
    first = store.ok("build", "-q", "-t", "it", str(context))
    done = store.run("build", str(context))
    assert done.stdout == first and done.stderr.count("Using cache") == 11
    os.utime(context / "file")
    assert store.ok("build", "-q", str(context)) == first
    (context / "file").write_text("changed\n")
    done = store.run("build", "-t", "it", str(context))
    assert done.stdout != first and done.stderr.count("Using cache") == 3
    assert "changed" in store.ok("run", "--rm", "it")
    assert store.ok("build", "-q", "--no-cache", str(context)) != first


def test_variables_of_commands_are_the_shells(store, context):
    for command in ("CMD echo $X", "CMD echo y"):
        (context / "Containerfile").write_text(f"FROM busybox\nENV X=y\n{command}\n")
        done = store.run("build", "-t", "v", str(context))
        assert f"STEP 3/3: {command}\n" in done.stderr
        assert store.ok("run", "--rm", "-e", "X=z", "v") == ("z\n" if "$" in command else "y\n")
        assert command in store.ok("history", "--no-trunc", "v")


def test_a_bad_name_is_found_before_the_first_step(store, context):
    done = store.run("build", "-t", "UPPER", str(context))
    assert done.returncode == 125 and "STEP" not in done.stderr and "--tag: image name 'UPPER'" in done.stderr


def test_arguments(store, context):
    (context / "Containerfile").write_text("FROM busybox\nARG WHO=nobody\nRUN echo $WHO > /who\nCMD cat /who\n")
    store.ok("build", "-q", "-t", "a", str(context))
    store.ok("build", "-q", "-t", "b", "--build-arg", "WHO=somebody", str(context))
    assert store.ok("run", "--rm", "a") == "nobody\n" and store.ok("run", "--rm", "b") == "somebody\n"


@pytest.mark.parametrize("text, says", [
    ("", "no FROM"), ("RUN true\n", "Containerfile:1: RUN: no FROM before it"), ("FISH x\n", "Containerfile:1: 'FISH x'"),
    ("FROM busybox\nRUN\n", "Containerfile:2: RUN without a value"), ("FROM busybox\nRUN exit 3\n", "Containerfile:2: RUN"),
    ("FROM busybox\nCOPY ../secret /\n", "outside the context"), ("FROM busybox\nCOPY none /\n", "'none'"),
    ("FROM busybox\nCOPY out /\n", "outside the context"), ("FROM busybox\nCOPY file\n", "SOURCE... DESTINATION"),
    ("FROM busybox\nCOPY --from=localhost:1/x file /\n", "--from=localhost:1/x"), ("FROM busybox\nADD https://x/y /\n", "https://x/y"),
    ("FROM busybox\nCOPY --from=3 file /\n", "no such stage"), ("FROM busybox\nRUN <<E\nx\n", "no line 'E'"), ("FROM busybox\nONBUILD RUN x\n", "ONBUILD"),
    ("FROM busybox\nCOPY --chown=nosuch file /\n", "no such user"), ("FROM busybox\nRUN --mount=type=secret,id=x true\n", "type=secret"),
    ("FROM busybox\nHEALTHCHECK x\n", "HEALTHCHECK"), ("FROM busybox AS\n", "IMAGE [AS NAME]"), ("FROM busybox\nSHELL sh\n", "expected a list"),
    ("FROM busybox\nENV =x\n", "NAME=VALUE"),
    ("FROM busybox\nCOPY file /etc/passwd/\n", "no directory"), ("FROM busybox\nCOPY file /a/../../b/\n", "'..'"),
    ("FROM UPPER\n", "UPPER"), ("FROM busybox\nCMD \0\n", "NUL"),
])
def test_what_is_refused(store, context, text, says):
    (context.parent / "secret").write_text("s")
    (context / "out").symlink_to(context.parent / "secret")
    (context / "Containerfile").write_text(text)
    done = store.run("build", str(context))
    assert done.returncode == 125 and says in done.stderr and "Containerfile" in done.stderr, done.stderr
    assert store.ok("ps", "-aq") == "" and not list(Path("/tmp").glob("warren-build-*"))
