"""What cos-installer is asked, by flags and by COS_INSTALL_*, is what is installed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import pytest

from treebuilder.app.device_install import InstallWish
from treebuilder.cli.verbs import cos, device_install
from treebuilder.device.layout import Firmware
from treebuilder.errors import ConfigError

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


def test_no_verify_counts_for_an_installation_too(tmp_path: Path) -> None:
    assert device_install.unverified({"NO_VERIFY": "true"}, tmp_path)
    assert not device_install.unverified(NOTHING, tmp_path)
    (tmp_path / "etc/cos").mkdir(parents=True)
    (tmp_path / "etc/cos/config").write_text("NO_VERIFY=true\n")
    assert device_install.unverified(NOTHING, tmp_path)
    assert wish("/dev/vda", "--no-cosign")[0].verify is False
