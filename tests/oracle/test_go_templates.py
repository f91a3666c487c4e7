"""Our template language against Go's text/template, sprig and go-yaml themselves.

Needs the Debian packages in `PACKAGES` and no network.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.oracle.generate import Generator, printf_calls
from tests.oracle.times import random_time
from tests.services import installed
from treebuilder.errors import SpecError
from treebuilder.nodes import load
from treebuilder.template import Templates
from treebuilder.template.functions import NAMES
from treebuilder.template.values import AnyMap

pytestmark = pytest.mark.oracle

HERE = Path(__file__).parent
GOPATH = "/usr/share/gocode"
LIBRARIES = ("github.com/Masterminds/sprig", "github.com/BurntSushi/toml", "gopkg.in/yaml.v2")
PACKAGES = (
    "golang-go golang-github-masterminds-sprig-dev golang-github-imdario-mergo-dev golang-github-burntsushi-toml-dev "
    "golang-gopkg-yaml.v2-dev"
)
VALUES = """\
a: 1
f: 1.5
m: {x: 1, k: [1, 2], z: null}
l: [a, b]
s: hey
nl: null
big: 2000000
t: true
empty: ''
el: []
n: enn
y: why
on: {deep: x}
odd: {10: a, 9: b, x: c, true: d, 1.5: e, null: f, 0x10: g, "8": h, -3: i, 1_000: j, 18446744073709551615: k, B: m}
deep: {1: {2: {3: deep}}}
wide: [18446744073709551615, 9223372036854775808, 9223372036854775807, 18446744073709551616]
binary: !!binary aGVsbG8=
"""
# what we allow and Go does not: see docs/luet-compatibility/templates.md
LENIENT = ("nil pointer evaluating",)
CASES = sorted((HERE / "cases").glob("*.txt"))
# functions that differ on purpose, so no case can compare them
APART = {
    "env", "expandenv", "bcrypt", "htpasswd", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert",
    "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "encryptAES", "getHostByName",
}  # fmt: skip


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, compiled."""
    needed = (Path(GOPATH, "src", name).is_dir() for name in LIBRARIES)
    installed(shutil.which("go") is not None and all(needed), PACKAGES)
    folder = tmp_path_factory.mktemp("oracle")
    environment = {
        **os.environ, "GO111MODULE": "off", "GOPATH": GOPATH, "GOCACHE": str(folder / "cache"), "GOFLAGS": "-p=1",
    }  # fmt: skip
    subprocess.run(
        ["go", "build", "-o", str(folder / "oracle"), str(HERE / "gotemplate/main.go")], check=True, env=environment
    )
    return folder / "oracle"


def ask(oracle: Path, questions: list[dict[str, str]], timeout_s: float | None = None) -> list[tuple[str, str]]:
    """Go's output and error for each question."""
    given = json.dumps(questions).encode()
    done = subprocess.run([oracle], input=given, stdout=subprocess.PIPE, check=True, timeout=timeout_s)
    return [(answer["out"], answer["err"]) for answer in json.loads(done.stdout)]


def as_go(value: object) -> object:
    """A value inside a YAML file as yaml.v2 makes it: its maps have keys of any type."""
    if isinstance(value, dict):
        return AnyMap((key, as_go(item)) for key, item in value.items())
    return [as_go(item) for item in value] if isinstance(value, list) else value


def values_of(text: str) -> dict[str, object]:
    """The values of a YAML text; the outer map has text keys."""
    plain: dict[str, object] = load(text, "values").plain(keys=True)
    return {key: as_go(item) for key, item in plain.items()}


def ours(text: str, values: dict[str, object]) -> tuple[str, str]:
    """Our output and error."""
    try:
        return Templates().render(text, values, file="f"), ""
    except SpecError as err:
        return "", err.message


def differences(oracle: Path, texts: list[str]) -> list[tuple[str, str, str, str, str]]:
    """(text, Go's output, Go's error, our output, our error) where they disagree."""
    found: list[tuple[str, str, str, str, str]] = []
    for text, (output, error) in zip(texts, ask(oracle, [{"text": t, "yaml": VALUES} for t in texts]), strict=True):
        if any(word in error or word in output for word in LENIENT):
            continue
        own_output, own_error = ours(text, values_of(VALUES))
        if bool(error) != bool(own_error) or (not error and output != own_output):
            found.append((text, output, error, own_output, own_error))
    return found


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_written_cases(oracle: Path, cases: Path) -> None:
    texts = [line for line in cases.read_text(encoding="utf-8").splitlines() if line]
    assert len(texts) > 150
    assert differences(oracle, texts) == []


SPEC_VALUES = """\
name: my-tool
category: apps
version: "1.2.3+4"
arch: amd64
count: 42
ratio: 2.50
big: 20000000
fips: true
none: null
path: /usr/lib/x/y.so
labels: {"base.image": alpine, "emerge.jobs": "", other: 1}
packages: [gcc, make, zlib]
env: {cc: gcc, level: 3, flag: yes}
opts: {prefix: /usr, static: null, jobs: 4}
deps:
- {name: a, category: libs, version: ">1"}
- {name: b, category: apps}
"""


