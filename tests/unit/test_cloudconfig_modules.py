"""Every module of a cloud-config step against a folder as root."""

from __future__ import annotations

import base64
import gzip
import os
import stat
from pathlib import Path

import pytest

from treebuilder.cloudconfig.sha512crypt import verify
from treebuilder.cloudconfig.stages import Runner
from treebuilder.events import LogLine, Recorder, Warned

ME, MINE = os.getuid(), os.getgid()


class Run:
    """One step of stage `default`, run on `root`."""

    def __init__(self, root: Path, step: str) -> None:
        self.recorder = Recorder()
        self.root = root
        runner = Runner(root, self.recorder)
        lines = "\n".join(f"    {line}" for line in step.strip("\n").splitlines())
        file = root.parent / "step.yaml"
        file.write_text(f"stages:\n  default:\n  -\n{lines}\n")
        runner.read([str(file)])
        runner.run("default")
        self.errors = [err.message for err in runner.errors]
        self.places = [err.where for err in runner.errors]
        self.warnings = [event.message for event in self.recorder.events if isinstance(event, Warned)]
        self.lines = [event.line for event in self.recorder.events if isinstance(event, LogLine)]

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def mode(self, path: str) -> int:
        return stat.S_IMODE((self.root / path).stat().st_mode)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    return made


def run(root: Path, step: str) -> Run:
    done = Run(root, step)
    assert done.errors == []
    return done


# the root ---------------------------------------------------------------------------------------------------------
def test_nothing_is_written_outside(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "etc/out").symlink_to(outside)
    run(
        root, "files: [{path: /etc/out/f, content: x}, {path: /../../g, content: y}]\ndirectories: [{path: /etc/out/d}]"
    )
    assert list(outside.iterdir()) == []
    assert (root / str(outside).lstrip("/") / "f").read_text() == "x"
    assert (root / "g").read_text() == "y"


# files ------------------------------------------------------------------------------------------------------------
def test_files(root: Path) -> None:
    packed = base64.b64encode(gzip.compress(b"packed\n")).decode()
    done = run(
        root,
        f"""
        files:
        - {{path: /etc/a/b/plain, content: "hello\\n", permissions: 0644}}
        - {{path: /etc/secret, content: s}}
        - {{path: /etc/b64, content: aGk=, encoding: b64, permissions: 0600}}
        - {{path: /etc/both, content: {packed}, encoding: gz+b64, permissions: "0640"}}
        - {{path: /etc/empty, permissions: 04755, owner: {ME}, group: {MINE}}}
        """,
    )
    assert done.text("etc/a/b/plain") == "hello\n"
    assert [done.mode(p) for p in ("etc/a", "etc/a/b", "etc/a/b/plain", "etc/secret", "etc/both", "etc/empty")] == [
        0o755, 0o755, 0o644, 0o600, 0o640, 0o4755,
    ]  # fmt: skip
    assert done.text("etc/b64") == "hi"
    assert done.text("etc/both") == "packed\n"
    assert done.text("etc/empty") == ""


def test_a_link_is_written_through_also_when_its_target_is_missing(root: Path) -> None:
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    done = run(root, "files: [{path: /etc/os-release, content: NEW, permissions: 0644}]")
    assert (root / "etc/os-release").is_symlink()
    assert done.text("usr/lib/os-release") == "NEW"


def test_one_bad_item_does_not_stop_the_others(root: Path) -> None:
    done = Run(
        root,
        """
        files:
        - {path: /etc/x, content: "%%%", encoding: b64}
        - {path: /etc/y, encoding: rot13, content: a}
        - {path: /etc, content: a}
        - {content: a}
        - {path: /etc/p, permissions: "99"}
        - {path: /etc/good, content: good}
        commands: [[not, text]]
        hostname: still
        """,
    )
    assert len(done.errors) == 6
    assert [where.line for where in done.places if where is not None] == [5, 6, 7, 8, 9, 11]
    assert done.text("etc/good") == "good"
    assert done.text("etc/hostname") == "still\n"


def test_a_decimal_mode_is_pointed_out(root: Path) -> None:
    assert run(root, "files: [{path: /f, permissions: 644}]").warnings == ["permissions 644 is a decimal number"]


def test_ownerstring_uses_the_roots_own_names(root: Path) -> None:
    (root / "etc/passwd").write_text(f"svc:x:{ME}:{MINE}::/:/bin/sh\n")
    (root / "etc/group").write_text(f"grp:x:{MINE}:\n")
    done = Run(
        root,
        """
        files:
        - {path: /a, ownerstring: "svc:grp"}
        - {path: /b, ownerstring: "svc"}
        - {path: /c, ownerstring: "nobodyhere:grp"}
        """,
    )
    assert done.errors == ["there is no nobodyhere in this system"]
    assert (root / "a").stat().st_uid == ME


