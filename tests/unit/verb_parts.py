"""The verbs of the package client over one root, as somebody types them."""

from __future__ import annotations

import contextlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.repository_parts import Workshop, workshop
from tests.unit.system_parts import PLACE, System
from treebuilder.cli.main import main


def typed(*words: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


class Spoken(ABC):
    """Whoever can `say` a command line hears its JSON."""

    @abstractmethod
    def say(self, *words: str) -> tuple[int, str, str]:
        """Exit status, output and errors."""

    def json(self, *words: str) -> dict[str, Any]:
        code, out, err = self.say(*words, "--json")
        assert code == 0, err
        value = json.loads(out)
        assert isinstance(value, dict)
        return value


@dataclass
class Verbs(Spoken):
    """`system` is the root with its database. Its repository is what the workshop made last."""

    system: System

    @property
    def shop(self) -> Workshop:
        return self.system.shop

    def say(self, *words: str) -> tuple[int, str, str]:
        """Exit status, output and errors, of the repository as it is now."""
        self.shop.create()
        repository = {"name": "test", "type": "disk", "enable": True, "urls": [str(self.shop.build)], "trust": "none"}
        value = {
            "system": {"rootfs": str(self.system.root), "database_path": f"/{PLACE}"}, "repositories": [repository],
            "config_from_host": False,
        }  # fmt: skip
        conf = self.shop.top / "conf.yaml"
        conf.write_text(json.dumps(value))
        given = ["--config", str(conf)]
        given += [] if words[0] == "luet" else ["--cache-dir", str(self.shop.top / "cache"), "--progress=plain"]
        return typed(*words, *given)

    def came(self, *words: str) -> list[str]:
        """What a change brought, which a dry run promised."""
        promised = self.json(*words, "--dry-run")
        done = self.json(*words)
        keys = ("installed", "removed", "adopted")
        assert [promised[key] for key in keys] == [done[key] for key in keys]
        return [f"{item['category']}/{item['name']}-{item['version']}" for item in done["installed"]]

    def refused(self, *words: str) -> str:
        """Why nothing was changed."""
        before = (self.system.installed(), self.system.listing())
        code, _, err = self.say(*words)
        assert code in (1, 2)
        assert (self.system.installed(), self.system.listing()) == before
        return err

    def asked_for(self) -> list[str]:
        database = self.system.database()
        try:
            return [str(found.package.id) for found in database.records() if found.requested]
        finally:
            database.close()

    def empty_repository(self) -> None:
        """What was made so far is in no repository any more."""
        for folder in (self.shop.tree, self.shop.build):
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def verbs(tmp_path: Path) -> Iterator[Verbs]:
    with workshop(tmp_path) as made:
        (tmp_path / "root").mkdir()
        yield Verbs(System(made, tmp_path / "root"))
