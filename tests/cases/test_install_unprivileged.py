"""Installing, as an ordinary user with a range of ids: owners and finalizers work, and luet's name does too."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
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
