"""Registries: Debian's docker-registry over loopback (plain, with passwords, with TLS), and a hostile one made here. A
hostile registry costs an error and nothing else."""
import base64
import gzip
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from test_image import GOOD, WARREN, Layout, Store, digest, entry, tar_bytes

REGISTRY = shutil.which("docker-registry")
needs_registry = pytest.mark.skipif(not REGISTRY, reason="docker-registry is not installed")


@pytest.fixture
def store(tmp_path):
    s = Store(tmp_path / "data")
    s.env["HOME"] = str(tmp_path)
    s.env["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    s.ok("images")
    return s


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Registry:
    def __init__(self, path, http_extra="", top_extra=""):
        path.mkdir()
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        config = path / "config.yml"
        config.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {path}/data}}}}\n"
                          f"http:\n  addr: 127.0.0.1:{self.port}\n{http_extra}{top_extra}")
        self.child = subprocess.Popen([REGISTRY, "serve", str(config)], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("docker-registry does not start")

    def stop(self):
        self.child.terminate()
        self.child.wait()


@pytest.fixture
def registry(tmp_path):
    r = Registry(tmp_path / "registry")
    yield r
    r.stop()


def imported(store, tmp_path, name="it", packed=True):
    layers = [GOOD, tar_bytes(entry("big", os.urandom(300000)))]
    store.ok("image", "import", "-q", Layout(tmp_path / "layout", *layers, packed=packed).write(), name)


@needs_registry
def test_there_and_back(store, tmp_path, registry):
    imported(store, tmp_path)
    before = store.inspect("it")
    assert store.ok("push", "it", f"{registry.host}/a/b:v1").strip() == before["Digest"]
    store.ok("rmi", "it")
    ident = store.ok("pull", "-q", f"{registry.host}/a/b:v1").strip()
    after = store.inspect(f"{registry.host}/a/b:v1")
    assert (after["Id"], after["Digest"]) == (before["Id"], before["Digest"]) and ident == before["Id"]
    store.ok("pull", "-q", f"{registry.host}/a/b@{before['Digest']}")
    store.is_clean()


@needs_registry
def test_other_tools_read_what_is_pushed_and_the_other_way(store, tmp_path, registry):
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    imported(store, tmp_path)
    store.ok("push", "-q", "it", f"{registry.host}/it")
    skopeo = lambda *a: subprocess.run(["skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", *a],
                                       check=True, capture_output=True)
    skopeo(f"docker://{registry.host}/it", f"oci:{tmp_path}/out:x")
    # As Docker schema 2, with an index around it.
    skopeo("--format", "v2s2", f"docker://{registry.host}/it", f"docker://{registry.host}/v2")
    store.ok("pull", "-q", f"{registry.host}/v2")
    manifest = json.loads((store.path / "blobs/sha256" / store.inspect(f"{registry.host}/v2")["Digest"][7:]).read_text())
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


@needs_registry
def test_what_is_not_there(store, registry):
    assert "not found" in store.refused("pull", f"{registry.host}/none:x", says=[registry.host, "none:x"])
    port = free_port()
    store.refused("pull", f"127.0.0.1:{port}/a", says=[f"127.0.0.1:{port}"])
    store.refused("push", "none", f"{registry.host}/none", says=["'none'"])


@needs_registry
def test_passwords(store, tmp_path):
    if not shutil.which("htpasswd"):
        pytest.skip("htpasswd is not installed (apache2-utils)")
    users = tmp_path / "users"
    subprocess.run(["htpasswd", "-Bbc", str(users), "ann", "se:cret"], check=True, capture_output=True)
    r = Registry(tmp_path / "registry", top_extra=f"auth: {{htpasswd: {{realm: r, path: {users}}}}}\n")
    try:
        imported(store, tmp_path)
        store.refused("push", "it", f"{r.host}/it", says=["access denied", "warren login"])
        store.refused("login", r.host, "-u", "ann", "--password-stdin", input="wrong\n", says=["password is wrong"])
        assert "Login Succeeded" in store.ok("login", r.host, "-u", "ann", "--password-stdin", input="se:cret\n")
        file = tmp_path / ".docker/config.json"
        assert file.stat().st_mode & 0o077 == 0
        assert json.loads(file.read_text())["auths"][r.host]["auth"] == base64.b64encode(b"ann:se:cret").decode()
        store.ok("push", "-q", "it", f"{r.host}/it")
        store.ok("pull", "-q", f"{r.host}/it")
        store.ok("logout", r.host)
        store.refused("pull", f"{r.host}/it", says=["access denied"])
        store.ok("pull", "-q", "--creds", "ann:se:cret", f"{r.host}/it")
        # podman's file, and a helper
        podman = tmp_path / "run/containers/auth.json"
        podman.parent.mkdir(parents=True)
        podman.write_text(json.dumps({"auths": {r.host: {"auth": base64.b64encode(b"ann:se:cret").decode()}}}))
        store.ok("pull", "-q", f"{r.host}/it")
        podman.write_text(json.dumps({"credHelpers": {r.host: "ours"}}))
        helper = tmp_path / "bin/docker-credential-ours"
        helper.parent.mkdir()
        helper.write_text('#!/bin/sh\necho \'{"Username":"ann","Secret":"se:cret"}\'\n')
        helper.chmod(0o755)
        store.ok("pull", "-q", f"{r.host}/it", env={"PATH": f"{helper.parent}:{os.environ['PATH']}"})
    finally:
        r.stop()


def certificate(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key.pem", "-out",
                    tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.2"],
                   check=True, capture_output=True)


@needs_registry
def test_tls(store, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    certificate(tmp_path)
    r = Registry(tmp_path / "registry", f"  tls: {{certificate: {tmp_path}/cert.pem, key: {tmp_path}/key.pem}}\n")
    try:
        imported(store, tmp_path)
        store.ok("push", "-q", "it", f"{r.host}/it")  # loopback: any certificate
        name = socket.gethostname()
        try:
            socket.gethostbyname(name)
        except OSError:
            pytest.skip("the host's own name does not resolve")
    finally:
        r.stop()


# --- a registry that is not our friend ---

class Hostile(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tmp_path, *layers):
        self.layout = Layout(tmp_path / "hostile", *(layers or (GOOD,)))
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.special = {}  # path part -> function(handler)
        self.asked = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def build(self):
        self.layout.write()
        self.manifest = json.dumps(self.layout.manifest).encode()
        self.blobs = {f.name: f.read_bytes() for f in (self.layout.path / "blobs/sha256").iterdir()}
        return self


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        s = self.server
        s.asked.append((self.path, dict(self.headers)))
        for part, fn in s.special.items():
            if part in self.path:
                return fn(self)
        if self.path == "/v2/":
            return self.reply(200)
        if "/manifests/" in self.path:
            return self.reply(200, s.manifest, Content_Type="application/vnd.oci.image.manifest.v1+json")
        blob = s.blobs.get(self.path.rsplit(":", 1)[-1])
        return self.reply(200, blob) if blob is not None else self.reply(404)


@pytest.fixture
def hostile(tmp_path):
    servers = []

    def make(*layers, change=None):
        h = Hostile(tmp_path, *layers)
        servers.append(h)
        if change:
            change(h.layout)
        return h.build()
    yield make
    for h in servers:
        h.shutdown()
        h.server_close()


def layer_digest(h):
    return h.layout.manifest["layers"][0]["digest"]


def test_the_hostile_one_can_behave(store, hostile):
    h = hostile()
    store.ok("pull", "-q", f"{h.host}/x")


def test_wrong_bytes(store, hostile):
    h = hostile()
    for name, blob in list(h.blobs.items()):
        if blob == h.manifest:
            continue
        h.blobs[name] = blob[:-1] + bytes([blob[-1] ^ 1])
        store.refused("pull", f"{h.host}/x", says=[h.host])
        h.blobs[name] = blob


def test_wrong_digest_of_a_manifest(store, hostile):
    h = hostile()
    h.special["/manifests/"] = lambda q: q.reply(200, h.manifest, Docker_Content_Digest=digest(b"other"))
    store.refused("pull", f"{h.host}/x", says=["manifest's digest is"])
    del h.special["/manifests/"]
    store.refused("pull", f"{h.host}/x@{digest(b'other')}", says=["manifest's digest is"])


def test_lying_sizes(store, hostile):
    h = hostile()
    good = h.blobs[layer_digest(h)[7:]]
    h.blobs[layer_digest(h)[7:]] = good + b"more"
    store.refused("pull", f"{h.host}/x", says=["longer than"])
    h.blobs[layer_digest(h)[7:]] = good[:50]
    store.refused("pull", f"{h.host}/x", says=["ended after 50 bytes"])
    h.special["/blobs/"] = lambda q: q.reply(200, good[:50], Content_Length=str(len(good)), Connection="close")
    store.refused("pull", f"{h.host}/x", says=[h.host])


def test_endless_bodies(store, hostile):
    h = hostile()

    def endless(q):
        q.send_response(200)
        q.send_header("Connection", "close")
        q.end_headers()
        try:
            while True:
                q.wfile.write(b" " * 65536)
        except OSError:
            pass
    for part in ("/manifests/", "/blobs/"):
        h.special = {part: endless}
        store.refused("pull", f"{h.host}/x", says=["longer than"])


def test_redirects(store, hostile, tmp_path):
    h = hostile()
    h.special["/manifests/"] = lambda q: q.reply(302, Location=q.path)
    store.refused("pull", f"{h.host}/x", says=["redirect"])
    secret = tmp_path / "secret"
    secret.write_text("{}")
    for target in (f"file://{secret}", "gopher://127.0.0.1/x", "ftp://127.0.0.1/x"):
        h.special["/manifests/"] = lambda q: q.reply(302, Location=target)
        store.refused("pull", f"{h.host}/x", says=[h.host])


def test_credentials_do_not_follow_a_redirect(store, hostile, tmp_path):
    h = hostile()
    other = Hostile(tmp_path / "two").build()

    def challenge(q):
        if "Authorization" not in q.headers:
            return q.reply(401, WWW_Authenticate='Basic realm="x"')
        return q.reply(307, Location=f"http://localhost:{other.server_address[1]}{q.path}")
    h.special["/manifests/"] = challenge
    other.blobs, other.manifest = h.blobs, h.manifest
    store.ok("pull", "-q", "--creds", "ann:secret", f"{h.host}/x")
    assert other.asked and all("Authorization" not in headers for _, headers in other.asked)
    other.shutdown()
    other.server_close()


def test_tokens(store, hostile):
    h = hostile()
    seen = []

    def token(q):
        seen.append(q.path)
        return q.reply(200, b'{"token":"abc"}')

    def guarded(q):
        if q.headers.get("Authorization") != "Bearer abc":
            return q.reply(401, WWW_Authenticate=f'Bearer realm="http://{h.host}/token",service="s v",scope="x"')
        part, fn = "/v2/", h.special.pop("/v2/x")
        try:
            return q.do_GET()
        finally:
            h.special["/v2/x"] = fn
    h.special = {"/token": token, "/v2/x": guarded}
    store.ok("pull", "-q", f"{h.host}/x")
    assert any("service=s%20v" in p and "scope=repository%3Ax%3Apull" in p for p in seen)


@pytest.mark.parametrize("answer, says", [
    (b"", "token"), (b"{}", "token"), (b'{"token":"a\\nX: y"}', "token"), (b"[" * 5000, "token"),
    (b'{"token":' + b'"' + b"x" * 100000 + b'"}', "token"),
])
def test_bad_tokens(store, hostile, answer, says):
    h = hostile()
    h.special = {"/token": lambda q: q.reply(200, answer),
                 "/manifests/": lambda q: q.reply(401, WWW_Authenticate=f'Bearer realm="http://{h.host}/token"')}
    store.refused("pull", f"{h.host}/x", says=[says])


@pytest.mark.parametrize("header", ["Bearer", "Bearer realm=", 'Bearer realm="file:///etc/passwd"', "Negotiate", "Basic x",
                                    'Bearer realm="http://a b/"', 'Bearer realm="' + "x" * 5000, ",,,,", "="])
def test_bad_challenges(store, hostile, header):
    h = hostile()
    h.special = {"/manifests/": lambda q: q.reply(401, WWW_Authenticate=header)}
    store.refused("pull", f"{h.host}/x", says=[h.host])


def test_a_failing_server_is_asked_again(store, hostile):
    h = hostile()
    left = [2]

    def flaky(q):
        if left[0]:
            left[0] -= 1
            return q.reply(503)
        fn = h.special.pop("/manifests/")
        return q.do_GET()
    h.special["/manifests/"] = flaky
    store.ok("pull", "-q", f"{h.host}/x")
    assert left == [0]


def test_a_broken_download_is_resumed(store, hostile):
    big = tar_bytes(entry("big", os.urandom(400000)))
    h = hostile(big)
    name = layer_digest(h)
    blob = h.blobs[name[7:]]
    ranges = []

    def cut(q):
        start = int(q.headers["Range"].split("=")[1].rstrip("-")) if "Range" in q.headers else 0
        ranges.append(start)
        q.send_response(206 if start else 200)
        q.send_header("Content-Length", str(len(blob) - start))
        if start:
            q.send_header("Content-Range", f"bytes {start}-{len(blob) - 1}/{len(blob)}")
        q.end_headers()
        q.wfile.write(blob[start:start + 150000])
        q.wfile.flush()
        if start + 150000 < len(blob):
            q.connection.close()
            q.close_connection = True
    h.special[name] = cut
    store.ok("pull", "-q", f"{h.host}/x")
    assert len(ranges) >= 3 and ranges[1] > 0


def test_bombs_and_path_tricks_over_the_network(store, hostile):
    h = hostile(tar_bytes(entry("../../x", b"")))
    store.refused("pull", f"{h.host}/x", says=["leads out"])
    zeros = tar_bytes(entry("z", b"\0" * (30 << 20)))
    shutil.rmtree(h.layout.path)
    h = hostile(zeros)
    store.refused("pull", f"{h.host}/x", says=["more than"], env={"WARREN_UNPACK_MAX": "4m"})


def test_an_unknown_certificate_is_refused(store, hostile, tmp_path):
    """Not on loopback's terms: 127.0.0.1 may have any certificate, another name may not."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    certificate(tmp_path)
    h = hostile()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    h.socket = context.wrap_socket(h.socket, server_side=True)
    port = h.server_address[1]
    name = "localhost.localdomain"
    try:
        socket.gethostbyname(name)
    except OSError:
        name = socket.gethostname()
        try:
            if not socket.gethostbyname(name).startswith("127."):
                pytest.skip("no further name for loopback on this host")
        except OSError:
            pytest.skip("no further name for loopback on this host")
    host = f"{name}:{port}" if "." in name else f"{name}:{port}"
    store.refused("pull", f"{host}/x", says=[])
    store.ok("pull", "-q", "--tls-verify=false", f"{host}/x")


@needs_registry
def test_bars_on_a_terminal_lines_elsewhere(store, tmp_path, registry):
    if not shutil.which("script"):
        pytest.skip("script is not installed")
    imported(store, tmp_path)

    def on_terminal(*args):
        command = " ".join([str(WARREN), *args])
        return subprocess.run(["script", "-qec", command, "/dev/null"], env=store.env | {"TERM": "xterm"}, check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    out = on_terminal("push", "it", f"{registry.host}/it")
    assert "\033[K" in out and ": Pushed" in out
    store.ok("rmi", "it")
    out = on_terminal("pull", f"{registry.host}/it")
    assert out.count("Pulled") >= 2 and "layer 1 of" not in out
    store.ok("rmi", f"{registry.host}/it")
    done = store.run("pull", f"{registry.host}/it")
    assert "\033" not in done.stderr and "layer 1 of 2: pulling" in done.stderr
    store.ok("rmi", f"{registry.host}/it")
    assert store.run("pull", "-q", f"{registry.host}/it").stderr == ""


@needs_registry
def test_two_pulls_share_the_work(store, tmp_path, registry):
    layers = [GOOD, tar_bytes(entry("big", os.urandom(30 << 20)))]
    store.ok("image", "import", "-q", Layout(tmp_path / "layout", *layers, packed=False).write(), "it")
    store.ok("push", "-q", "it", f"{registry.host}/it")
    store.ok("rmi", "it")
    before = sum(f.stat().st_blocks for f in store.path.rglob("*") if f.is_file())
    pulls = [subprocess.Popen([WARREN, "pull", "-q", f"{registry.host}/it"], env=store.env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) for _ in range(4)]
    done = [p.communicate(timeout=60) for p in pulls]
    assert [p.returncode for p in pulls] == [0] * 4, done
    assert len({out for out, _ in done}) == 1
    after = sum(f.stat().st_blocks for f in store.path.rglob("*") if f.is_file())
    # The big file and its packed form, once each.
    assert (after - before) * 512 < 3 * (30 << 20)
    store.is_clean()
