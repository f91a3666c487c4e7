"""The use case *iso*: a spec, repositories and the client become a bootable image; an unchanged one is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.app import settings as configuration
from treebuilder.app.building import epoch_from_environment
from treebuilder.app.repositories import local_source, source_of
from treebuilder.app.trusting import TrustRules
from treebuilder.app.workspace import Workspace
from treebuilder.archive.entry import Entry
from treebuilder.archive.extract import Writer
from treebuilder.archive.tar import write_folder
from treebuilder.client import Installer, InstallRequest, Planned, SystemRoot
from treebuilder.errors import Place, SpecError
from treebuilder.events import Said, Warned
from treebuilder.image import (
    ImageFile,
    IsoSpec,
    Source,
    SpecRepository,
    compose_iso,
    iso_key,
    load_iso_spec,
    tool_versions,
)
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package
from treebuilder.model.words import parse_selector
from treebuilder.oci.layout import Layout
from treebuilder.oci.seal import HashingSink
from treebuilder.oci.view import StackView
from treebuilder.plan import lock as locks
from treebuilder.records import record, replace
from treebuilder.repository import RepositoryPackages, RepositorySource, SyncedRepository, sync

SCHEMA = "treebuild.images/1"
_KEPT_DATABASE = "/var/luet/db"
_NOTE = "iso"


@record
class IsoOptions:
    """What `treebuild iso` was asked. `image` replaces the spec's root file system; `output` names the file."""

    spec: Path
    local: tuple[str, ...] = ()
    image: str = ""
    output: str = ""
    lock_file: Path = Path("treebuild.lock")


def make_iso(options: IsoOptions, work: Workspace) -> tuple[ImageFile, bool]:
    """The image, and whether it was there already.

    Raises what loading specs, syncing, installing and composing raise.
    """
    spec = load_iso_spec(options.spec, work.events)
    if options.image:
        text = options.image if options.image.startswith("oci:") else options.image.removeprefix("docker://")
        spec = replace(spec, rootfs=(Source("image", text, Place("--image")),))
    out_dir = Path(spec.output or ".")
    if options.output:
        target = Path(options.output)
        out_dir, spec = target.parent, replace(spec, prefix="", name=target.name.removesuffix(".iso"), date=False)
    source = _SystemSource(spec, options.local, work)
    plans = source.plan_all(spec)
    epoch_s = epoch_from_environment() or locks.read(options.lock_file).epoch_s or _newest(plans)
    source.epoch_s = epoch_s
    key = iso_key(spec, tool_versions(), tuple(source.inputs(spec, plans)), epoch_s)
    with work.store.single_flight(f"iso-{key.hex}", work.cancel):
        place = str((out_dir / spec.file_name(_date(epoch_s))).absolute())
        known = _recall(key, place, work)
        if known is not None:
            work.events.emit(Said(f"{known.path} is up to date"))
            return known, True
        with work.store.scratch() as scratch:
            made = compose_iso(
                spec, source, out_dir=out_dir, work=scratch, epoch_s=epoch_s, events=work.events, cancel=work.cancel
            )
        _remember(key, place, made, work)
    return made, False


