"""The use case *pack*: a folder becomes a package, without a build (luet.md §1.4)."""

from __future__ import annotations

from pathlib import Path

from treebuilder.build.emit import Outgoing, emit, file_name, files_note
from treebuilder.build.pack import delta_items, write_package
from treebuilder.build.report import PackedFile
from treebuilder.errors import SpecError
from treebuilder.events import EventSink, Warned
from treebuilder.model.digest import Digest
from treebuilder.model.package import NOWHERE, Package, PackageId, PackageRef, Recipe
from treebuilder.nodes import load
from treebuilder.oci.store import Store
from treebuilder.records import record, replace
from treebuilder.tree.definition import read_package
from treebuilder.tree.files import read_text


@record
class PackOptions:
    """`definition` is the definition.yaml that says the rest of the package."""

    package: PackageRef
    source: Path
    destination: Path
    definition: Path
    compression: str
    epoch_s: int


def pack(options: PackOptions, store: Store, events: EventSink) -> PackedFile:
    """Writes archive and metadata into the destination.

    Raises SpecError (reasons "selector", "missing-definition", "missing-folder" and those of specfiles), NoSpace.
    """
    ref = options.package
    if not ref.name or not ref.version or ref.is_selector:
        raise SpecError(f"{ref} names no version", hint="write category/name@1.0", reason="selector")
    if not options.source.is_dir():
        raise SpecError(f"there is no folder {options.source}", reason="missing-folder")
    runtime = _definition(options.definition, PackageId(ref.category, ref.name, ref.version), events)
    names = {file_name(runtime.id, options.compression), f"{runtime.id.fingerprint}.metadata.yaml"}
    own = {str((options.destination / name).absolute()) for name in names}
    items = [item for item in delta_items(options.source, frozenset()) if str(Path(item[1]).absolute()) not in own]
    packed = write_package(store, items, options.compression)
    store.index.replace([], [files_note(packed.content, packed.files)])
    made = Outgoing(
        runtime, runtime, Recipe(has_build_file=False), packed.content, packed.blob, packed.blob_size_bytes,
        options.compression, "", Digest.of(packed.content.hex.encode()), (), packed.size_bytes,
    )  # fmt: skip
    return emit(made, options.destination, store, options.epoch_s)


def _definition(path: Path, id: PackageId, events: EventSink) -> Package:
    """The package of a definition.yaml, under the identity that was asked for."""
    try:
        found = read_package(load(read_text(str(path)), str(path)))
    except FileNotFoundError:
        raise SpecError(
            f"there is no {path}", hint="it describes the package that is packed", reason="missing-definition"
        ) from None
    if found.id != id:
        events.emit(Warned(f"{path} describes {found.id}, and {id} is packed", found.where))
    return replace(found, id=id, where=NOWHERE)
