"""What cos-installer is asked, by flags and by COS_INSTALL_*, is what is installed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from treebuilder.app import client_settings
from treebuilder.app.device_install import InstallWish, run
from treebuilder.app.device_sources import Obtained
from treebuilder.cli.main import main
from treebuilder.cli.verbs import cos, device_install
from treebuilder.device.disk import Disk
from treebuilder.device.install import Installed
from treebuilder.device.layout import Firmware
from treebuilder.device.states import Image
from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.system.process import Cancel

NOTHING: Mapping[str, str] = {}


def wish(*words: str, **environment: str) -> tuple[InstallWish, argparse.Namespace]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default="")
    cos.configure(parser)
    args = parser.parse_intermixed_args(["installer", *words])
    return cos.installation(args, {f"COS_INSTALL_{name}": value for name, value in environment.items()}), args


def test_the_environment_says_what_no_flag_says() -> None:
    said = {
        "DEVICE": "/dev/vdb", "CONFIG_URL": "http://127.0.0.1/a.yaml", "NO_FORMAT": "true", "FORCE_EFI": "true",
        "TTY": "ttyS1", "POWER_OFF": "true",
    }  # fmt: skip
    found, args = wish(**said)
    assert (found.disk, found.configs, found.format) == ("/dev/vdb", ("http://127.0.0.1/a.yaml",), False)
    assert (found.firmware, found.tty, args.poweroff) == (Firmware.EFI, "ttyS1", True)
    found, args = wish("/dev/vda", "--tty", "ttyS0", "--config", "mine.yaml", **said | {"POWER_OFF": "false"})
    assert (found.disk, found.tty, found.configs, args.poweroff) == ("/dev/vda", "ttyS0", ("mine.yaml",), False)
    with pytest.raises(ConfigError):
        wish()


@pytest.mark.parametrize(
    "words",
    [
        ("--docker-image", "team/os", "/dev/vda"), ("/dev/vda", "--docker-image", "team/os"),
        ("/dev/vda", "docker://team/os", "--docker-image"),
    ],
)  # fmt: skip
def test_a_container_image_stands_before_or_after_the_disk(words: tuple[str, ...]) -> None:
    found, _ = wish(*words)
    assert (found.disk, found.word) == ("/dev/vda", "docker://team/os")


def test_the_environment_names_the_disk_of_a_container_image() -> None:
    found, _ = wish("--docker-image", "team/os", DEVICE="/dev/vdb")
    assert (found.disk, found.word) == ("/dev/vdb", "docker://team/os")
    found, _ = wish("--docker-image", "--image", "team/os", "/dev/vda")
    assert (found.disk, found.word) == ("/dev/vda", "docker://team/os")


def test_flags_win() -> None:
    assert wish("/dev/vda", "--firmware", "bios", FORCE_EFI="true")[0].firmware is Firmware.BIOS
    assert wish("/dev/vda", "--reboot", POWER_OFF="true")[1].poweroff is False
    assert wish("/dev/vda", "--silence-hooks")[0].silent


@pytest.mark.parametrize(
    "words",
    [
        "/dev/vda docker://team/os docker://team/other", "/dev/vda docker://team/os --image docker://team/other",
        "--docker-image /dev/vda", "--docker-image team/os", "/dev/vda --force-efi --firmware bios",
        "/dev/vda --force-gpt --part-table msdos", "/dev/vda --no-format --state-size 900",
        "/dev/vda --partition-layout own.yaml --oem-size 100",
    ],
)  # fmt: skip
def test_what_would_be_passed_over_is_refused(words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wish(*words.split())
    assert caught.value.reason == "usage"
    wish("/dev/vda", "--partition-layout", "own.yaml", "--efi-size", "100")


@pytest.mark.parametrize("words", ["reset --recovery", "deploy --recovery", "upgrade --reboot --poweroff"])
def test_flags_of_other_commands_are_refused(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ("--state", str(tmp_path), "--recovery-dir", str(tmp_path))
    assert main(["cos", *words.split(), *folders]) in (1, 2)
    said = capsys.readouterr().err
    assert "takes no --recovery" in said or "not allowed with" in said
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_looked_at_before_a_source_is_fetched(tmp_path: Path) -> None:
    config = tmp_path / "luet.yaml"
    config.write_text("repositories: []\nrepos_confdir: []\n")
    settings = client_settings.load(str(config), {}, Silent(), luet=False, insecure=True)
    reasons = []
    for found in (InstallWish(str(tmp_path / "none"), "docker://127.0.0.1:9/os", verify=False),
                  InstallWish("/dev/null", iso="http://127.0.0.1:9/os.iso", verify=False)):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            run(found, settings, tmp_path, Silent(), Cancel())
        reasons.append(caught.value.reason)
    assert reasons == ["no-disk", "not-a-disk"]


def test_no_verify_counts_for_an_installation_too(tmp_path: Path) -> None:
    assert device_install.unverified({"NO_VERIFY": "true"}, tmp_path)
    assert not device_install.unverified(NOTHING, tmp_path)
    (tmp_path / "etc/cos").mkdir(parents=True)
    (tmp_path / "etc/cos/config").write_text("NO_VERIFY=true\n")
    assert device_install.unverified(NOTHING, tmp_path)
    assert wish("/dev/vda", "--no-cosign")[0].verify is False


def test_a_hook_that_fails_after_the_installation_says_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk is left out: what stands for the installation is done before the hook."""
    for stage in ("before", "after"):
        step = {"stages": {f"{stage}-install": [{"files": [{"path": "/proc/none/x", "content": "x"}]}]}}
        (tmp_path / f"{stage}.yaml").write_text(json.dumps(step))
    image = Image("1.0", Digest.of(b"1.0"))
    disk = Disk("/dev/vdz", 1 << 30)
    monkeypatch.setattr(
        "treebuilder.device.install.install", lambda *a, **k: Installed(disk, Firmware.BIOS, (), image, image)
    )
    monkeypatch.setattr("treebuilder.device.install.check_target", lambda path: disk)
    monkeypatch.setattr("treebuilder.app.device_install._obtained", lambda *a: Obtained(tmp_path, "1.0"))
    (tmp_path / "luet.yaml").write_text("repositories: []\nrepos_confdir: []\n")
    client = client_settings.load(str(tmp_path / "luet.yaml"), {}, Silent(), luet=False, insecure=True)
    found = {}
    for stage in ("before", "after"):
        monkeypatch.setattr("treebuilder.cloudconfig.stages.SYSTEM_PATHS", (str(tmp_path / f"{stage}.yaml"),))
        assert run(InstallWish("/dev/vdz"), client, tmp_path, Silent(), Cancel()).image == image
        with pytest.raises(TreebuildError) as caught:
            run(InstallWish("/dev/vdz", strict=True), client, tmp_path, Silent(), Cancel())
        found[stage] = caught.value
    assert found["after"].message.startswith("1.0 is installed on /dev/vdz, and after-install failed: ")
    assert (found["after"].reason, found["after"].exit_code) == ("after-install", 2)
    assert "installed" not in found["before"].message
