"""What is remembered of channels while the result of an upgrade is on its way, and who a device is to them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.unit.device_parts import Lab
from treebuilder.app.device import DeviceOptions, opened
from treebuilder.app.device_reports import report
from treebuilder.device import health
from treebuilder.device.followed import ChannelsFile, Followed
from treebuilder.device.states import Slot
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.system.process import Cancel


def test_a_report_forgets_nothing_that_was_remembered_meanwhile(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.install()
    lab.boot()
    device = lab.machine.status()
    running = device.running
    assert running is not None
    file = ChannelsFile(lab.state / "cOS")

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            newer = Followed("stable", "s3", "3.0", Digest.of(b"3.0"))
            file.write(file.read().saw("os/stable", 7).follow(newer))  # as an upgrade does, in another process
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            told = Followed("stable", "s1", running.version, running.digest, url)
            file.write(file.read().saw("os/stable", 3).follow(told))
            options = DeviceOptions(str(lab.state), str(lab.recovery), Slot.ACTIVE.value, "boot-1", root=tmp_path)
            health.keep(lab.state / "cOS", (), "boot-1")
            with opened(options, Silent(), Cancel()) as site:
                assert report(site, device) == 1
        finally:
            server.shutdown()
            thread.join()
    kept = file.read()
    assert kept.revision("os/stable") == 7
    assert [(each.snapshot, each.told) for each in kept.followed] == [("s1", "good"), ("s3", "")]


def _named(top: Path, slot: Slot = Slot.ACTIVE) -> str:
    options = DeviceOptions(str(top / "state"), str(top / "recovery"), slot.value, "boot-1", root=top)
    with opened(options, Silent(), Cancel()) as site:
        return site.machine_id


@pytest.mark.parametrize("said", [None, "", "uninitialized\n"])
def test_devices_without_a_machine_id_are_not_all_one(tmp_path: Path, said: str | None) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for top in (one, other):
        (top / "etc").mkdir(parents=True)
        Lab(top).install()
        if said is not None:
            (top / "etc/machine-id").write_text(said)
    first = _named(one)
    assert len(first) == 32
    assert _named(one) == first
    assert _named(other) != first
    _boots(one, "12" * 16, lasting=True)
    assert _named(one) == "12" * 16


def _boots(top: Path, machine_id: str, *, lasting: bool) -> None:
    """/etc/machine-id of this boot; where COS_PERSISTENT is mounted the initrd keeps it there."""
    kept = top / "usr/local/etc/machine-id"
    for path in (top / "etc/machine-id", kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{machine_id}\n")
    if not lasting:
        kept.unlink()


@pytest.mark.parametrize("first", [True, False])
def test_a_device_is_the_same_to_a_channel_in_recovery_and_without_what_lasts(tmp_path: Path, first: bool) -> None:
    Lab(tmp_path).install()
    lasting = "12" * 16
    if first:  # a boot that has its own machine id, as all had whose place in a rollout is to stay
        _boots(tmp_path, lasting, lasting=True)
        assert _named(tmp_path) == lasting
    else:
        _boots(tmp_path, "a" * 32, lasting=False)
    found = set()
    for at, slot in enumerate((Slot.RECOVERY, Slot.RECOVERY, Slot.ACTIVE, Slot.PASSIVE)):
        _boots(tmp_path, f"{at}" * 32, lasting=False)
        found.add(_named(tmp_path, slot))
    assert len(found) == 1
    assert (lasting in found) is first
    _boots(tmp_path, lasting, lasting=True)
    assert _named(tmp_path) == lasting
    _boots(tmp_path, "b" * 32, lasting=True)  # COS_PERSISTENT was wiped
    assert _named(tmp_path) == lasting


@pytest.mark.parametrize("slot", [Slot.ACTIVE, Slot.RECOVERY])
def test_a_first_boot_without_what_lasts_draws_one_name(tmp_path: Path, slot: Slot) -> None:
    Lab(tmp_path).install()
    _boots(tmp_path, "a" * 32, lasting=False)
    name = _named(tmp_path, slot)
    assert (name == "a" * 32) is (slot is Slot.ACTIVE)
    _boots(tmp_path, "b" * 32, lasting=False)
    assert _named(tmp_path, slot) == name
