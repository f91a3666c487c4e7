"""cloud-init's own keys as stages."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from treebuilder.app import cloudlint
from treebuilder.cloudconfig.classic import translated
from treebuilder.cloudconfig.schema import check
from treebuilder.cloudconfig.sha512crypt import verify
from treebuilder.cloudconfig.stages import Runner
from treebuilder.errors import Place, SpecError, TreebuildError
from treebuilder.events import Recorder, Warned
from treebuilder.nodes import load

ME, MINE = os.getuid(), os.getgid()
TEXT = f"""\
#cloud-config
hostname: box
ssh_authorized_keys:
- ssh-ed25519 SHARED
- github:someone
users:
- default
- name: ann
  uid: {ME}
  plain_text_passwd: secret
  primary-group: staff
  groups: wheel, video
  sudo: ["ALL=(ALL) NOPASSWD:ALL", "ALL=(bob) ALL"]
  ssh_authorized_keys: [ssh-ed25519 ANN, gitlab:ann]
write_files:
- path: /etc/late
  content: late
  owner: ann:staff
  permissions: "0640"
  defer: true
- {{path: /etc/now, content: bm93, encoding: b64, permissions: "0644", owner: "{ME}:{MINE}"}}
- {{path: /etc/motd, content: "more\\n", append: true}}
runcmd:
- echo one > /tmp/x
- [echo, "two words", 3]
growpart: {{mode: auto, devices: [/]}}
stages:
  boot:
  - name: own
    hostname: never
