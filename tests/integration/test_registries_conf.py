"""registries.conf (mirrors, short names, blocked and insecure registries, the drop-in directory) and certs.d, against
Debian's docker-registry."""
import shutil
import subprocess

import pytest
from test_registry import Registry, free_port, imported, needs_registry, registry, store  # noqa: F401

pytestmark = needs_registry


@pytest.fixture
def conf(store, tmp_path):
    path = tmp_path / ".config/containers/registries.conf"
    path.parent.mkdir(parents=True)

    def write(text, drop_in=None):
        path.write_text(text)
        if drop_in is not None:
            path.with_name("registries.conf.d").mkdir(exist_ok=True)
            (path.with_name("registries.conf.d") / "50-ours.conf").write_text(drop_in)
    write("")
    return write


def test_short_names(store, tmp_path, registry, conf):
    imported(store, tmp_path)
    store.ok("push", "-q", "it", f"{registry.host}/team/thing:1")
    store.ok("rmi", "it")
    dead = f"127.0.0.1:{free_port()}"
    conf(f'unqualified-search-registries = ["{dead}", "{registry.host}"]\n')
    store.ok("pull", "-q", "team/thing:1")
    assert f"{registry.host}/team/thing" in store.ok("images")
    # What was pulled by its short name is found by it, also for rmi.
    assert store.ok("image", "inspect", "-f", "{{.Id}}", "team/thing:1").startswith("sha256:")
    store.ok("rmi", "team/thing:1")
    conf("", f'[aliases]\n"box" = "{registry.host}/team/thing"\n')
    store.ok("pull", "-q", "box:1")
    store.ok("image", "inspect", "box:1")


def test_mirrors(store, tmp_path, registry, conf):
    imported(store, tmp_path)
    store.ok("push", "-q", "it", f"{registry.host}/hub/team/thing")
    dead = f"127.0.0.1:{free_port()}"
    conf(f'[[registry]]\nprefix = "example.org"\nlocation = "{dead}"\n'
         f'[[registry.mirror]]\nlocation = "{dead}"\n[[registry.mirror]]\nlocation = "{registry.host}/hub"\n')
    done = store.run("pull", "example.org/team/thing")
    assert done.returncode == 0 and dead in done.stderr, done.stderr
    # The name is what was asked for, not the mirror's.
    assert sorted(store.inspect("example.org/team/thing")["RepoTags"]) == ["example.org/team/thing:latest", "it:latest"]
    # Nothing has it: the registry's own answer counts.
    store.refused("pull", "example.org/none", says=[dead])


def test_a_location_is_pushed_to(store, tmp_path, registry, conf):
    imported(store, tmp_path)
    conf(f'[[registry]]\nprefix = "example.org/a"\nlocation = "{registry.host}/b"\n')
    store.ok("push", "-q", "it", "example.org/a/x")
    store.ok("pull", "-q", f"{registry.host}/b/x")


def test_blocked_and_wrong(store, conf):
    conf('[[registry]]\nprefix = "example.org"\nblocked = true\n')
    store.refused("pull", "example.org/x", says=["'example.org'", "blocked"])
    store.refused("login", "example.org", "-u", "a", "--password-stdin", input="x\n", says=["blocked"])
    conf("[[registry]]\nblocked = 3\n")
    store.refused("pull", "example.org/x", says=["registries.conf: line 2: blocked"])
    conf("", "what\n")
    store.refused("pull", "example.org/x", says=["50-ours.conf: line 1"])


def make_certificate(path, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path / f"{name}.key", "-out",
                    path / f"{name}.cert", "-days", "2", "-subj", f"/CN={name}", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)


def test_certs_d(store, tmp_path, conf):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    make_certificate(tmp_path, "server")
    make_certificate(tmp_path, "client")
    r = Registry(tmp_path / "registry", f"  tls: {{certificate: {tmp_path}/server.cert, key: {tmp_path}/server.key, "
                                        f"clientcas: [{tmp_path}/client.cert]}}\n")
    try:
        imported(store, tmp_path)
        push = ["push", "-q", "--tls-verify=true", "it", f"{r.host}/it"]
        store.refused(*push, says=["certificate"])
        ours = tmp_path / ".config/containers/certs.d" / r.host
        ours.mkdir(parents=True)
        shutil.copy(tmp_path / "server.cert", ours / "ca.crt")
        store.refused(*push, says=[r.host])  # it wants to know who we are
        shutil.copy(tmp_path / "client.cert", ours)
        store.refused(*push, says=["both *.cert and *.key"])
        shutil.copy(tmp_path / "client.key", ours)
        store.ok(*push)
        store.ok("pull", "-q", "--tls-verify=true", f"{r.host}/it")
    finally:
        r.stop()
