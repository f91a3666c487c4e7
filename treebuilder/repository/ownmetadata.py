"""Metadata as our builds write it, turned into an item of an index line by line, without making values of it.

A document in another form, and one with a text of several lines outside of a list, is left to the reader of any YAML
(`metadata.read_built`), which takes five times as long; a test holds every answer against its.
"""

from __future__ import annotations

import functools
import re

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError
from treebuilder.model.package import PackageId
from treebuilder.nodes.writing import write_yaml
from treebuilder.records import record
from treebuilder.repository.buildvalues import BUILD_VALUES, of_options
from treebuilder.repository.entries import entry_text, ref_text
from treebuilder.repository.fields import build_options
from treebuilder.repository.index import mapping
from treebuilder.repository.plainyaml import read_plain_yaml, read_scalar


def _list(pad: str) -> str:
    return rf"(?: \[\]\n|\n((?:{pad}- .+\n(?:(?:{pad}    .*)?\n)*)+))"


def _map(pad: str) -> str:
    return rf"(?: \{{\}}\n|\n((?:{pad}    .+\n)+))"


_L, _M = _list("    "), _map("    ")
_REFS = r"(?: \[\]\n|\n((?:    -   id: 0\n(?:        .+\n)+)+))"
_HEAD = re.compile(
    r"path: (.+)\ndependencies: \[\]\ncompilespec:\n"
    rf"(?:    steps:{_L})?    env:{_L}    prelude:{_L}    image: (.+)\n    seed: (.+)"
)
_TAIL = re.compile(
    rf"    package_dir: (.+)\n    retrieve:{_L}    outputpath: ''\n    unpack: (true|false)\n    includes:{_L}"
    rf"    excludes:{_L}    buildoptions:\n((?:        .+\n)+)    copy: \[\]\n    requires_final_images: (true|false)\n"
    r"checksums:\n    sha256: (.+)\nsourceassertion: \[\]\ncompressiontype: (.+)\n"
    r"files:(?: \[\]\n|\n((?:- .+\n)+))packagecacheimage: (.+)"
)
_PACKAGE = re.compile(
    r"    id: 0\n    name: (.+)\n    version: (.+)\n    category: (.+)\n"
    rf"    useflags:{_L}    state: ''\n    packagerequires:{_REFS}    packageconflicts:{_REFS}    provides:{_REFS}"
    rf"    hidden: (true|false)\n    annotations:{_M}    path: ''\n    description: (.+)\n    uri:{_L}"
    rf"    license: (.+)\n    buildtimestamp: (.+)\n    labels:{_M}    treedir: ''\n    origindockerfile: ''"
)
_REF = re.compile(
    r"        name: (.+)\n        version: (.+)\n        category: (.+)\n        useflags: \[\]\n        state: ''\n"
    r"        packagerequires: \[\]\n        packageconflicts: \[\]\n        provides: \[\]\n        hidden: false\n"
    r"        annotations: \{\}\n        path: ''\n        description: ''\n        uri: \[\]\n        license: ''\n"
    r"        buildtimestamp: ''\n        labels: \{\}\n        treedir: ''\n        origindockerfile: ''\n"
)
_SURE = re.compile(  # written as they stand: plain, or quoted because they must be
    r"[A-Za-z_/][\w/.+@%()=,-]{5,}|'(?:[^A-Za-z_/'][^']*|[^']*(?:[^\w/.+@%()=, '-]| -)[^']*)'", re.ASCII
)


_USUAL = bytes([10, *range(32, 127)])  # what needs no closer look


class _Odd(Exception):
    """Something for the full reader."""


@record
class Quick:
    """What a metadata file came to: its package, its archive's name and sha256, and its item of an index, in two parts:
    between them the place of the archive is said."""

    id: PackageId
    archive: str
    sha256: str
    before: str
    after: str

    def entry(self, path: str) -> bytes:
        """The item for an archive at `path`, relative to the repository."""
        plain = path[:1] != "'" and _SURE.fullmatch(path)
        return f"{self.before}{path if plain else entry_text(path)}{self.after}".encode("utf-8", "surrogateescape")


def read_quickly(data: bytes) -> Quick | None:
    """None where the full reader must decide."""
    try:
        text = data.decode()
        strange = data.translate(None, _USUAL)
        return None if strange and not text.replace("\n", "").isprintable() else _read(text)
    except (_Odd, UnicodeDecodeError):
        return None


def _read(text: str) -> Quick:
    head_text, _, rest = text.partition("\n    package:\n")
    build_text, _, rest = rest.partition("\n    sourceassertion: []\n")
    tail_text, _, rest = rest.partition("\nruntime:\n")
    runtime_text, found, ours = rest.partition("\ntreebuild:")
    head, tail = _HEAD.fullmatch(head_text), _TAIL.fullmatch(tail_text)
    if not found or head is None or tail is None:
        raise _Odd
    archive, steps, env, prelude, image, seed = head.groups()
    folder, retrieve, unpack, includes, excludes, options, final, sha256, kind, files, cache_image = tail.groups()
    runtime = build = _package(runtime_text)
    shallow = build_text.replace("\n        ", "\n    ")[4:]
    if len(build_text) != len(shallow) + 4 * (shallow.count("\n") + 1):
        raise _Odd  # not all of it is that deep
    if shallow != runtime_text:
        build = _package(shallow)
    own = build if build.named == runtime.named else runtime
    time = "" if build.time == "''" else f"buildtimestamp: {build.time}\n"
    before = (
        f"- checksums:\n    sha256: {_written(sha256)}\n  compilationspec:\n{_told(options)}    copy: []\n"
        f"    env:{_texts(env)}"
        f"    excludes:{_texts(excludes)}    image: {_written(image)}\n    includes:{_texts(includes)}    package:\n"
        f"{own.nested('      ', time)}    package_dir: {_written(folder)}\n    prelude:{_texts(prelude)}"
        f"    requires_final_images: {final}\n    retrieve:{_texts(retrieve)}    seed: {_written(seed)}\n"
        f"    steps:{_texts(steps)}    unpack: {unpack}\n  compressiontype: {_written(kind)}\n  dependencies: []\n"
        f"  files:{_files(files)}  package_cacheimage: {_written(cache_image)}\n  path: "
    )
    after = f"\n  runtime:\n{runtime.nested('    ', time)}{_ours(ours)}"
    category, name, version = map(_value, runtime.named)
    if not name:
        raise _Odd
    return Quick(PackageId(category, name, version), _value(archive).rsplit("/", 1)[-1], _value(sha256), before, after)


