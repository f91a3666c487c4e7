"""What a container changed, brought into a folder of the store without loss.

The upper folder of overlay2 is our own form of a layer already, so its entries are linked where they are on one file
system (the container is removed right after), else copied: owners, modes, xattrs, whiteouts, opaque marks, hard
links, holes, devices. Where the folder cannot be read (another machine, another storage driver), the container is
committed and its last layer unpacked; Docker leaves `user.*` xattrs out of that.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from treebuilder.archive.extract import unpack_layer
from treebuilder.archive.reading import entries
from treebuilder.errors import IntegrityError

_CHUNK = 1 << 20
_MAX_JSON = 8 << 20


def copy_upper(source: Path, target: Path) -> None:
    """Fills the empty folder `target` with all that `source` holds. Sockets are left out."""
    links: dict[tuple[int, int], str] = {}
    _folder(str(source), str(target), links)


def _folder(source: str, target: str, links: dict[tuple[int, int], str]) -> None:
    for name in sorted(os.listdir(source)):
        here, there = f"{source}/{name}", f"{target}/{name}"
        info = os.lstat(here)
        if stat.S_ISSOCK(info.st_mode):
            continue
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(there, 0o700)
            _folder(here, there, links)
            _attributes(here, there, info)
        else:
            _entry(here, there, info, links)
    _attributes(source, target, os.lstat(source))


def _entry(here: str, there: str, info: os.stat_result, links: dict[tuple[int, int], str]) -> None:
    try:
        os.link(here, there, follow_symlinks=False)
        return
    except OSError as err:
        if err.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
    first = links.setdefault((info.st_dev, info.st_ino), there)
    if first != there:
        os.link(first, there, follow_symlinks=False)
        return
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(here), there)
    elif stat.S_ISREG(info.st_mode):
        _copy_sparse(here, there, info.st_size)
    else:
        os.mknod(there, info.st_mode, info.st_rdev)
    _attributes(here, there, info)


def _attributes(here: str, there: str, info: os.stat_result) -> None:
    os.chown(there, info.st_uid, info.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(there, stat.S_IMODE(info.st_mode))  # after chown, which clears setuid bits
    for name in os.listxattr(here, follow_symlinks=False):
        os.setxattr(there, name, os.getxattr(here, name, follow_symlinks=False), follow_symlinks=False)
    os.utime(there, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def _copy_sparse(here: str, there: str, size: int) -> None:
    with open(here, "rb", buffering=0) as source, open(there, "xb", buffering=0) as target:
        end = 0
        while end < size:
            try:
                start = os.lseek(source.fileno(), end, os.SEEK_DATA)
            except OSError as err:
                if err.errno != errno.ENXIO:
                    raise
                break
            end = os.lseek(source.fileno(), start, os.SEEK_HOLE)
            os.lseek(source.fileno(), start, os.SEEK_SET)
            target.seek(start)
            while start < end:
                data = source.read(min(_CHUNK, end - start))
                if not data:
                    raise IntegrityError(f"{here} became shorter while it was read")
                start += target.write(data)
        target.truncate(size)


def keep_hostname(shown: Path, upper: Path, first: str) -> None:
    """Docker mounts a file of its own over /etc/hostname; what a step wrote there belongs to the result."""
    if shown.read_text(encoding="utf-8", errors="surrogateescape") == first:
        return
    etc = upper / "etc"
    if os.path.lexists(etc / "hostname") or etc.is_symlink():
        return
    if not etc.is_dir():
        etc.mkdir(mode=0o755)
    shutil.copyfile(shown, etc / "hostname")
    os.chmod(etc / "hostname", 0o644)


def unpack_saved(chunks: Iterator[bytes], base_layers: int, work: Path, target: Path) -> None:
    """Unpacks what the last layer of a saved image holds into the empty folder `target`.

    Raises IntegrityError when the archive is not an image of `base_layers` or one more layers.
    """
    saved = work / "saved.tar"
    with saved.open("wb") as out:
        for data in chunks:
            out.write(data)
    layers = _layer_names(saved)
    if len(layers) == base_layers:
        return
    if len(layers) != base_layers + 1:
        raise IntegrityError(f"docker saved an image of {len(layers)} layers, not {base_layers + 1}")
    with saved.open("rb") as stream:
        for entry, content in entries(stream, "the saved image"):
            if entry.path == layers[-1] and content is not None:
                unpack_layer(content, str(target), "the saved layer")
                break
        else:
            raise IntegrityError(f"docker's saved image lacks {layers[-1]}")
    saved.unlink()


def _layer_names(saved: Path) -> list[str]:
    with saved.open("rb") as stream:
        for entry, content in entries(stream, "the saved image"):
            if entry.path == "manifest.json" and content is not None and entry.size <= _MAX_JSON:
                try:
                    return [str(name) for name in json.loads(content.read())[0]["Layers"]]
                except (ValueError, KeyError, IndexError, TypeError) as err:
                    raise IntegrityError(f"docker's saved image has an unreadable manifest: {err}") from err
    raise IntegrityError("docker's saved image has no manifest")