"""


def test_what_the_keys_become() -> None:
    value = translated(load(TEXT, "f.yaml")).plain()
    stages = value["stages"]
    assert sorted(stages) == ["boot", "initramfs", "network"]
    assert stages["initramfs"] == [{"name": "Cloud init", "hostname": "box"}]
    assert stages["network"] == [
        {"name": "Cloud init", "authorized_keys": {"ann": ["gitlab:ann", "github:someone"]}}
    ]  # fmt: skip
    grow, files, people, deferred, commands, own = stages["boot"]
    assert grow["layout"] == {"device": {"path": "/"}, "expand_partition": {"size": 0}}
    assert [item["path"] for item in files["files"]] == ["/etc/now", "/etc/motd", "/etc/sudoers.d/90-cloud-init-users"]
    assert files["files"][2]["content"] == "ann ALL=(ALL) NOPASSWD:ALL\nann ALL=(bob) ALL\n"
    assert people["users"]["ann"]["groups"] == ["wheel", "video"]
    assert people["authorized_keys"] == {"ann": ["ssh-ed25519 ANN", "ssh-ed25519 SHARED"]}
    assert [item["path"] for item in deferred["files"]] == ["/etc/late"]
    assert commands["commands"] == ["echo one > /tmp/x", "echo 'two words' 3"]
    assert own == {"name": "own", "hostname": "never"}


def test_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, tools = tmp_path / "root", tmp_path / "bin"
    (root / "etc").mkdir(parents=True)
    (root / "etc/group").write_text(f"staff:x:{MINE}:\n")
    (root / "etc/motd").write_text("there\n")
    tools.mkdir()
    (tools / "chroot").write_text(f'#!/bin/sh\necho "$4" >> {tools}/said\n')
    (tools / "chroot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    file = tmp_path / "user-data.yaml"
    file.write_text("\n".join(line for line in TEXT.splitlines() if "growpart" not in line))
    for _ in range(2):
        runner = Runner(root)
        runner.read([str(file)])
        runner.run("initramfs")
        assert (root / "etc/hostname").read_text() == "box\n"
        runner.run("boot")
        assert [err.message for err in runner.errors] == []
    assert (root / "etc/now").read_text() == "now"
    assert (root / "etc/motd").read_text() == "there\nmore\n"
    assert stat.S_IMODE((root / "etc/late").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "etc/sudoers.d/90-cloud-init-users").stat().st_mode) == 0o440
    assert (root / "home/ann/.ssh/authorized_keys").read_text() == "ssh-ed25519 ANN\nssh-ed25519 SHARED\n"
    assert verify("secret", (root / "etc/shadow").read_text().split(":")[1])
    assert (tools / "said").read_text() == "echo one > /tmp/x\necho 'two words' 3\n" * 2


def test_keys_without_users_are_roots() -> None:
    value = translated(load("#cloud-config\nssh_authorized_keys: [ssh-rsa A]\n", "f.yaml")).plain()
    assert value == {"stages": {"boot": [{"name": "Cloud init", "authorized_keys": {"root": ["ssh-rsa A"]}}]}}


@pytest.mark.parametrize("mode", ["off", "'off'", "false"])
def test_growpart_can_be_off(mode: str) -> None:
    text = f"#cloud-config\ngrowpart: {{mode: {mode}, devices: [/]}}\n"
    assert translated(load(text, "f.yaml")).plain() == {"stages": {}}


@pytest.mark.parametrize(
    ("text", "line"),
    [("users: {ann: {}}", 2), ("users:\n- {uid: 3}", 3), ("users: [someone]", 2), ("runcmd: ls", 2),
     ("hostname: a\nwrite_files:\n- x", 4), ("ssh_authorized_keys: [{}]", 2)],
)  # fmt: skip
def test_wrong_types_have_their_line(text: str, line: int) -> None:
    with pytest.raises(SpecError) as caught:
        translated(load(f"#cloud-config\n{text}\n", "f.yaml"))
    assert caught.value.where == Place("f.yaml", line)


def test_a_wrong_key_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "\ufeff#cloud-config\nruncmd: echo hi\nhostname: box\nwrite_files: [{path: /x, content: a}]\n"
        "users: {ann: {}}\nssh_authorized_keys: [ssh-rsa AAAA]\n"
    )
    (tmp_path / "root").mkdir()
    runner = Runner(tmp_path / "root")
    runner.read([str(path)])
    for stage in ("initramfs", "boot", "network"):
        runner.run(stage)
    assert (tmp_path / "root/x").read_text() == "a"
    assert (tmp_path / "root/etc/hostname").read_text() == "box\n"
    said = [(err.message, err.where.line if err.where else 0) for err in runner.errors]
    assert said == [("users must be a list, not a map", 5), ("runcmd must be a list, not a text", 2)]
    assert not (tmp_path / "root/root").exists()  # keys of users that cannot be read are not root's
    _, found = cloudlint.lint([str(path)])
    assert [(each.line, each.rule) for each in found] == [(2, "value"), (5, "value")]


def test_a_wrong_user_does_not_stop_the_others() -> None:
    users = "- name: ann\n  sudo: ALL=(ALL) ALL\n  ssh_authorized_keys: [own]\n- {uid: 3}\n- someone\n"
    text = f"#cloud-config\nusers:\n{users}ssh_authorized_keys: [shared]\n"
    errors: list[TreebuildError] = []
    value = translated(load(text, "f.yaml"), errors).plain()
    assert [(err.message, err.where) for err in errors] == [
        ("a user needs a name", Place("f.yaml", 6)), ("the user someone must be a map with a name", Place("f.yaml", 7)),
    ]  # fmt: skip
    files, people = value["stages"]["boot"]
    assert files["files"][0]["content"] == "ann ALL=(ALL) ALL\n"
    assert list(people["users"]) == ["ann"]
    assert people["authorized_keys"] == {"ann": ["own", "shared"]}
    nobody = "#cloud-config\nusers: [{uid: 3}]\nssh_authorized_keys: [shared]\n"
    assert translated(load(nobody, "f.yaml"), errors).plain() == {"stages": {}}


def test_keys_that_are_not_translated_are_said() -> None:
    text = "#cloud-config\nbootcmd: [x]\nruncmds: [x]\nusers: [{name: a, shel: b, no-user-group: true}]\n"
    found = check(load(text, "f.yaml"), classic=True)
    assert [(w.where, w.message.split(":")[0]) for w in found] == [
        (Place("f.yaml", 2), "bootcmd of cloud-init is not translated"), (Place("f.yaml", 3), "unknown key runcmds"),
        (Place("f.yaml", 4), "unknown key users.shel"),
    ]  # fmt: skip
    assert [w.hint for w in found][1:] == ["did you mean runcmd?", "did you mean shell?"]


def test_other_files_have_no_classic_keys(tmp_path: Path) -> None:
    recorder = Recorder()
    runner = Runner(tmp_path, recorder)
    runner.read(["runcmd: [x]\n"])
    assert [e.hint for e in recorder.events if isinstance(e, Warned)] == [
        "begin the file with #cloud-config, or write stages"
    ]
