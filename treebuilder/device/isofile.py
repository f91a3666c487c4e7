"""What a live ISO holds for an installation: the image of the system, and recovery's if it has one of its own."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.device.disk import Found, mounted
from treebuilder.errors import ConfigError
from treebuilder.records import record

# Where cOS and elemental put them, and where dracut's live root looks.
SYSTEM = ("rootfs.squashfs", "LiveOS/squashfs.img", "live/filesystem.squashfs")
RECOVERY = "recovery.squashfs"


@record
class LiveImages:
    """`recovery` is None where the system's image serves."""

    system: Path
    recovery: Path | None


@contextmanager
def opened(iso: Path, folder: Path) -> Iterator[LiveImages]:
    """The images of an ISO, in a file or a drive, mounted on `folder` as long as the context lasts.

    Raises ConfigError (reasons no-iso, bad-iso), ToolFailed, MissingProgram.
    """
    try:
        kind = iso.stat().st_mode
    except OSError as err:
        raise ConfigError(f"there is no ISO {iso}: {err.strerror}", reason="no-iso") from err
    options = "ro,nosuid,nodev,noexec" + ("" if stat.S_ISBLK(kind) else ",loop")
    with mounted(Found(str(iso), 0, "", "", "iso9660"), folder, options):
        yield _images(iso, folder)


def _images(iso: Path, folder: Path) -> LiveImages:
    system = next((folder / name for name in SYSTEM if (folder / name).is_file()), None)
    if system is None:
        raise ConfigError(f"{iso} holds no live system ({', '.join(SYSTEM)})", reason="bad-iso")
    recovery = folder / RECOVERY
    return LiveImages(system, recovery if recovery.is_file() else None)
