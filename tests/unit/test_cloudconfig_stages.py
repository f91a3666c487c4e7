"""Reading cloud-config, the order of steps, conditions, warnings, and the command `yip`."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from treebuilder.cloudconfig.command import main
from treebuilder.cloudconfig.conditions import applies
from treebuilder.cloudconfig.config import Source, dotted_document, parse
from treebuilder.cloudconfig.facts import architecture
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.modules import apply
from treebuilder.cloudconfig.rehearsal import Rehearsal
from treebuilder.cloudconfig.root import Root
from treebuilder.cloudconfig.schema import check
from treebuilder.cloudconfig.sha512crypt import verify
from treebuilder.cloudconfig.stages import run_stage
from treebuilder.errors import Place, SpecError
from treebuilder.nodes import load


def stage(root: Path, name: str = "default") -> str:
    """A step that says its name by a file of its own under /log, numbered in the order of running."""
    return f"{{name: {name}, environment_file: /log, environment: {{{name}: x}}}}"


def ran(root: Path) -> list[str]:
    file = root / "log"
    return [line.partition("=")[0] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    return made


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# sources ----------------------------------------------------------------------------------------------------------
def test_a_folder_is_read_recursively_in_order(root: Path, tmp_path: Path) -> None:
    oem = tmp_path / "oem"
    for name, step in (("10.yaml", "c"), ("02.yml", "a"), ("05/x.yaml", "b"), ("99.txt", "z"), ("a.yaml.bak", "z")):
        write(oem, name, f"stages: {{default: [{stage(root, step)}]}}")
    assert main(["--root", str(root), str(oem)]) == 0
    assert ran(root) == ["a", "b", "c"]


def test_the_default_stage_and_another(root: Path) -> None:
    text = f"stages: {{default: [{stage(root, 'd')}], boot: [{stage(root, 'b')}], boot.before: [{stage(root, 'p')}]}}"
    assert main(["--root", str(root), text]) == 0
    assert main(["--root", str(root), "-s", "boot", text]) == 0
    assert ran(root) == ["d", "b"]
    assert main(["--root", str(root), "-s", "boot", "--with-hooks", text]) == 0
    assert ran(root) == ["d", "b", "p"]
    (root / "log").unlink()
    assert main(["--root", str(root), "-s", "boot", "-s", "default", text]) == 0
    assert ran(root) == ["b", "d"]


def test_standard_input(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"stages: {{default: [{stage(root, 'in')}]}}"))
    assert main(["--root", str(root), "-"]) == 0
    assert ran(root) == ["in"]


def test_dot_notation(root: Path) -> None:
    words = ["stages.boot[0].files[0].path=/a", "stages.boot[0].files[0].content='x y'", "stages.boot[0].hostname=box"]
    assert main(["--root", str(root), "-s", "boot", "-d", "quiet root=LABEL=x " + " ".join(words)]) == 0
    assert (root / "a").read_text() == "x y"
    assert (root / "etc/hostname").read_text() == "box\n"


def test_dot_notation_as_a_document() -> None:
    words = [
        "stages.boot[1].commands[0]=b",
        "stages.boot[0].name=n",
        "console=tty1",
        "stages.boot[0].after=[{name: x}]",
    ]
    assert dotted_document(words, "cmdline").plain() == {
        "stages": {"boot": [{"name": "n", "after": [{"name": "x"}]}, {"commands": ["b"]}]}
    }
    with pytest.raises(SpecError):
        dotted_document(["stages.boot=1", "stages.boot[0].name=x"], "cmdline")
    with pytest.raises(SpecError):
        dotted_document(["stages.boot[9999].name=x"], "cmdline")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["files[0].path=/a", "files[0].owner=-1", "files[0].permissions=0640", "files[0].content=0640"], "0640"),
        (["files[0].path=/a", "files[0].append=true", "files[0].content=true"], "true"),
        (["files[0].path=/a", "files[0].content=[ a ]", "if=[ -d / ]"], "[ a ]"),
        (["files[0]={path: /a}", "files[0].content=5"], "5"),
    ],
)
def test_a_word_of_dot_notation_is_what_its_reader_wants(root: Path, words: list[str], said: str) -> None:
    line = " ".join(f"'stages.boot[0].{word}'" for word in words)
    step = parse(Source("cmdline", line), dotted=True).steps("boot")[0].node
    machine = Rehearsal(root)
    assert applies(step, machine)
    apply(step, machine)
    assert machine.errors == []
    assert (root / "a").read_text() == said


def test_stages_with_dots_have_dot_notation_too(root: Path) -> None:
    words = "stages.boot.before[0].hostname=early stages.boot.after[0].dns.nameservers[0]=192.0.2.1 stages.boot=x"
    step = parse(Source("cmdline", words), dotted=True).steps("boot.before")[0]
    assert step.node.text("hostname") == "early"
    assert main(["--root", str(root), "-s", "boot.after", "-d", words]) == 0
    assert (root / "etc/resolv.conf").read_text() == "nameserver 192.0.2.1\n"


def test_what_cannot_be_read_is_said_and_the_rest_runs(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path, "oem/3.yaml", f"stages: {{default: [{stage(root, 'good')}]}}")
    write(tmp_path, "oem/1.yaml", "stages:\n  default: [\n")
    write(tmp_path, "oem/2.yaml", "stages: {default: 5}")
    (tmp_path / "oem/0.yaml").write_bytes(b"\xff\xfe\xfa")
    code = main(["--root", str(root), str(good.parent), "http://a:b@127.0.0.1:1/x.yaml", "nofile"])
    err = capsys.readouterr().err
    assert code == 1
    assert ran(root) == ["good"]
    assert f"{good.parent}/1.yaml:3: broken YAML" in err
    assert f"{good.parent}/2.yaml:1: stages.default must be a list" in err
    assert "0.yaml cannot be read" in err
    assert "http://127.0.0.1:1/x.yaml cannot be reached: Connection refused" in err
    assert "nofile is neither a file nor a folder nor YAML" in err


def test_a_missing_root_is_wrong_usage(tmp_path: Path) -> None:
    assert main(["--root", str(tmp_path / "none"), "stages: {}"]) == 2


def test_an_error_makes_exit_code_1_and_stops_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"stages:\n  default:\n  - files: [{{path: /etc, content: x}}]\n  - {stage(root, 'after')}\n"
    assert main(["--root", str(root), text]) == 1
    assert ran(root) == ["after"]
    assert "error: <argument>:3: /etc is not a regular file" in capsys.readouterr().err


# order ------------------------------------------------------------------------------------------------------------
def test_after(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def step(name: str, *after: str) -> str:
        listed = ", ".join(f"{{name: {word}}}" for word in after)
        return f"{{name: {name}, after: [{listed}]}}" if after else f"{{name: {name}}}"

    one = (
        f"name: one\nstages: {{default: [{step('a', 'two.y')}, {step('b')}, {step('c', 'd')}, {step('d', 'nothere')}]}}"
    )
    two = f"name: two\nstages: {{default: [{step('x')}, {step('y')}]}}"
    assert main(["--root", str(root), "-a", one, two]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[2] for line in out.splitlines()] == ["one.d", "one.c", "two.x", "two.y", "one.a", "one.b"]
    assert "there is no step 'nothere' to run after" in err


def test_a_circle_of_after_is_an_error_and_all_steps_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = stage(root, "a").replace("{name: a,", "{name: a, after: [{name: b}],")
    assert main(["--root", str(root), f"name: f\nstages: {{default: [{first}, {stage(root, 'b')}]}}"]) == 1
    assert ran(root) == ["a", "b"]
    assert "steps wait for each other: f.a" in capsys.readouterr().err


def test_run_stage_does_all_before_then_all_main_then_all_after(root: Path, tmp_path: Path) -> None:
    paths = []
    for folder in ("one", "two"):
        stages = ", ".join(f"boot{part}: [{stage(root, folder + name)}]" for part, name in
                           ((".after", "C"), ("", "B"), (".before", "A")))  # fmt: skip
        write(tmp_path, f"{folder}/x.yaml", f"stages: {{{stages}}}")
        paths.append(str(tmp_path / folder))
    arguments = "ro stages.boot[0].environment_file=/log stages.boot[0].environment.cmdline=x"
    errors = run_stage("boot", [*paths, str(tmp_path / "missing")], root=root, kernel_arguments=arguments)
    assert errors == ()
    assert ran(root) == ["oneA", "twoA", "oneB", "twoB", "cmdline", "oneC", "twoC"]


# conditions -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("only_os: '^Test'", True), ("only_os: test", True), ("only_os: suse|debian", False),
        ("only_os_version: '^3\\.'", True), ("only_os_version: 3.1", True), ("only_os_version: '4'", False),
        (f"only_arch: {architecture()}", True), ("only_arch: '^m68k$'", False),
        ("node: '^box-[0-9]+$'", True), ("node: other", False),
        ("only_service_manager: systemd", True), ("only_service_manager: openrc", False),
        ("if_files: {any: [/etc/none, /etc/hostname]}", True), ("if_files: {any: [/etc/none]}", False),
        ("if_files: {all: [/etc/hostname, /etc/none]}", False), ("if_files: {none: [/etc/none]}", True),
        ("if_files: {none: [/etc/hostname]}", False), ("if: 'yes'", True), ("if: 'no'", False),
        ("if: 'yes', node: other", False), ("only_os: ''", True), ("only_os: '('", None), ("if_files: [x]", None),
    ],
)  # fmt: skip
def test_conditions(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str, expected: bool | None
) -> None:
    write(root, "etc/os-release", 'NAME="Test OS"\nID=test\nVERSION_ID=3.1\n')
    write(root, "etc/hostname", "box-12\n")
    write(root, "usr/bin/systemctl", "")
    write(tmp_path, "bin/chroot", '#!/bin/sh\n[ "$4" = yes ]\n').chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    text = f"stages: {{default: [{{{condition}, environment_file: /log, environment: {{a: x}}}}, {stage(root, 'b')}]}}"
    assert main(["--root", str(root), text]) == (1 if expected is None else 0)
    assert ran(root) == (["a", "b"] if expected else ["b"])


def test_two_service_managers_skip(root: Path) -> None:
    write(root, "usr/bin/systemctl", "")
    write(root, "sbin/openrc", "")
    step = stage(root, "a").replace("{name: a,", "{only_service_manager: systemd,")
    assert main(["--root", str(root), f"stages: {{default: [{step}]}}"]) == 0
    assert ran(root) == []


# keys -------------------------------------------------------------------------------------------------------------
def test_unknown_keys_are_warned_about_with_their_place() -> None:
    text = """\
