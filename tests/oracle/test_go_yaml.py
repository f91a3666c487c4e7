"""Our reading of YAML, and of definitions, against go-yaml and Go's types: files as people write and break them.

Needs the Debian packages in `PACKAGES` and no network.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.test_go_templates import GOPATH, HERE
from tests.services import installed
from treebuilder.errors import SpecError
from treebuilder.model.package import Package
from treebuilder.nodes import load
from treebuilder.tree.definition import read_package

pytestmark = pytest.mark.oracle

PACKAGES = "golang-go golang-gopkg-yaml.v2-dev"
FILES = (HERE / "specfiles.txt").read_text(encoding="utf-8").split("\n====\n")
# What is put into files, to break them or not. Left out is what libyaml and go-yaml read in two ways: between braces
# `?` in plain texts and colons without a space (we refuse `{name:, a}`), `\/`, tags of keys, a byte order mark amid a
# text.
PIECES = (
    "- ", "  ", "\t", ": ", "#", " #", '"', "'", "|\n", ">\n", "&a ", "*a", "!!str ", " {", " [", "]", ",",
    "\n", "\n\n", "\r\n", "%", "@", "`", "---\n", "...\n", "<<: ", "~", "null", "1_0", "0x1", "1e3", ".5", "+1",
    "-", "é", "\u2028", "\x85", "=", "0b1", "08", "2001-01-01", "12:30", '"a" b', "|-", "|+", ">-", "|1",
    "\x7f", "\x01", "\u00a0", "\U0001f600", "&a", "*a ", "- - ", "-\n",
)  # fmt: skip
SCALARS = (
    "a", '"1.0"', "1.0", "1.10", "20", "1e3", "0x10", "2020-01-01", "2020-01-01T10:00:00Z", "12:30:00", "true", "yes",
    "y", "no", "off", "~", "null", "", "0o14", "010", "1_000", ".5", "-1", "+5", ".nan", "1.2.3", "v1.0", "'x'", "[]",
    "{}", "[a]", "[1]", "{a: b}", "{a: 1}", "[a, [b]]", "!!str 5", "!!str true", "!!binary aGk=", "=", "-", "1.",
    "1e400", "123456789012345678901234", '"a: b"', "a:b", ">-\n    x\n    y", "*nope", "&x y", "@x", "'", "a # b",
)  # fmt: skip
KEYS = "a key of type"  # luet refuses keys that are no texts, numbers or booleans
REFERENCES = ("requires", "conflicts", "provides")
MAPS = ("labels", "annotations")
LISTS = ("uri", "use_flags")
TEXTS = ("name", "category", "version", "description", "license", "hidden")


@pytest.fixture(scope="session")
def go_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, compiled."""
    library = Path(GOPATH, "src/gopkg.in/yaml.v2")
    installed(shutil.which("go") is not None and library.is_dir(), PACKAGES)
    folder = tmp_path_factory.mktemp("go-yaml")
    environment = {
        **os.environ, "GO111MODULE": "off", "GOPATH": GOPATH, "GOCACHE": str(folder / "cache"), "GOFLAGS": "-p=1",
    }  # fmt: skip
    built = folder / "goyaml"
    subprocess.run(["go", "build", "-o", str(built), str(HERE / "goyaml/main.go")], check=True, env=environment)
    return built


def ask(program: Path, kind: str, texts: list[str]) -> list[tuple[str, Any]]:
    """Go's error and value for each text."""
    questions = json.dumps([{"kind": kind, "text": text} for text in texts]).encode()
    done = subprocess.run([program], input=questions, stdout=subprocess.PIPE, check=True)
    return [(answer["err"], answer["value"]) for answer in json.loads(done.stdout)]


