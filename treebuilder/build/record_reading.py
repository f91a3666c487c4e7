"""What a build record of somebody else says, believed only as far as it was checked.

A record's document must hash to the key that was asked for, and an archive must be the content with the files that the
record names; what a layer is, is checked when it is unpacked (`SharedCache.bring`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from treebuilder.annotations import IO, Any, cast
from treebuilder.archive.compress import decompressed
from treebuilder.archive.reading import entries
from treebuilder.build.artifacts import Packages
from treebuilder.build.results import ArtifactResult, NodeResult
from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import json_object
from treebuilder.oci.seal import HashingSink
from treebuilder.plan.keys import NodeKeys, digest_of

# What a value of another form leads to.
ODD = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError)
Files = dict[str, tuple[str, ...]]  # names in an archive, in its order, by the content's digest


def node_of(config: Mapping[str, Any], keys: NodeKeys, what: str) -> NodeResult:
    """The result in a node's record. Raises IntegrityError."""
    try:
        if _plan_key(config["document"], what) != keys.plan:
            raise IntegrityError(f"{what}: a record under a key that its document does not give")
        result = NodeResult.from_json(config["result"])
        _need_texts((*result.changed, *result.deleted, *result.passed), what)
        return result
    except ODD as err:
        raise IntegrityError(f"{what}: the record has another form: {err!r:.200}") from err


def built_of(config: Mapping[str, Any], key: Digest, what: str) -> NodeResult:
    """The result in a record under a build key. Raises IntegrityError."""
    try:
        result = NodeResult.from_json(config["result"])
        if digest_of(config["inputs"]) != key or result.build_key != key:
            raise IntegrityError(f"{what}: a record under a key that its inputs do not give")
        _need_texts((*result.changed, *result.deleted, *result.passed), what)
        return result
    except ODD as err:
        raise IntegrityError(f"{what}: the record has another form: {err!r:.200}") from err


def packages_of(config: Mapping[str, Any], keys: NodeKeys, what: str) -> tuple[Packages, Files]:
    """The packages in an artifact's record, and the files that it says are in them. Raises IntegrityError."""
    try:
        plan = _plan_key(config["document"], what)
        if digest_of(["artifact-plan", plan.hex, config["packing"]]) != keys.artifact:
            raise IntegrityError(f"{what}: a record under a key that its document does not give")
        packages = Packages.from_json(config["packages"])
        _need_texts([path for one in packages.all() for path in one.left_out], what)
        listed = config["files"]
        return packages, {one.content.hex: tuple(map(str, listed[one.content.hex])) for one in packages.all()}
    except ODD as err:
        raise IntegrityError(f"{what}: the record has another form: {err!r:.200}") from err


def _need_texts(values: Iterable[object], what: str) -> None:
    if not all(isinstance(value, str) for value in values):
        raise IntegrityError(f"{what}: the record has another form: what is no text stands where one belongs")


def _plan_key(text: object, what: str) -> Digest:
    """The plan key that a document gives (`plan.keys.plan_keys`)."""
    document = json_object(str(text), f"{what}: its document")
    recipe = digest_of(document["recipe"])
    return digest_of(["plan", recipe.hex, document["base"], document["copies"], document["artifacts"]])


def check_archive(archive: Path, claimed: ArtifactResult, files: tuple[str, ...], what: str) -> None:
    """Compares an archive with what a record says is in it.

    Raises IntegrityError, UnsafeArchive (a name that leads elsewhere).
    """
    with archive.open("rb") as source:
        counted = _Counted(decompressed(source), claimed.size_bytes, what)
        plain = io.BufferedReader(counted, 1 << 20)
        found = tuple(entry.path for entry, _ in entries(plain, what) if entry.kind != "d")
        while plain.read(1 << 20):
            pass
    if counted.seen.digest() != claimed.content or counted.seen.size_bytes != claimed.size_bytes:
        raise IntegrityError(f"{what}: the archive's content is {counted.seen.digest()}, not {claimed.content}")
    if found != files:
        raise IntegrityError(f"{what}: the record names other files than its archive holds")


class _Counted(io.RawIOBase):
    """Hashes what is read, and refuses more than was announced."""

    def __init__(self, source: IO[bytes], limit: int, what: str) -> None:
        self.seen = HashingSink()
        self._source, self._limit, self._what = source, limit, what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        data = self._source.read(len(buffer))
        self.seen.write(data)
        if self.seen.size_bytes > self._limit:
            raise IntegrityError(f"{self._what}: the archive holds more than the {self._limit} bytes it should")
        cast("memoryview", buffer)[: len(data)] = data
        return len(data)
