"""The text of grub.cfg. Whether GRUB does with it what the rules say is shown by GRUB itself, in tests/vm."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.services import program
from treebuilder.device.grubcfg import GrubConfig, grub_cfg, stub_cfg

CONFIG = GrubConfig("state-uuid", "recovery-uuid", "oem-uuid")


def accepted(folder: Path, text: str) -> bool:
    (folder / "grub.cfg").write_text(text)
    return (
        subprocess.run([program("grub-script-check", "grub-common"), folder / "grub.cfg"], check=False).returncode == 0
    )


@pytest.mark.parametrize("config", [CONFIG, GrubConfig("a", "b", "c", tty="ttyS1,115200", title='My "$OS" \\')])
def test_grub_can_read_it(tmp_path: Path, config: GrubConfig) -> None:
    assert accepted(tmp_path, grub_cfg(config))
    assert accepted(tmp_path, stub_cfg(config.state_uuid))
    assert not accepted(tmp_path, grub_cfg(config).replace("fi\n", "", 1))


def test_every_partition_is_searched_by_uuid_first_on_its_own_disk() -> None:
    text = grub_cfg(CONFIG)
    for name, label in (("state", "COS_STATE"), ("recovery", "COS_RECOVERY"), ("oem", "COS_OEM")):
        by_uuid = text.index(f'--hint "$tb_disk," --set=tb_{name} --fs-uuid {name}-uuid')
        by_label = text.index(f'  search --no-floppy --hint "$tb_disk," --set=tb_{name} --label {label}')
        only_ours = text.index(f'  if [ "$tb_found" != "$tb_disk" ]; then set tb_{name}=; fi')
        assert by_uuid < text.index(f'if [ -z "$tb_{name}" ]; then\n') < by_label < only_ours


def test_it_says_who_writes_it() -> None:
    """An owner who reads it on a device: a reset leaves GRUB and this file alone."""
    first = grub_cfg(CONFIG).partition("\n")[0]
    assert "only another installation writes it" in first
    assert "reset" not in first


def test_entries_have_the_ids_that_others_know() -> None:
    text = grub_cfg(CONFIG)
    found = [line.rsplit("--id ", 1)[1].split()[0] for line in text.splitlines() if line.startswith("menuentry")]
    assert found == ["cos", "fallback", "recovery"]


def test_a_console_is_added_to_each_entry() -> None:
    assert " console=ttyS1 $extra_cmdline" in grub_cfg(GrubConfig("a", "b", "c", tty="ttyS1"))
    for screen in ("", "tty1", "console"):
        assert "$kernelcmd $extra_cmdline" in grub_cfg(GrubConfig("a", "b", "c", tty=screen))
    assert "console=" not in grub_cfg(CONFIG)


@settings(max_examples=20, deadline=None)
@given(title=some.text(max_size=30))
def test_any_title_stays_one_word(tmp_path_factory: pytest.TempPathFactory, title: str) -> None:
    text = grub_cfg(GrubConfig("a", "b", "c", title=title))
    assert text.count("\n") == grub_cfg(CONFIG).count("\n")
    assert accepted(tmp_path_factory.mktemp("grub"), text)


@pytest.mark.parametrize("bad", ["a b", "", "x;reboot", "$x", "a\nb"])
def test_words_that_grub_would_read_as_more_are_refused(bad: str) -> None:
    with pytest.raises(AssertionError):
        grub_cfg(GrubConfig(bad, "b", "c"))