def test_directories(root: Path) -> None:
    (root / "srv").mkdir(mode=0o755)
    done = run(
        root, "directories: [{path: /etc/luet, permissions: 0700}, {path: /srv, permissions: 0711}, {path: /x/y}]"
    )
    assert [done.mode(p) for p in ("etc/luet", "srv", "x", "x/y")] == [0o700, 0o711, 0o755, 0o755]


def test_templates_in_files_and_commands(root: Path) -> None:
    (root / "etc/hostname").write_text("box\n")
    (root / "etc/os-release").write_text('NAME="Test OS"\nID=test\nVERSION_ID="3.1"\n')
    done = run(
        root,
        """
        files:
        - {path: /t, content: "{{ .Values.node.hostname }} {{ .Values.os.name | upper }} {{ .Values.os.version }}"}
        - {path: /broken, content: "{{ .Values.node.hostname "}
        """,
    )
    assert done.text("t") == "box TEST OS 3.1"
    assert done.text("broken") == "{{ .Values.node.hostname "
    assert len(done.warnings) == 1


# programs ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """chroot, modprobe, systemctl and systemd-firstboot that write down how they were called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("chroot", "modprobe", "systemctl", "systemd-firstboot"):
        (folder / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\ncase "$*" in *fail*) exit 3;; esac\n'
        )
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def calls(programs: Path) -> list[str]:
    file = programs / "calls"
    return file.read_text().splitlines() if file.exists() else []


def test_commands_run_in_the_root(root: Path, programs: Path) -> None:
    done = Run(root, "commands: [touch /x, fail, touch /y]")
    assert done.errors == ["the command 'fail' failed with exit code 3"]
    assert calls(programs) == [f"chroot {root} /bin/sh -c {word}" for word in ("touch /x", "fail", "touch /y")]


def test_commands_on_the_running_system(tmp_path: Path) -> None:
    recorder = Recorder()
    runner = Runner(Path("/"), recorder)
    runner.read(
        [f"stages: {{default: [{{commands: ['echo out; echo err >&2', 'cd /; pwd > {tmp_path}/pwd', 'exit 4']}}]}}"]
    )
    runner.run("default")
    assert [event.line for event in recorder.events if isinstance(event, LogLine)] == ["out", "err"]
    assert (tmp_path / "pwd").read_text() == "/\n"
    assert [err.message for err in runner.errors] == ["the command 'exit 4' failed with exit code 4"]


def test_systemctl_offline(root: Path, programs: Path) -> None:
    done = Run(
        root,
        """
        systemctl:
          start: [now]
          mask: [purge-kernels]
          disable: [old.socket]
          enable: [getty@tty1, failing.timer]
          overrides:
          - {service: sshd, content: "[Service]\\nNice=3\\n"}
          - {service: x.socket, name: mine, content: y}
        """,
    )
    assert calls(programs) == [
        f"systemctl --root={root} enable -- getty@tty1.service",
        f"systemctl --root={root} enable -- failing.timer",
        f"systemctl --root={root} disable -- old.socket",
        f"systemctl --root={root} mask -- purge-kernels.service",
    ]
    assert done.errors == ["systemctl enable failing.timer failed with exit code 3"]
    assert done.warnings == ["now.service is not started: systemd does not run here"]
    assert done.text("etc/systemd/system/sshd.service.d/override-yip.conf") == "[Service]\nNice=3\n"
    assert done.text("etc/systemd/system/x.socket.d/mine.conf") == "y"


def test_firstboot(root: Path, programs: Path) -> None:
    run(root, "systemd_firstboot: {locale: C.UTF-8, force: 'true'}")
    assert calls(programs) == [f"systemd-firstboot --root={root} --force --locale=C.UTF-8"]


def test_kernel_modules_are_for_the_running_system(root: Path, programs: Path) -> None:
    done = run(root, "modules: [loop max_loop=8]")
    assert calls(programs) == []
    assert done.warnings == ["the module loop is not loaded: --root is not the running system"]
    runner = Runner(Path("/"))
    runner.read(["stages: {default: [{modules: [loop max_loop=8, failing]}]}"])
    runner.run("default")
    assert calls(programs) == ["modprobe -- loop max_loop=8", "modprobe -- failing"]
    assert [err.message for err in runner.errors] == ["modprobe failing failed with exit code 3"]


