"""User data of providers: what is asked, what is kept, with which modes, and what is applied."""

from __future__ import annotations

import base64
import gzip
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cloud_parts import Web, web
from treebuilder.cloudconfig.ask import Ask
from treebuilder.cloudconfig.metadata import SERVICES, Instance, ask_service
from treebuilder.cloudconfig.net import fetch
from treebuilder.cloudconfig.stages import Runner
from treebuilder.errors import TransportError, TreebuildError
from treebuilder.events import Recorder, Warned

KEY = "ssh-ed25519 AAAAC3 me@here"
CONFIG = b"#cloud-config\nhostname: far\n"


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as made:
        yield made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (made / "etc/passwd").write_text(f"root:x:{os.getuid()}:{os.getgid()}::/root:/bin/sh\n")
    return made


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """blkid that knows the volumes vol-LABEL, mount that copies one, umount that empties, chroot that writes down."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "blkid": f'v={tmp_path}/vol-${{4#LABEL=}}; [ -d "$v" ] && echo "$v" || exit 2',
        "mount": f'echo "$2" >> {folder}/options; cp -r "$3/." "$4"',
        "umount": 'rm -r "$1"/*',
        "chroot": f'shift; echo "$*" >> {folder}/ran',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def run(root: Path, text: str) -> tuple[list[str], list[str]]:
    """Errors and warnings of a datasource."""
    recorder = Recorder()
    runner = Runner(root, recorder)
    runner.read([f"stages: {{network: [{{datasource: {text}}}]}}"])
    runner.run("network")
    warned = [event.message for event in recorder.events if isinstance(event, Warned)]
    return [err.message for err in runner.errors], warned


def volume(top: Path, label: str, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = top / f"vol-{label}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return top / f"vol-{label}"


# volumes and files --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("label", ["cidata", "CIDATA"])
def test_a_cd(root: Path, tmp_path: Path, tools: Path, label: str) -> None:
    about = f"instance-id: i-1\nlocal-hostname: near\npublic-keys: ['{KEY}']\n".encode()
    volume(tmp_path, label, {"user-data": CONFIG, "meta-data": about})
    assert run(root, "{providers: [cdrom], path: /oem}") == ([], [])
    for name in ("userdata", "userdata.yaml"):
        assert (root / "oem" / name).read_bytes() == CONFIG
        assert stat.S_IMODE((root / "oem" / name).stat().st_mode) == 0o600
    assert (root / "run/config/hostname").read_text() == "near"
    assert (root / "etc/hostname").read_text() == "far\n"  # the user data has the last word
    assert (root / "root/.ssh/authorized_keys").read_text() == f"{KEY}\n"
    assert (root / "run/config/ssh/authorized_keys").read_text() == f"{KEY}\n"
    assert (tools / "options").read_text() == "ro,nosuid,nodev,noexec\n"


def test_a_cd_with_the_other_name_and_one_with_nothing(root: Path, tmp_path: Path, tools: Path) -> None:
    volume(tmp_path, "cidata", {"readme": b"x"})
    errors, warned = run(root, "{providers: [cdrom]}")
    assert (errors, len(warned)) == (["no provider has data: cdrom"], 1)
    volume(tmp_path, "cidata", {"config": b"plain words"})
    assert run(root, "{providers: [cdrom]}") == ([], [])
    assert (root / "run/config/userdata").read_bytes() == b"plain words"
    assert not (root / "run/config/userdata.yaml").exists()


def test_links_of_a_volume_lead_nowhere_else(root: Path, tmp_path: Path, tools: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    made = volume(tmp_path, "cidata", {"meta-data": b"local-hostname: x\n"})
    (made / "user-data").symlink_to(tmp_path / "secret")
    assert run(root, "{providers: [cdrom]}")[0] == []
    assert not (root / "run/config/userdata").exists()


def test_a_config_drive(root: Path, tmp_path: Path, tools: Path) -> None:
    about = json.dumps({"hostname": "drive", "public_keys": {"a": KEY}, "uuid": 3}).encode()
    volume(tmp_path, "config-2", {"openstack/latest/meta_data.json": about, "openstack/latest/user_data": CONFIG})
    assert run(root, "{providers: [cdrom, config-drive]}")[0] == []
    assert (root / "run/config/hostname").read_text() == "drive"
    assert (root / "run/config/userdata.yaml").read_bytes() == CONFIG


def test_a_file(root: Path) -> None:
    (root / "oem").mkdir()
    (root / "oem/mine").write_bytes(gzip.compress(b"stages: {boot: []}\n"))
    assert run(root, "{providers: [file], path: /oem, userdata_name: mine}") == ([], [])
    assert (root / "oem/mine.yaml").read_bytes() == b"stages: {boot: []}\n"


def test_a_script_is_run(root: Path, tools: Path) -> None:
    (root / "oem").mkdir()
    (root / "oem/userdata").write_text("#!/bin/sh -e\ntrue\n")
    assert run(root, "{providers: [file], path: /oem}") == ([], [])
    assert (tools / "ran").read_text() == "/bin/sh -e /oem/userdata\n"
    assert stat.S_IMODE((root / "oem/userdata").stat().st_mode) == 0o600


def test_parts_are_kept_and_said(root: Path) -> None:
    (root / "oem").mkdir()
    (root / "oem/userdata").write_text("MIME-Version: 1.0\n")
    errors, _ = run(root, "{providers: [file], path: /oem}")
    assert errors == ["the user data has several parts (MIME) and was only kept: /oem/userdata"]


def test_stages_that_have_gone_by_are_run_once(root: Path, site: Web) -> None:
    """Each step of the user data says its name by a variable in /log. It brings itself again, which has an end."""
    steps = {"initramfs": "a", "boot.after": "b", "network": "c", "network.after": "d", "rootfs": "e"}
    text = "".join(
        f"  {stage}: [{{environment_file: /log, environment: {{{name}: x}}}}]\n" for stage, name in steps.items()
    )
    again = "{providers: [cmdline], path: /other}"
    site.pages = {"/u": f"stages:\n{text}  network.before: [{{datasource: {again}}}]\n".encode()}
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text(f"cloud-config-url={site.url('/u')}\n")
    for names in (["a", "b", "c"], []):
        assert run(root, "{providers: [cmdline], path: /oem}") == ([], [])
        log = root / "log"
        assert [line[0] for line in log.read_text().splitlines()] == names if names else not log.exists()
        log.unlink(missing_ok=True)
    assert (root / "other/userdata.yaml").exists()


# the kernel's command line ------------------------------------------------------------------------------------------
def test_a_url_of_the_command_line(root: Path, site: Web) -> None:
    site.pages = {"/c": CONFIG, "/seed/user-data": b"#!/x", "/seed/meta-data": b"local-hostname: seeded\n",
                  "/bare/user-data": CONFIG}  # fmt: skip
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text(f"quiet 'cloud-config-url={site.url('/c')}'\n")
    assert run(root, "{providers: [cmdline]}") == ([], [])
    assert (root / "run/config/userdata.yaml").read_bytes() == CONFIG
    (root / "proc/cmdline").write_text(f"ds=nocloud-net;s={site.url('/bare/')}\n")
    (root / "etc/hostname").unlink()
    assert run(root, "{providers: [cmdline]}") == ([], [])
    assert not (root / "etc/hostname").exists()  # it is the data of before, and this stage has nothing of its own


def test_a_page_is_no_user_data(root: Path, site: Web) -> None:
    site.pages = {"/c": b"\n<html>log in</html>"}
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text(f"cloud-config-url={site.url('/c')}\n")
    errors, warned = run(root, "{providers: [cmdline]}")
    assert errors == ["no provider has data: cmdline"]
    assert "it answers a page" in warned[0]
    assert not (root / "run/config/userdata").exists()


# what is kept -------------------------------------------------------------------------------------------------------
def test_what_cannot_be_unpacked_ends_nothing_else(root: Path) -> None:
    (root / "oem").mkdir()
    (root / "oem/userdata").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 50)
    runner = Runner(root)
    runner.read(["stages: {network: [{datasource: {providers: [file], path: /oem}}, {hostname: later}]}"])
    runner.run("network")
    assert [err.reason for err in runner.errors] == ["datasource"]
    assert (root / "etc/hostname").read_text() == "later\n"


def test_userdata_is_written_last(root: Path, site: Web) -> None:
    """Steps that ask only where it is missing ask again when something failed."""
    site.pages = {"/c": CONFIG}
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text(f"cloud-config-url={site.url('/c')}\n")
    (root / "oem/userdata.yaml").mkdir(parents=True)  # which cannot be replaced by a file
    assert run(root, "{providers: [cmdline], path: /oem}")[0] == ["/oem/userdata.yaml is not a regular file"]
    assert not (root / "oem/userdata").exists()


@pytest.mark.parametrize("data", [b"plain words", b"#!/bin/sh\n", b"MIME-Version: 1.0\n"])
def test_cloud_config_of_before_goes(root: Path, tools: Path, data: bytes) -> None:
    (root / "oem").mkdir()
    (root / "oem/userdata").write_bytes(CONFIG)
    run(root, "{providers: [file], path: /oem}")
    assert (root / "oem/userdata.yaml").exists()
    (root / "oem/userdata").write_bytes(data)
    run(root, "{providers: [file], path: /oem}")
    assert os.listdir(root / "oem") == ["userdata"]
    (root / "oem/x.yaml").write_bytes(data)
    run(root, "{providers: [file], path: /oem, userdata_name: x.yaml}")
    assert (root / "oem/x.yaml").read_bytes() == data


# what a file may say ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "error"),
    [("{providers: []}", "datasource needs providers"), ("{providers: [aws2]}", "there is no provider 'aws2'"),
     ("{providers: [maas]}", "the provider maas is not there: it needs signed requests"),
     ("{providers: aws}", "providers must be a list, not a text"),
     ("{providers: [file], userdata_name: a/b}", "userdata_name 'a/b' is no name of a file")],
)  # fmt: skip
def test_wrong_wishes(root: Path, text: str, error: str) -> None:
    assert run(root, text)[0][0] == error


# services -----------------------------------------------------------------------------------------------------------
def asked(site: Web, name: str) -> Instance:
    return ask_service(name, fetch, site.url(""))


def test_aws_with_a_token_and_without(site: Web) -> None:
    site.pages = {
        "/latest/api/token": b"tok", "/latest/meta-data/instance-id": b"i-1", "/latest/user-data": CONFIG,
        "/latest/meta-data/hostname": b"ip-1.local\n",
        "/latest/meta-data/public-keys/0/openssh-key": f"{KEY}\n".encode(),
    }  # fmt: skip
    assert asked(site, "aws") == Instance("aws", CONFIG, "ip-1.local", (KEY,))
    assert site.asked[0] == "PUT /latest/api/token"
    assert site.headers["/latest/api/token"]["x-aws-ec2-metadata-token-ttl-seconds"] == "300"
    assert site.headers["/latest/user-data"]["x-aws-ec2-metadata-token"] == "tok"
    del site.pages["/latest/api/token"], site.pages["/latest/user-data"]
    assert asked(site, "aws") == Instance("aws", b"", "ip-1.local", (KEY,))
    assert "x-aws-ec2-metadata-token" not in site.headers["/latest/user-data"]


def test_gcp(site: Web) -> None:
    lines = f'ann:{KEY}\ntmp:ssh-rsa AAA google-ssh {{"expireOn":"2020"}}\n'
    site.pages = {"/instance/id": b"123", "/instance/hostname": b"vm.c.x", "/instance/attributes/user-data": CONFIG,
                  "/project/attributes/ssh-keys": lines.encode()}  # fmt: skip
    assert asked(site, "gcp") == Instance("gcp", CONFIG, "vm.c.x", (KEY,))
    assert site.headers["/instance/hostname"]["metadata-flavor"] == "Google"


def test_azure(site: Web) -> None:
    path = "/metadata/instance/compute?api-version=2021-01-01"
    about = {"vmId": "13f5-a", "name": "vm", "userData": base64.b64encode(CONFIG).decode(),
             "publicKeys": [{"keyData": f"{KEY}\r\n"}]}  # fmt: skip
    site.pages = {path: json.dumps(about).encode()}
    assert asked(site, "azure") == Instance("azure", CONFIG, "vm", (KEY,))
    assert site.headers[path]["metadata"] == "true"
    site.pages = {path: b'{"vmId": "13f5-a", "userData": "%%"}'}
    with pytest.raises(TreebuildError, match="not base64"):
        asked(site, "azure")


def test_the_others(site: Web) -> None:
    site.pages = {
        "/metadata/instance-id": b"42\n",
        "/metadata/hostname": b"h",
        "/metadata/public-keys": json.dumps([KEY, 3]).encode(),
        "/userdata": CONFIG,
    }
    assert asked(site, "hetzner") == Instance("hetzner", CONFIG, "h", (KEY,))
    site.pages = {
        "/meta_data.json": json.dumps({"uuid": "83679162-1378", "hostname": "o", "public_keys": {"k": KEY}}).encode(),
        "/user_data": b"x",
    }
    assert asked(site, "openstack") == Instance("openstack", b"x", "o", (KEY,))
    site.pages = {"/metadata": json.dumps({"id": "1-2", "hostname": "p", "ssh_keys": [KEY]}).encode()}
    assert asked(site, "packet") == Instance("packet", b"", "p", (KEY,))
    site.pages = {
        "/v1.json": json.dumps({"instanceid": "7", "hostname": "v", "public-keys": [KEY], "user-data": "u"}).encode()
    }
    assert asked(site, "vultr") == Instance("vultr", b"u", "v", (KEY,))
    site.pages = {"/id": b"7", "/hostname": b"d", "/user-data": CONFIG, "/public-keys": f"{KEY}\n{KEY} 2\n".encode()}
    assert asked(site, "digitalocean") == Instance("digitalocean", CONFIG, "d", (KEY, f"{KEY} 2"))


@pytest.mark.parametrize("name", sorted(SERVICES))
@pytest.mark.parametrize("body", [b"[]", b"{", b'{"hostname": 3, "userData": [], "public_keys": 5}', b"[" * 100_000])
def test_answers_of_any_form(name: str, body: bytes) -> None:
    def get(ask: Ask) -> bytes:
        assert ask.proxied is False
        return body

    try:
        found = ask_service(name, get)
    except TreebuildError:
        return
    assert all(isinstance(key, str) for key in found.keys)


@pytest.mark.parametrize("name", sorted(SERVICES))
@pytest.mark.parametrize(
    "body",
    [b"<!DOCTYPE html><html><title>log in</title></html>", b"success\n", b"", b"ok", b'{"logged_in": false}', b"{}"],
)
def test_a_page_for_every_request_is_no_cloud(name: str, body: bytes) -> None:
    with pytest.raises(TreebuildError) as caught:
        ask_service(name, lambda ask: body)
    assert caught.value.reason == "metadata"


def test_half_a_pair_of_surrogates(site: Web) -> None:
    broken = "\\ud800"
    site.pages = {"/v1.json": f'{{"instanceid": "7", "user-data": "a{broken}", "public-keys": ["b{broken}"]}}'.encode()}
    assert asked(site, "vultr") == Instance("vultr", b"a?", "", ("b?",))
    site.pages = {"/meta_data.json": f'{{"uuid": "7", "public_keys": {{"x": "b{broken}"}}}}'.encode()}
    assert asked(site, "openstack").keys == ("b?",)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_that_is_not_there(name: str, site: Web) -> None:
    with pytest.raises(TransportError):
        asked(site, name)
