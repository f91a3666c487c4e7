"""A root, a repository and a configuration as users of luet have them, and the program under that name."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.repository_parts import Workshop, workshop
from treebuilder.cli.main import main


@dataclass
class Luet:
    shop: Workshop
    root: Path
    config: Path

    def __call__(self, *words: str, answer: str = "") -> tuple[int, str]:
        """Exit code and stdout; nothing may be on stderr but what warns."""
        out, stdin = io.StringIO(), sys.stdin
        sys.stdin = io.StringIO(answer)
        try:
            with contextlib.redirect_stdout(out):
                code = main(["luet", *words, "--config", str(self.config)])
        finally:
            sys.stdin = stdin
        return code, out.getvalue()

    def create(self) -> None:
        """The repository of what the workshop has now."""
        assert self("create-repo", "--tree", "tree", "--packages", "build", "--output", "build")[0] == 0

    def installed(self) -> list[str]:
        code, text = self("search", "--installed", "-o", "json", ".")
        assert code == 0
        return [item["target"] for item in json.loads(text)["packages"] or []]


@pytest.fixture
def luet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Luet]:
    """A repository of test/a, test/b, which requires it, and test/c; nothing is installed yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    with workshop(tmp_path) as shop:
        shop.package("test/a", {"a": b"a"})
        shop.package("test/b", {"etc": None, "etc/b": b"b"}, requires=("test/a",))
        shop.package("test/c", {"c": b"c"})
        config = tmp_path / "luet.yaml"
        config.write_text(
            f"general:\n  debug: true\nsystem:\n  rootfs: {tmp_path}/root\n  database_path: /\n"
            "  database_engine: boltdb\nconfig_from_host: true\nrepositories:\n"
            f"- name: main\n  type: disk\n  enable: true\n  urls:\n  - {shop.build}\n"
        )
        made = Luet(shop, tmp_path / "root", config)
        code, _ = made("create-repo", "--tree", "tree", "--packages", "build", "--output", "build", "--name", "main")
        assert code == 0
        yield made