def test_whole_specfiles(oracle: Path) -> None:
    """Specfiles in the manner of real trees; `tests/oracle/specs.txt` separates them by a line of `====`."""
    texts = (HERE / "specs.txt").read_text(encoding="utf-8").split("\n====\n")
    assert len(texts) >= 60
    answers = ask(oracle, [{"text": text, "yaml": SPEC_VALUES} for text in texts])
    for text, (output, error) in zip(texts, answers, strict=True):
        assert not error, text
        assert ours(text, values_of(SPEC_VALUES)) == (output, ""), text


def test_every_function_is_in_the_cases() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in CASES)
    assert {name for name in NAMES if not re.search(rf"\b{name}\b", text)} <= APART


def test_every_function_of_sprig_is_known() -> None:
    source = Path(GOPATH, "src", LIBRARIES[0], "functions.go")
    installed(source.is_file(), PACKAGES)
    table = source.read_text(encoding="utf-8").partition("var genericMap")[2]
    commented = re.compile(r"^\s*//.*$", re.MULTILINE)
    names = set(re.findall(r'"(\w+)":\s', commented.sub("", table)))
    luet = {"toYaml", "fromYaml", "fromYamlArray", "toJson", "fromJson", "fromJsonArray", "toToml", "include"}
    assert len(names) > 200
    assert names | luet <= NAMES


def test_printf(oracle: Path) -> None:
    assert differences(oracle, list(printf_calls())) == []


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(seeds=st.lists(st.integers(0, 2**32), min_size=200, max_size=200))
def test_random_templates(oracle: Path, seeds: list[int]) -> None:
    """One question of many templates: starting Go's program is what costs."""
    texts = [Generator(random.Random(seed)).template() for seed in seeds]
    assert differences(oracle, texts) == []


def test_floats_of_collections(oracle: Path) -> None:
    """collection.yaml's numbers reach luet's templates as float64, through JSON."""
    questions = [
        {"text": text, "json": '{"n": 2000000, "small": 10}'}
        for text in (
            "{{ .Values.n }}",
            "{{ .Values.small }}",
            "{{ eq .Values.small 10.0 }}",
            "{{ eq .Values.small 10 }}",
        )
    ]
    values: dict[str, object] = {"n": 2000000.0, "small": 10.0}
    for question, (output, error) in zip(questions, ask(oracle, questions), strict=True):
        own_output, own_error = ours(question["text"], values)
        assert (own_output if not own_error else "", bool(own_error)) == (output if not error else "", bool(error))


def test_random_times(oracle: Path) -> None:
    draw = random.Random(1)
    assert differences(oracle, [random_time(draw) for _ in range(2000)]) == []


_PIECES = [
    "a", "b", ".", "*", "+", "?", "|", "(", ")", "[ab]", "[^a]", "(?:", "(?i)", "(?s)", "(?m)", "(?i:", "(?-i)", "^",
    "$", "\\b", "\\A", "\\z", "\\d", "\\w", "\\s", "\\W", "{2}", "{1,}", "{,2}", "[[:alpha:]]", "[[:^upper:]b]",
    "\\pL", "\\PN", "\\x41", "\\n", "\\.", "\\Q*\\E", "A", " ", "1", "\n", "[]b]", "[^]]", "-", "é", "\\-", "}", "{",
    "]", "\\101", "[\\d_]", "[a\\-z]", "??", "*?", "+?", "É", "[à-é]", "[^é]", "k", "\\x{212a}", "ſ", "[k-t]", "[^s]",
    "\\PL", "\\p{Lu}", "[[:^alpha:]k]", "[\\Wé]", "[^\\W]", "ß", "σ", "(?P<n>", "(?P<1>", "[\\PL]", "[[:^word:]]",
]  # fmt: skip
_SUBJECTS = [
    "a", "b", "A", "1", " ", "\n", "é", "É", "_", "{2}", "k", "K", "\u212a", "s", "S", "ſ", "ß", "ẞ", "σ", "ς", "Σ",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_random_patterns(oracle: Path, seed: int) -> None:
    """`model.patterns` finds what Go's regexp finds, and refuses what it refuses."""
    draw = random.Random(seed)
    texts: list[str] = []
    while len(texts) < 800:
        pattern = "".join(draw.choice(_PIECES) for _ in range(draw.randint(1, 7)))
        subject = "".join(draw.choice(_SUBJECTS) for _ in range(draw.randint(1, 8)))
        words = (json.dumps(word, ensure_ascii=False) for word in (pattern, subject))
        if "(?" in pattern and any(f"){repeat}" in pattern for repeat in "*+?{"):
            continue  # Go repeats what stands before flags
        texts.append(f"{{{{ mustRegexFindAll {' '.join(words)} -1 | join `\x00` }}}}")
    assert differences(oracle, texts) == []
