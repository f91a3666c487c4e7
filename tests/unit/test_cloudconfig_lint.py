"""`device lint`: what is wrong with cloud-config files, and that running and linting agree."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import schemas
from treebuilder.app import cloudlint
from treebuilder.cli.main import main
from treebuilder.cloudconfig.metadata import NOT_DONE, SERVICES
from treebuilder.cloudconfig.rehearsal import Fault, rehearse
from treebuilder.cloudconfig.schema import STEP as STEP_KEYS
from treebuilder.cloudconfig.schema import UNSUPPORTED
from treebuilder.cloudconfig.stages import Runner
from treebuilder.errors import SpecError
from treebuilder.events import Recorder, Warned
from treebuilder.nodes import load

TOP = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]
TEXT = """\
name: everything wrong
stage: {}
stages:
  booot: [{hostname: a}]
  reconcile: [{hostname: a}]
  my-own: [{hostname: a}]
  boot.before:
  - name: first
    systemd: {enable: [a]}
    files:
    - path: /x
      permission: 0600
    - {path: /y, permissions: 644}
    - {content: no path}
    - {path: /z, encoding: rot13}
    users: {ann: {groups: staff}, "b d": {}, carl: {uid: x, primary_group: nogroup}}
  - name: second
    after: [{name: nobody}]
    commands: {a: b}
    hostname: "bad name"
    hostname: "bad name"
    only_os: "("
    if_files: [x]
    packages: {install: [x]}
    systemctl: {enable: [a/b], start: [right]}
    authorized_keys: {nobody: [{}]}
    ensure_entities: [{entity: {kind: usr}}]
    files: [{path: /t, content: "{{ .Values | nosuch }}"}]
  fs:
  - {name: a, after: [{name: b}]}
  - {name: b, after: [{name: a}]}
