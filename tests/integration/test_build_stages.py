"""warren build: stages, .dockerignore, archives, variables, here-documents."""
import gzip
import tarfile

from test_build import context, store  # noqa: F401
from test_image import needs_root

pytestmark = needs_root

STAGES = r"""ARG BASE=busybox
FROM $BASE AS first
ARG BASE
RUN echo "$BASE" > /base && mkdir -p /out/deep && echo made > /out/deep/file && ln /out/deep/file /out/twin && \
    ln -s deep/file /out/link && chown -R 12:34 /out/deep && chmod 640 /out/deep/file
FROM first AS unused
RUN echo unused > /unused
FROM scratch
COPY --from=first /out /o
COPY --from=0 /base /out/deep/f* /d/
COPY --from=first --chown=5:6 --chmod=600 /base /mine
COPY --from=busybox /bin/busybox /bin/
"""

WORDS = """FROM busybox
ARG A=1 B
ENV A=env C=${A}-${B:-none} D=${B:+set}
ARG TARGETARCH
RUN echo "$A $B $C $D $TARGETARCH" > /out
"""

REST = """FROM busybox
RUN <<EOF
echo one > /a
echo "two $HOME" >> /a
EOF
RUN cat > /b <<-'END' && echo three >> /b
	x $HOME
	END
RUN echo $((1<<4)) "no <<one" 'no <<two' > /e
SHELL ["/bin/busybox", "sh", "-ec"]
RUN false || echo four > /c
MAINTAINER somebody
HEALTHCHECK --interval=5s --timeout=1m --retries=7 CMD ["true", "x"]
STOPSIGNAL SIGINT
RUN --mount=type=cache,target=/cache echo hit >> /cache/f && cat /cache/f > /d
RUN --network=none ! wget http://127.0.0.1/ 2>/dev/null
"""


def built(store, context, text, *args, name="it"):
    (context / "Containerfile").write_text(text)
    return store.ok("build", "-t", name, *args, str(context))


def test_stages(store, context):
    built(store, context, STAGES)

    def run(*args):
        return store.ok("run", "--rm", "it", "/bin/busybox", *args)
    assert run("cat", "/o/link", "/d/base", "/d/file") == "made\nbusybox\nmade\n"
    assert run("stat", "-c", "%u:%g %a %h", "/o/deep/file", "/mine", "/o/twin") == "12:34 640 2\n5:6 600 1\n12:34 640 2\n"
    assert run("ls", "/").split() == ["bin", "d", "dev", "etc", "mine", "o", "proc", "sys"]
    assert store.run("build", str(context)).stderr.count("Using cache") == 6
    # A stage by its name or number, and no further.
    built(store, context, STAGES, "--target", "first", name="one")
    assert store.ok("run", "--rm", "one", "cat", "/base") == "busybox\n"
    assert "STEP 6/" not in store.run("build", "--target", "0", str(context)).stderr
    store.refused("build", "--target", "none", str(context), says=["no stage 'none'"])


def test_a_changed_stage_changes_what_copies_from_it(store, context):
    text = "FROM busybox AS a\nRUN echo %s > /x\nFROM busybox\nCOPY --from=a /x /y\n"
    built(store, context, text % "one")
    built(store, context, text % "two")
    assert store.ok("run", "--rm", "it", "cat", "/y") == "two\n"


def test_dockerignore(store, context):
    for name in ("keep", "drop.log", "sub/x.log", "sub/keep.log", "node/a/b", "node/c"):
        (context / name).parent.mkdir(exist_ok=True, parents=True)
        (context / name).write_text(name)
    (context / ".dockerignore").write_text("# comment\n**/*.log\n!sub/keep.log\nnode/\n!node/a\n/Containerfile\n.dockerignore\n")
    built(store, context, "FROM busybox\nCOPY . /all\nRUN find /all -type f | sort\n")
    found = store.ok("run", "--rm", "it", "sh", "-c", "cd /all; find . -type f | sort").split()
    assert found == ["./file", "./keep", "./node/a/b", "./sub/deep", "./sub/keep.log"]
    (context / "drop.log").write_text("changed")  # not in the context: nothing to do anew
    assert "Using cache" in store.run("build", str(context)).stderr.split("STEP 2/3")[1]
    store.refused("build", "-f", "-", str(context), input="FROM busybox\nCOPY drop.log /\n", says=["drop.log", "leaves it out"])


def test_add_unpacks_archives(store, context):
    for name, mode in (("a.tar", "w"), ("b.tgz", "w:gz"), ("c.tar.xz", "w:xz")):
        with tarfile.open(context / name, mode) as t:
            t.add(context / "sub/deep", f"in/{name}")
    (context / "plain.gz").write_bytes(gzip.compress(b"no archive"))
    built(store, context, "FROM busybox\nADD a.tar b.tgz c.tar.xz /u\nADD plain.gz file /f/\nCOPY a.tar /c/\n")
    out = store.ok("run", "--rm", "it", "sh", "-c", "ls /u/in; ls /f /c; zcat /f/plain.gz")
    assert out == "a.tar\nb.tgz\nc.tar.xz\n/c:\na.tar\n\n/f:\nfile\nplain.gz\nno archive"


def test_variables_and_arguments(store, context):
    built(store, context, WORDS)
    assert store.ok("run", "--rm", "it", "cat", "/out") == "env  1-none  amd64\n"
    built(store, context, WORDS, "--build-arg", "B=b", "--build-arg", "A=2")
    assert store.ok("run", "--rm", "it", "cat", "/out") == "env b 2-b set amd64\n"
    assert "no ARG takes it" in store.run("build", "--build-arg", "ZZ=1", str(context)).stderr
    assert "Using cache" in store.run("build", "--build-arg", "B=b", "--build-arg", "A=2", str(context)).stderr
    assert "Using cache" not in store.run("build", "--build-arg", "B=c", str(context)).stderr


def test_here_documents_shell_and_the_rest(store, context):
    built(store, context, REST, "--label", "l=1", "-t", "second")
    assert store.ok("run", "--rm", "it", "cat", "/a", "/b", "/c", "/d", "/e") == (
        "one\ntwo /root\nx $HOME\nthree\nfour\nhit\n16 no <<one no <<two\n")
    config = store.inspect("second")["Config"]
    assert config["Healthcheck"] == {"Test": ["CMD", "true", "x"], "Interval": 5 * 10**9, "Timeout": 60 * 10**9, "Retries": 7}
    assert config["Labels"] == {"maintainer": "somebody", "l": "1"} and config["StopSignal"] == "SIGINT"


def test_links_of_an_image_do_not_lead_to_the_host(store, context):
    secret = context / "sub/host"
    secret.mkdir()
    (secret / "key").write_text("the host's")
    base = "FROM busybox AS a\nRUN mkdir -p /data/v1 && echo mine > /data/v1/key && ln -s %s /data/way\n"
    copy = "FROM busybox\nCOPY --from=a /data/%s /got/\n"
    # Patterns are followed through links within what was taken out, never out of it.
    for pattern in ("*/key", "w*/k*", "w*/"):
        store.refused("build", "-f", "-", str(context), input=base % secret + copy % pattern, says=["leads out of the image"])
    built(store, context, base % "v1" + copy % "w*/key")
    assert store.ok("run", "--rm", "it", "cat", "/got/key") == "mine\n"
    # A path without a pattern is the image's own affair.
    built(store, context, base % "/data/v1" + copy % "way/key")
    assert store.ok("run", "--rm", "it", "cat", "/got/key") == "mine\n"
