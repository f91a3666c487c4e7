"""Dockerfile packages on every engine: the same instructions give the same layer."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.contract.lab import EPOCH_S, Lab, add_layer
from tests.trees import Project, write_layout
from treebuilder.build.dockerfile import Built, Interpreter, World
from treebuilder.cli.main import main
from treebuilder.errors import BuildFailed, SpecError
from treebuilder.model.digest import Digest
from treebuilder.model.dockerfile import parse
from treebuilder.model.image import ImageConfig, State


@dataclass
class Bench:
    """Builds Dockerfiles on one engine; `base` is the lab's busybox."""

    lab: Lab
    context: dict[str, bytes] = field(default_factory=dict)
    jobs: int = 0
    downloads: dict[str, Path] = field(default_factory=dict)

    def _context(self) -> Digest:
        def make(folder: Path) -> None:
            for name, data in sorted(self.context.items()):
                path = folder / "luetbuild" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            (folder / "luetbuild").mkdir(exist_ok=True)

        return add_layer(self.lab.store, make).content

    def build(self, text: str) -> Built:
        def image(reference: str) -> State:
            assert reference == "base"
            return State((self.lab.base,), ImageConfig((("FROM_BASE", "yes"),), "", "/data"))

        def run(job: object) -> object:
            self.jobs += 1
            return self.lab.run(job).layer  # type: ignore[arg-type]

        self.jobs = 0
        world = World(
            self.lab.store, "dockerfile", EPOCH_S, True, 60.0, self._context(), image, self.downloads.get,
            run,  # type: ignore[arg-type]
        )  # fmt: skip
        return Interpreter(parse(text, "app/Dockerfile", "linux/amd64"), world).build()

    def root(self, built: Built) -> Path:
        return self.lab.store.tree_path(built.layer.content)

    def names(self, built: Built) -> list[str]:
        return [path for path, entry in self.lab.listing(built.layer.content).items() if entry.kind != "d"]


@pytest.fixture
def bench(direct_lab: Lab) -> Bench:
    return Bench(direct_lab)


def test_commands_see_what_was_said_before_them(bench: Bench) -> None:
    built = bench.build(
        'FROM base\nARG WHO="the arg" LATE\nENV NAME="$WHO" TWO=2\nRUN env | sort > /one\nRUN pwd >> /one\n'
        'ENV NAME=other\nWORKDIR sub/deeper\nRUN echo "$NAME $PWD $WHO" > /two\n'
    )
    one = (bench.root(built) / "one").read_text().splitlines()
    assert {"NAME=the arg", "TWO=2", "WHO=the arg", "FROM_BASE=yes"} <= set(one)
    assert not any(line.startswith("LATE") for line in one)
    assert one[-1] == "/data"
    assert (bench.root(built) / "two").read_text() == "other /data/sub/deeper the arg\n"
    assert bench.jobs == 2
    assert built.config == ImageConfig(
        (("FROM_BASE", "yes"), ("NAME", "other"), ("TWO", "2")), "", "/data/sub/deeper", ()
    )


def test_users_shells_and_forms(bench: Bench) -> None:
    built = bench.build(
        'FROM base\nRUN ["/bin/sh", "-c", "echo \\"$0 $1\\" > /exec", "zero", "o\'ne $HOME"]\n'
        'SHELL ["/bin/busybox", "sh", "-e", "-c"]\nRUN echo "$-" > /shell\nWORKDIR /tmp\nUSER worker\n'
        "RUN id -u > id; id -g >> id; echo $HOME >> id\nUSER 65534\nRUN id -u > other\n"
    )
    root = bench.root(built)
    assert (root / "exec").read_text() == "zero o'ne $HOME\n"
    assert "e" in (root / "shell").read_text()
    assert (root / "tmp/id").read_text() == "1234\n2345\n/home/worker\n"
    assert (root / "tmp/other").read_text() == "65534\n"
    assert built.config.user == "65534"


def test_the_layer_is_what_the_last_stage_adds(bench: Bench) -> None:
    built = bench.build(
        "FROM base AS tools\nRUN echo tool > /tool; rm -r /data/dir\nFROM base\nRUN echo a > /a; rm /data/file\n"
        "COPY --from=tools /tool /t/\nRUN rm /a; mkdir /data/file; rm -r /data/dir; mkdir /data/dir\n"
        "RUN touch /data/dir/new\n"
    )
    entries = bench.lab.listing(built.layer.content)
    assert sorted(path for path, entry in entries.items() if entry.kind == "f") == ["data/dir/new", "t/tool"]
    assert entries["data/file"].kind == "d"
    assert [path for path, entry in entries.items() if entry.kind == "w"] == ["data/dir/a", "data/dir/sub"]
    assert "a" not in entries
    assert built.base.layers == (bench.lab.base,)
    assert set(built.layer.deleted) == {"data/dir/a", "data/dir/sub"}


