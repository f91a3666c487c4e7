"""state.yaml: what it says after each change, where an image came from, and that nothing depends on it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from tests.services import program
from tests.unit.device_fleet import Fleet, device, lay
from treebuilder.app.device_install import _file_or_url
from treebuilder.device.journal import Journal
from treebuilder.device.states import Slot

__all__ = ["device"]  # a fixture


def said(device: Fleet) -> dict[str, Any]:
    """What the file says, on both partitions, but its date."""
    files = [folder / "state.yaml" for folder in (device.state, device.recovery)]
    one, two = (yaml.safe_load(path.read_text()) for path in files)
    assert datetime.fromisoformat(one.pop("date")).tzinfo == UTC
    del two["date"]
    assert one == two
    return dict(one)


def slots(device: Fleet) -> list[tuple[str, str]]:
    value = said(device)
    parts = (value["state"]["active"], value["state"]["passive"], value["recovery"]["recovery"])
    return [(part["version"], part["source"]) for part in parts]


def test_it_names_slots_and_where_their_images_came_from(device: Fleet) -> None:
    first, new = (f"dir://{device.top}/{name}" for name in ("first-1.0", "new"))
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    assert slots(device) == [("2.0", new), ("1.0", first), ("1.0", first)]
    value = said(device)
    assert {name: part["label"] for name, part in value.items()} == {
        "state": "COS_STATE", "recovery": "COS_RECOVERY", "oem": "COS_OEM", "persistent": "COS_PERSISTENT",
    }  # fmt: skip
    image = (device.state / "cOS/active.img").resolve()
    active = value["state"]["active"]
    assert (active["fs"], active["digest"]) == ("squashfs", f"sha256:{image.name.partition('-')[0]}")

    assert device.boot() == "2.0"
    assert device.run("confirm") == 0
    device.package("3.0")
    assert device.run("upgrade", "system/os") == 0
    assert slots(device) == [("3.0", "channel://system/os"), ("2.0", new), ("1.0", first)]
    assert said(device)["state"]["active"]["source-metadata"] == {
        "category": "system", "name": "os", "version": "3.0", "finger-print": "os-system-3.0",
    }  # fmt: skip

    program("mkfs.ext4", "e2fsprogs")
    subprocess.run(["mkfs.ext4", "-q", "-d", "new", "os.img", "8M"], check=True)
    assert device.run("upgrade", "./os.img", "--version", "2.5", "--recovery-slot") == 0
    assert slots(device)[2] == ("2.5", f"file://{device.top}/os.img")
    assert said(device)["recovery"]["recovery"]["fs"] == "ext4"

    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    assert device.run("reset") == 0
    assert slots(device) == [("2.5", f"file://{device.top}/os.img")] * 3


def test_what_is_staged_is_planned_and_keeps_its_origin(device: Fleet) -> None:
    new = f"dir://{device.top}/new"
    assert device.run("stage", str(lay(device.top / "new", "2.0"))) == 0
    assert said(device)["planned"]["upgrade"]["source"] == new
    assert device.run("apply") == 0
    assert "planned" not in said(device)
    assert slots(device)[0] == ("2.0", new)
    assert device.run("stage", str(lay(device.top / "newer", "3.0"))) == 0
    assert device.run("cancel") == 0
    assert "planned" not in said(device)


def test_it_is_written_when_it_says_something_else(device: Fleet) -> None:
    files = [folder / "state.yaml" for folder in (device.state, device.recovery)]
    device.boots += 1  # the first command of a boot looks
    assert device.run("status") == 0
    before = [path.stat().st_ino for path in files]
    device.boots += 1
    assert device.run("status") == 0
    assert [path.stat().st_ino for path in files] == before
    files[1].unlink()
    device.boots += 1
    assert device.run("status") == 0
    assert said(device)["state"]["active"]["version"] == "1.0"


@pytest.mark.parametrize(
    "data",
    [b"", b"- a\n", b"\xff\xfe", b"state: [", b"{" * 9000, b"state: {active: {digest: x, source: {a: b}}}\n",
     b"state: 1\nactive:\n  a: {digest: 7, source-metadata: [1]}\n", b"a: &a [*a]\n"],
    ids=range(8),
)  # fmt: skip
def test_nothing_depends_on_it(device: Fleet, data: bytes) -> None:
    for folder in (device.state, device.recovery):
        (folder / "state.yaml").write_bytes(data)
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    assert slots(device) == [("2.0", f"dir://{device.top}/new"), ("1.0", ""), ("1.0", "")]


def test_where_it_cannot_be_written_the_upgrade_goes_on(device: Fleet) -> None:
    (device.recovery / "state.yaml").unlink()
    (device.recovery / "state.yaml").mkdir()
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    assert device.versions()[:2] == ["2.0", "1.0"]
    history = [entry.what for entry in Journal(device.state / "cOS").history()]
    assert any(line.startswith("state.yaml was not written: ") for line in history), history


def test_the_origin_of_an_iso_has_no_secret() -> None:
    url = "https://me:secret@images.example.org:8443/os/one.iso?token=secret#sha256:" + 64 * "0"
    assert _file_or_url(url).uri == "https://images.example.org:8443/os/one.iso"
    assert _file_or_url("/srv/one#2.iso").uri == "file:///srv/one#2.iso"


def test_its_date_is_the_time_of_writing(device: Fleet) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    text = (device.state / "state.yaml").read_text()
    assert before <= datetime.fromisoformat(yaml.safe_load(text)["date"]) <= datetime.now(UTC)
