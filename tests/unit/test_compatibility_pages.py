"""docs/luet-compatibility.md counts what its pages say."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
STATES = ("same", "no effect", "not yet")
_ROW = re.compile(r"^\|(?P<what>(?:[^|\\`]|\\.|`[^`]*`)*)\|(?P<state>(?:[^|\\`]|\\.|`[^`]*`)*)\|", re.MULTILINE)


def counted(page: str) -> Counter[str]:
    """How many forms a page has of each state; a row of functions is one for each of them."""
    text, _, functions = (DOCS / page).read_text(encoding="utf-8").partition("## Functions")
    found: Counter[str] = Counter()
    for part in (text, functions):
        for row in _ROW.finditer(part):
            said = row["state"].strip()
            if said == "state" or set(said) <= {"-"}:
                continue
            assert row["what"].strip(), f"{page} has a row about nothing: {row[0]}"
            state = next((one for one in STATES if said.startswith(one)), "better or different")
            found[state] += max(1, row["what"].count("`") // 2) if part is functions else 1
    return found


def test_the_page_counts_its_pages() -> None:
    text = (DOCS / "luet-compatibility.md").read_text(encoding="utf-8")
    pages = re.findall(r"^\| \[(\w+)\]\((luet-compatibility/\w+\.md)\) \| ([^|]+) \|", text, re.MULTILINE)
    assert len(pages) == len(list((DOCS / "luet-compatibility").iterdir()))
    columns = ("same", "better or different", "no effect", "not yet")
    total: Counter[str] = Counter()
    wanted = []
    for name, page, what in pages:
        found = counted(page)
        assert found["same"], page
        total += found
        wanted.append(f"| [{name}]({page}) | {what} | " + " | ".join(str(found[one]) for one in columns) + " |")
    wanted.append("| | all | " + " | ".join(str(total[one]) for one in columns) + " |")
    assert "\n".join(wanted) in text, "the counts should be\n" + "\n".join(wanted)
