"""Dockerfiles as values: instructions with their lines, gathered into stages. Nothing is run or looked up here.

Source: Dockerfile reference. What would mean something else than what is written here, or cannot be reproduced, is
an error with file and line: heredocs, mounts, triggers, other front ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from treebuilder.errors import Place, SpecError
from treebuilder.model import envline
from treebuilder.records import record

_FLAGS = {
    "FROM": {"platform"}, "RUN": {"network"}, "COPY": {"from", "chown", "chmod", "link"},
    "ADD": {"chown", "chmod", "link", "checksum"}, "HEALTHCHECK": {"interval", "timeout", "start-period", "retries"},
}  # fmt: skip
WITHOUT_EFFECT = frozenset(
    ["CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "STOPSIGNAL", "VOLUME"]
)
KNOWN = frozenset(["ADD", "ARG", "COPY", "ENV", "FROM", "RUN", "SHELL", "USER", "WORKDIR"]) | WITHOUT_EFFECT
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*\Z")
_HEREDOC = re.compile(r"\d*<<-?[^<\s]+\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FRONT_END = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?(:[\w.-]+)?(@sha256:[0-9a-f]+)?\Z")


@record
class Instruction:
    """`name` is upper case; `text` what follows its flags, continuations joined; `words` its JSON form, if any."""

    name: str
    flags: tuple[tuple[str, str], ...]
    text: str
    words: tuple[str, ...] | None
    line: int

    def flag(self, name: str) -> str:
        return dict(self.flags).get(name, "")


@record
class Stage:
    """One FROM and what follows. It stands on another stage, on `image`, or (`image` empty too) on nothing.

    `line` is that of its FROM.
    """

    name: str
    parent: int | None
    image: str
    instructions: tuple[Instruction, ...]
    line: int


@record
class Dockerfile:
    """`arguments` are those before the first FROM, with the platform's; `file` is for messages."""

    file: str
    stages: tuple[Stage, ...]
    arguments: tuple[tuple[str, str], ...]

    def stage_named(self, reference: str, before: int) -> int | None:
        """The earlier stage that a `--from` means, by name or number; None for an image."""
        for index in range(before - 1, -1, -1):
            if self.stages[index].name and self.stages[index].name == reference.lower():
                return index
        if reference.isascii() and reference.isdigit() and int(reference) < before:
            return int(reference)
        return None

    def needed(self) -> tuple[int, ...]:
        """The stages that the last one needs, in order, itself last."""
        found: set[int] = set()
        todo = [len(self.stages) - 1]
        while todo:
            index = todo.pop()
            if index in found:
                continue
            found.add(index)
            stage = self.stages[index]
            sources = [self.stage_named(i.flag("from"), index) for i in stage.instructions if i.flag("from")]
            todo.extend(source for source in [stage.parent, *sources] if source is not None)
        return tuple(sorted(found))


def fault(message: str, file: str, line: int, hint: str | None = None) -> SpecError:
    return SpecError(message, where=Place(file, line), reason="dockerfile", hint=hint)


def parse(text: str, file: str, platform: str) -> Dockerfile:
    """Reads a Dockerfile for one platform ("linux/amd64"). Raises SpecError (reason "dockerfile") with its line."""
    arguments = _platform_arguments(platform)
    stages: list[Stage] = []
    body: list[Instruction] = []
    for item in _instructions(text, file):
        if item.name == "FROM":
            if stages:
                stages[-1] = _with(stages[-1], body)
            body = []
            stages.append(_from(item, stages, arguments, file, platform))
        elif stages:
            body.append(item)
        elif item.name == "ARG":
            for name, value in argument_pairs(item, arguments, file):
                if value is not None:
                    arguments[name] = value
        else:
            raise fault(f"{item.name} stands before the first FROM", file, item.line)
    if not stages:
        raise fault("there is no FROM", file, 0)
    stages[-1] = _with(stages[-1], body)
    return Dockerfile(file, tuple(stages), tuple(arguments.items()))


def _with(stage: Stage, body: list[Instruction]) -> Stage:
    return Stage(stage.name, stage.parent, stage.image, tuple(body), stage.line)


