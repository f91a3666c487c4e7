"""What every engine must do, as data: one base of busybox, and cases of commands with what they leave."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from treebuilder.archive.entry import Entry, scan
from treebuilder.engine.api import Engine, Job, Outcome, RunOptions
from treebuilder.events import Event
from treebuilder.model.digest import Digest
from treebuilder.oci.seal import Sealed, seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.system.process import Cancel

BUSYBOX = "/bin/busybox"
EPOCH_S = 1_600_000_000
OLD_S = 1_000_000_000
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep
GIB = 1 << 30


class Recorder:
    """Keeps events, from any thread."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)


def make_base(folder: Path) -> None:
    """Busybox, users, and things to change and delete, all older than the epoch."""
    for name in ("bin", "etc", "tmp", "usr/lib/deep", "data/dir/sub", "data/empty"):
        (folder / name).mkdir(parents=True)
    os.chmod(folder / "tmp", 0o1777)
    shutil.copyfile(BUSYBOX, folder / "bin/busybox")
    os.chmod(folder / "bin/busybox", 0o755)
    listed = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in sorted(set(listed) - {"busybox"}):
        (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nworker:x:1234:2345::/home/worker:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
    )
    (folder / "etc/group").write_text("root:x:0:\nworkers:x:2345:\nextra:x:77:worker,nobody\nnogroup:x:65534:\n")
    (folder / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (folder / "etc/config").write_text("old\n")
    (folder / "data/file").write_text("file\n")
    (folder / "data/dir/a").write_text("a\n")
    (folder / "data/dir/sub/b").write_text("b\n")
    os.link(folder / "data/file", folder / "data/twin")
    (folder / "usr/lib/deep/lib.so").write_text("lib\n")
    capable = folder / "data/capable"
    capable.write_text("program\n")
    os.chmod(capable, 0o755)
    os.setxattr(capable, "security.capability", CAPABILITY)
    named = folder / "data/named"
    named.write_text("named\n")
    os.setxattr(named, "user.origin", b"base\x00\xff")
    os.chown(folder / "data/empty", 1234, 2345)
    for here, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            os.utime(f"{here}/{name}", (OLD_S, OLD_S), follow_symlinks=False)


def add_layer(store: Store, make: Callable[[Path], None], below: tuple[Digest, ...] = ()) -> Sealed:
    """Seals and stores a layer that `make` fills."""
    with store.scratch() as work:
        made = work / "layer"
        made.mkdir()
        make(made)
        sealed = seal(str(made), StackView(tuple(str(store.tree_path(d)) for d in below)), EPOCH_S)
        store.add_tree(made, sealed.content, sealed.listing)
    return sealed


Listing = dict[str, Entry]


@dataclass(frozen=True)
class Case:
    """Commands on the base, and a check of the layer that they leave, given its entries and folder.

    `not_by_images` says why a result that comes through Docker's images cannot be the same: see `RUNS`.
    """

    commands: tuple[str, ...]
    check: Callable[[Listing, Path, Sealed], None]
    user: str = ""
    cwd: str = "/luetbuild"
    env: tuple[tuple[str, str], ...] = ()
    network: bool = False
    not_by_images: str = ""


@dataclass
class Lab:
    """One engine with a store of its own. Each case runs once, whoever asks for it."""

    name: str
    engine: Engine
    store: Store
    folder: Path
    events: Recorder = field(default_factory=Recorder)
    _base: Digest | None = None
    _done: dict[str, Outcome] = field(default_factory=dict)

    @property
    def base(self) -> Digest:
        if self._base is None:
            self._base = add_layer(self.store, make_base).content
        return self._base

    def job(self, *commands: str, layers: tuple[Digest, ...] | None = None, **options: object) -> Job:
        values = {"env": (), "epoch_s": EPOCH_S, "network": False, **options}
        return Job("contract", layers if layers is not None else (self.base,), commands, **values)  # type: ignore[arg-type]

    def run(self, job: Job, cancel: Cancel | None = None, *, keep_failed: Path | None = None) -> Outcome:
        options = RunOptions(self.folder / "logs", keep_failed)
        return self.engine.run(job, self.store, options, self.events, cancel or Cancel())

    def outcome(self, name: str, case: Case) -> Outcome:
        if name not in self._done:
            job = self.job(*case.commands, user=case.user, cwd=case.cwd, env=case.env, network=case.network)
            self._done[name] = self.run(job)
        return self._done[name]

    def listing(self, layer: Digest) -> Listing:
        return {entry.path: entry for entry in scan(str(self.store.tree_path(layer)))}


def _simple(found: Listing, root: Path, _: Sealed) -> None:
    assert {p: e.kind for p, e in found.items()} == {
        "hello": "d", "hello/world": "f", "hello/link": "l", "hello/there": "d",
    }  # fmt: skip
    assert (root / "hello/world").read_text() == "hi\n"
    assert found["hello/link"].link == "world"
    assert found["hello/world"].mode == 0o644
    assert {entry.mtime for entry in found.values()} == {EPOCH_S}


def _apart(found: Listing, root: Path, _: Sealed) -> None:
    assert (root / "out").read_text() == "/luetbuild unset\n"
    assert list(found) == ["out"]


def _env(found: Listing, root: Path, _: Sealed) -> None:
    lines = (root / "env").read_text().splitlines()
    assert "NAME=a 'quoted' $value" in lines
    assert f"SOURCE_DATE_EPOCH={EPOCH_S}" in lines
    assert "HOME=/root" in lines
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in lines
    assert "HOSTNAME=treebuild" in lines
    names = {line.partition("=")[0] for line in lines}
    assert names - {"PWD", "OLDPWD", "SHLVL"} == {"NAME", "SOURCE_DATE_EPOCH", "HOME", "PATH", "HOSTNAME"}


def _odd_names(found: Listing, root: Path, _: Sealed) -> None:
    names = sorted(os.fsencode(path) for path in found if path.startswith("odd/"))
    assert names == sorted([
        b"odd/ lead and trail ", b"odd/-rf", "odd/ünïcode ☃".encode(), b"odd/new\nline", b"odd/bytes\xff\xfe",
        b"odd/quo'te\"s", b"odd/back\\slash", b"odd/*?[", b"odd/" + b"l" * 255, b"odd/$HOME",
    ])  # fmt: skip


def _hard_links(found: Listing, root: Path, sealed: Sealed) -> None:
    assert (root / "l/one").stat().st_ino == (root / "l/two").stat().st_ino == (root / "m/three").stat().st_ino
    assert [found[p].kind for p in ("l/one", "l/two", "m/three")] == ["f", "h", "h"]
    assert found["m/three"].link == "l/one"
    assert sealed.changed == ("data/file",)  # its twin of the base stays what it was


def _sparse(found: Listing, root: Path, _: Sealed) -> None:
    info = (root / "big").stat()
    assert info.st_size == 5 * GIB
    assert info.st_blocks * 512 < 64 << 20
    with (root / "big").open("rb") as file:
        file.seek(4 * GIB + 5)
        assert file.read(6) == b"x\0\0\0\0\0"


def _xattrs(found: Listing, root: Path, sealed: Sealed) -> None:
    assert found["data/capable"].xattrs == (("security.capability", CAPABILITY),)
    assert found["data/capable"].mode == 0o711
    assert found["data/named"].xattrs == (("user.origin", b"base\x00\xff"),)
    assert (root / "data/named").read_text() == "named\nmore\n"
    assert sealed.changed == ("data/capable", "data/named")


def _capability(found: Listing, root: Path, sealed: Sealed) -> None:
    assert found["data/capable"].xattrs == (("security.capability", CAPABILITY),)
    assert sealed.changed == ("data/capable",)


def _modes(found: Listing, root: Path, _: Sealed) -> None:
    assert {p: (e.mode, e.uid, e.gid) for p, e in found.items() if p.startswith("m/")} == {
        "m/suid": (0o4755, 0, 0), "m/sgid": (0o2755, 0, 5), "m/sticky": (0o1777, 0, 0), "m/none": (0, 0, 0),
        "m/foreign": (0o640, 1234, 2345), "m/high": (0o644, 3_000_000, 4_000_000), "m/link": (0o777, 7, 8),
    }  # fmt: skip


def _special(found: Listing, root: Path, _: Sealed) -> None:
    assert found["pipe"].kind == "p"
    assert (found["null"].kind, os.major(found["null"].rdev), os.minor(found["null"].rdev)) == ("c", 1, 3)
    assert (found["disk"].kind, os.major(found["disk"].rdev), os.minor(found["disk"].rdev)) == ("b", 8, 300)
    assert "socket" not in found


def _whiteouts(found: Listing, root: Path, sealed: Sealed) -> None:
    assert {p: e.kind for p, e in found.items()} == {
        "data": "d",
        "data/dir": "d",
        "data/dir/sub": "w",
        "data/twin": "w",
    }
    assert sealed.deleted == ("data/dir/sub", "data/twin")
    assert sealed.kept_folders == ("data", "data/dir")
    assert found["data"].mtime == OLD_S


def _remade(found: Listing, root: Path, sealed: Sealed) -> None:
    assert {p: (e.kind, e.opaque) for p, e in found.items()} == {
        "data": ("d", False), "data/dir": ("d", False), "data/dir/a": ("f", False), "data/dir/new": ("f", False),
        "data/dir/sub": ("w", False),
    }  # fmt: skip
    assert sealed.deleted == ("data/dir/sub",)
    assert sealed.changed == ("data/dir/a",)


def _nothing(found: Listing, root: Path, sealed: Sealed) -> None:
    assert found == {}
    assert (sealed.changed, sealed.deleted, sealed.kept_folders) == ((), (), ())


def _replaced(found: Listing, root: Path, sealed: Sealed) -> None:
    assert {p: e.kind for p, e in found.items()} == {
        "data": "d", "data/dir": "f", "data/file": "d", "data/file/inner": "f", "data/twin": "l",
    }  # fmt: skip
    assert "data/dir" in sealed.changed
    assert "data/file" in sealed.changed


def _no_network(found: Listing, root: Path, _: Sealed) -> None:
    assert (root / "interfaces").read_text().split() == ["lo"]


def _host_network(found: Listing, root: Path, _: Sealed) -> None:
    assert found["resolv"].kind == "f"
    assert list(found) == ["resolv"]


def _beside(found: Listing, root: Path, _: Sealed) -> None:
    assert {p: e.kind for p, e in found.items()} == {"etc": "d", "etc/new": "f"}
    assert found["etc"].mtime == OLD_S


def _hostname(found: Listing, root: Path, _: Sealed) -> None:
    assert (root / "etc/hostname").read_text() == "mine\n"
    assert (root / "seen").read_text() == "treebuild\n"
    assert list(found) == ["etc", "etc/hostname", "seen"]


def _worker(found: Listing, root: Path, _: Sealed) -> None:
    assert (root / "tmp/who").read_text() == "1234 2345 77 2345 /home/worker\n"
    assert (found["tmp/who"].uid, found["tmp/who"].gid) == (1234, 2345)
    assert found["tmp"].mode == 0o1777


def _umask(found: Listing, root: Path, _: Sealed) -> None:
    assert found["made"].mode == 0o755  # umask 022, whoever started us


def _luetbuild(found: Listing, root: Path, _: Sealed) -> None:
    assert {p: (e.kind, e.mode) for p, e in found.items()} == {
        "luetbuild": ("d", 0o755),
        "luetbuild/made": ("f", 0o644),
    }


_ODD = r"""mkdir /odd && cd /odd
touch -- " lead and trail " -rf "ünïcode ☃" "$(printf "new\nline")" "$(printf 'bytes\377\376')" "quo'te\"s"
touch 'back\slash' '*?[' '$HOME' "$(printf "%0255d" 0 | tr 0 l)"
"""
_MODES = """mkdir /m; cd /m; touch suid sgid none foreign high; mkdir sticky; ln -s none link; chown 0:5 sgid
chmod 4755 suid; chmod 2755 sgid; chmod 1777 sticky; chmod 0 none; chmod 640 foreign; chown 1234:2345 foreign
chown 3000000:4000000 high; chown -h 7:8 link
"""
_SPECIAL = "mkfifo /pipe; mknod /null c 1 3; mknod /disk b 8 300; nc -l -U /socket & sleep 0.1"
_OTHER = "rm -r /data/dir; echo f > /data/dir; rm /data/file; mkdir /data/file; touch /data/file/inner"
_RESOLVERS = (
    "cat /etc/hosts /etc/resolv.conf > /dev/null; echo x > /etc/hosts",
    "echo y > /etc/resolv.conf; echo > /resolv",
)
_WHO = 'cd /tmp; echo "$(id -u) $(id -g) $(id -G | xargs -n1 | sort -n | xargs) $HOME" > who; ! touch /no'
_NOTHING = (
    "chmod 755 /data/dir; chmod 644 /data/file; touch /etc/config; chown 0:0 /data/dir/a",
    "cp -p /etc/config /c; cat /c > /etc/config; rm /c; mkdir /data/dir/x; rmdir /data/dir/x",
    "mv /data/dir/a /data/dir/z; mv /data/dir/z /data/dir/a",
    "rm -r /data/dir; mkdir -p /data/dir/sub; echo a > /data/dir/a; echo b > /data/dir/sub/b",
)
_LINKS = "mkdir /l /m; echo x > /l/one; ln /l/one /l/two; ln /l/one /m/three; echo more >> /data/file"
_LO = "sed -n 's/ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev > /interfaces"

CASES: dict[str, Case] = {
    "simple files": Case(("mkdir -p /hello/there; echo hi > /hello/world; ln -s world /hello/link",), _simple),
    "each command apart": Case(("cd /tmp; X=1; export X", 'echo "$PWD ${X-unset}" > /out'), _apart),
    "environment": Case(("env | sort > /env",), _env, env=(("NAME", "a 'quoted' $value"),)),
    "odd names": Case((_ODD,), _odd_names),
    "hard links": Case((_LINKS,), _hard_links),
    "a sparse file over 4 GiB": Case(
        ("truncate -s 5G /big; printf x | dd of=/big bs=1 seek=4294967301 conv=notrunc",),
        _sparse,
        not_by_images="it works, but writes and reads the whole 5 GiB some times",
    ),
    "a capability": Case(("chmod 0711 /data/capable",), _capability),
    "xattrs": Case(
        ("chmod 0711 /data/capable; echo more >> /data/named",), _xattrs, not_by_images="commit drops user.* xattrs"
    ),
    "modes and owners": Case((_MODES,), _modes),
    "special files": Case((_SPECIAL,), _special),
    "whiteouts": Case(("rm -r /data/dir/sub /data/twin; touch /data/gone; rm /data/gone",), _whiteouts),
    "a folder made anew": Case(
        ("rm -rf /data/dir; mkdir /data/dir; echo a2 > /data/dir/a; echo new > /data/dir/new",), _remade
    ),
    "nothing changed": Case(_NOTHING, _nothing),
    "other kinds": Case((_OTHER, "rm /data/twin; ln -s file /data/twin"), _replaced),
    "no network": Case((_LO,), _no_network),
    "names and resolvers": Case(_RESOLVERS, _host_network, network=True),
    "beside mount points": Case(("echo new > /etc/new; ls /dev /proc /sys > /dev/null; echo > /dev/null",), _beside),
    "the hostname": Case(
        ("hostname > /seen; echo mine > /etc/hostname",), _hostname, not_by_images="commit drops /etc/hostname"
    ),
    "another user": Case((_WHO,), _worker, user="worker", cwd="/tmp"),
    "umask": Case(("mkdir /made",), _umask),
    "the working folder": Case(("pwd > made; chmod 644 made",), _luetbuild),
}

_ENGINE, _DOCKER = pytest.mark.engine, pytest.mark.docker
ENGINES = {"native": [_ENGINE], "docker": [_ENGINE, _DOCKER], "docker-by-images": [_ENGINE, _DOCKER]}

RUNS = [
    pytest.param(engine, name, marks=marks)
    for engine, marks in ENGINES.items()
    for name, case in CASES.items()
    if not (engine == "docker-by-images" and case.not_by_images)
]
"""Every engine with every case it can answer. Three cases are none of "docker-by-images", the Docker engine where the
daemon's upper folders cannot be read and results come by `docker commit`: commit drops xattrs of the name space user.*
and /etc/hostname, and writes a sparse file over 4 GiB out in full."""