def broken(chance: random.Random) -> str:
    """A specfile with a change or some."""
    text = chance.choice(FILES)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        lines, at = text.split("\n"), chance.randrange(len(text) + 1)
        line = chance.randrange(len(lines))
        match chance.randrange(8):
            case 0 | 1 | 2:
                text = text[:at] + chance.choice(PIECES) + text[at:]
                continue
            case 3:
                text = text[:at] + text[at + chance.choice((1, 1, 2, 5)) :]
                continue
            case 4:
                lines.insert(chance.randrange(len(lines) + 1), lines[line])
            case 5:
                del lines[line]
            case 6:
                lines[line] = chance.choice((" ", "  ", "    ")) + lines[line]
            case _:
                lines[line] = lines[line].lstrip()
        text = "\n".join(lines)
    return text


def alike(value: Any) -> Any:
    """The value as JSON has it: keys are texts, and 1.0 is 1."""
    if isinstance(value, dict):
        return {str(key): alike(item) for key, item in value.items()}
    if isinstance(value, list):
        return [alike(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def plain_of(text: str) -> Any:
    try:
        return load(text, "f").plain()
    except SpecError as err:
        return err


@pytest.mark.parametrize("seed", range(5))
def test_files(go_yaml: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts = [broken(chance) for _ in range(2_000)]
    read = 0
    for text, (error, value) in zip(texts, ask(go_yaml, "file", texts), strict=True):
        if error.startswith(KEYS):
            continue
        found = plain_of(text)
        if isinstance(found, SpecError):
            assert error or "unexpected ':'" in found.message, (found.message, text)
            continue
        assert not error, (error, text)
        if isinstance(found, dict) and any(type(plain_of(key)) in (int, float, bool) for key in found):
            continue  # a file's own keys are texts to templates, which this program does not ask
        assert (alike(found) or {}) == (alike(value) or {}), text
        read += 1
    assert len(texts) // 4 < read < len(texts)


def defined(chance: random.Random) -> str:
    """A definition with odd values."""

    def scalar() -> str:
        return chance.choice(SCALARS)

    lines = []
    for key in chance.sample((*REFERENCES, *MAPS, *LISTS, *TEXTS), chance.choice((1, 1, 2))):
        spelt = key.upper() if chance.random() < 0.05 else key
        if key in TEXTS or chance.random() < 0.2:
            lines.append(f"{spelt}: {scalar()}")
        elif key in MAPS:
            lines += [f"{spelt}:", f"  {chance.choice(('a', '1', '010', 'true', 'y', 'a.b'))}: {scalar()}"]
        elif key in LISTS:
            lines += [f"{spelt}:", *(f"- {scalar()}" for _ in range(chance.choice((1, 2))))]
        else:
            parts = chance.sample(("name", "category", "version"), chance.choice((1, 2)))
            lines += [f"{spelt}:", *(f"{'  ' if number else '- '}{p}: {scalar()}" for number, p in enumerate(parts))]
    return "\n".join(lines) + "\n"


def package_of(text: str) -> Package | SpecError:
    try:
        return read_package(load(text, "f"))
    except SpecError as err:
        return err


@pytest.mark.parametrize("seed", range(2))
def test_definitions(go_yaml: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts = [defined(chance) for _ in range(2_000)]
    read = 0
    for text, (error, value) in zip(texts, ask(go_yaml, "definition", texts), strict=True):
        found = package_of(text)
        if isinstance(found, SpecError):
            assert error or found.reason == "name", (found.message, text)
            continue
        assert not error, (error, text)
        ours = {
            "name": found.id.name, "category": found.id.category, "version": found.id.version,
            "labels": dict(found.labels), "annotations": dict(found.annotations), "description": found.description,
            "license": found.license, "uri": list(found.uri), "hidden": found.hidden,
            "use_flags": list(found.use_flags),
        }  # fmt: skip
        empty: dict[str, object] = {"labels": {}, "annotations": {}, "uri": [], "use_flags": []}
        assert ours == {key: value[key] or empty.get(key, value[key]) for key in ours}, text
        for key in REFERENCES:
            refs = [(ref.name, ref.category, ref.version) for ref in getattr(found, key)]
            wanted = [ref or {"name": "", "category": "", "version": ""} for ref in value[key] or []]
            assert refs == [(ref["name"], ref["category"], ref["version"]) for ref in wanted], text
        read += 1
    assert read > len(texts) // 8
