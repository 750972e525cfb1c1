"""What `run` takes from the image and from docker's options: labels, files, user, stop signal, health checks."""
import json
import time
from pathlib import Path

import pytest
from test_image import Store, needs_root

pytestmark = needs_root

FILE = """FROM busybox
RUN echo 'bob:x:1234:1234::/home/bob:/bin/sh' >> /etc/passwd; echo 'bob:x:1234:' >> /etc/group
LABEL from=image both=image
USER bob
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=200ms --retries=2 CMD test -f /tmp/ok
CMD ["sh", "-c", "trap 'echo got usr1; exit 3' USR1; while :; do sleep 0.05; done"]
"""


@pytest.fixture
def store(tmp_path):
    if not Path("/bin/busybox").exists():
        pytest.skip("busybox-static is not installed")
    s = Store(tmp_path / "data")
    s.env["WARREN_RUN"] = str(tmp_path / "run")
    s.ok("image", "build-rootfs", "-q", "busybox")
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Containerfile").write_text(FILE)
    s.ok("build", "-q", "-t", "it", str(tmp_path / "context"))
    yield s
    s.run("rm", "-fv", *s.ok("ps", "-aq").split())


def test_files_and_the_images_words(store, tmp_path):
    (tmp_path / "env").write_text("x=1\n# comment\n\ny=two words\n")
    (tmp_path / "labels").write_text("# comment\nfile=yes\n")
    cid = tmp_path / "cid"
    ident = store.ok("run", "-d", "--name", "a", "--label", "both=mine", "--label-file", str(tmp_path / "labels"),
                     "--env-file", str(tmp_path / "env"), "--cidfile", str(cid), "it").strip()
    assert cid.read_text() == ident
    assert store.ok("exec", "a", "sh", "-c", 'echo $(id -un) "$x" "$y"') == "bob 1 two words\n"
    config = json.loads(store.ok("inspect", "-f", "{{json .Config}}", "a"))
    assert config["Labels"] == {"from": "image", "both": "mine", "file": "yes"}
    assert (config["User"], config["StopSignal"]) == ("bob", "SIGUSR1")
    assert store.ok("ps", "-q", "--filter", "label=from=image")
    store.ok("stop", "a")
    assert store.ok("logs", "a") == "got usr1\n" and store.ok("inspect", "-f", "{{.State.ExitCode}}", "a") == "3\n"
    store.refused("run", "--cidfile", str(cid), "it", says=["exists already"])


def wait_health(store, name, status, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        health = json.loads(store.ok("inspect", "-f", "{{json .State.Health}}", name))
        if health["Status"] == status:
            return health
        time.sleep(0.05)
    raise AssertionError(f"{health} is not {status}")


def test_the_images_health_check(store):
    store.ok("run", "-d", "--name", "a", "it")
    assert "(health: starting)" in store.ok("ps")
    health = wait_health(store, "a", "unhealthy")
    assert health["FailingStreak"] >= 2 and health["Log"][-1]["ExitCode"] == 1
    assert "(unhealthy)" in store.ok("ps") and not store.ok("ps", "-q", "--filter", "health=healthy")
    store.ok("exec", "a", "touch", "/tmp/ok")
    assert wait_health(store, "a", "healthy")["FailingStreak"] == 0
    assert store.ok("ps", "-q", "--filter", "health=healthy")
    events = store.ok("events", "--since", "1m", "--until", "0s", "--format", "json")
    assert "health_status: unhealthy" in events and "health_status: healthy" in events
    store.ok("restart", "a")
    assert "(health: starting)" in store.ok("ps")


def test_health_options(store):
    store.ok("run", "-d", "--name", "a", "--no-healthcheck", "it")
    assert "Health" not in json.loads(store.ok("inspect", "-f", "{{json .State}}", "a"))
    store.ok("run", "-d", "--name", "b", "--health-cmd", "echo why; sleep 50", "--health-timeout", "200ms",
             "--health-interval", "100ms", "--health-retries", "1", "it")
    answer = wait_health(store, "b", "unhealthy")["Log"][-1]
    assert answer["ExitCode"] == -1 and "timeout (200 ms)" in answer["Output"]
    assert "sleep 50" not in store.ok("top", "b")
    store.ok("run", "-d", "--name", "c", "--health-cmd", '["nosuch"]', "--health-interval", "100ms",
             "--health-start-period", "1h", "--health-start-interval", "100ms", "it")
    time.sleep(0.6)
    health = json.loads(store.ok("inspect", "-f", "{{json .State.Health}}", "c"))
    assert health["Status"] == "starting" and "nosuch" in health["Log"][-1]["Output"]
    store.refused("run", "--health-retries", "x", "--health-cmd", "true", "it", says=["--health-retries 'x'"])
    store.refused("run", "--no-healthcheck", "--health-cmd", "true", "it", says=["exclude"])
