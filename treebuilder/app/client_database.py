"""The verbs of the system database: what is in it in luet's form, and records that come and go without files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.app.client import PackageClient
from treebuilder.client import Record
from treebuilder.client.installed import matching, not_installed, record_of
from treebuilder.client.names import checked
from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.nodes.writing import write_yaml
from treebuilder.records import replace
from treebuilder.repository.fields import read_package
from treebuilder.repository.index import listing, mapping, parse_document, text, texts

Result = tuple[list[Any], str]
_LONGEST = 1 << 28
_BOLT = (b"\xed\xda\x0c\xed", b"\xed\x0c\xda\xed")  # the mark of a first page, on machines of either kind
_WAY = (
    "`luet database get-all-installed --output FILE` writes what it holds, and `database import FILE` takes that over"
)


def everything(client: PackageClient) -> Result:
    """All packages under lower-case Go names, as luet's `get-all-installed` writes them."""
    with client.reading() as database:
        found = [go_names(item) for item in database.records()]
    body = "".join(_item(value) for value in found)
    return found, body or "[]\n"


def _item(value: Mapping[str, Any]) -> str:
    lines = write_yaml(value).decode().splitlines()
    return "".join(("- " if at == 0 else "  ") + line + "\n" for at, line in enumerate(lines))


def go_names(found: Record) -> dict[str, Any]:
    package = found.package

    def refs(items: tuple[PackageRef, ...]) -> list[dict[str, Any]]:
        return [{"name": ref.name, "version": ref.version, "category": ref.category} for ref in items]

    return {
        "id": 0, "name": package.id.name, "version": package.id.version, "category": package.id.category,
        "useflags": list(package.use_flags), "state": "", "packagerequires": refs(package.requires),
        "packageconflicts": refs(package.conflicts), "provides": refs(package.provides), "hidden": package.hidden,
        "annotations": dict(package.annotations), "path": "", "description": package.description,
        "uri": list(package.uri), "license": package.license, "buildtimestamp": found.build_time,
        "labels": dict(package.labels), "treedir": "", "origindockerfile": "",
    }  # fmt: skip


def json_names(found: Record) -> dict[str, Any]:
    """The same under the names that luet's JSON has."""
    renamed = {"packagerequires": "requires", "packageconflicts": "conflicts", "useflags": "use_flags"}
    value = {renamed.get(key, key): item for key, item in go_names(found).items() if key != "state"}
    keep = ("id", "name", "category", "version", "requires", "conflicts", "annotations", "treedir", "path")
    return {key: item for key, item in value.items() if item or key in keep}


def one(client: PackageClient, refs: tuple[PackageRef, ...], *, files: bool) -> Result:
    """Packages under JSON names; nothing for what is not installed, as luet."""
    values: list[dict[str, Any]] = []
    lines = ""
    with client.reading() as database:
        installed = database.packages()
        for ref in refs:
            for package in matching(ref, installed):
                found = record_of(database, package.id)
                value = json_names(found)
                lines += write_yaml(value, sort_keys=True).decode()
                if files:
                    names = [path for path, kind in found.entries if kind != "d"]
                    value = value | {"files": names}
                    lines += write_yaml({"files": names}).decode()
                values.append(value)
    return values, lines


def create(client: PackageClient, files: tuple[Path, ...]) -> Result:
    """Records packages out of `*.metadata.yaml`. Raises ConfigError for one that is recorded already, UnsafeArchive
    for files that are none of a root."""
    fresh = list({found.package.id: found for found in map(_of_metadata, files)}.values())
    with client.writing() as database:
        there = {package.id for package in database.packages()}
        for found in fresh:
            if found.package.id in there:
                raise ConfigError(f"{found.package.id} is already in the system database", reason="installed")
        database.settle((), fresh, ())
    return _said(fresh, "created")