def _platform_arguments(platform: str) -> dict[str, str]:
    system, _, architecture = platform.partition("/")
    return {
        f"{side}{what}": value
        for side in ("BUILD", "TARGET")
        for what, value in (("PLATFORM", platform), ("OS", system), ("ARCH", architecture), ("VARIANT", ""))
    }


def _from(item: Instruction, stages: list[Stage], arguments: Mapping[str, str], file: str, platform: str) -> Stage:
    words = item.text.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise fault("FROM is `FROM image` or `FROM image AS name`", file, item.line)
    wanted = envline.expand(item.flag("platform"), arguments)
    if wanted and wanted != platform:
        raise fault(f"the platform {wanted} is not this machine's, {platform}", file, item.line)
    image = envline.expand(words[0], arguments)
    if not image:
        raise fault(f"FROM {words[0]} names no image: an ARG without a value", file, item.line)
    name = words[2].lower() if len(words) == 3 else ""
    if name.isdigit():
        raise fault(f"a stage cannot be called {name}", file, item.line)
    for index in range(len(stages) - 1, -1, -1):
        if stages[index].name and stages[index].name == image.lower():
            return Stage(name, index, "", (), item.line)
    return Stage(name, None, "" if image == "scratch" else image, (), item.line)


def argument_pairs(item: Instruction, known: Mapping[str, str], file: str) -> Iterator[tuple[str, str | None]]:
    """Names and values of an ARG instruction; a value is None where it says none. `known` are for expansion."""
    for word in envline.words(item.text):
        name, equals, value = word.partition("=")
        if not _NAME.match(name):
            raise fault(f"ARG {word}: {name!r} is no name of a variable", file, item.line)
        yield name, envline.expand(value, known) if equals else None


# lines -----------------------------------------------------------------------------------------------------------
def _instructions(text: str, file: str) -> Iterator[Instruction]:
    for line, joined in _joined(text, file):
        name, _, rest = joined.partition(" ") if " " in joined else joined.partition("\t")
        if "\t" in name:
            name, _, rest = joined.partition("\t")
        yield _instruction(name.upper(), rest.strip(), file, line)


def _joined(text: str, file: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first line; comments and continuations are gone."""
    escape, rows = "\\", text.removeprefix("\ufeff").splitlines()
    directives = True
    parts: list[str] = []
    began = 0
    for number, row in enumerate(rows, 1):
        found = _DIRECTIVE.match(row.strip()) if directives else None
        if found is not None:
            escape = _directive(found[1].lower(), found[2], escape, file, number)
            continue
        directives = False
        stripped = row.strip()
        if not stripped or stripped.startswith("#"):
            continue
        began = began or number
        content = row if parts else row.lstrip()
        ended = content.rstrip(" \t")
        if ended.endswith(escape) and not ended.endswith(escape * 2):
            parts.append(ended[:-1])
            continue
        yield began, "".join([*parts, content]).strip()
        parts, began = [], 0
    if parts and "".join(parts).strip():
        yield began, "".join(parts).strip()


def _directive(key: str, value: str, escape: str, file: str, line: int) -> str:
    if key == "escape":
        if value not in ("\\", "`"):
            raise fault(f"escape is \\ or `, not {value!r}", file, line)
        return value
    if key == "syntax" and not _FRONT_END.match(value):
        raise fault(f"the front end {value} is foreign: only Docker's own syntax is understood", file, line)
    return escape


def _instruction(name: str, rest: str, file: str, line: int) -> Instruction:
    if name == "ONBUILD":
        raise fault("ONBUILD triggers are not supported", file, line, "write the instructions where they are needed")
    if name not in KNOWN:
        raise fault(f"there is no instruction {name}", file, line)
    flags: list[tuple[str, str]] = []
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        key, _, value = flag[2:].partition("=")
        if key not in _FLAGS.get(name, set()):
            raise fault(f"{name} --{key} is not supported", file, line)
        flags.append((key, value))
    if not rest:
        raise fault(f"{name} says nothing", file, line)
    if name in ("RUN", "COPY", "ADD"):
        if any(_HEREDOC.match(word) for word in envline.words(rest)):
            raise fault(
                "here-documents are not supported", file, line, "put the text into a file beside the Dockerfile"
            )
    return Instruction(name, tuple(flags), rest, _json_form(rest), line)


def _json_form(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    return None
