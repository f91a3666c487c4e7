"""What counts as the same content of a protected file."""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.client.protect import divert


def test_files_are_compared_by_what_they_hold_now(tmp_path: Path) -> None:
    """One process makes many changes, and all files of packages have one length and time easily."""
    root, staged = tmp_path / "root", tmp_path / "staged"

    def diverted(here: bytes, fresh: bytes) -> str | None:
        for folder, data in ((root, here), (staged, fresh)):
            (folder / "etc").mkdir(parents=True, exist_ok=True)
            (folder / "etc/x").write_bytes(data)
            os.utime(folder / "etc/x", (0, 0))
        return divert(root, staged, "etc/x", over_links=False)

    assert diverted(b"a=1", b"a=1") is None
    assert diverted(b"a=1", b"a=2") == "etc/._cfg0001_x"
    assert diverted(b"a=1" * 100_000 + b"0", b"a=1" * 100_000 + b"1") == "etc/._cfg0001_x"
    assert diverted(b"a=1", b"a=10") == "etc/._cfg0001_x"