def _of_metadata(path: Path) -> Record:
    value = parse_document(_bytes(path), str(path))
    spec = mapping(value.get("compilespec"))
    built, build_time = read_package(mapping(spec.get("package")))
    runtime, _ = read_package(mapping(value.get("runtime")))
    package = runtime if runtime.id.name else built
    if not package.id.name:
        raise ConfigError(f"{path} describes no package")
    sha256 = text(mapping(value.get("checksums")).get("sha256"))
    entries = tuple((checked(name, str(path)), "f") for name in texts(value.get("files")))
    return Record(package, "", _digest(sha256), build_time, entries)


def _digest(hexadecimal: str) -> Digest | None:
    try:
        return Digest(hexadecimal)
    except ValueError:
        return None


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    if path.stat().st_size > _LONGEST:
        raise ConfigError(f"{path} is too long")
    return path.read_bytes()


def _said(records: list[Record], what: str) -> Result:
    names = [found.package.id.human for found in records]
    return [{"name": name} for name in names], "\n".join(f"{name} {what}" for name in names)


def remove(client: PackageClient, refs: tuple[PackageRef, ...]) -> Result:
    """Forgets packages, whatever their records say of files. Raises TreebuildError (reason "not-installed")."""
    with client.writing() as database:
        records = {found.package.id: found for found in database.records()}
        installed = tuple(found.package for found in records.values())
        gone = []
        for ref in refs:
            found = matching(ref, installed)
            if not found:
                raise not_installed(ref)
            gone += [records[package.id] for package in found]
        database.settle([found.package.id for found in gone], (), ())
    return _said(gone, "removed")


def take_over(client: PackageClient, path: Path) -> Result:
    """Records what luet knew: its `get-all-installed`, or `search --installed -o json`, which lists files too.

    What is recorded already keeps its record, and gets what it had none of, so the two lists come in any order: its
    files, and its definition where only a name was known. Everything that is new counts as asked for.
    """
    data = _bytes(path)
    if data[16:20] in _BOLT:
        raise ConfigError(f"{path} is luet's own database (bolt), which is not read", reason="database", hint=_WAY)
    rows = _json_records(data, path) if data.lstrip()[:1] == b"{" else _yaml_records(data, path)
    fresh = {row.package.id: row for row in rows}.values()
    with client.writing() as database:
        there = {found.package.id: found for found in database.records(entries=True)}
        chosen = []
        for found in fresh:
            old = there.get(found.package.id)
            made = found if old is None else _completed(old, found)
            if made != old:
                chosen.append(made)
        database.settle((), chosen, ())
    return _said(chosen, "recorded")


def _completed(old: Record, found: Record) -> Record:
    if not old.entries:
        old = replace(old, entries=found.entries)
    listed = not (old.repository or old.sha256 or old.build_time)
    if listed and old.package == Package(old.package.id, hidden=old.package.hidden):  # as JSON lists it
        old = replace(old, package=found.package, build_time=found.build_time)
    return old


def _yaml_records(data: bytes, path: Path) -> list[Record]:
    head = b"packages: " if data.lstrip()[:1] == b"[" else b"packages:\n"  # `[]` is what a list of nothing is
    value = parse_document(head + data, str(path))
    found = []
    for item in listing(value.get("packages")):
        package, build_time = read_package(mapping(item))
        found.append(Record(_named(package, path), "", None, build_time, ()))
    return found


def _named(package: Package, path: Path) -> Package:
    if not package.id.name:
        raise ConfigError(f"{path} holds a package without a name")
    return package


def _json_records(data: bytes, path: Path) -> list[Record]:
    try:
        value = json.loads(data)
        found = []
        for item in value["packages"] or []:
            id = PackageId(*(_word(item[key]) for key in ("category", "name", "version")))
            files = item.get("files") or []
            if not isinstance(files, list):
                raise TypeError(f"the files of {id} are no list")
            entries = tuple((checked(_word(name), "this list"), "f") for name in files)
            package = Package(id, hidden=item.get("hidden") is True)
            found.append(Record(_named(package, path), "", None, "", entries))
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise TreebuildError(f"this is no list of packages that luet writes: {err}", reason="database") from err


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
