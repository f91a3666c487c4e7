"""Damaged templates and data: what Go refuses we refuse in the same line, and what it renders we render.

A fixed seed in the suite, other ones each time in `make fuzz`.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.mutate import Mutator
from tests.oracle.test_go_templates import APART, CASES, HERE, LENIENT, SPEC_VALUES, ask, oracle, values_of
from treebuilder.errors import SpecError
from treebuilder.template import Templates

__all__ = ["oracle"]
pytestmark = [pytest.mark.oracle, pytest.mark.fuzz]

_BATCH = 250
_PATIENCE_S = 20  # with Go, which is done with a batch in less than one unless it goes on for ever
# of another answer each time, or of none for our bounds
_CHANGING = (
    "rand|uuid|now|shuffle|keys|values|unixEpoch|ago|html_?Date|date|Date|duration|decrypt|encrypt|derivePass|gen|"
    "buildCustom|until|seq"
)
_LEFT_OUT = re.compile(rf"\b(?:{_CHANGING}|{'|'.join(sorted(APART))})")
_POINTER = re.compile(r"0x[0-9a-f]{6,}|\{\d+ \d+ \d{6,}\}")  # the second one is that of the place of a time
_AGAIN = 50  # times that Go is asked where it differs: its order of some keys is no order, and by chance
# Go 1.22 ranges over numbers, and we as well; where an {{end}} is missing we say for what; to Go two versions may be of
# two types, one a pointer
_NEWER = ("range can't iterate over", "unexpected EOF", "non-comparable types")


def seeds() -> Iterator[int]:
    times = int(os.environ.get("TREEBUILD_FUZZ_TIMES", "1"))
    yield from (1,) if times == 1 else (random.SystemRandom().randrange(2**32) for _ in range(times))


def known_good() -> list[str]:
    texts = (HERE / "specs.txt").read_text(encoding="utf-8").split("\n====\n")
    lines = [line for path in CASES for line in path.read_text(encoding="utf-8").splitlines()]
    return [text for text in texts + lines if "{{" in text]


def answers(program: Path, questions: list[dict[str, str]]) -> list[tuple[str, str] | None]:
    """Go's; None for a question that takes it too much stack, memory or time."""
    try:
        return [*ask(program, questions, _PATIENCE_S)]
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        half = len(questions) // 2
        return answers(program, questions[:half]) + answers(program, questions[half:]) if half else [None]


def rendered(text: str, values: dict[str, object]) -> tuple[str, int, str]:
    """Our output, or the line that is refused, and why."""
    try:
        return Templates().render(text, values, file="f"), 0, ""
    except SpecError as err:
        return "", err.where.line if err.where else -1, err.message


def refused(error: str) -> int:
    """The line of an error of Go's; the last one is that inside what is included."""
    found = re.findall(r"template: [^: ]*:(\d+)", error)
    return int(found[-1]) if found else 0


def test_damaged_templates(oracle: Path) -> None:
    for seed in seeds():
        mutator = Mutator(random.Random(seed), known_good())
        compared = 0
        for _ in range(8):
            texts = [text for _ in range(_BATCH) if not _LEFT_OUT.search(text := mutator.template())]
            found = answers(oracle, [{"text": text, "yaml": SPEC_VALUES} for text in texts])
            for text, answer in zip(texts, found, strict=True):
                own, line, why = rendered(text, values_of(SPEC_VALUES))
                if answer is None:
                    continue
                output, error = answer
                if any(word in error or word in output for word in (*LENIENT, *_NEWER)) or _POINTER.search(output):
                    continue
                compared += 1
                if (own, line) != ("" if error else output, refused(error)):
                    others = answers(oracle, [{"text": text, "yaml": SPEC_VALUES}] * _AGAIN)
                    wanted = [("" if each[1] else each[0], refused(each[1])) for each in others if each]
                    assert (own, line) in wanted, (seed, text, error, why)
        assert compared > 800


def test_what_broken_data_says(oracle: Path) -> None:
    for seed in seeds():
        mutator = Mutator(random.Random(seed), ["{{ x }}"])
        drawn = [mutator.broken() for _ in range(2000)]
        texts = ["{{ %s .Values.t }}" % name for name, _ in drawn]  # noqa: UP031 - braces
        values: list[dict[str, object]] = [{"t": data} for _, data in drawn]
        questions = [{"text": text, "json": json.dumps(value)} for text, value in zip(texts, values, strict=True)]
        apart = []
        for text, value, (output, error) in zip(texts, values, ask(oracle, questions), strict=True):
            own, line, why = rendered(text, value)
            same = own == ("" if error else output) and bool(line) == bool(error)
            if not same or not error.endswith(why.rpartition("FromJson: ")[2]):
                apart.append((text, value, output, error, own, why))
        assert [case for case in apart if "Json" in case[0]] == [], seed
        assert len(apart) <= 4, (seed, apart)  # libyaml looks one word further ahead than go-yaml
