"""Called as luet on a root that is read-only: what is there can be read, and what cannot be done says why."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cases.luet_machine import Luet, luet
from tests.services import privately
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, serving

__all__ = ["luet"]  # fixtures
pytestmark = pytest.mark.engine
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def read_only(luet: Luet, *words: str) -> tuple[int, str]:
    """Exit code and all that is said, in mounts of its own."""
    command = [sys.executable, "-m", "treebuilder", "luet", *words, "--config", str(luet.config)]
    done = subprocess.run(
        privately(READ_ONLY, str(luet.root), *command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("log", [False, True])
def test_a_root_that_is_read_only(luet: Luet, log: bool) -> None:
    """With what a killed run leaves beside the index of the cache, and without."""
    with serving(Folder(luet.shop.build), Listening("127.0.0.1", 0)) as address:
        text = luet.config.read_text().partition("repositories:")[0]
        luet.config.write_text(
            f"{text}repositories:\n- name: main\n  type: http\n  enable: true\n  cached: true\n  trust: none\n"
            f"  urls:\n  - http://{address}\n"
        )
        assert luet("repo", "update")[0] == 0
        assert luet("install", "-y", "test/a")[0] == 0
        if log:
            killed = (
                "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
                "db.execute(\"INSERT INTO notes VALUES ('a', 'b', 'c')\"); os._exit(0)"
            )
            index = luet.root / "packages/treebuild/index.sqlite"
            subprocess.run([sys.executable, "-c", killed, str(index)], check=True)
            assert index.with_name("index.sqlite-wal").stat().st_size
        (luet.root / "packages/treebuild/tmp/of-a-killed-run").mkdir()
        listed = "test/a-1.0\ntest/b-1.0\ntest/c-1.0\n"
        assert read_only(luet, "search", "-q") == (0, listed)
        assert read_only(luet, "install", "--dry-run", "test/c")[0] == 0
        for words in (
            ("install", "-y", "test/c"),
            ("install", "-y", "--relax", "test/c"),
            ("uninstall", "-y", "test/a"),
        ):
            code, text = read_only(luet, *words)
            assert (code, text.count("read-only")) == (2, 1), text
        luet.shop.package("test/d", {"d": b"d"})
        luet.create()
        code, text = read_only(luet, "repo", "update")
        assert (code, text.lower().count("read-only")) == (2, 1), text
    code, text = read_only(luet, "search", "-q")
    assert (code, listed in text) == (0, True), text  # the server is gone
