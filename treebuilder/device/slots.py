"""Slots as links: `cOS/active.img` names a file in `cOS/images`, and naming another one is one rename.

An image is a file whose name holds digest and version. It is written under another name, synced, renamed, and never
changed: the file that a slot names, or that we run from, is only ever read.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from treebuilder.annotations import IO
from treebuilder.device import places
from treebuilder.device.states import Image, Purpose, Slot
from treebuilder.errors import ConfigError, IntegrityError, NoSpace, StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.records import record
from treebuilder.system.files import disk_errors, remove_tree, sync_folder

LINKS = {Slot.ACTIVE: "active.img", Slot.PASSIVE: "passive.img", Slot.RECOVERY: "recovery.squashfs"}
MARGIN_BYTES = 4 << 20  # what must stay free for the journal and the links
_CHUNK = 1 << 20
_VERSION = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+~:_-")
_PART = ".part"


@record
class Origin:
    """Where an image came from. `uri`: `file:///…`, `dir:///…`, `docker://…`, `channel://category/name`; "" if unknown.

    `metadata` is what it says of itself: the digest of a container image; category, name, version of a package.
    """

    uri: str = ""
    metadata: tuple[tuple[str, str | int], ...] = ()


@record
class Source:
    """An image that can be read: how long it is, and its bytes from the beginning."""

    path: Path
    origin: Origin = Origin()

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def open(self) -> IO[bytes]:
        return self.path.open("rb")


class Slots:
    """The images on the state partition and on the recovery partition, each a folder that is mounted.

    `recovery` is None where that partition is gone or damaged: then it holds nothing, and who wants to write there gets
    StateCorrupt (reason "no-partition").
    """

    def __init__(self, state: Path, recovery: Path | None) -> None:
        self._state = state / "cOS"
        self._recovery = None if recovery is None else recovery / "cOS"

    def make(self) -> None:
        """The folders, where they are missing."""
        for folder in filter(None, (self._state, self._recovery)):
            with disk_errors(f"making {folder}"):
                if not (folder / "images").is_dir():
                    (folder / "images").mkdir(parents=True)
                    sync_folder(folder)
                    sync_folder(folder.parent)

    def read(self, slot: Slot) -> Image | None:
        """What a slot names; None when nothing is there. Raises StateCorrupt for what we did not put there."""
        if slot is Slot.RECOVERY and self._recovery is None:
            return None
        link = self.link(slot)
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise StateCorrupt(f"{link} is no link to an image", reason="bad-slot") from err
        folder, _, name = target.partition("/")
        image = _image(name)
        if folder != "images" or image is None:
            raise StateCorrupt(f"{link} names {target}, which is no image of ours", reason="bad-slot")
        return image if self._file(slot, image).is_file() else None

    def usable(self, slot: Slot) -> Image | None:
        """As `read`; what we did not put there is nothing either, and `damage` tells of it."""
        try:
            return self.read(slot)
        except (StateCorrupt, OSError):
            return None

    def damage(self) -> tuple[str, ...]:
        """What is wrong with slots."""
        wrong = []
        for slot in Slot:
            try:
                self.read(slot)
            except StateCorrupt as err:
                wrong.append(err.message)
            except OSError as err:
                wrong.append(f"{self.link(slot)} cannot be read: {err.strerror}")
        return tuple(wrong)

    def link(self, slot: Slot) -> Path:
        """The file that a slot is."""
        return self._folder(slot) / LINKS[slot]

    def switch(self, slot: Slot, image: Image) -> None:
        """The slot names this image, from one instant to the next. Raises StateCorrupt when its file is not there."""
        if not self._file(slot, image).is_file():
            raise StateCorrupt(f"there is no file of {image.version} for {slot}", reason="bad-slot")
        folder = self._folder(slot)
        new = folder / f".{LINKS[slot]}.new"
        with disk_errors(f"switching {slot}", folder):
            new.unlink(missing_ok=True)
            new.symlink_to(f"images/{_name(image)}")
            link = folder / LINKS[slot]
            if link.is_dir() and not link.is_symlink():
                remove_tree(link)  # nobody boots from it, and nothing takes its name before it is gone
            new.replace(link)
            sync_folder(folder)

    def write(self, image: Image, purpose: Purpose, source: Source) -> None:
        """Copies the image as a new file. Raises IntegrityError (it is another one), NoSpace (before it begins)."""
        target = self._file(slot_of(purpose), image)
        part = target.with_name(f"{target.name}{_PART}")
        seen = hashlib.sha256()
        with disk_errors(f"writing {target}", target.parent):
            part.unlink(missing_ok=True)
            _need(target.parent, source.size_bytes)
            with source.open() as data, part.open("xb") as out:
                os.posix_fallocate(out.fileno(), 0, max(source.size_bytes, 1))
                while chunk := data.read(_CHUNK):
                    seen.update(chunk)
                    out.write(chunk)
                out.truncate()
                out.flush()
                os.fsync(out.fileno())
            if seen.hexdigest() != image.digest.hex:
                part.unlink()
                raise IntegrityError(f"{source.path} is sha256:{seen.hexdigest()} and not {image.digest}")
            part.replace(target)
            sync_folder(target.parent)

    def verify(self, image: Image, purpose: Purpose) -> bool:
        """Reads the file back, from the disk and not from memory, where the kernel lets us."""
        path = self._file(slot_of(purpose), image)
        seen = hashlib.sha256()
        with disk_errors(f"reading {path}"):
            try:
                source = path.open("rb", buffering=0)
            except FileNotFoundError:
                return False
            with source:
                os.fsync(source.fileno())
                os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while chunk := source.read(_CHUNK):
                    seen.update(chunk)
        return seen.hexdigest() == image.digest.hex

    def forget(self, image: Image, purpose: Purpose) -> None:
        """Deletes a file that turned out to be broken. The caller has seen to it that nothing names it."""
        with disk_errors(f"deleting {image.version}"):
            self._file(slot_of(purpose), image).unlink(missing_ok=True)

    def room(self, purpose: Purpose, kept: frozenset[Digest]) -> int:
        """Bytes for one more image on the partition of a purpose, when only the images in `kept` stay there."""
        folder = self._folder(slot_of(purpose)) / "images"
        with disk_errors(f"looking at {folder}"):
            info = os.statvfs(folder)
            free = info.f_bavail * info.f_frsize - MARGIN_BYTES
            for path in folder.iterdir():
                image = _image(path.name)
                if path.name.endswith(_PART) or (image is not None and image.digest not in kept):
                    free += path.stat().st_blocks * 512
        return max(0, free)

    def clean(self, state: frozenset[Digest], recovery: frozenset[Digest]) -> tuple[str, ...]:
        """Deletes all other images of each partition, and what a killed run left. Returns the names."""
        gone = []
        for folder, kept in ((self._state, state), (self._recovery, recovery)):
            if folder is None:
                continue
            with disk_errors(f"cleaning {folder}"):
                for path in sorted((folder / "images").iterdir()):
                    image = _image(path.name)
                    if path.name.endswith(_PART) or (image is not None and image.digest not in kept):
                        path.unlink()
                        gone.append(path.name)
        return tuple(gone)

    def _folder(self, slot: Slot) -> Path:
        if slot is not Slot.RECOVERY:
            return self._state
        if self._recovery is None:
            raise StateCorrupt(f"the partition {places.RECOVERY} cannot be used", reason="no-partition")
        return self._recovery

    def _file(self, slot: Slot, image: Image) -> Path:
        return self._folder(slot) / "images" / _name(image)


def check_version(version: str) -> None:
    """Raises ConfigError for a version that cannot be part of a file's name."""
    if not 0 < len(version) <= 100 or not _VERSION.issuperset(version):
        raise ConfigError(f"{version[:80]!r} cannot be the version of an image", reason="image-version")


def slot_of(purpose: Purpose) -> Slot:
    """A slot on whose partition the files of a purpose lie."""
    return Slot.RECOVERY if purpose is Purpose.RECOVERY else Slot.ACTIVE


def _name(image: Image) -> str:
    check_version(image.version)
    return f"{image.digest.hex}-{image.version}.img"


def _image(name: str) -> Image | None:
    hex, dash, rest = name.partition("-")
    version = rest.removesuffix(".img")
    if not dash or version == rest or not version or not _VERSION.issuperset(version):
        return None
    try:
        return Image(version, Digest(hex))
    except ValueError:
        return None


def _need(folder: Path, size_bytes: int) -> None:
    info = os.statvfs(folder)
    free = info.f_bavail * info.f_frsize
    if free < size_bytes + MARGIN_BYTES:
        raise NoSpace(
            f"the image needs {size_bytes + MARGIN_BYTES} bytes and {folder} has {free}", hint="nothing was changed"
        )
