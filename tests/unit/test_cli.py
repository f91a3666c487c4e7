"""The command line itself: help, verbs, streams, start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import services
from tests.unit.repository_parts import workshop
from tests.unit.system_parts import System
from treebuilder import __version__
from treebuilder.cli.catalogue import ALIASES, VERBS
from treebuilder.cli.main import _understand, main

TOP = Path(__file__).parents[2]


def run(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    """`python -m treebuilder` as a process."""
    argv = [sys.executable, "-m", "treebuilder", *words]
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("verb", [*VERBS, *ALIASES])
def test_help_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    begin = "cos-upgrade" if verb == "cos" else f"treebuild {ALIASES.get(verb, verb)}"
    assert f"examples:\n  {begin}" in out
    assert "--json" in out
    assert "--cache-dir" in out


@pytest.mark.parametrize("verb", VERBS)
def test_examples_are_of_the_verb_and_are_understood(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every flag that an example shows is one that the help lists."""
    import re

    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    examples = [line for line in out.splitlines() if line.startswith("  treebuild ") or "$(treebuild" in line]
    assert any(f"treebuild {verb}" in line for line in examples)
    listed = out.replace("\n".join(examples), "")
    for line in examples:
        for flag in re.findall(r"(?<!\S)--?[a-z][a-z-]*", line.partition("|")[0]):
            assert re.search(rf"(?<![\w-]){flag}(?![\w-])", listed), f"{flag} of {line!r}"


@pytest.mark.parametrize("verb", ["device", "cos"])
def test_examples_for_a_device_can_be_typed(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that the help lists may still want a value, which an example does not give it."""
    import shlex

    from treebuilder.cli.catalogue import PROGRAMS

    assert main([verb, "--help"]) == 0
    examples = capsys.readouterr().out.partition("examples:\n")[2].partition("\n\n")[0].splitlines()
    assert len(examples) > 5
    for line in examples:
        name, *words = shlex.split(line)
        words = [*PROGRAMS[name].split(), *words] if name in PROGRAMS else words
        understood = _understand(words)[1]
        assert understood.what in line


def test_the_overview_names_what_verbs_do(capsys: pytest.CaptureFixture[str]) -> None:
    """What stands behind a verb's colon are its words, all but those that are seldom needed."""
    import re

    seldom = {"device": {"cancel", "return", "run-stage", "lint", "rebrand"}, "repo": {"up"}}
    checked = []
    for verb, (_, said) in VERBS.items():
        assert main([verb, "--help"]) == 0
        choices = re.match(r"usage: treebuild \S+ \[flags\] \{(\S+)\}", capsys.readouterr().out)
        if choices is None or ":" not in said:
            continue
        listed = [word for part in said.split(";") for word in re.findall(r"[a-z-]+", part.partition(":")[2])]
        assert sorted(listed) == sorted(set(choices[1].split(",")) - seldom.get(verb, set())), verb
        checked.append(verb)
    assert len(checked) > 6


def test_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage:")


@pytest.mark.parametrize("words", [["--version"], ["-v"], ["version"]])
def test_the_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"treebuild {__version__}\n"


@pytest.mark.parametrize(
    "words", [["frobnicate"], ["--frobnicate"], ["version", "--frobnicate"], ["version", "more"], ["tree", "cut"]]
)
def test_what_is_not_understood_is_said_in_two_lines(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 2


def test_common_flags_may_stand_before_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quiet", "--cache-dir", str(tmp_path / "build"), "version", "--json"]) == 0
    assert main([f"--cache-dir={tmp_path}", "--concurrency", "2", "version"]) == 0
    assert capsys.readouterr().err == ""


def test_it_is_a_module_too() -> None:
    done = run("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"treebuild {__version__}\n", "")


@pytest.mark.parametrize(
    ("shell", "check"), [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "-n"])]
)
def test_completion_scripts_parse(
    shell: str, check: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS)
    program = services.program(check[0], check[0])
    (tmp_path / "script").write_text(script)
    done = subprocess.run([program, *check[1:], tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def complete(script: str, line: list[str]) -> set[str]:
    """What bash offers for the last word of a line."""
    words = " ".join(f"'{word}'" for word in line)
    asked = f"COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _treebuild; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_bash_completes_verbs_and_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert complete(script, ["treebuild", "cre"]) == {"create-repo"}
    assert complete(script, ["treebuild", "geni"]) == {"geniso"}
    assert complete(script, ["treebuild", "build", "--keep"]) == {"--keep-failed", "--keep-failed-in"}
    assert "--local" in complete(script, ["treebuild", "make-iso", "--l"])


def loaded(program: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules are loaded at a program's end. All of them could be: a name may have changed."""
    assert [name for name in names if find_spec(name) is None] == []
    code = f"import sys; {program}; print(*(name for name in {names!r} if name in sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(TOP)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stderr.splitlines()[-1].split()


def test_starting_imports_nothing_heavy() -> None:
    heavy = ("yaml", "jinja2", "pysat", "docker", "requests", "zstandard", "sqlite3", "subprocess")
    assert loaded("import treebuilder.cli.main", heavy) == []


def test_a_look_at_what_is_installed_loads_no_more_than_it_uses(tmp_path: Path) -> None:
    words = ["search", "--installed", "--system-target", str(tmp_path), "x"]
    heavy = (
        "yaml", "hashlib", "subprocess", "filecmp", "logging", "locale", "treebuilder.oci", "treebuilder.solver",
        "treebuilder.ui.sinks", "treebuilder.app.settings",
    )  # fmt: skip
    code = f"from treebuilder.cli.main import main; assert main({words!r}) == 0"
    assert loaded(code, (*heavy, "sqlite3", "_sqlite3")) == ["_sqlite3"]


def test_a_removal_loads_nothing_to_fetch_with(tmp_path: Path) -> None:
    """Nor to enter namespaces with, where the root is ours already."""
    services.need(os.geteuid() == 0, "who is not root enters a user namespace")
    with workshop(tmp_path) as shop:
        shop.package("t/a", {"a": b""})
        shop.packages()
        (tmp_path / "root").mkdir()
        System(shop, tmp_path / "root").install("t/a")
    words = ["uninstall", "--system-target", str(tmp_path / "root"), "t/a"]
    heavy = (
        "yaml", "hashlib", "subprocess", "locale", "ctypes", "queue", "treebuilder.oci", "treebuilder.repository",
        "treebuilder.archive.entry", "treebuilder.model.image", "encodings.unicode_escape",
    )  # fmt: skip
    assert loaded(f"from treebuilder.cli.main import main; assert main({words!r}) == 0", heavy) == []
    assert list((tmp_path / "root").iterdir()) == [tmp_path / "root/var"]


def shell(script: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(TOP), "PYTHON": sys.executable}
    full = f't() {{ "$PYTHON" -m treebuilder "$@"; }}\n{script}'
    return subprocess.run(["bash", "-c", full], env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("words", ["--help", "build --help", "completion fish", "version --json"])
def test_nobody_needs_to_read_to_the_end(words: str) -> None:
    done = shell(f"t {words} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", ["--help", "build --help", "version", "version --json"])
def test_a_full_disk_behind_stdout_is_an_error(words: str) -> None:
    done = shell(f"t {words} > /dev/full")
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_matter(closed: str) -> None:
    done = shell(f"t version {closed}; echo $?")
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""
