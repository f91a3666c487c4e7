"""The three archives of a repository, the same bytes for the same input: owners, times and order are fixed."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping

from treebuilder.annotations import IO
from treebuilder.archive.compress import Compressor, compressor
from treebuilder.archive.entry import Entry, kind_of
from treebuilder.archive.tar import write_entries
from treebuilder.model.package import Package, PackageId
from treebuilder.repository.entries import definition

_BATCH = 1 << 18
_PACKED = ("f", "d", "l")


class _Batches:
    """Passes on what is written in pieces that are worth a compressor's while."""

    def __init__(self, sink: Compressor) -> None:
        self._sink, self._parts, self._size = sink, list[bytes](), 0

    def write(self, data: bytes, /) -> object:
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _BATCH:
            self.flush()
        return len(data)

    def flush(self) -> None:
        self._sink.write(b"".join(self._parts))
        self._parts.clear()
        self._size = 0


def _archive(files: Mapping[str, tuple[Entry, bytes | str]], compression: str) -> bytes:
    """A tar of entries with their bytes, or the path of a real file, in walk order."""
    ordered = sorted(files, key=lambda path: os.fsencode(path).replace(b"/", b"\0"))
    out = io.BytesIO()
    packer = compressor(compression, out)
    batches = _Batches(packer)

    def opener(entry: Entry) -> IO[bytes]:
        content = files[entry.path][1]
        if isinstance(content, bytes):
            return io.BytesIO(content)
        return _small(content, entry.size) if entry.size <= _BATCH else open(content, "rb", buffering=0)

    write_entries((files[path][0] for path in ordered), batches, opener, whiteouts=False)
    batches.flush()
    packer.close()
    return out.getvalue()


def _small(path: str, size: int) -> IO[bytes]:
    """A file that is read at once: most are specfiles."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return io.BytesIO(os.read(fd, size))
    finally:
        os.close(fd)


def _add(files: dict[str, tuple[Entry, bytes | str]], path: str, data: bytes, epoch_s: int) -> None:
    folder = path.rpartition("/")[0]
    while folder and folder not in files:
        files[folder] = (Entry(folder, "d", 0o755, 0, 0, 0, epoch_s), b"")
        folder = folder.rpartition("/")[0]
    files[path] = (Entry(path, "f", 0o644, 0, 0, len(data), epoch_s), data)


def single_file(name: str, data: bytes, compression: str, epoch_s: int) -> bytes:
    """An archive of one file."""
    files: dict[str, tuple[Entry, bytes | str]] = {}
    _add(files, name, data, epoch_s)
    return _archive(files, compression)


def package_folder(id: PackageId) -> str:
    """Where a runtime tree keeps a package."""
    return "/".join(part for part in (id.category, id.name, id.version) if part)


def runtime_tree(packages: Iterable[tuple[Package, str]], compression: str, epoch_s: int) -> bytes:
    """The tree that clients read: definitions and the texts of finalizers ("" for none)."""
    files: dict[str, tuple[Entry, bytes | str]] = {}
    for package, finalizer in packages:
        folder = package_folder(package.id)
        _add(files, f"{folder}/definition.yaml", definition(package), epoch_s)
        if finalizer:
            _add(files, f"{folder}/finalize.yaml", finalizer.encode("utf-8", "surrogateescape"), epoch_s)
    return _archive(files, compression)


def compiler_tree(roots: Iterable[str], compression: str, epoch_s: int, without: Collection[str] = ()) -> bytes:
    """The recipes: each tree under its folder's name, trees of equal names laid over one another.

    `without` are folders that are left out where they lie in a tree.
    """
    files: dict[str, tuple[Entry, bytes | str]] = {}
    for root in roots:
        base = os.path.basename(os.path.abspath(root)) or "tree"
        files.setdefault(base, (Entry(base, "d", 0o755, 0, 0, 0, epoch_s), b""))
        left_out = {f"{base}/.git"} | {f"{base}/{path}" for path in _inside(root, without)}
        for path, real, info in _walk(root, f"{base}/", left_out):
            kind = kind_of(info.st_mode)
            known = files.get(path)
            if known is not None and known[0].kind == "d" and kind != "d":
                files = {name: item for name, item in files.items() if not name.startswith(f"{path}/")}
            if kind == "l":
                made = Entry(path, kind, 0o777, 0, 0, 0, epoch_s, os.readlink(real))
            else:
                size = info.st_size if kind == "f" else 0
                made = Entry(path, kind, stat.S_IMODE(info.st_mode), 0, 0, size, epoch_s)
            files[path] = made, real
    return _archive(files, compression)


def _inside(root: str, folders: Collection[str]) -> list[str]:
    """Those of the folders that lie in a root, and are not the root itself, as paths relative to it.

    Links on the way to them are followed: it is the same folder by another path.
    """
    before = os.path.join(os.path.realpath(root), "")
    real = [os.path.realpath(folder) for folder in folders]
    return [path.removeprefix(before) for path in real if path.startswith(before)]


def _walk(folder: str, prefix: str, left_out: Collection[str]) -> Iterator[tuple[str, str, os.stat_result]]:
    """Folders, files and links below a folder: name in the archive, path and stat. A folder comes before what it holds;
    `left_out` are names in the archive."""
    with os.scandir(folder) as listed:
        found = list(listed)
    for item in found:
        info = item.stat(follow_symlinks=False)
        path = prefix + item.name
        if kind_of(info.st_mode) not in _PACKED or path in left_out:
            continue
        yield path, item.path, info
        if stat.S_ISDIR(info.st_mode):
            yield from _walk(item.path, f"{path}/", left_out)
