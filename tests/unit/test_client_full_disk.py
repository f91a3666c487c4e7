"""Finalizers and disks that are full: what ran is noted, and what cannot be noted waits."""

from __future__ import annotations

import pytest

from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, box, in_private_mounts, shop, system

__all__ = ["shop", "system"]  # fixtures
pytestmark = pytest.mark.engine

_BEGIN = """
from treebuilder.events import Warned
with workshop(top) as shop:
    system = System(shop, top / "root")
    shop.packages()
    system.install("t/box")
    log = system.root / "log"
    log.write_bytes(b"\\n" * 20)
"""


def test_a_finalizer_that_fills_the_disk_runs_once(shop: Workshop, system: System) -> None:
    """That it ran is noted in room that was kept for that, and then the next one has the same room."""
    shop.package("t/box", box())
    many = "; ".join(f"busybox dd if=/dev/zero of=/full{at} bs=4k" for at in range(3))
    shop.package("t/a", {"a": b""}, finalize=f"install:\n- echo ran >> /log; {many}; true\n")
    shop.package("t/b", {"b": b""}, finalize="install:\n- echo second >> /log\n", requires=("t/a",))
    code = """
    system.install("t/b")
    print(log.read_text().split())
    for path in system.root.glob("full*"):
        path.unlink()
    system.uninstall("t/b")
    print(system.installed(), log.read_text().split())
"""
    done = in_private_mounts(shop, f"mount -t tmpfs -o size=4m none {system.root}", _BEGIN + code)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["['ran', 'second']", "['t/a-1.0', 't/box-1.0'] ['ran', 'second']"]


def test_a_finalizer_that_cannot_be_noted_waits_and_keeps_nobody_from_making_room(
    shop: Workshop, system: System
) -> None:
    shop.package("t/box", box())
    shop.package("t/big", {"big": b"x" * (1 << 20)})
    shop.package("t/a", {"a": b""}, finalize="install:\n- echo ran >> /log\n")
    code = """
    from treebuilder.client import Manner
    system.install("t/big")
    system.install("t/a", manner=Manner(finalize=False))
    with (system.root / "full").open("wb") as out:
        os.posix_fallocate(out.fileno(), 0, (os.statvfs(system.root).f_bavail - 12) * 4096)
    shop.events.events.clear()
    try:
        system.install("t/a", "t/box")  # nothing to do
    finally:
        print(log.read_text().split(), [e.message for e in shop.events.events if isinstance(e, Warned)])
    system.uninstall("t/big")
    print(system.installed(), log.read_text().split())
"""
    done = in_private_mounts(shop, f"mount -t tmpfs -o size=4m none {system.root}", _BEGIN + code)
    assert done.stderr == ""
    said, after = done.stdout.splitlines()
    assert said.startswith("[] [")
    assert f"a finalizer in {system.root} runs but once" in said
    assert after == "['t/a-1.0', 't/box-1.0'] ['ran']"