def _date(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y%m%d")


def _newest(plans: tuple[tuple[Planned, ...], ...]) -> int:
    """The newest build time of the packages, for those who have no lock."""
    times = [locks.FIRST_EPOCH_S]
    for item in (item for plan in plans for item in plan):
        try:
            moment = datetime.strptime(item.artifact.build_time[:19], "%Y-%m-%d %H:%M:%S")
        except ValueError:
            continue
        times.append(int(moment.replace(tzinfo=UTC).timestamp()))
    return max(times)


# what is not made again -----------------------------------------------------------------------------------------------
def _remember(key: Digest, place: str, made: ImageFile, work: Workspace) -> None:
    value = {"path": place, "size": made.size_bytes, "sha256": made.sha256.hex}
    work.store.index.set_notes(_NOTE, {_note_key(key, place): json.dumps(value).encode()})


def _note_key(key: Digest, place: str) -> str:
    return f"{key.hex} {place!a}"  # a place may be any bytes


def _recall(key: Digest, place: str, work: Workspace) -> ImageFile | None:
    """The image of these inputs, if the file still is what was written, to the byte."""
    noted = work.store.index.note(_NOTE, _note_key(key, place))
    if noted is None:
        return None
    value = json.loads(noted)
    path = Path(place)
    try:
        if path.stat().st_size != value["size"] or not Path(f"{place}.sha256").is_file():
            return None
        if _file_digest(path).hex != value["sha256"]:
            return None
    except OSError:
        return None
    shown = Path(os.path.relpath(path)) if path.is_relative_to(Path.cwd()) else path
    return ImageFile(shown, value["size"], Digest(value["sha256"]))


def _file_digest(path: Path) -> Digest:
    with path.open("rb") as source:
        return Digest(hashlib.file_digest(source, "sha256").hexdigest())


# where systems come from ----------------------------------------------------------------------------------------------
class _SystemSource:
    """Implements `image.api.Installer` on the client: repositories of the spec, and those named beside it."""

    def __init__(self, spec: IsoSpec, local: tuple[str, ...], work: Workspace) -> None:
        self._work = work
        self._base = Path(spec.where.file).parent
        self._packages = RepositoryPackages(_repositories(spec, self._base, local, work))
        self._client = Installer(self._packages, work.events, work.cancel)
        self._there: dict[Path, tuple[Package, ...]] = {}
        self.epoch_s = 0

    def plan_all(self, spec: IsoSpec) -> tuple[tuple[Planned, ...], ...]:
        """What will be installed, group by group, as the composer will ask for it."""
        plans: list[tuple[Planned, ...]] = []
        for tree in (spec.rootfs, spec.image, spec.uefi):
            places = {source.value: source.where for source in tree}
            known: tuple[Package, ...] = ()
            for group in _groups(tree):
                plan = self._client.plan(self._request(group, places), known)
                known += tuple(item.package for item in plan)
                plans.append(plan)
        return tuple(plans)

    def inputs(self, spec: IsoSpec, plans: tuple[tuple[Planned, ...], ...]) -> Iterator[tuple[str, Digest]]:
        """Everything that is laid into the image's trees, by name."""
        for at, plan in enumerate(plans):
            for item in plan:
                yield f"package {at} {item.package.id}", item.artifact.sha256
                if item.finalizer is not None:
                    yield f"finalizer {at} {item.package.id}", Digest.of(repr(item.finalizer).encode())
        overlays = (spec.overlay_rootfs, spec.overlay_uefi, spec.overlay_image)
        for source in (*spec.rootfs, *spec.image, *spec.uefi, *(found for found in overlays if found is not None)):
            path = self._base / source.value
            if source.kind == "folder" and path.is_dir():
                sink = HashingSink()
                write_folder(str(path), sink)
                yield f"folder {source.value}", sink.digest()
            elif source.kind == "file" and path.is_file():
                yield f"file {source.value}", _file_digest(path)
            elif source.kind == "image":
                yield f"image {source.value}", self._layout(source.value, source.where).resolve()
        if spec.uefi_image and (self._base / spec.uefi_image).is_file():
            yield f"file {spec.uefi_image}", _file_digest(self._base / spec.uefi_image)

    def install(self, packages: tuple[str, ...], target: Path, keep_db: bool) -> None:
        known = self._there.get(target, ())
        root = SystemRoot(target, _KEPT_DATABASE, record=keep_db)
        self._client.install(self._request(packages), root, known)
        self._there[target] = known + tuple(item.package for item in self._client.plan(self._request(packages), known))

    def unpack(self, reference: str, target: Path, where: Place) -> None:
        layout = self._layout(reference, where)
        state = layout.load(layout.resolve(), self._work.store)
        folders = tuple(str(self._work.store.tree_path(layer)) for layer in state.layers)
        with ExitStack() as stack:
            writer = stack.enter_context(Writer(str(target), follow=True, keep_existing_dirs=True))
            for entry, real in StackView(folders).walk():
                self._work.cancel.check()
                _lay(writer, entry, real)

    def _layout(self, reference: str, where: Place) -> Layout:
        """`oci:FOLDER`, and any reference that is a layout's folder."""
        path = self._base / reference.removeprefix("oci:").removesuffix(":latest")
        if not (path / "index.json").is_file():
            raise SpecError(
                f"the image {reference} cannot be fetched yet: only image layouts in a folder can be read",
                where=where, hint="write oci:FOLDER", reason="image",
            )  # fmt: skip
        return Layout(path)

    def _request(self, packages: tuple[str, ...], places: Mapping[str, Place] | None = None) -> InstallRequest:
        """What is wanted, and where the spec says so. Raises SpecError for a word that names no package."""
        wanted = []
        for word in packages:
            place = (places or {}).get(word)
            try:
                ref = parse_selector(word)
            except SpecError as err:
                err.where = place or err.where
                raise
            wanted.append(replace(ref, where=place or ref.where))
        return InstallRequest(tuple(wanted), epoch_s=self.epoch_s)


def _lay(writer: Writer, entry: Entry, real: str) -> None:
    if entry.kind == "f":
        with open(real, "rb") as content:
            writer.add(entry, content)
    else:
        writer.add(entry, None)


def _groups(sources: tuple[Source, ...]) -> Iterator[tuple[str, ...]]:
    """Neighbouring packages, which are installed together."""
    waiting: list[str] = []
    for source in sources:
        if source.kind == "package":
            waiting.append(source.value)
        elif waiting:
            yield tuple(waiting)
            waiting = []
    if waiting:
        yield tuple(waiting)


def _repositories(spec: IsoSpec, base: Path, local: tuple[str, ...], work: Workspace) -> tuple[SyncedRepository, ...]:
    """Those named on the command line, the spec's own, those of its configuration; else the user's."""
    rules = work.settings.rules
    sources = [_spec_source(found, base, rules) for found in spec.repositories if found.enable]
    configured = work.settings.repositories
    if spec.config:
        configured = configuration.load(str(base / spec.config), work.events).repositories
    if spec.config or not (sources or local):
        sources += [source_of(found, rules) for found in configured if found.enable]
    synced = [sync(local_source(folder, at), work.store, work.events, work.cancel) for at, folder in enumerate(local)]
    for source in sources:
        try:
            synced.append(sync(source, work.store, work.events, work.cancel))
        except SpecError as err:
            if err.reason != "no-repository" or not local:
                raise
            # A spec that is built from a folder may name where its packages will be published one day.
            work.events.emit(Warned(f"{err.message}; the others are used", where=err.where))
    return tuple(synced)


def _spec_source(found: SpecRepository, base: Path, rules: TrustRules) -> RepositorySource:
    urls = tuple(str((base / url).absolute()) for url in found.urls) if found.type == "disk" else found.urls
    trust = rules.settle(found.trust, found.type, str(base), found.where)
    return RepositorySource(found.name, found.type, urls, found.priority, where=found.where, trust=trust)


def to_json(images: list[tuple[ImageFile, bool]]) -> dict[str, Any]:
    """The result of `treebuild iso --json`."""
    return {
        "schema": SCHEMA,
        "images": [
            {"path": str(i.path), "size": i.size_bytes, "sha256": i.sha256.hex, "state": "cached" if old else "built"}
            for i, old in images
        ],
    }