# accounts ---------------------------------------------------------------------------------------------------------
def test_entities(root: Path) -> None:
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n# note\n+nis::::::\n")
    (root / "etc/shadow").write_text("root:*:1:0:99999:7:::\n")
    (root / "etc/shadow").chmod(0o600)
    step = """
        ensure_entities:
        - entity: |
            kind: user
            username: svc
            gid: 7
            homedir: /srv
        - entity: |
            kind: "shadow"
            username: "root"
            password: "sampleos"
        - entity: {kind: shadow, username: svc, password: "!*"}
        - entity: {kind: group, group_name: g, users: [a, b]}
        - path: /other/gshadow
          entity: "kind: gshadow\\nname: g\\nmembers: a"
        - entity: {kind: teapot}
        - entity: {kind: user, username: "a:b"}
        delete_entities:
        - entity: {kind: group, group_name: gone}
        """
    done = Run(root, step)
    assert done.errors == [
        "unknown kind of entity 'teapot'",
        "username of user a:b must not hold a colon or a line end",
    ]
    assert done.text("etc/passwd") == "root:x:0:0:root:/root:/bin/bash\n# note\nsvc:x:1000:7::/srv:\n+nis::::::\n"
    assert done.text("etc/group") == "g:x:1000:a,b\n"
    assert done.text("other/gshadow") == "g:!::a\n"
    shadow = dict(line.split(":", 1) for line in done.text("etc/shadow").splitlines())
    assert verify("sampleos", shadow["root"].split(":")[0])
    assert shadow["root"].endswith(":0:99999:7:::")
    assert shadow["svc"].startswith("!*:")
    assert done.mode("etc/shadow") == 0o600
    before = done.text("etc/shadow")
    assert Run(root, step).text("etc/shadow") == before  # the same password keeps its hash


def test_delete_entities(root: Path) -> None:
    (root / "etc/group").write_text("a:x:1:\nb:x:2:\n")
    done = run(root, "delete_entities: [{entity: {kind: group, group_name: a}}]")
    assert done.text("etc/group") == "b:x:2:\n"


def test_builds_hash_the_same_way_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "864000")
    found = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        step = "ensure_entities: [{entity: {kind: shadow, username: root, password: p}}]"
        found.add(run(tmp_path / name, step).text("etc/shadow"))
    assert len(found) == 1
    assert found.pop().split(":")[2] == "10"


def test_users(root: Path) -> None:
    (root / "etc/passwd").write_text("old:x:1000:1000:Old:/home/old:/bin/zsh\n")
    (root / "etc/group").write_text("old:x:1000:\nwheel:x:10:old\n")
    (root / "etc/shadow").write_text("old:$6$keep:19000:1:60:7:::\n")
    done = Run(
        root,
        f"""
        users:
          old: {{groups: [wheel], gecos: Older, no_create_home: true}}
          new:
            uid: {ME}
            primary_group: "{MINE}"
            passwd: secret
            shell: /bin/bash
            groups: [wheel, fresh]
            ssh_authorized_keys: [ssh-ed25519 AAA me]
          locked: {{lock_passwd: true, passwd: "$6$x$y", no_create_home: true, no_user_group: true}}
          daemon: {{system: true}}
          "bad name": {{}}
          homeless: {{primary_group: nowhere}}
        """,
    )
    assert done.errors == ["'bad name' is no name for a user", "user homeless: there is no group nowhere"]
    passwd = {line.split(":")[0]: line for line in done.text("etc/passwd").splitlines()}
    assert passwd["old"] == "old:x:1000:1000:Older:/home/old:/bin/zsh"
    assert passwd["new"] == f"new:x:{ME}:{MINE}::/home/new:/bin/bash"
    assert passwd["locked"] == "locked:x:1001:100::/home/locked:/bin/sh"
    assert passwd["daemon"] == "daemon:x:999:998::/home/daemon:/bin/sh"
    shadow = {line.split(":")[0]: line.split(":") for line in done.text("etc/shadow").splitlines()}
    assert ":".join(shadow["old"]) == "old:$6$keep:19000:1:60:7:::"
    assert verify("secret", shadow["new"][1])
    assert shadow["locked"][1] == "!$6$x$y"
    assert shadow["daemon"][1] == "!"
    groups = {line.split(":")[0]: line.split(":")[3] for line in done.text("etc/group").splitlines()}
    assert groups["wheel"] == "old,new"
    assert groups["fresh"] == "new"
    assert done.text("home/new/.ssh/authorized_keys") == "ssh-ed25519 AAA me\n"
    assert [done.mode(f"home/new{p}") for p in ("", "/.ssh", "/.ssh/authorized_keys")] == [0o700, 0o700, 0o600]
    assert not (root / "home/locked").exists()
    assert not (root / "home/daemon").exists()


