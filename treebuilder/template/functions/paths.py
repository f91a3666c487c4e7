"""Go's path package; templates are rendered on Linux, so its filepath is the same."""

from __future__ import annotations

from treebuilder.template.functions.signature import GoFunction, table


def clean(path: str) -> str:
    """path.Clean: without `.`, `..` and doubled slashes where they can be dropped; empty is `.`."""
    rooted = path.startswith("/")
    kept: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        elif part != ".." or not rooted:
            kept.append(part)
    return ("/" if rooted else "") + "/".join(kept) or "."


def _base(path: str) -> str:
    if not path:
        return "."
    stripped = path.rstrip("/")
    return stripped.rpartition("/")[2] if stripped else "/"


def _dir(path: str) -> str:
    head, slash, _ = path.rpartition("/")
    return clean(head + slash)


def _ext(path: str) -> str:
    name = path.rpartition("/")[2]
    return name[name.rindex(".") :] if "." in name else ""


PATHS: dict[str, GoFunction] = table(
    ("base osBase", "string", _base),
    ("dir osDir", "string", _dir),
    ("clean osClean", "string", clean),
    ("ext osExt", "string", _ext),
    ("isAbs osIsAbs", "string", lambda path: path.startswith("/")),
)