# parts of it ----------------------------------------------------------------------------------------------------------
@record
class _Package:
    """`named` are category, name and version, and `time` is the build time, as they are written; of its map in an index
    `first` is what stands before that time."""

    named: tuple[str, str, str]
    time: str
    first: str
    rest: str

    def nested(self, pad: str, time: str) -> str:
        text = f"{self.first}{time}{self.rest}"
        return pad + text[:-1].replace("\n", f"\n{pad}") + "\n"


def _package(text: str) -> _Package:
    found = _PACKAGE.fullmatch(text)
    if found is None:
        raise _Odd
    (
        name, version, category, flags, requires, conflicts, provides, hidden, annotations, description, uri, license,
        time, labels,
    ) = found.groups()  # fmt: skip
    named = _written(category), _written(name), _written(version)
    description, license = _written(description), _written(license)
    lines = [f"category: {named[0]}\nconflicts:{_refs(conflicts)}"]
    if description != "''":
        lines.append(f"description: {description}\n")
    lines.append("hidden: true\nid: 0\n" if hidden == "true" else "id: 0\n")
    if labels is not None:
        lines.append(f"labels:{_pairs(labels)}")
    if license != "''":
        lines.append(f"license: {license}\n")
    lines.append(f"name: {named[1]}\n")
    if provides is not None:
        lines.append(f"provides:{_refs(provides)}")
    lines.append(f"requires:{_refs(requires)}treedir: ''\n")
    if uri is not None:
        lines.append(f"uri:{_texts(uri, '')}")
    if flags is not None:
        lines.append(f"use_flags:{_texts(flags, '')}")
    lines.append(f"version: {named[2]}\n")
    return _Package(named, _written(time), f"annotations:{_pairs(annotations)}", "".join(lines))


def _refs(block: str | None) -> str:
    if block is None:
        return " []\n"
    return "\n" + "".join(map(_ref, block.split("    -   id: 0\n")[1:]))


@functools.lru_cache(16384)
def _ref(lines: str) -> str:
    found = _REF.fullmatch(lines)
    if found is None:
        raise _Odd
    name, version, category = map(_value, found.groups())
    return f"{ref_text(category, name, version)}\n"


def _pairs(block: str | None) -> str:
    if block is None:
        return " {}\n"
    found = _document(f"x:\n{block}")["x"]
    if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
        raise _Odd
    return write_yaml({"x": found}, sort_keys=True, indent=2).decode()[2:]


def _texts(block: str | None, pad: str = "    ") -> str:
    """A list whose items stand four deep, as one whose items stand `pad` deep."""
    if block is None:
        return " []\n"
    lines = block.split("\n")[:-1]
    if all(line[:6] == "    - " for line in lines):
        return "\n" + "".join([f"{pad}- {_written(line[6:])}\n" for line in lines])
    items = _document(f"x:\n{block}")["x"]
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _Odd
    written = write_yaml({"x": items}, indent=2).decode()[2:-1]
    return written.replace("\n", f"\n{pad}") + "\n"


def _files(block: str | None) -> str:
    if block is None:
        return " []\n"
    return "\n" + "".join([f"  - {_written(line[2:])}\n" for line in block.split("\n")[:-1]])


def _ours(block: str) -> str:
    """What we say of the package under a key of our own: texts only."""
    if block == " {}\n":
        return ""
    whole = _document(f"x:{block}")
    found = whole["x"]
    if len(whole) > 1 or not isinstance(found, dict):
        raise _Odd
    texts = {key: item for key, item in found.items() if isinstance(item, str)}
    if not texts:
        return ""
    return "  " + write_yaml({"treebuild": texts}, sort_keys=True, indent=2).decode()[:-1].replace("\n", "\n  ") + "\n"


@functools.lru_cache(64)
def _told(options: str) -> str:
    """What of a `buildoptions` an index repeats, as its lines there; all packages of a build have the same."""
    document = f"x:\n{options}"
    found = build_options(mapping(_document(document)["x"]))
    if not found:
        return ""
    if BUILD_VALUES in found:
        try:
            found[BUILD_VALUES] = of_options(document, ("x",))
        except IntegrityError as err:
            raise _Odd from err
    written = write_yaml({"build_options": found}, sort_keys=True, indent=2).decode()[:-1]
    return "    " + written.replace("\n", "\n    ") + "\n"


def _document(text: str) -> dict[str, Any]:
    found = read_plain_yaml(text)
    if found is None:
        raise _Odd
    return found


def _written(raw: str) -> str:
    """A scalar as we write it."""
    return raw if _SURE.fullmatch(raw) else entry_text(_value(raw))


def _value(raw: str) -> str:
    found = read_scalar(raw)
    if found is None or not found.isprintable():
        raise _Odd
    return found
