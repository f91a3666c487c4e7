"""`secrets:`: values of variables that the steps see, and that no key, log, record, metadata or later image shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trees import Project, requires

pytestmark = pytest.mark.engine
VALUE = "hunter2-hunter2"
RECIPE = (
    requires("seed/base")
    + "env:\n- TOKEN={{ .Values.token }}\n- HEADER=Bearer:$TOKEN\n- OPEN=seen\nsecrets: [TOKEN]\n"
    + 'steps:\n- echo "given $TOKEN"\n- \'printf "%s" "$TOKEN" | wc -c > /length\'\n'
)


def project(top: Path, token: str = VALUE, recipe: str = RECIPE) -> Project:
    top.mkdir(exist_ok=True)
    made = Project(top, flags=["--config", str(top / "config.yaml")])
    made.base()
    made.package("t/app", recipe)
    made.package("t/next", requires("t/app") + "steps:\n- env > /env\n")
    (top / "values.yaml").write_text(f"token: {token}\n")
    (top / "config.yaml").write_text("")
    return made


def words(*more: str) -> list[str]:
    return ["build", "--tree", "packages", "--values", "values.yaml", "--destination", "build", *more]


def plan_key(made: Project, *more: str) -> str:
    found = made.run(*words(*more, "t/app"))
    assert found.code == 0, found.stderr
    return str(found.node("t/app")["plan_key"])


def holds(folder: Path, text: str, *, but: tuple[str, ...] = ()) -> list[str]:
    """The files below a folder in which a text stands."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(but or ("\0",))]
    return [str(path.relative_to(folder)) for path in found if text.encode() in path.read_bytes()]


def test_the_steps_see_it_and_nothing_else_does(tmp_path: Path) -> None:
    made = project(tmp_path / "one")
    found = made.run(*words("--cache-to", str(made.top / "shared"), "t/next"))
    assert found.code == 0, found.stderr
    assert made.text("app-t-1.0", "length").strip() == str(len(VALUE))
    assert holds(made.build, VALUE) == holds(made.top / "shared", VALUE) == holds(made.top / "cache/logs", VALUE) == []
    assert VALUE not in json.dumps(found.value) + found.stderr
    assert any("given ***" in path.read_text() for path in (made.top / "cache/logs").iterdir())
    later = made.text("next-t-1.0", "env")
    assert "OPEN=seen" in later
    assert "TOKEN" not in later, "a variable that holds it is not handed on"
    assert "HEADER" not in later
    # The cache on this machine remembers rendered recipes; nothing else of it may hold the value.
    assert holds(made.top / "cache", VALUE, but=("index.sqlite",)) == []
    document = made.run("explain", "--tree", "packages", "--values", "values.yaml", "t/app")
    assert VALUE not in json.dumps(document.value)


def test_a_failure_does_not_show_it(tmp_path: Path) -> None:
    made = project(tmp_path / "one", recipe=RECIPE + '- echo "again $TOKEN"; exit 3\n')
    found = made.run(*words("--keep-failed-in", str(made.top / "failed"), "t/app"))
    assert found.code == 2
    assert "again ***" in found.stderr
    assert VALUE not in found.stderr + json.dumps(found.value)
    assert holds(made.top / "failed", VALUE) == []


def test_the_key_depends_on_the_value_and_on_who_keeps_the_secret_key(tmp_path: Path) -> None:
    one = project(tmp_path / "one")
    key = plan_key(one)
    assert plan_key(one) == key
    assert (one.top / "cache/secret.key").stat().st_mode & 0o777 == 0o600
    assert plan_key(project(tmp_path / "two")) != key, "a key of its own for each cache"
    (tmp_path / "team").write_text("0123456789" * 4)
    found = []
    for name, token in (("three", VALUE), ("four", VALUE), ("five", "other-value")):
        made = project(tmp_path / name, token)
        (made.top / "config.yaml").write_text("cache:\n  secret_key: ../team\n")
        found.append(plan_key(made))
    assert found[0] == found[1] != found[2]


def test_a_short_secret_key_is_refused(tmp_path: Path) -> None:
    made = project(tmp_path / "one")
    (made.top / "short").write_text("abc\n")
    (made.top / "config.yaml").write_text("cache:\n  secret_key: short\n")
    found = made.run(*words("t/app"))
    assert found.code != 0
    assert "shorter than 32 bytes" in found.stderr


def test_a_value_in_a_step_is_refused(tmp_path: Path) -> None:
    made = project(tmp_path / "one", recipe=RECIPE + "- echo {{ .Values.token }}\n")
    found = made.run(*words("t/app"))
    assert found.code != 0
    assert "$TOKEN" in found.stderr
    assert VALUE not in found.stderr


def test_output_without_line_ends(tmp_path: Path) -> None:
    """Half a value at the end of what is written at once is not shown either."""
    from treebuilder.engine.driver import Output
    from treebuilder.events import Silent

    log = tmp_path / "log"
    output = Output("t", "::m", (), log, Silent(), (VALUE, "two\nlines"))
    text = (b"x" * 37 + VALUE.encode()) * 4000 + b"\ntwo\nlines\n"
    for at in range(0, len(text), 997):
        output(text[at : at + 997])
    output.close()
    written = log.read_bytes()
    assert VALUE.encode() not in written.replace(b"\n", b"")
    assert written.replace(b"\n", b"").count(b"***") == 4002


@pytest.mark.parametrize("secrets", ["[TOKE]", "[TOKEN, OTHER]", "[token]", "[BASH_ENV]"])
def test_a_name_that_nothing_sets_is_refused(tmp_path: Path, secrets: str) -> None:
    """Misspelt, it would leave the value readable for everybody."""
    made = project(tmp_path / "one", recipe=RECIPE.replace("secrets: [TOKEN]", f"secrets: {secrets}"))
    found = made.run(*words("t/app"))
    assert (found.code, found.value["error"]["reason"]) == (2, "secret")
    assert "build.yaml:7:" in found.stderr
    assert VALUE not in found.stderr
    assert not (made.top / "build").exists() or not list(made.build.iterdir())


def test_names_of_all_forms_of_env_are_known(tmp_path: Path) -> None:
    lines = "env:\n- TOKEN {{ .Values.token }}\n- A=1 B='two words'\nsecrets: [TOKEN, B]\nsteps:\n- echo $B > /b\n"
    made = project(tmp_path / "one", recipe=requires("seed/base") + lines)
    found = made.run(*words("t/app"))
    assert found.code == 0, found.stderr
