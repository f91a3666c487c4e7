"""What strangers wrote reaches a terminal and a log as letters, whatever a terminal would obey."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
import yaml

from treebuilder.cli import luet_output
from treebuilder.errors import BuildFailed, Place, TreebuildError
from treebuilder.events import Event, Finished, LogLine, Progressed, Said, Silent, Started, Warned
from treebuilder.ui import failures, tables, terminal
from treebuilder.ui.logfile import LogFile, LoggedSink
from treebuilder.ui.sinks import JsonSink, LiveSink, PlainSink

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b31m\u202eb\u2066c\r\x08\x7f\u2028d"
OBEYED = set("\x1b\x07\x9b\x08\x7f\r\u202e\u2066\u2028")


def events(text: str) -> list[Event]:
    return [
        Started(text, text), Progressed(text, 1, text), LogLine(text, text), Warned(text, Place(text, 3), text),
        Said(text), Finished(text, "failed", text, 2.0),
    ]  # fmt: skip


def test_letters_are_kept_and_orders_are_shown() -> None:
    assert terminal.harmless("a\tb\nä → 日本 \u200d") == "a\tb\nä → 日本 \u200d"
    assert terminal.harmless("\x1b[1m\x85\u202e") == "\\x1b[1m\\x85\\u202e"
    assert terminal.harmless("one\ntwo", "  ") == "one\n  two"
    assert terminal.one_line("one\n\ttwo\x1b") == "one\\n\\ttwo\\x1b"


def test_programs_lose_their_colours_and_the_states_of_their_bars() -> None:
    assert terminal.printed("\x1b[01;31merror:\x1b[0m no\tfile") == "error: no\tfile"
    assert terminal.printed(" 10%\r 55%\r100%\r") == "100%"
    assert terminal.printed("\x1b[2Jx") == "\\x1b[2Jx"


@pytest.mark.parametrize("kind", [PlainSink, LiveSink])
def test_sinks_show_orders_to_a_terminal(kind: type[PlainSink]) -> None:
    out = io.StringIO()
    sink = kind(out, live_output=True)
    for event in events(HOSTILE):
        sink.emit(event)
    text = out.getvalue().replace("\r\x1b[K", "")  # what we say ourselves
    assert "owned" in text
    assert "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202eb\\u2066c" in text
    assert set(text) & OBEYED == set()


def test_no_event_looks_like_another() -> None:
    out = io.StringIO()
    sink = PlainSink(out, live_output=True)
    sink.emit(Warned("one\nwarning: two"))
    assert out.getvalue() == "warning: one\n     warning: two\n"


def test_luets_lines_have_their_own_level(capsys: pytest.CaptureFixture[str]) -> None:
    sink = luet_output.LuetSink(quiet=False, machine=False, fatal=False, debug=True)
    sink.emit(Warned("one\n INFO  two"))
    for event in events(HOSTILE):
        sink.emit(event)
    luet_output.failed(TreebuildError(f"no\n{HOSTILE}", hint=HOSTILE), machine=False, about=HOSTILE)
    out = capsys.readouterr().out
    assert out.startswith(" WARNING  one\n WARNING   INFO  two\n")
    assert "owned" in out
    assert set(out) & OBEYED == set()
    heads = (luet_output.INFO, luet_output.WARNING, luet_output.ERROR)
    assert [line for line in out.splitlines() if not line.startswith(heads)] == []


def test_errors_show_orders() -> None:
    error = BuildFailed(
        f"step\nerror: {HOSTILE}", command=HOSTILE, exit_status=1, log=HOSTILE, tail=("\x1b[31mred\x1b[0m", HOSTILE),
        hint=f"do\n{HOSTILE}", where=Place("x/build.yaml", 3),
    )  # fmt: skip
    text = failures.render(error)
    assert text.startswith("error: x/build.yaml:3: step\n  error: a\\x1b]0;owned")
    assert "  | red\n" in text
    assert set(text) & OBEYED == set()
    assert json.loads(json.dumps(failures.to_json(error)))["hint"] == f"do\n{HOSTILE}"


def test_a_cell_is_one_line() -> None:
    text = tables.table(["name", "of"], [["a\nb", HOSTILE], ["c", "d"]])
    assert len(text.split("\n")) == 3
    assert "a\\nb" in text
    assert set(text) & OBEYED == set()


@pytest.mark.parametrize("form", ["json", "yaml", "terminal"])
def test_results_are_safe_in_every_form(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    tables.write({"name": HOSTILE}, form, HOSTILE)
    out = capsys.readouterr().out
    assert set(out) & OBEYED == set()
    if form == "terminal":
        assert out == terminal.harmless(HOSTILE) + "\n"
    else:
        assert (json.loads if form == "json" else yaml.safe_load)(out) == {"name": HOSTILE}


@pytest.mark.parametrize("as_json", [True, False])
def test_logs_hold_no_orders(tmp_path: Path, *, as_json: bool) -> None:
    log = LogFile(tmp_path / "log", "debug", as_json=as_json)
    sink = LoggedSink(Silent(), log)
    for event in events(f"{HOSTILE}\nx"):
        sink.emit(event)
    log.failed(TreebuildError(HOSTILE))
    text = (tmp_path / "log").read_bytes().decode()
    assert len(text.split("\n")) == 7
    assert set(text) & OBEYED == set()
    if as_json:
        assert json.loads(text.split("\n")[0])["message"] == f"{HOSTILE}\nx"


def test_progress_for_programs_is_json_all_through() -> None:
    out = io.StringIO()
    sink = JsonSink(out)
    sink.emit(Warned(HOSTILE))
    assert set(out.getvalue()) & OBEYED == set()
    assert json.loads(out.getvalue())["message"] == HOSTILE


def test_a_question_is_answered_by_yes_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer, meant in (("Yes\n", True), ("y\n", True), ("yess\n", False), ("", False)):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert terminal.agreed() is meant
    assert capsys.readouterr().out.endswith("[y/N]: ")


def test_names_that_are_no_utf8_do_not_stop_us(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    terminal.say(terminal.one_line(os.fsdecode(b"a\xff\x1b")).encode("utf-8", "backslashreplace").decode())
    assert capfdbinary.readouterr().out == b"a\\udcff\\x1b\n"
