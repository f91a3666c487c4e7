"""Build records that somebody with access to the cache changed: none is used, and all that they had is built here."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.cases.test_shared_cache import build, make, packages, states
from tests.registries import own_registry, stored
from tests.trees import Project
from treebuilder.serve.manifests import MANIFEST, parse
from treebuilder.serve.names import digest_of
from treebuilder.serve.storage import Storage

pytestmark = pytest.mark.engine

NAME = "cache/x"
Change = Callable[["Evil", dict[str, Any], dict[str, Any]], object]


class Evil:
    """Who may write to the registry."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def blob(self, data: bytes) -> dict[str, Any]:
        self.storage.add_bytes(NAME, data, digest_of(data))
        return {"digest": digest_of(data), "size": len(data)}

    def edit(self, change: Change) -> int:
        """Changes the configs and manifests of all records; what `change` returns is put for a config, if anything."""
        for tag in self.storage.tags(NAME):
            found = self.storage.manifest(NAME, tag)
            assert found is not None
            value = json.loads(self.storage.path(found.digest).read_bytes())
            config = json.loads(self.storage.path(value["config"]["digest"]).read_bytes())
            made = change(self, config, value)
            data = made if isinstance(made, bytes) else json.dumps(config).encode()
            if "config" in value:
                value["config"] |= self.blob(data)
            data = json.dumps(value).encode()
            self.storage.put_manifest(NAME, parse(data, MANIFEST, digest_of(data)).manifest, data, [tag])
        return len(self.storage.tags(NAME))


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
    return zstandard.ZstdCompressor().compress(out.getvalue())


def other_archive(evil: Evil, config: dict[str, Any], value: dict[str, Any], *names: str) -> None:
    if "packages" not in config:
        return
    item = evil.blob(archive(*(names or ("app",))))
    main = config["packages"]["main"]
    main["blobs"] = {"zstd": [item["digest"].removeprefix("sha256:"), item["size"]]}
    value["layers"] = [{**layer, **item} for layer in value["layers"][:1]]


def archive_of_another(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    """The archive is one of another record, which the registry and perhaps the reader has."""
    for tag in evil.storage.tags(NAME):
        found = evil.storage.manifest(NAME, tag)
        assert found is not None
        other = json.loads(evil.storage.path(found.digest).read_bytes())
        if "packages" in config and tag.startswith("artifact-") and other["layers"] != value["layers"]:
            item = other["layers"][0]
            config["packages"]["main"]["blobs"] = {"zstd": [item["digest"].removeprefix("sha256:"), item["size"]]}
            value["layers"] = other["layers"]
            return


def evil_names(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    other_archive(evil, config, value, "../../evil")


def evil_files(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    if "files" in config:
        config["files"] = {content: ["../../evil", "/etc/passwd"] for content in config["files"]}


def fewer_files(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    if "files" in config:
        config["files"] = {content: [] for content in config["files"]}


def more_bytes(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    if "packages" in config:
        config["packages"]["main"]["size"] = 512


def deep(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    config["document"] = "[" * 200_000


def deep_config(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> bytes:
    return b"[" * 200_000


def no_json(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> bytes:
    return b"garbage"


def no_config(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    del value["config"]


def odd_values(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    if "result" in config:
        config["result"]["state"]["layers"] = 3
    if "packages" in config:
        config["packages"]["main"]["left_out"] = [[]]


def odd_numbers(evil: Evil, config: dict[str, Any], value: dict[str, Any]) -> None:
    if "result" in config:
        config["result"]["size"] = float("inf")
    if "packages" in config:
        config["packages"]["main"]["size"] = float("inf")


CHANGES: list[Change] = [
    other_archive, archive_of_another, evil_names, evil_files, fewer_files, more_bytes, deep, deep_config, no_json,
    no_config, odd_values, odd_numbers,
]  # fmt: skip


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    """A project and the registry's folder with its records."""
    top = tmp_path_factory.mktemp("pushed")
    with own_registry(top / "registry") as address:
        one = make(top / "one")
        states(build(one, address, "--push", "t/app"))
    return one, top / "registry"


@pytest.mark.parametrize("change", CHANGES)
def test_a_record_that_was_changed_is_not_used(pushed: tuple[Project, Path], tmp_path: Path, change: Change) -> None:
    one, folder = pushed
    shutil.copytree(folder, tmp_path / "registry")
    with stored(tmp_path / "registry") as (storage, address):
        assert Evil(storage).edit(change) == 9
        two = make(tmp_path / "two")
        done = build(two, address, "--pull", "t/app")
        assert done.code == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert any("is not used" in warning["message"] for warning in done.value["warnings"])
        for name in ("app-t-1.0.package.tar.zst", "app-t-1.0.metadata.yaml"):
            assert packages(two)[name] == packages(one)[name]
        assert two.text("app-t-1.0", "app") == "lib\np\n"
