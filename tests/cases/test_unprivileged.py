"""The native engine without root: the same bytes as root's, or a refusal that names the fix."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import program
from tests.trees import Project, requires, write_layout
from tests.users import User, ordinary_user

pytestmark = pytest.mark.engine

BUILD = ("build", "--tree", "packages", "--destination", "build", "--cache-dir", "cache", "--quiet", "--json")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep, revision 2

FILES = """steps:
- mkdir /out; echo plain > /out/plain; ln /out/plain /out/hard; ln -s plain /out/link; mkfifo -m 600 /out/fifo
- echo > /out/owned; chown 1234:99 /out/owned; mkdir -m 2775 /out/shared; chown 0:65534 /out/shared
- cp /bin/busybox /out/suid; chown 7:7 /out/suid; chmod 6755 /out/suid; mkdir -m 1777 /out/tmp
- echo secret > /out/secret; chown 5:5 /out/secret; chmod 000 /out/secret
- mkdir -p /out/full/deep; echo 1 > /out/full/deep/a; echo 2 > /out/full/b; mkdir /out/dir; echo 3 > /out/dir/c
- dd if=/dev/zero of=/out/sparse bs=1 count=1 seek=10000000 2>/dev/null; printf 'odd' > "/out/o d\\\\d\\"ü"
"""
REMOVALS = """delta: changes
steps:
- rm /out/plain; rm -rf /out/full; mkdir /out/full; echo new > /out/full/new
- rm -rf /out/dir; echo file > /out/dir; rm /out/fifo; mkdir /out/fifo; echo x > /out/fifo/x
- chown 9:9 /out/suid; chmod 4711 /out/suid; mv /out/secret /out/moved
- stat -c '%a %u %g %F %n' /out/* /out/full/* /base/* > /out/seen
- touch /base/noted; chmod 600 /base/noted; mv /base/capable /base/able
"""


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    program("newuidmap", "uidmap")
    with ordinary_user(ids=True) as made:
        yield made


@pytest.fixture(scope="module")
def stranger() -> Iterator[User]:
    with ordinary_user(ids=False) as made:
        yield made


def project_of(user: User, name: str) -> Project:
    top = user.home / name
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    return Project(top)


def layer(folder: Path, files: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    """Adds a layer to an image layout: entries by name."""
    import hashlib

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in files.values():
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

    def put(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads((folder / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_bytes())
    manifest["layers"].append({"mediaType": "application/vnd.oci.image.layer.v1.tar", **put(stream.getvalue())})
    index["manifests"][0].update(put(json.dumps(manifest).encode()))
    (folder / "index.json").write_text(json.dumps(index))


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, pax: dict[str, str] | None = None
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.pax_headers = kind, mode, pax or {}
    return info


def base_with_xattrs(project: Project) -> None:
    """busybox, and files with an extended attribute and a file capability, of strangers."""
    folder = project.package("seed/base", "image: oci:busybox\n") / "busybox"
    noted = entry("base/noted", pax={"SCHILY.xattr.user.note": "kept"})
    noted.uid, noted.gid = 33, 44
    capability = CAPABILITY.decode("utf-8", "surrogateescape")
    capable = entry("base/capable", mode=0o755, pax={"SCHILY.xattr.security.capability": capability})
    write_layout(folder)
    layer(folder, {
        "base": (entry("base", tarfile.DIRTYPE, 0o755), b""), "noted": (noted, b"n"), "capable": (capable, b"#!"),
    })  # fmt: skip


def packages(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    assert found
    return found


def result(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_packages_are_those_of_root(user: User) -> None:
    project = project_of(user, "equal")
    base_with_xattrs(project)
    project.package("t/files", requires("seed/base") + FILES)
    project.package("t/removals", requires("t/files") + REMOVALS)
    project.package("t/image", requires("t/removals") + "unpack: true\n")
    project.package("t/final", requires("t/files") + "requires_final_images: true\nunpack: true\n")
    subprocess.run(["cp", "-a", project.top, user.home / "mine"], check=True)
    subprocess.run(["chown", "-R", f"{user.name}:", user.home / "mine"], check=True)
    theirs = project.building("t/image", "t/final")
    assert theirs.code == 0, theirs.stderr
    mine = user.treebuild(*BUILD, "t/image", "t/final", folder=user.home / "mine")
    assert mine.returncode == 0, mine.stderr
    keys = ("category", "name", "state", "plan_key", "build_key", "content")
    assert [[n[k] for k in keys] for n in result(mine)["nodes"]] == [
        [n[k] for k in keys] for n in theirs.value["nodes"]
    ]
    assert packages(user.home / "mine/build") == packages(project.build)
    changed = project.content("removals-t-1.0")
    assert changed["base/noted"].pax_headers["SCHILY.xattr.user.note"] == "kept"
    assert "SCHILY.xattr.security.capability" in changed["base/able"].pax_headers
    assert (changed["out/suid"].uid, changed["out/suid"].mode) == (9, 0o4711)
    image = project.content("image-t-1.0")
    assert "out/full/new" in image
    assert not {"out/full/b", "out/full/deep", "out/plain", "out/dir/c", "base/capable"} & set(image)
    assert image["out/hard"].isreg()
    owners = {(user.home / "mine/build" / name).owner() for name in packages(project.build)}
    assert owners == {user.name}


def test_nothing_is_built_twice_and_the_cache_can_be_cleaned(user: User) -> None:
    project = project_of(user, "again")
    project.base()
    project.package("t/x", requires("seed/base") + "steps:\n- mkdir -m 700 /x; echo > /x/y; chown -R 12:13 /x\n")
    shutil.chown(project.top, user.name)
    assert user.treebuild(*BUILD, "t/x", folder=project.top).returncode == 0
    again = result(user.treebuild(*BUILD, "t/x", folder=project.top))
    assert again["counts"]["cached"] == 2
    cache = ("--cache-dir", "cache", "--json")
    listed = result(user.treebuild("cache", "list", *cache, folder=project.top))
    assert "layer" in {found["kind"] for found in listed["entries"]}
    verified = result(user.treebuild("cache", "verify", *cache, folder=project.top))
    assert verified["damaged"] == []
    assert verified["good"] == len(listed["entries"])
    removed = user.treebuild("cache", "gc", "--older-than", "0", *cache, folder=project.top)
    assert removed.returncode == 0, removed.stderr
    assert list((project.top / "cache/trees/user/sha256").iterdir()) == []


def test_what_a_killed_run_left_is_swept_away(user: User) -> None:
    project = project_of(user, "killed")
    project.base()
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n")
    shutil.chown(project.top, user.name)
    assert user.treebuild(*BUILD, "t/x", folder=project.top).returncode == 0
    left = project.top / "cache/tmp/left"
    (left / "upper").mkdir(parents=True, mode=0o700)
    (left / "upper/file").touch()
    shutil.chown(left, user.name, user.name)
    for path in (left / "upper", left / "upper/file"):
        os.chown(path, 1_000_000_005, 1_000_000_005)
    assert user.treebuild("cache", "list", "--cache-dir", "cache", folder=project.top).returncode == 0
    project.package("t/x", requires("seed/base") + "steps:\n- echo other > /x\n")
    done = user.treebuild(*BUILD, "t/x", folder=project.top)
    assert done.returncode == 0, done.stderr
    assert not left.exists()


def test_device_nodes_are_roots(user: User) -> None:
    project = project_of(user, "device")
    project.base()
    project.package("t/x", requires("seed/base") + "steps:\n- mknod /null c 1 3\n")
    node = project.package("t/node", "image: oci:node\n")
    write_layout(node / "node")
    device = entry("null", tarfile.CHRTYPE, 0o666)
    device.devmajor, device.devminor = 1, 3
    layer(node / "node", {"null": (device, b"")})
    shutil.chown(project.top, user.name)
    done = user.treebuild(*BUILD, "t/x", folder=project.top)
    assert done.returncode == 2
    assert "mknod" in done.stderr
    assert "build this as root" in done.stderr
    layered = user.treebuild(*BUILD, "t/node", folder=project.top)
    assert layered.returncode == 2
    assert "null is a device node, which only root can make" in layered.stderr
    assert "Traceback" not in layered.stderr
    assert project.building("t/x", "t/node").code == 0


def test_a_failed_root_can_be_entered(user: User) -> None:
    project = project_of(user, "kept")
    project.base()
    project.package("t/x", requires("seed/base") + "steps:\n- echo here > /trace; exit 1\n")
    shutil.chown(project.top, user.name)
    done = user.treebuild(*BUILD, "--keep-failed-in", "kept", "t/x", folder=project.top)
    assert done.returncode == 2
    enter = next((project.top / "kept").glob("*/enter"))
    words = ["runuser", "-u", user.name, "--", str(enter)]
    shown = subprocess.run(words, input=b"cat /trace\n", capture_output=True, check=False)
    assert b"here" in shown.stdout, shown.stderr


