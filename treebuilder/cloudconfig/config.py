"""Reads cloud-config: files, folders, standard input, literal YAML, and dot notation (os-and-ota.md §6.1)."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from treebuilder.cloudconfig.ask import Ask, is_url, shown
from treebuilder.errors import ConfigError, Place, SpecError, TreebuildError
from treebuilder.nodes import Entries, Node, load
from treebuilder.records import record, replace

_SUFFIXES = (".yaml", ".yml")
_MAX_BYTES = 16 << 20
_INDEX = re.compile(r"\[(\d{1,4})\]")
_STAGE = re.compile(r"stages\.([^\[\]=]+)(?=\[)")  # its name may have dots: boot.before
_SCALAR = re.compile(r"(true|false|-?[0-9]+)\Z")
_MAX_INDEX = 1000
FURTHER = "only the first document of a file is read, and here is another one"


@record
class Step:
    """One item of a stage. `name` may be empty. `config` is the name of the file's configuration, or the file's."""

    config: str
    name: str
    node: Node

    @property
    def place(self) -> Place:
        return self.node.place

    def __str__(self) -> str:
        return f"{self.config}.{self.name}" if self.name else f"{self.place}"


@record
class Config:
    """One source: its name and the whole document."""

    name: str
    source: str
    node: Node

    def steps(self, stage: str) -> tuple[Step, ...]:
        """The steps of a stage in the order written. Raises SpecError for wrong types."""
        stages = self.node.get("stages")
        found = None if stages is None else stages.get(stage)
        if found is None:
            return ()
        steps = []
        for item in found.items(f"stages.{stage}"):
            item.entries("a step")
            steps.append(Step(self.name, _label(item), item))
        return tuple(steps)

    def stages(self) -> tuple[str, ...]:
        stages = self.node.get("stages")
        return () if stages is None else tuple(name for name, _ in stages.entries("stages"))


@record
class Source:
    """A text and what it is called in messages."""

    name: str
    text: str


def sources(
    argument: str, stdin: str | None = None, fetch: Callable[[Ask], bytes] | None = None
) -> tuple[list[Source], list[TreebuildError]]:  # fmt: skip
    """What an argument stands for, and what of it cannot be read.

    A folder is read recursively, files in lexicographic order of their paths. `-` is `stdin`. URLs are for `fetch`.
    """
    if argument == "-":
        return [Source("<stdin>", stdin or "")], []
    if is_url(argument):
        return _fetched(argument, fetch)
    path = Path(argument)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError):  # a literal document is too long for a name, or holds a NUL
        is_folder = is_file = False
    if is_folder:
        files = _files_below(path)
    elif is_file:
        files = [path]
    elif "\n" in argument or ":" in argument or "=" in argument:
        return [Source("<argument>", argument)], []
    else:
        return [], [ConfigError(f"{argument} is neither a file nor a folder nor YAML")]
    found: list[Source] = []
    errors: list[TreebuildError] = []
    for file in files:
        try:
            found.append(Source(str(file), _read(file)))
        except (OSError, UnicodeDecodeError) as err:
            errors.append(ConfigError(f"{file} cannot be read: {err}", where=Place(str(file))))
        except TreebuildError as err:
            errors.append(err)
    return found, errors


def parse(source: Source, *, dotted: bool = False) -> Config:
    """One document. Raises SpecError with the line."""
    text = source.text
    node = dotted_document(shlex_words(text), source.name) if dotted else load(text, source.name)
    node.entries("a cloud-config file")
    return Config(_label(node) or Path(source.name).name, source.name, node)


def _label(node: Node) -> str:
    name = node.get("name")
    if name is None:
        return ""
    return name.written if name.kind in ("number", "boolean") else name.as_text("name")


def is_classic(source: Source) -> bool:
    """Whether the text has cloud-init's own header."""
    return source.text.startswith(("#cloud-config", "\ufeff#cloud-config"))


