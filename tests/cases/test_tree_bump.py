"""`tree bump`: luet's next versions, and nothing else of a file changed."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from tests.trees import Project
from treebuilder.app.bumping import next_version
from treebuilder.cli.main import main


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.package("t/a", "", version="1.0")
    return made


def printed(project: Project, file: str, *words: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(project.top):
        code = main(["tree", *project.words("bump", "-f", file, *words)])
    assert code == 0, err.getvalue()
    return out.getvalue()


@pytest.mark.parametrize(
    ("before", "after"),
    [("1.0", "1.0+1"), ("1.0+1", "1.0+2"), ("1+r1", "1+r2"), ("1+p1", "1+p2"), ("1+rc1", "1+rc2"), ("1+a.3", "1+a.4"),
     ("1+abc", "1+abc.1"), ("1+9", "1+10"), ("1+x1", "1+x1.1")],
)  # fmt: skip
def test_the_next_version_is_luets(before: str, after: str) -> None:
    assert next_version(before) == after


def test_bump_keeps_everything_else(project: Project) -> None:
    file = project.top / "definition.yaml"
    written = '# mine\nname: "x"   # a name\nVersion:  \'V\'  # the version\nodd: {version: "V"}\n\n'
    for before, flags, after in (("1.0", (), "1.0+1"), ("1.0+3", (), "1.0+4"), ("1.0", ("-p", "2.0"), "2.0")):
        file.write_text(written.replace("V'", f"{before}'"))
        file.chmod(0o640)
        done = project.run("tree", "bump", "-f", "definition.yaml", *flags)
        assert (done.value["before"], done.value["after"]) == (before, after)
        assert file.read_text() == written.replace("V'", f"{after}'")
        assert file.stat().st_mode & 0o777 == 0o640
    file.write_text("name: x\nversion: &v 1.2.3\nlabels: {same: *v}\n")  # an anchor says that both are one
    assert printed(project, "definition.yaml", "-o").splitlines()[1] == 'version: &v "1.2.3+1"'
    file.write_text("{name: x, version: 1.2.3, more: y}\n")
    assert printed(project, "definition.yaml", "-o") == '{name: x, version: "1.2.3+1", more: y}\n'
    assert file.read_text() == "{name: x, version: 1.2.3, more: y}\n"


def test_bump_of_an_item_of_a_collection(project: Project) -> None:
    file = project.top / "collection.yaml"
    file.write_text('packages:\n- {category: c, name: a, version: "1"}\n- category: c\n  name: b\n  version: "1" # b\n')
    assert project.run("tree", "bump", "-f", "collection.yaml", "c/b").code == 0
    assert file.read_text().splitlines()[1:] == [
        '- {category: c, name: a, version: "1"}', "- category: c", "  name: b", '  version: "1+1" # b'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ('&x {category: c, name: a, version: "1"}', "{<<: *x, name: b}"),
        ("{<<: *y, name: a}", "{<<: *y, name: b}"),
        ("{category: c, name: a, version: *v}", "{<<: *y, name: b}"),
    ],
)
def test_bump_of_a_version_that_items_share_is_refused(project: Project, a: str, b: str) -> None:
    file = project.top / "collection.yaml"
    written = f'x-all: &y {{category: c, version: &v "1"}}\npackages:\n- {a}\n- {b}\n'
    file.write_text(written)
    done = project.run("tree", "bump", "-f", "collection.yaml", "c/b")
    assert (done.code, done.value["error"]["reason"]) == (2, "bump")
    assert "c/a" in done.value["error"]["message"]
    assert file.read_text() == written
    file.write_text(written.replace("name: b", "name: b, version: '1'"))
    assert "c/b: 1 -> 1+1" in printed(project, "collection.yaml", "c/b")
    assert file.read_text() == written.replace("name: b", "name: b, version: '1+1'")


def test_bump_to_no_version_is_refused(project: Project) -> None:
    file = project.tree / "t/a/definition.yaml"
    before = file.read_text()
    done = project.run("tree", "bump", "-f", str(file), "-p", "")
    assert (done.code, done.value["error"]["reason"]) == (2, "bump")
    assert file.read_text() == before


@pytest.mark.parametrize("content", ["", "name: x\n", 'version: "1"\nversion: >-\n  2\n', "packages: [{name: a}]\n"])
def test_what_cannot_be_bumped_is_refused_untouched(project: Project, content: str) -> None:
    file = project.top / "definition.yaml"
    file.write_text(content)
    done = project.run("tree", "bump", "-f", "definition.yaml")
    assert (done.code, done.value["error"]["reason"]) == (2, "bump")
    assert file.read_text() == content