def test_a_configuration_of_root_still_counts(user: User) -> None:
    project = project_of(user, "config")
    project.base()
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n")
    (project.top / ".luet.yaml").write_text("destination: there\n")
    (project.top / "there").mkdir()
    (project.top / "cache").mkdir()
    for name in ("there", "cache", "packages"):
        shutil.chown(project.top / name, user.name)
    lock = str(project.top / "cache/lock")
    done = user.treebuild(
        "build", "--tree", "packages", "--cache-dir", "cache", "--lock", lock, "t/x", folder=project.top
    )
    assert done.returncode == 0, done.stderr
    assert "ignored" not in done.stderr
    assert (project.top / "there/x-t-1.0.package.tar.zst").is_file()


def test_a_package_of_the_folder_does_not_take_our_place(user: User) -> None:
    project = project_of(user, "shadow")
    project.base()
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n")
    shadow = project.top / "treebuilder"
    shadow.mkdir()
    (shadow / "__init__.py").write_text("raise SystemExit(99)\n")
    shutil.chown(project.top, user.name)
    done = user.treebuild(*BUILD, "t/x", folder=project.top, flags=("-P",))
    assert done.returncode == 0, done.stderr


def test_no_range_of_ids_is_refused_with_the_fix(stranger: User) -> None:
    project = project_of(stranger, "none")
    project.base()
    shutil.chown(project.top, stranger.name)
    done = stranger.treebuild(*BUILD, "seed/base", folder=project.top)
    assert done.returncode == 2
    assert result(done)["error"]["reason"] == "engine-unavailable"
    assert f"usermod --add-subuids 100000-165535 {stranger.name}" in done.stderr
    assert not project.build.exists()