def further_document(source: Source) -> Place | None:
    """Where a second YAML document begins, which nobody reads; None for one alone."""
    begun, begins = False, 0
    for number, line in enumerate(source.text.removeprefix("\ufeff").split("\n"), 1):
        text = line.strip()
        if begun and line.startswith("---") and not line[3:4].strip():
            begins = begins or number
            text = line[3:].strip()
        if text and not text.startswith("#") and text not in ("---", "...") and not line.startswith("%"):
            if begins:
                return Place(source.name, begins)
            begun = True
    return None


def shlex_words(text: str) -> list[str]:
    """A command line's words. Unbalanced quotes are taken as letters: a kernel command line may hold anything."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def dotted_document(words: Iterable[str], source: str) -> Node:
    """`stages.boot[0].commands[0]=x` words as a document; words of another form are passed over.

    Values are YAML. Raises SpecError for a word that contradicts an earlier one.
    """
    place = Place(source)
    tree: dict[str, object] = {}
    for word in words:
        path, equals, value = word.partition("=")
        if not equals or not re.match(r"(stages\.|name\Z)", path):
            continue
        parts: list[str | int] = []
        stage = _STAGE.match(path)
        if stage is not None:
            parts, path = ["stages"], path[stage.start(1) :]
        for part in [stage[1], *path[len(stage[1]) :].split(".")] if stage is not None else path.split("."):
            name = _INDEX.sub("", part)
            parts += [name] if name else []
            parts += [int(number) for number in _INDEX.findall(part)]
        _put(tree, parts, _leaf(value, source), word, place)
    return _node(tree, place)


def _leaf(value: str, source: str) -> object:
    """Text, or a node that is text too where text is wanted: a command may begin with a bracket."""
    if not value.startswith(("[", "{", '"', "'")) and not _SCALAR.match(value):
        return value
    try:
        found = load(value, source)
    except SpecError:
        return value
    return found.value if found.kind == "text" else replace(found, place=Place(source), written=value)


def _put(tree: dict[str, object], parts: list[str | int], leaf: object, word: str, place: Place) -> None:
    here: object = tree
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        fresh: object = leaf if following is None else [] if isinstance(following, int) else {}
        if isinstance(part, int) and isinstance(here, list) and part <= _MAX_INDEX:
            here += [None] * (part + 1 - len(here))
            there = here[part]
            here[part] = fresh if there is None or following is None else _opened(there)
            here = here[part]
        elif isinstance(part, str) and isinstance(here, dict):
            here[part] = fresh if following is None else _opened(here.get(part, fresh))
            here = here[part]
        else:
            raise SpecError(f"{word!r} does not fit what was said before", where=place, reason="dot-notation")


def _opened(value: object) -> object:
    """What further words can add to."""
    if isinstance(value, Node) and value.kind in ("map", "list"):
        return dict(value.value) if value.kind == "map" else list(value.value)
    return value


def _node(value: object, place: Place) -> Node:
    match value:
        case dict():
            entries = Entries((str(name), _node(item, place)) for name, item in value.items())
            return Node("map", place, entries)
        case list():
            return Node("list", place, [_node(item, place) for item in value if item is not None])
        case Node():
            return value
        case _:
            return Node("text", place, str(value))


def _fetched(url: str, fetch: Callable[[Ask], bytes] | None) -> tuple[list[Source], list[TreebuildError]]:
    if fetch is None:
        return [], [ConfigError(f"{shown(url)} is not read here", hint="download it first", reason="url")]
    try:
        return [Source(shown(url), fetch(Ask(url, limit_bytes=_MAX_BYTES)).decode("utf-8"))], []
    except UnicodeDecodeError as err:
        return [], [ConfigError(f"{shown(url)} is no text: {err}", reason="encoding")]
    except TreebuildError as err:
        return [], [err]


def _files_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for base, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(base, name) for name in names if name.endswith(_SUFFIXES)]
    return sorted((path for path in found if path.is_file()), key=str)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than {_MAX_BYTES >> 20} MiB", where=Place(str(path)))
    return data.decode("utf-8")
