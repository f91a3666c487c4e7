"""From images to package content (luet.md §4.8): filtered entries, one canonical tar, compressed as transport.

The default delta is luet's: what the steps added; changed and deleted files are left out, and counted. Parents of kept
entries come along with their own attributes, so that installing a package does not reset a folder's mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from treebuilder.annotations import IO
from treebuilder.archive.compress import compressor, decompressed
from treebuilder.archive.entry import Entry, scan
from treebuilder.archive.tar import write_entries
from treebuilder.model.digest import Digest
from treebuilder.model.package import Recipe
from treebuilder.model.patterns import compile_filter
from treebuilder.oci.seal import HashingSink
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.records import record
from treebuilder.system.files import disk_errors

Item = tuple[Entry, str]  # an entry and the real file behind it


@record
class Packed:
    """A package's content: digest and size of the plain tar, and the paths that are no folders, in tar order."""

    content: Digest
    size_bytes: int
    blob: Digest
    blob_size_bytes: int
    files: tuple[str, ...]


class _Tee:
    def __init__(self, *sinks: object) -> None:
        self._writes = [sink.write for sink in sinks]  # type: ignore[attr-defined]

    def write(self, data: bytes, /) -> int:
        for write in self._writes:
            write(data)
        return len(data)


def delta_items(tree: Path, left_out: frozenset[str]) -> Iterator[Item]:
    """The entries of a layer folder without whiteouts and without `left_out`."""
    for entry in scan(str(tree)):
        if entry.kind != "w" and entry.path not in left_out:
            yield entry._replace(opaque=False), f"{tree}/{entry.path}"


def package_items(recipe: Recipe, tree: Path | None, view: StackView, left_out: frozenset[str]) -> Iterator[Item]:
    """The entries of a package before its filters, paths as in the image. `tree` is the layer of its steps."""
    if recipe.unpacks:
        yield from view.walk()
    elif tree is not None:
        yield from delta_items(tree, left_out)


def select(items: Iterable[Item], recipe: Recipe, passed: frozenset[str]) -> list[Item]:
    """Applies `package_dir`, `includes` and `excludes`. `passed` folders stay only as parents of what is kept."""
    prefix = recipe.package_dir.strip("/")
    keep = compile_filter(recipe.includes, recipe.excludes)
    # With package_dir luet's patterns see the folder's name twice (luet.md §4.8); trees are written for that.
    shown = f"/{prefix}" if prefix else ""
    return filtered(items, lambda path: keep(f"{shown}/{path}"), prefix, passed)


def filtered(items: Iterable[Item], keep: Callable[[str], bool], prefix: str, passed: frozenset[str]) -> list[Item]:
    """Kept entries with their parents, in order; hard links lead to the first kept name."""
    kept: list[Item] = []
    waiting: list[Item] = []  # folders not kept themselves, above the current entry
    moved: dict[str, str] = {}
    for entry, real in items:
        if prefix:
            if not entry.path.startswith(prefix + "/"):
                continue
            inner = entry.path[len(prefix) + 1 :]
        else:
            inner = entry.path
        while waiting and not entry.path.startswith(waiting[-1][0].path + "/"):
            waiting.pop()
        wanted = keep(entry.path) and entry.path not in passed
        if entry.kind == "d" and not wanted:
            waiting.append((entry, real))
            continue
        if not wanted:
            continue
        for folder, folder_real in waiting:
            path = folder.path[len(prefix) + 1 :] if prefix else folder.path
            kept.append((folder._replace(path=path), folder_real))
        waiting.clear()
        kept.append((_relink(entry, inner, real, moved), real))
    return kept


def _relink(entry: Entry, inner: str, real: str, moved: dict[str, str]) -> Entry:
    """The entry under its new path; a hard link whose first name was not kept becomes the file itself."""
    if entry.kind == "f":
        moved[entry.path] = inner
    if entry.kind != "h":
        return entry._replace(path=inner)
    first = moved.get(entry.link)
    if first is not None:
        return entry._replace(path=inner, link=first)
    moved[entry.link] = inner
    return entry._replace(path=inner, kind="f", link="", size=Path(real).lstat().st_size)


def write_package(store: Store, items: list[Item], compression: str) -> Packed:
    """Writes a package's tar into the store and returns its digests."""
    reals = {entry.path: real for entry, real in items}

    def opener(entry: Entry) -> IO[bytes]:
        return open(reals[entry.path], "rb", buffering=0)

    content, blob = HashingSink(), HashingSink()
    with store.part() as part, disk_errors("packing a package", store.folder):
        with part.open("wb") as out:
            packer = compressor(compression, _Tee(blob, out))
            write_entries((entry for entry, _ in items), _Tee(content, packer), opener, whiteouts=False)
            packer.close()
        files = tuple(entry.path for entry, _ in items if entry.kind != "d")
        packed = Packed(content.digest(), content.size_bytes, blob.digest(), blob.size_bytes, files)
        store.add_blob_file(part, packed.blob)
    return packed


def recompress(store: Store, blob: Digest, compression: str) -> tuple[Digest, int]:
    """The same content in another compression, as a blob of its own."""
    out_hash = HashingSink()
    with store.part() as part, store.blob_path(blob).open("rb") as source:
        with part.open("wb") as out:
            packer = compressor(compression, _Tee(out_hash, out))
            reader = decompressed(source)
            while data := reader.read(1 << 20):
                packer.write(data)
            packer.close()
        store.add_blob_file(part, out_hash.digest())
    return out_hash.digest(), out_hash.size_bytes
