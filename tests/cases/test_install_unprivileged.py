"""Installing, as an ordinary user with a range of ids: owners and finalizers work, and luet's name does too."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.services import program
from tests.unit.repository_parts import workshop
from tests.users import User, ordinary_user

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    program("newuidmap", "uidmap")
    with ordinary_user(ids=True) as made:
        yield made


@pytest.fixture
def repository(user: User) -> Path:
    """With a package whose finalizer gives a file to another user, when it comes and when it goes."""
    top = user.home / "shop"
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    with workshop(top) as shop:
        busybox = Path("/bin/busybox").read_bytes()
        shop.package(
            "t/box", {"bin": None, "bin/busybox": busybox, "bin/sh": "busybox", "etc": None, "etc/x": b"x"},
            finalize="install:\n- busybox chown 7:8 /etc/x\nuninstall:\n- echo never\n",
        )  # fmt: skip
        shop.package("t/a", {"a": b"a"}, requires=("t/box",), finalize="uninstall:\n- busybox touch /gone\n")
        shop.create()
    shutil.rmtree(top / "cache")
    subprocess.run(["chown", "-R", user.name, top], check=True)
    return top


@pytest.mark.parametrize("luet", [False, True])
def test_an_ordinary_user_installs_and_uninstalls(user: User, repository: Path, luet: bool) -> None:
    config = repository / "conf.yaml"
    root = repository / ("one" if luet else "two")
    user.run("mkdir", str(root), folder=repository)
    config.write_text(
        f"system:\n  rootfs: {root}\nrepositories:\n- name: r\n  type: disk\n  enable: true\n"
        f"  urls:\n  - {repository}/build\n"
    )
    head = ("luet",) if luet else ()
    done = user.treebuild(*head, "install", "-y", "t/a", "--config", str(config), folder=repository)
    assert done.returncode == 0, done.stderr + done.stdout
    info = (root / "etc/x").stat()
    assert (info.st_uid, info.st_gid) == (1_000_000_006, 1_000_000_007)  # 7 and 8 of the user's own range
    found = user.treebuild(*head, "search", "--installed", "-o", "json", "--config", str(config), folder=repository)
    assert [item["target"] for item in json.loads(found.stdout)["packages"]] == ["t/a-1.0", "t/box-1.0"]
    gone = user.treebuild(*head, "uninstall", "-y", "t/a", "--config", str(config), folder=repository)
    assert gone.returncode == 0, gone.stderr + gone.stdout
    assert (root / "gone").is_file()
    assert not (root / "a").exists()


@pytest.mark.parametrize("luet", [False, True])
def test_who_owns_everything_needs_no_range_of_ids(luet: bool) -> None:
    with ExitStack() as stack:
        user = stack.enter_context(ordinary_user(ids=False))
        (user.home / "shop").mkdir()
        shop = stack.enter_context(workshop(user.home / "shop"))
        shop.package("t/one", {"etc": None, "etc/one": b"1"})
        shop.create()
        root = user.home / "root"
        root.mkdir()
        config = user.home / "conf.yaml"
        config.write_text(
            f"system:\n  rootfs: {root}\nrepositories:\n- name: r\n  type: disk\n  enable: true\n"
            f"  urls:\n  - {shop.build}\n"
        )
        subprocess.run(["chown", "-R", user.name, user.home], check=True)
        words = [*(["luet"] if luet else []), "install", "-y", "--config", str(config), "t/one"]
        done = user.treebuild(*words, folder=user.home)
        assert (done.returncode != 0, "no range" in done.stdout + done.stderr) == (True, True)
        done = user.treebuild(*words, "--same-owner=false" if luet else "--no-same-owner", folder=user.home)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (root / "etc/one").read_bytes() == b"1"
        assert (root / "etc/one").stat().st_uid == root.stat().st_uid == user.home.stat().st_uid