def test_a_stage_on_a_stage_adds_to_that(bench: Bench) -> None:
    built = bench.build("FROM base AS one\nRUN echo 1 > /one\nFROM one\nRUN cat /one > /two\n")
    assert bench.names(built) == ["two"]
    assert len(built.base.layers) == 2


def test_from_scratch(bench: Bench) -> None:
    bench.context = {"a": b"a"}
    built = bench.build("FROM scratch\nCOPY a /etc/\nENV X=1\n")
    assert bench.names(built) == ["etc/a"]
    assert built.base == State(())


def test_copies(bench: Bench) -> None:
    bench.context = {"a.txt": b"A", "b.txt": b"B", "dir/x": b"X", "dir/sub/y": b"Y", "c.md": b"C"}
    built = bench.build(
        "FROM base\nARG D=/dest\nCOPY a.txt /renamed\nCOPY *.txt $D/all/\nCOPY dir /folder\nCOPY dir/ .\n"
        'COPY ["c.md", "/with space/c"]\nCOPY a.txt /usr/lib\nCOPY d?r/x /globbed\nCOPY . /everything\n'
        "COPY --chown=worker:extra --chmod=4750 a.txt /own/ed\nCOPY --chown=9 a.txt /nine\n"
    )
    root = bench.root(built)
    assert (root / "renamed").read_text() == "A"
    assert sorted(os.listdir(root / "dest/all")) == ["a.txt", "b.txt"]
    assert (root / "folder/sub/y").read_text() == "Y"
    assert (root / "data/sub/y").read_text() == "Y"
    assert (root / "with space/c").read_text() == "C"
    assert (root / "usr/lib/a.txt").read_text() == "A"
    assert (root / "globbed").read_text() == "X"
    assert sorted(os.listdir(root / "everything")) == ["a.txt", "b.txt", "c.md", "dir"]
    owned = bench.lab.listing(built.layer.content)
    assert (owned["own/ed"].mode, owned["own/ed"].uid, owned["own/ed"].gid) == (0o4750, 1234, 77)
    assert (owned["own"].mode, owned["own"].uid, owned["own"].gid) == (0o755, 1234, 77)
    assert (owned["nine"].uid, owned["nine"].gid) == (9, 9)
    assert (owned["renamed"].uid, owned["renamed"].gid) == (0, 0)
    assert bench.jobs == 0


def test_copies_between_stages_follow_links_and_keep_hard_links(bench: Bench) -> None:
    built = bench.build(
        "FROM base AS made\nRUN mkdir /out; echo x > /out/one; ln /out/one /out/two; ln -s out /link\n"
        "RUN chown 5:6 /out/one; ln -s one /out/soft; mkfifo /out/pipe\n"
        "FROM base\nRUN ln -s data /alias\nCOPY --from=made /link /alias/\n"
    )
    root = bench.root(built)
    assert (root / "data/one").stat().st_ino == (root / "data/two").stat().st_ino
    found = bench.lab.listing(built.layer.content)
    assert found["data/soft"].link == "one"
    assert found["data/pipe"].kind == "p"
    assert (found["data/one"].uid, found["data/one"].gid) == (0, 0)
    assert found["alias"].kind == "l"