name: x
stage: {}
stages:
  default:
  - systemd: {enable: [a]}
    files:
    - path: /x
      permission: 0600
    users:
      root: {password: x}
    systemctl: {enabled: [y]}
    environment: {ANY: thing}
    zzz: 1
"""
    warnings = check(load(text, "f.yaml"))
    assert [(w.message.split(":")[0], w.where, w.hint) for w in warnings] == [
        ("unknown key stage", Place("f.yaml", 2), "did you mean stages?"),
        ("unknown key stages.default.systemd", Place("f.yaml", 5), "did you mean systemctl?"),
        ("unknown key stages.default.files.permission", Place("f.yaml", 8), "did you mean permissions?"),
        ("unknown key stages.default.users.root.password", Place("f.yaml", 10), "did you mean passwd?"),
        ("unknown key stages.default.systemctl.enabled", Place("f.yaml", 11), "did you mean enable?"),
        ("unknown key stages.default.zzz", Place("f.yaml", 13), None),
    ]


def test_names_that_are_numbers() -> None:
    config = parse(Source("f.yaml", "name: 3\nstages: {default: [{name: 4}]}"))
    assert [str(step) for step in config.steps("default")] == ["3.4"]


# a derivative's own files -------------------------------------------------------------------------------------------
SETUP = """\
name: "Default settings"
stages:
   default:
     - name: "Default systemd config"
       systemd:
         enable:
         - multi-user.target
       systemctl:
         enable:
         - sampleservice
     - name: "Setup os-release"
       files:
       - path: "/etc/os-release"
         content: ""
         permissions: 0644
         owner: {uid}
         group: {gid}
       environment_file: "/etc/os-release"
       environment:
         NAME: "sampleOS"
         ID: "sampleOS"
         ANSI_COLOR: "0;32"
         HOME_URL: "https://example.org/sample#home"
         VERSION: "0.5.0"
