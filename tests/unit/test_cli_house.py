"""Rules of the house that no linter knows: who prints, who starts programs, who opens tars, who reads the time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import treebuilder

TOP = Path(treebuilder.__file__).parent


def modules() -> Iterator[tuple[str, ast.Module]]:
    paths = sorted(TOP.rglob("*.py"))
    assert len(paths) > 150
    for path in paths:
        yield path.relative_to(TOP).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> set[str]:
    """Top names of everything a module imports, lazily too; not what only a type checker sees."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def importers(name: str) -> set[str]:
    return {path for path, tree in modules() if name in imports(tree)}


def printers() -> set[str]:
    found = set()
    for path, tree in modules():
        for node in ast.walk(tree):
            prints = isinstance(node, ast.Name) and node.id == "print"
            streams = (
                isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr")
                and isinstance(node.value, ast.Name) and node.value.id == "sys"
            )  # fmt: skip
            if prints or streams:
                found.add(path)
    return found


def test_only_ui_and_cli_print() -> None:
    allowed = {"cloudconfig/command.py"}  # the program `yip`, which has a command line of its own
    assert {p for p in printers() if not p.startswith(("ui/", "cli/"))} <= allowed
    assert "ui/tables.py" in printers()


def test_one_module_writes_to_terminals() -> None:
    """What strangers named passes `ui/terminal.py`; a few others write JSON, and what `box` runs."""
    writers = set()
    for path, tree in modules():
        for node in ast.walk(tree):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called == "print" or called in ("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write"):
                writers.add(path)
    others = {"ui/tables.py", "cli/verbs/box.py", "cloudconfig/command.py"}
    assert writers == others


def test_only_one_module_starts_programs() -> None:
    """`vm/` talks to a running QEMU through `system.process.spawn`, and names its type only. `beside` copies us."""
    starters = set()
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                if called in (
                    "subprocess.run",
                    "subprocess.Popen",
                    "os.system",
                    "os.popen",
                    "os.fork",
                    "os.posix_spawn",
                ):
                    starters.add(path)
    assert starters - {"system/process.py", "system/beside.py"} - names_the_type() == set()
    assert "system/process.py" in starters


def names_the_type() -> set[str]:
    """Modules that say `subprocess.Popen` in annotations only."""
    found = set()
    for path, tree in modules():
        in_annotations: set[ast.AST] = set()
        for node in ast.walk(tree):
            parts: list[ast.AST | None] = []
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]
                parts = [node.returns, *(argument.annotation for argument in arguments)]
            elif isinstance(node, ast.AnnAssign):
                parts = [node.annotation]
            for part in parts:
                in_annotations |= set(ast.walk(part)) if part is not None else set()
        used = [
            node for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "subprocess"
            and node not in in_annotations and not node.attr.isupper() and node.attr != "TimeoutExpired"
        ]  # fmt: skip
        if not used:
            found.add(path)
    return found


def test_only_archives_open_tars() -> None:
    assert {path for path in importers("tarfile") if not path.startswith("archive/")} == set()


def test_only_the_clock_reads_the_time() -> None:
    assert importers("time") == {"system/clock.py"}


def test_only_the_store_speaks_sqlite_and_only_adapters_to_the_network() -> None:
    assert {path.partition("/")[0] for path in importers("docker")} <= {"engine"}
    assert {path.partition("/")[0] for path in importers("oras")} <= {"oci", "repository"}


def test_only_containers_make_system_calls() -> None:
    assert {path.partition("/")[0] for path in importers("ctypes")} <= {"container"}


def test_files_stay_readable_in_one_go() -> None:
    long = {path: count for path in sorted(TOP.rglob("*.py")) if (count := len(path.read_text().splitlines())) > 500}
    assert long == {}


def test_tests_are_skipped_only_where_ci_makes_it_a_failure() -> None:
    """One place skips, for want of what no package brings, and fails instead where CI=true."""
    skippers = set()
    tests = Path(__file__).parents[1]
    for path in sorted(tests.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("skip", "skipif", "importorskip"):
                skippers.add(path.relative_to(tests).as_posix())
    assert skippers == {"services.py"}