def test_no_newuidmap_is_refused_with_the_fix(user: User, tmp_path: Path) -> None:
    """In a mount namespace where an empty file stands over the program."""
    project = project_of(user, "bare")
    project.base()
    shutil.chown(project.top, user.name)
    hidden = program("newuidmap", "uidmap")
    (tmp_path / "empty").touch(mode=0o644)
    words = [user.python, "-m", "treebuilder", *BUILD, "seed/base"]
    script = 'mount --bind "$1" "$2"; shift 2; exec runuser -u "$@"'
    argv = ["unshare", "--mount", "sh", "-ec", script, "sh", str(tmp_path / "empty"), hidden, user.name, "--", *words]
    done = subprocess.run(
        argv, cwd=project.top, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": user.packages, "HOME": str(user.home)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert result(done)["error"]["reason"] == "engine-unavailable"
    assert "apt-get install uidmap" in done.stderr


def test_a_kernel_that_refuses_is_said(user: User, tmp_path: Path) -> None:
    """A program `unshare` that fails as the real one does where user namespaces are switched off."""
    project = project_of(user, "refused")
    project.base()
    shutil.chown(project.top, user.name)
    fake = user.home / "bin"
    fake.mkdir(exist_ok=True)
    (fake / "unshare").write_text("#!/bin/sh\necho 'unshare: unshare failed: No space left on device' >&2; exit 1\n")
    (fake / "unshare").chmod(0o755)
    done = user.treebuild(*BUILD, "seed/base", folder=project.top, PATH=f"{fake}:/usr/bin:/bin")
    assert done.returncode == 2
    assert result(done)["error"]["reason"] == "engine-unavailable"
    assert "No space left on device" in done.stderr


def test_the_contract_of_engines_holds(user: User) -> None:
    """The suite that root's engine passes, run in the user's namespace. Device nodes are root's."""
    script = [
        user.python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "tests/contract/test_engine.py",
    ]
    words = ("unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--", *script)
    done = user.run(*words, "-k", "native and not special", folder=user.home / "lib", TMPDIR=str(user.home))
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.network
def test_bootstraps_are_those_of_root(user: User) -> None:
    project = project_of(user, "bootstrap")
    project.package(
        "seed/base",
        "bootstrap: {distribution: debian, suite: bookworm, variant: minbase, packages: [busybox-static]}\n"
        "unpack: true\n",
    )
    theirs = project.building("seed/base")
    assert theirs.code == 0, theirs.stderr
    expected = packages(project.build)
    shutil.rmtree(project.build)
    subprocess.run(["chown", "-R", f"{user.name}:", project.top], check=True)
    mine = user.treebuild(*BUILD[:-4], "--cache-dir", "other", "--quiet", "--json", "seed/base", folder=project.top)
    assert mine.returncode == 0, mine.stderr
    assert packages(project.build) == expected
