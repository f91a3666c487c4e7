"""The three archives of a repository, the same bytes for the same input: owners, times and order are fixed."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import IO

from treebuilder.archive.compress import compressor
from treebuilder.archive.entry import Entry, scan
from treebuilder.archive.tar import write_entries
from treebuilder.model.package import Package, PackageId
from treebuilder.repository.entries import definition


def _archive(files: dict[str, tuple[Entry, bytes | str]], compression: str) -> bytes:
    """A tar of entries with their bytes, or the path of a real file, in walk order."""
    ordered = sorted(files, key=lambda path: [os.fsencode(part) for part in path.split("/")])
    out = io.BytesIO()
    packer = compressor(compression, out)

    def opener(entry: Entry) -> IO[bytes]:
        content = files[entry.path][1]
        return io.BytesIO(content) if isinstance(content, bytes) else open(content, "rb", buffering=0)

    write_entries((files[path][0] for path in ordered), packer, opener, whiteouts=False)
    packer.close()
    return out.getvalue()


def _add(files: dict[str, tuple[Entry, bytes | str]], path: str, data: bytes, epoch_s: int) -> None:
    parts = path.split("/")
    for depth in range(1, len(parts)):
        folder = "/".join(parts[:depth])
        files[folder] = (Entry(folder, "d", 0o755, 0, 0, 0, epoch_s), b"")
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


def compiler_tree(roots: Iterable[str], compression: str, epoch_s: int) -> bytes:
    """The recipes: each tree under its folder's name, trees of equal names laid over one another."""
    files: dict[str, tuple[Entry, bytes | str]] = {}
    for root in roots:
        base = os.path.basename(os.path.abspath(root)) or "tree"
        files.setdefault(base, (Entry(base, "d", 0o755, 0, 0, 0, epoch_s), b""))
        for entry in scan(root):
            if entry.path.split("/", 1)[0] == ".git" or entry.kind not in "fdlh":
                continue
            real = os.path.join(root, entry.path)
            size = os.lstat(real).st_size if entry.kind in "fh" else 0
            path, kind = f"{base}/{entry.path}", "f" if entry.kind == "h" else entry.kind
            known = files.get(path)
            if known is not None and known[0].kind == "d" and kind != "d":
                files = {name: item for name, item in files.items() if not name.startswith(f"{path}/")}
            mode = 0o777 if kind == "l" else entry.mode
            files[path] = (Entry(path, kind, mode, 0, 0, size, epoch_s, entry.link if kind == "l" else ""), real)
    return _archive(files, compression)