"""
ACCOUNTING = """\
name: "Default user"
stages:
   initramfs:
     - name: "Setup users"
       ensure_entities:
       -  entity: |
             kind: "shadow"
             username: "root"
             password: "sampleos"
"""
SERVICE = """\
stages:
   initramfs:
     - files:
       - path: /etc/systemd/system/sampleservice.service
         permissions: 0644
         owner_string: "root:root"
         content: |
             [Unit]
             After=network.target
             [Service]
             Type=simple
             ExecStart=/usr/bin/sampleOSService
             [Install]
             WantedBy=multi-user.target
     - systemctl: {enable: [sampleservice]}
"""


def test_files_like_a_derivatives(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    oem = tmp_path / "oem"
    setup = write(tmp_path, "setup.yaml", SETUP.replace("{uid}", str(os.getuid())).replace("{gid}", str(os.getgid())))
    write(oem, "04_accounting.yaml", ACCOUNTING)
    write(oem, "10_service.yaml", SERVICE)
    write(root, "etc/shadow", "root:*:19000:0:99999:7:::\n")
    assert main(["--root", str(root), "-s", "initramfs", str(oem)]) == 0
    shadow = (root / "etc/shadow").read_text().split(":")
    assert verify("sampleos", shadow[1])
    link = root / "etc/systemd/system/multi-user.target.wants/sampleservice.service"
    assert link.is_symlink()
    assert main(["--root", str(root), str(setup)]) == 0
    assert (root / "etc/os-release").read_text() == (
        'ANSI_COLOR="0;32"\nHOME_URL="https://example.org/sample#home"\nID="sampleOS"\nNAME="sampleOS"\nVERSION="0.5.0"\n'
    )
    assert f"warning: {setup}:5: unknown key stages.default.systemd" in capsys.readouterr().err


def test_what_nobody_thought_of_ends_one_step_only(tmp_path: Path) -> None:
    machine = Machine(Root(tmp_path), dict)
    with machine.attempt(Place("f", 3)):
        float(10**400)
    (found,) = machine.errors
    assert found.message.startswith("OverflowError: ")
    assert found.where == Place("f", 3)
    with pytest.raises(KeyboardInterrupt), machine.attempt(Place("f", 4)):
        raise KeyboardInterrupt