def test_authorized_keys_are_added_once(root: Path) -> None:
    (root / "etc/passwd").write_text(f"u:x:{ME}:{MINE}::/home/u:/bin/sh\n")
    step = "authorized_keys: {u: [ssh-rsa A, ssh-rsa B, 'github:../someone'], nobody: [x]}"
    first = Run(root, step)
    again = Run(root, step)
    assert again.text("home/u/.ssh/authorized_keys") == "ssh-rsa A\nssh-rsa B\n"
    assert first.errors == again.errors
    assert first.errors == [
        "'../someone' is no name of github",
        "there is no user nobody to give keys to",
    ]


# the rest ---------------------------------------------------------------------------------------------------------
def test_environment(root: Path) -> None:
    (root / "etc/env").write_text('# kept\nOLD="1"\nexport CHANGED=no\n')
    (root / "etc/env").chmod(0o600)
    done = run(
        root,
        """
        environment_file: /etc/env
        environment: {Z: "a b", CHANGED: "0;32", A: 5, QUOTE: 'x "$y" `z` \\', SAID: on, NAME: "{{.Values.os.vendor}}"}
        """,
    )
    assert done.text("etc/env").splitlines() == [
        "# kept", 'OLD="1"', 'CHANGED="0;32"', "A=5", 'NAME=""',
        r'QUOTE="x \"\$y\" \`z\` \\"', 'SAID="on"', 'Z="a b"',
    ]  # fmt: skip
    assert done.mode("etc/env") == 0o644


def test_environment_without_a_file_takes_scalars_as_written(root: Path) -> None:
    done = Run(root, "environment: {VERSION: 1.10, WORD: yes, MODE: 0644}\n")
    assert done.text("etc/environment") == 'MODE=0644\nVERSION="1.10"\nWORD="yes"\n'
    assert Run(root, "environment: {Y: 1}").errors == ["the name of this variable is a word of YAML"]


def test_dns(root: Path) -> None:
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    done = run(root, "dns: {nameservers: [1.1.1.1, '::1'], search: [a.org, b.org], options: [ndots:2]}")
    assert done.text("run/systemd/resolve/stub-resolv.conf").splitlines() == [
        "nameserver 1.1.1.1", "nameserver ::1", "search a.org b.org", "options ndots:2",
    ]  # fmt: skip
    run(root, "dns: {search: [x], path: /etc/none}")
    assert not (root / "etc/none").exists()


def test_hostname(root: Path) -> None:
    (root / "etc/hosts").write_text("::1 localhost\n127.0.0.1 before alias # note\n")
    (root / "etc/hostname").write_text("before\n")
    (root / "etc/machine-id").write_text("0123abc\n")
    done = run(root, 'hostname: "box-{{.MachineID}}"')
    assert done.text("etc/hostname") == "box-0123abc\n"
    assert done.text("etc/hosts") == "::1 localhost\n127.0.0.1 localhost alias box-0123abc\n"
    assert Run(root, 'hostname: "no good"').errors == ["'no good' is no host name"]


def test_sysctl(root: Path) -> None:
    for name in ("vm/swappiness", "net/ipv4/conf/eth0.1/forwarding"):
        (root / "proc/sys" / name).parent.mkdir(parents=True)
        (root / "proc/sys" / name).write_text("0")
    done = Run(root, "sysctl: {vm.swappiness: 10, net/ipv4/conf/eth0.1/forwarding: '1', no.such: 1}")
    assert done.text("proc/sys/vm/swappiness") == "10"
    assert done.text("proc/sys/net/ipv4/conf/eth0.1/forwarding") == "1"
    assert done.errors == ["this kernel has no setting no.such"]


def test_timesyncd(root: Path) -> None:
    done = run(root, "timesyncd: {NTP: 0.pool, FallbackNTP: ''}")
    assert done.text("etc/systemd/timesyncd.conf.d/10-yip.conf") == "[Time]\nFallbackNTP=\nNTP=0.pool\n"


def test_what_belongs_to_the_image_is_an_error_and_the_rest_is_done(root: Path) -> None:
    done = Run(root, "packages: {install: [x]}\nunpack_images: []\npackage_pins: {}\nhostname: z")
    assert done.errors == [
        f"{key} is not done by this program" for key in ("package_pins", "packages", "unpack_images")
    ]
    assert done.text("etc/hostname") == "z\n"


def test_the_order_of_modules(root: Path, programs: Path) -> None:
    (programs / "chroot").write_text(f"#!/bin/sh\nls {root}/etc {root}/d > {root}/seen\n")
    done = run(
        root,
        """
        environment: {A: b}
        users: {u: {no_create_home: true}}
        commands: [look]
        files: [{path: /etc/f}]
        directories: [{path: /d}]
        """,
    )
    assert "f" in done.text("seen").split()
    assert "environment" not in done.text("seen")
    assert "passwd" not in done.text("seen")