def _tar(packer: Callable[[bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        folder = tarfile.TarInfo("d")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(folder)
        file = tarfile.TarInfo("d/file")
        file.size, file.uid, file.gid, file.mode = 3, 11, 12, 0o600
        tar.addfile(file, io.BytesIO(b"tar"))
        link = tarfile.TarInfo("d/hard")
        link.type, link.linkname = tarfile.LNKTYPE, "d/file"
        tar.addfile(link)
    return packer(out.getvalue())


@pytest.mark.parametrize("packer", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_add_unpacks_local_archives(bench: Bench, packer: Callable[[bytes], bytes]) -> None:
    bench.context = {"archive": _tar(packer), "plain.gz": gzip.compress(b"no tar")}
    built = bench.build("FROM base\nADD archive plain.gz /opt/x/\nCOPY archive /kept\n")
    root = bench.root(built)
    found = bench.lab.listing(built.layer.content)
    assert (root / "opt/x/d/file").read_bytes() == b"tar"
    assert (found["opt/x/d/file"].uid, found["opt/x/d/file"].gid, found["opt/x/d/file"].mode) == (11, 12, 0o600)
    assert (root / "opt/x/d/hard").stat().st_ino == (root / "opt/x/d/file").stat().st_ino
    assert found["opt/x/d"].mode == 0o700
    assert (root / "opt/x/plain.gz").read_bytes() == bench.context["plain.gz"]
    assert (root / "kept").read_bytes() == bench.context["archive"]


def test_add_of_a_locked_url(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"data")
    bench.downloads = {"https://example.org/x/file.bin?a=b": tmp_path / "blob"}
    built = bench.build("FROM base\nADD https://example.org/x/file.bin?a=b /opt/\n")
    assert (bench.root(built) / "opt/file.bin").read_bytes() == b"data"
    assert bench.lab.listing(built.layer.content)["opt/file.bin"].mode == 0o600


def test_a_failure_names_its_line(bench: Bench) -> None:
    with pytest.raises(BuildFailed) as caught:
        bench.build("FROM base\nRUN true\nRUN true && \\\n  exit 9\nRUN never\n")
    assert (str(caught.value.where), caught.value.exit_status) == ("app/Dockerfile:3", 9)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("FROM base\nCOPY none /\n", 2, "there is no none"),
        ("FROM base\nCOPY ../a /\n", 2, "leads out"),
        ("FROM base\nCOPY a b /dest\n", 2, "must end with /"),
        ("FROM base\nCOPY a\n", 2, "source… destination"),
        ("FROM base\nADD https://example.org/x /x\n", 2, "not in the lock"),
        ("FROM base\nADD git@example.org:x.git /x\n", 2, "not fetched"),
        ("FROM base\nCOPY --chown=stranger a /x\n", 2, "stranger"),
        ("FROM base\nCOPY --chmod=u+x a /x\n", 2, "octal"),
        ("FROM base\nRUN --network=other true\n", 2, "--network=other"),
        ("FROM base\nSHELL /bin/sh\n", 2, "JSON"),
    ],
)
def test_what_is_refused(native_lab: Lab, text: str, line: int, says: str) -> None:
    bench = Bench(native_lab, {"a": b"a", "b": b"b"})
    with pytest.raises(SpecError) as caught:
        bench.build(text)
    assert says in caught.value.message
    assert caught.value.where is not None
    assert caught.value.where.line == line


def test_equal_on_all_engines(bench: Bench, native_lab: Lab) -> None:
    text = (
        "FROM base AS one\nRUN echo x > /x; rm /data/twin\nFROM one\nWORKDIR /w\nCOPY . .\nUSER worker\nWORKDIR /tmp\n"
        "RUN echo y > y\nUSER root\nRUN rm -r /data/dir && mkdir /data/dir && mv /w/a /data/dir\n"
    )
    bench.context = {"a": b"a", "b/c": b"c"}
    assert bench.build(text) == Bench(native_lab, dict(bench.context)).build(text)


def test_a_tree_of_dockerfiles(
    direct_lab: Lab, docker_env: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project(tmp_path)
    app = project.tree / "app"
    write_layout(app / "busybox")
    (app / ".dockerignore").write_text("secret\nbusybox\n")
    (app / "secret").write_text("secret")
    (app / "public").write_text("public")
    (app / "Dockerfile").write_text("ARG B=oci:busybox\nFROM $B\nCOPY . /opt/\nRUN ls /opt > /list\n")
    words = [
        "build", "--tree", str(project.tree), "--dockerfiles", "--all", "--cache-dir", str(tmp_path / "cache"),
        "--destination", str(project.build), "--lock", str(tmp_path / "lock"), "--json",
        "--engine", direct_lab.engine.name,
    ]  # fmt: skip
    assert main(words) == 0
    value = json.loads(capsys.readouterr().out)
    assert [node["state"] for node in value["nodes"]] == ["built"]
    assert project.text("app--", "list") == "Dockerfile\npublic\n"
    with tarfile.open(fileobj=io.BytesIO(project.plain("app--"))) as tar:
        assert tar.getnames() == ["list", "opt", "opt/.dockerignore", "opt/Dockerfile", "opt/public"]
    assert main(words) == 0
    assert [node["state"] for node in json.loads(capsys.readouterr().out)["nodes"]] == ["cached"]
    (app / "public").write_text("changed")
    assert main(words) == 0
    assert [node["state"] for node in json.loads(capsys.readouterr().out)["nodes"]] == ["built"]