"""


def linted(*paths: Path) -> list[tuple[int, str, str]]:
    _, found = cloudlint.lint([str(path) for path in paths])
    return [(each.line, each.rule, each.message) for each in found]


def test_everything_is_found_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(TEXT)
    found = [(line, rule) for line, rule, _ in linted(file)]
    assert found == [
        (2, "unknown-key"), (4, "unknown-stage"), (5, "stage-not-run"), (6, "unknown-stage"), (9, "unknown-key"),
        (12, "unknown-key"), (13, "value"), (14, "value"), (15, "value"), (16, "value"), (16, "value"), (16, "value"),
        (18, "after"), (19, "value"), (21, "doubled-key"), (21, "value"), (22, "value"), (23, "value"),
        (24, "unsupported"), (25, "value"), (26, "value"), (27, "value"), (28, "template"), (30, "cycle"),
    ]  # fmt: skip


def test_a_template_has_a_machine_to_ask(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(
        "stages: {network: [{hostname: 'a-{{ .Values.node.hostname }}-{{ trunc 4 .Values.MachineID }}',"
        " downloads: [{path: /x, url: 'https://{{ .Values.node.hostname }}.example.org/{{ .Values.os.version }}'}]}]}\n"
    )
    assert linted(file) == []


def test_what_needs_the_network_before_it_is_there(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    step = (
        "[{downloads: [{path: /x, url: 'http://h/'}]}, {git: {url: 'git@h:r', path: /y}},"
        " {git: {url: /srv/r, path: /y}}, {users: {a: {ssh_authorized_keys: ['github:a', 'ssh-rsa k']}, b: {}}},"
        " {authorized_keys: {nobody: ['https://h/k', k]}}]"
    )
    for stage, found in {"rootfs": 4, "initramfs.after": 4, "fs": 4, "boot.before": 4, "network": 0,
                         "network.before": 0, "after-install": 0}.items():  # fmt: skip
        file.write_text(f"stages:\n  {stage}: {step}\n")
        assert [(line, rule) for line, rule, _ in linted(file)] == [(2, "no-network")] * found
    file.write_text("#cloud-config\nssh_authorized_keys: ['github:a']\n")  # these wait for it
    assert linted(file) == []


def test_hints(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(TEXT)
    hints = {(each.line, each.rule): each.hint for each in cloudlint.lint([str(file)])[1]}
    assert hints[4, "unknown-stage"] == "did you mean boot?"
    assert hints[5, "stage-not-run"].startswith("no timer runs it")
    assert hints[9, "unknown-key"] == "did you mean systemctl?"
    assert hints[13, "value"] == "write 0644"
    assert "treebuild install" in hints[24, "unsupported"]


def test_files_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("stages: {boot: [{name: a, after: [{name: two.b}]}]}\n")
    (tmp_path / "two.yaml").write_text("stages: {boot: [{name: b}]}\n")
    assert linted(tmp_path) == []
    assert [rule for _, rule, _ in linted(tmp_path / "one.yaml")] == ["after"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("---\nstages: {boot: [{hostname: a}]}\n---\nstages: {boot: [{hostname: b}]}\n", 3),
        ("--- {stages: {boot: []}}\n--- # more\n\n# and\nname: b\n", 2),
        ("# a\n---\nstages: {boot: []}\n...\n---\n# nothing\n", 0),
        ("stages: {boot: [{commands: ['echo ---']}]}\n", 0),
        ("stages:\n  boot:\n  - commands:\n    - |\n      ---\n      a\n", 0),
        ("\ufeff# a\n---\nstages: {boot: []}\n", 0),
    ],
)  # fmt: skip
def test_a_second_document_that_nobody_reads_is_found(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    _, found = cloudlint.lint([str(path)])
    assert [(each.rule, each.line) for each in found] == ([("yaml", line)] if line else [])
    heard = Recorder()
    runner = Runner(tmp_path, heard)
    runner.read([str(path)])
    lines = [event.where.line for event in heard.events if isinstance(event, Warned) and event.where]
    assert lines == ([line] if line else [])


def test_a_header_that_is_not_in_the_first_line_is_found_in_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("\n#cloud-config\nhostname: x\n")
    count, found = cloudlint.lint([str(tmp_path)])
    assert (count, [each.rule for each in found]) == (1, ["unknown-key"])
    (tmp_path / "a.yaml").write_text("\ufeff#cloud-config\nhostname: x\n")
    assert cloudlint.lint([str(tmp_path)]) == (1, ())


def test_a_folder_holds_other_files_too(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text("requires: []\n")
    (tmp_path / "broken.yaml").write_text("stages: [\n")
    (tmp_path / "latin.yaml").write_bytes(b"\xff")
    (tmp_path / "classic.yaml").write_text("#cloud-config\nruncmd: ls\nbootcmd: [x]\n")
    assert [(line, rule) for line, rule, _ in linted(tmp_path)] == [
        (2, "yaml"), (2, "value"), (3, "unknown-key"), (0, "yaml")
    ]  # fmt: skip
    assert [rule for _, rule, _ in linted(tmp_path / "build.yaml")] == ["unknown-key"]


def test_nothing_is_run_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "chroot", "modprobe", "systemctl", "systemd-firstboot", "git", "sfdisk", "blkid"):
        (tools / name).write_text(f"#!/bin/bash\necho {name} >> {tmp_path}/ran\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    file = tmp_path / "f.yaml"
    file.write_text(
        f"stages: {{network: [{{if: 'touch {tmp_path}/ran', commands: ['touch {tmp_path}/ran'], modules: [loop],"
        f" files: [{{path: {tmp_path}/made, content: x}}], systemctl: {{start: [x], enable: [y]}},"
        " systemd_firstboot: {keymap: us}, authorized_keys: {root: ['http://127.0.0.1:1/']},"
        " downloads: [{path: /x, url: 'http://127.0.0.1:1/'}], git: {url: 'http://127.0.0.1:1/', path: /y},"
        f" datasource: {{providers: [cdrom, aws]}}, layout: {{device: {{path: 'script://touch {tmp_path}/ran'}},"
        " add_partitions: [{pLabel: x}]}}]}\n"
    )
    assert linted(file) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "f.yaml"]


def test_the_packages_here_are_clean() -> None:
    assert linted(TOP / "packages", TOP / "examples") == []


def test_the_documentation_names_what_there_is(tmp_path: Path) -> None:
    text = (TOP / "docs/cloud-config.md").read_text()
    named = set(re.findall(r"`([a-z_-]+)`", text))
    assert {*cloudlint.RULES, *STEP_KEYS, *SERVICES, *NOT_DONE, *UNSUPPORTED} - {"name"} <= named | {"after"}
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.yaml").write_text(block)
    assert len(blocks) == 3
    assert linted(tmp_path) == []


# the verb -----------------------------------------------------------------------------------------------------------
def test_the_verb(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("stages:\n  booot: []\n")
    assert main(["device", "lint", str(file), "--quiet"]) == 2
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith(f"{file}:2: unknown-stage: booot is no stage")
    assert main(["device", "lint", str(file), "--json", "--quiet"]) == 2
    value = json.loads(capsys.readouterr().out)
    assert schemas.faults(value, schemas.load("device-lint")) == []
    assert [each["where"]["line"] for each in value["findings"]] == [2]
    file.write_text("stages: {boot: []}\n")
    assert main(["device", "lint", str(file), "--json", "--quiet"]) == 0
    assert main(["device", "lint", str(tmp_path / "none"), "--json", "--quiet"]) == 1
    assert main(["device", "lint"]) == 1


def test_every_rule_is_in_the_schema() -> None:
    schema = schemas.load("device-lint")
    rules = schema["properties"]["findings"]["items"]["properties"]["rule"]["enum"]
    assert rules == list(cloudlint.RULES)


# running and linting agree ------------------------------------------------------------------------------------------
STEP: dict[str, Any] = {
    "only_os": "x?", "only_arch": ".", "node": "", "if_files": {"none": ["/no"]},
    "directories": [{"path": "/d", "permissions": 0o755, "owner": os.getuid(), "group": os.getgid()}],
    "files": [{"path": "/f", "content": "x", "permissions": "0600", "encoding": "", "append": True}],
    "commands": ["true"], "hostname": "box", "sysctl": {"a.b": 1}, "modules": ["loop"],
    "dns": {"nameservers": ["1.1.1.1"], "search": ["a"], "options": [], "path": "/r"},
    "users": {"u": {"uid": os.getuid(), "gecos": "g", "homedir": "/home/u", "groups": ["a"], "lock_passwd": False,
                    "shell": "/bin/sh", "passwd": "$6$x", "primary_group": "nothere", "ssh_authorized_keys": ["k"]}},
    "authorized_keys": {"nobody": ["k"]}, "timesyncd": {"NTP": "x"}, "environment": {"A": "b"},
    "ensure_entities": [{"entity": {"kind": "group", "group_name": "g", "gid": 7}}],
    "delete_entities": [{"entity": {"kind": "user", "username": "x"}}],
    "systemctl": {"enable": ["e"], "disable": [], "mask": ["m"], "start": ["s"],
                  "overrides": [{"service": "s", "name": "n", "content": "c"}]},
    "systemd_firstboot": {"locale": "C"},
    "layout": {"device": {"path": "/no.img", "init_disk": False}, "expand_partition": {"size": 3},
               "add_partitions": [{"pLabel": "x", "fsLabel": "y", "size": 40, "filesystem": "ext4", "bootable": True}]},
    "datasource": {"providers": ["file"], "path": "/oem", "userdata_name": "u"},
}  # fmt: skip
WRONG = st.sampled_from([[], {}, ["a", {}], {"a": ["b"]}, 5, -7, 1.5, True, "text", "", None, [None], "a/b:c", "99"])


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _places(inner, (*path, number))


PLACES = [path for path in _places(STEP) if path]


def _with(changes: list[tuple[tuple[Any, ...], Any]], base: dict[str, Any] = STEP) -> dict[str, Any]:
    step: dict[str, Any] = json.loads(json.dumps(base))
    for path, value in changes:
        here: Any = step
        try:
            for part in path[:-1]:
                here = here[part]
            here[path[-1]] = json.loads(json.dumps(value))  # its own: a later change may reach into it
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return step


@given(st.lists(st.tuples(st.sampled_from(PLACES), WRONG), min_size=1, max_size=2))
@settings(max_examples=120, deadline=None)
def test_what_running_refuses_is_found(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    step = _with(changes)
    text = f"stages: {{boot: [{json.dumps(step)}]}}"
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder, "bin")
        tools.mkdir()
        for name in ("chroot", "modprobe", "systemctl", "systemd-firstboot"):
            (tools / name).symlink_to("/bin/true")
        root = Path(folder, "root")
        (root / "etc").mkdir(parents=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
            runner = Runner(root)
            runner.read([text])
            runner.run("boot")
    refused = {err.message for err in runner.errors if isinstance(err, SpecError) and err.reason != "unknown-owner"}
    found: list[Fault] = rehearse(load(json.dumps(step), "f.yaml"))
    assert refused <= {each.message for each in found}


FETCHING: dict[str, Any] = {
    "downloads": [{"path": "/x/", "url": "https://h/f", "timeout": 3, "permissions": 0o600, "ownerstring": "root"}],
    "git": {"url": "https://h/r", "path": "/r", "branch": "b", "branch_only": True, "auth": {"username": "u"}},
    "datasource": {"providers": ["aws", "cdrom"], "path": "/oem", "userdata_name": "u"},
    "layout": {"device": {"label": "x"}, "add_partitions": [{"pLabel": "a", "size": 0}], "expand_partition": {}},
}  # fmt: skip
CLASSIC: dict[str, Any] = {
    "hostname": "h", "ssh_authorized_keys": ["k"], "runcmd": ["a", ["b", 3]],
    "growpart": {"mode": "x", "devices": ["/"]},
    "users": ["default", {"name": "n", "sudo": ["x"], "groups": "a, b", "ssh_authorized_keys": ["github:x"]}],
    "write_files": [{"path": "/f", "content": "x", "owner": "a:b", "defer": True}], "stages": {"boot": [{}]},
}  # fmt: skip
ODD = st.one_of(
    WRONG, st.sampled_from(["https://[", "http://h:x/", "script://", "::", "-x", "\x7f", {"name": {}}, 1 << 70])
)


@given(st.lists(st.tuples(st.sampled_from([path for path in _places(FETCHING) if path]), ODD), max_size=2))
@settings(deadline=None)
def test_any_form_is_understood_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    assert all(each.message for each in rehearse(load(json.dumps(_with(changes, FETCHING)), "f.yaml")))


@given(st.lists(st.tuples(st.sampled_from([path for path in _places(CLASSIC) if path]), ODD), max_size=2))
@settings(deadline=None)
def test_any_form_of_cloud_inits_keys_is_translated_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    text = json.dumps(_with(changes, CLASSIC))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "f.yaml")
        file.write_text(f"#cloud-config\n{text}\n")
        assert all(0 < line <= 2 for line, _, _ in linted(file))
