"""`.dockerignore`: what of a build context a Dockerfile does not see. Source: Dockerfile reference, ".dockerignore".

Lines are patterns as of Go's `filepath.Match` with `**` for any folders; `!` brings back; the last match decides; a
folder that matches takes all it holds with it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from treebuilder.errors import Place, SpecError
from treebuilder.tree import ContextFile


def ignored(text: str, file: str) -> Callable[[str], bool]:
    """Whether a relative path is left out. Raises SpecError (reason "dockerfile") for a malformed pattern."""
    rules: list[tuple[bool, re.Pattern[str]]] = []
    for line, row in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        pattern = row.strip()
        if not pattern or pattern.startswith("#"):
            continue
        back = pattern.startswith("!")
        pattern = posixpath.normpath(pattern[1:].strip() if back else pattern).lstrip("/")
        if pattern in (".", ""):
            continue
        try:
            rules.append((back, re.compile(_regex(pattern), re.DOTALL)))
        except (re.error, IndexError) as err:
            raise SpecError(f"{row.strip()!r} is no pattern", where=Place(file, line), reason="dockerfile") from err

    def decide(path: str) -> bool:
        parts = path.split("/")
        prefixes = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        out = False
        for back, rule in rules:
            if out == back and any(rule.fullmatch(prefix) for prefix in prefixes):
                out = not back
        return out

    return decide


def _regex(pattern: str) -> str:
    out, i = "", 0
    while i < len(pattern):
        char = pattern[i]
        if pattern.startswith("**", i):
            i += 2
            if pattern.startswith("/", i):
                i += 1
                out += "(?:.*/)?"
            else:
                out += ".*"
            continue
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "\\":
            i += 1
            out += re.escape(pattern[i])
        elif char == "[":
            end = pattern.index("]", i + 2) if "]" in pattern[i + 2 :] else -1
            if end < 0:
                raise IndexError(pattern)
            inner = pattern[i + 1 : end]
            out += f"[{inner}]"
            i = end
        else:
            out += re.escape(char)
        i += 1
    return out


def visible(files: tuple[ContextFile, ...], context: Path) -> list[ContextFile]:
    """What of a context folder a Dockerfile sees: what is not ignored, and the folders above it."""
    rules = context / ".dockerignore"
    if not any(item.path == rules.name and item.type == "file" for item in files):
        return list(files)
    leave_out = ignored(rules.read_text(encoding="utf-8", errors="surrogateescape"), str(rules))
    kept = {item.path for item in files if not leave_out(item.path)}
    above: set[str] = set()
    for path in kept:
        while "/" in path:
            path = path.rpartition("/")[0]
            above.add(path)
    return [item for item in files if item.path in kept or item.path in above]
