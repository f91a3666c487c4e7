"""From folders of specfiles to a `Tree` (luet.md §2.1, §3.1–3.3)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from treebuilder import __version__
from treebuilder.annotations import Literal
from treebuilder.errors import Place, SpecError
from treebuilder.events import EventSink, Warned
from treebuilder.model.package import Package, PackageId, Recipe
from treebuilder.nodes import Node, load
from treebuilder.nodes.flat import Flat, read_flat
from treebuilder.records import record
from treebuilder.template import Rendered
from treebuilder.tree import stored, wholetree
from treebuilder.tree import values as template_values
from treebuilder.tree.cells import Cell
from treebuilder.tree.context import context_digest
from treebuilder.tree.definition import COLLECTION_KEYS, read_id, read_package, report, report_doubled, unknown_key
from treebuilder.tree.files import SPECFILES, is_inside, read_text
from treebuilder.tree.foldercells import FolderCells, Item, Warning_
from treebuilder.tree.index import SpecIndex
from treebuilder.tree.package import TreePackage
from treebuilder.tree.plain import Definitions, Encoded, plain_package, plain_recipe, plain_values
from treebuilder.tree.recipe import read_recipe
from treebuilder.tree.rendering import Renderer
from treebuilder.tree.rows import Rows, view_of
from treebuilder.tree.snapshot import Entry, Snapshot, fingerprint
from treebuilder.tree.tree import Tree
from treebuilder.tree.walks import rescan
from treebuilder.tree.wholetree import WholeTree

_SUBS = "subpackages"
_NO_BUILD: Encoded = stored.encode(Recipe(has_build_file=False))


@record
class _Folder:
    """A folder that defines packages: its path relative to the root, its number, and the specfiles in it by name."""

    path: str
    at: int
    files: Mapping[str, Entry]
    dockerfiles: tuple[Entry, ...]


def load_tree(
    roots: Sequence[str | Path],
    *,
    values_files: Sequence[str | Path] = (),
    events: EventSink,
    index: SpecIndex | None = None,
    template_env: Mapping[str, str] | None = None,
    epoch_s: int = 0,
    dockerfiles: bool = False,
    layering: Literal["chain", "merge"] = "chain",
    recipes: bool = True,
    salt: str = "",
    faults: list[SpecError] | None = None,
    built_with: Mapping[str, Mapping[str, template_values.Values]] | None = None,
) -> Tree:
    """Walks the roots and reads every specfile; any that is broken fails the whole load, as in luet.

    `built_with` are values that packages of a root were built with, by root and fingerprint: they stand over a
    package's own and under those of the files.

    With a list of `faults` a broken folder is added there instead, and its packages are missing.

    With `recipes` False no build.yaml is rendered before somebody asks for it. What the index knows of a folder whose
    files are unchanged is not read again; `salt` names whatever else that depends on, such as our own code.
    Raises SpecError: "missing-tree", "missing-values", "yaml", "wrong-type", "wrong-word", "template", "pattern",
    "name", "encoding" and others, with file and line. A package that stands twice in a root is warned of.
    """
    snapshots = tuple(rescan(root, index) for root in dict.fromkeys(os.fspath(root) for root in roots))
    stamp = fingerprint(
        snapshots, values_files, template_env=template_env, epoch_s=epoch_s, dockerfiles=dockerfiles, layering=layering
    )
    values = template_values.read_files(values_files)
    # a tree that extends another may carry a copy of its templates: they count once
    texts: dict[str, tuple[str, set[int]]] = {}
    for number, snapshot in enumerate(snapshots):
        for name, text in _shared(snapshot):
            texts.setdefault(text, (name, set()))[1].add(number)
    shared = tuple((name, text) for text, (name, _) in texts.items())
    owners = [owners for _, owners in texts.values()]
    before = template_values.canonical(built_with) if built_with else ""
    stamp += hashlib.sha256(before.encode()).hexdigest() if before else ""
    base = _base(shared, values, template_env or {}, epoch_s, f"{salt}{[sorted(found) for found in owners]}{before}")
    doubled: dict[str, tuple[Place, Place]] = {}
    places = [f"{snapshot.root}\0{snapshot.absolute}" for snapshot in snapshots]
    known = wholetree.load(index, places, base) if index is not None else None
    read: list[FolderCells] = []
    readers: list[_Reader] = []
    for number, snapshot in enumerate(snapshots):
        # luet reads a tree with its own templates, and builds from none where two define one name: a tree's own count
        ranks = tuple(0 if number in found else 1 + min(found) for found in owners)
        renderer = Renderer(shared, template_env or {}, epoch_s, ranks)
        given = _Given(values, (built_with or {}).get(snapshot.root) or {})
        reader = _Reader(snapshot, renderer, given, events, doubled, faults, index)
        cells = FolderCells(index, base, snapshot, reader, recipes=recipes)
        read.append(cells)
        readers.append(reader)
        if known is not None:
            cells.compare_with(known.rows(number))
    if known is None or not (known.state == stamp and all(cells.is_enough() for cells in read)):
        for cells in read:
            cells.read(dockerfiles=dockerfiles)
        # what is said of a tree while it is listed has to be said each time
        said = doubled or faults or any(reader.has_warned for reader in readers)
        state = "" if dockerfiles or said else stamp
        if index is not None and all(cells.complete for cells in read):
            made = WholeTree(base, state, tuple(cells.rows.dumped() for cells in read))
            if made != known:
                wholetree.save(index, places, made)
    return Tree(
        _overlaid([cells.rows for cells in read], doubled), snapshots, stamp, index=index, layering=layering,
        doubled=doubled, shared_texts=shared,
    )  # fmt: skip


def _overlaid(roots: Sequence[Rows], doubled: Mapping[str, object]) -> tuple[Cell, ...]:
    """The packages of all roots; of several with one fingerprint the first."""
    cells = [Cell(rows, row) for rows in roots for row in range(len(rows))]
    if len(roots) == 1 and not doubled:
        return tuple(cells)
    found: dict[str, Cell] = {}
    for cell in cells:
        found.setdefault(cell.id.fingerprint, cell)
    return tuple(found.values())


def _shared(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """All .yaml files below folders called `templates`, in walk order."""
    for at, path in enumerate(snapshot.paths):
        if "templates/" in path and path.lower().endswith(".yaml") and "templates" in path.split("/")[:-1]:
            text = _read(snapshot, snapshot.entry(at))
            if text is not None:
                yield snapshot.shown(path), text


def _read(snapshot: Snapshot, entry: Entry) -> str | None:
    """A specfile's text, None where the name belongs to a folder. Raises SpecError."""
    shown, size = snapshot.shown(entry.path), entry.size
    if not stat.S_ISREG(entry.mode):
        size = -1
        if stat.S_ISDIR(entry.mode):
            return None
        if stat.S_ISLNK(entry.mode) and not is_inside(os.path.join(snapshot.absolute, entry.path), snapshot.absolute):
            raise SpecError("the link leads out of the tree", where=Place(shown), reason="context-escape")
    try:
        return read_text(shown, size)
    except FileNotFoundError:
        raise SpecError("the file cannot be opened", where=Place(shown), reason="unreadable") from None


def _folders(snapshot: Snapshot) -> Iterator[_Folder]:
    """Folders that may define packages, in walk order."""
    found: dict[str, tuple[int, list[tuple[str, int]]]] = {"": (-1, [])}
    for at, (path, mode) in enumerate(zip(snapshot.paths, snapshot.modes(), strict=True)):
        if stat.S_ISDIR(mode):
            found[path] = at, []
            continue
        folder, _, name = path.rpartition("/")
        if name in SPECFILES or "Dockerfile" in name:
            found[folder][1].append((name, at))
    for path, (own, named) in found.items():
        files = {name: snapshot.entry(at) for name, at in named if name in SPECFILES}
        yield _Folder(path, own, files, tuple([snapshot.entry(at) for name, at in named if name not in files]))


@record
class _Given:
    """The values that a root's packages get beside their own: those of the files, over what each was built with."""

    files: template_values.Values
    built_with: Mapping[str, template_values.Values]

    def over(self, own: template_values.Values, id: Callable[[], PackageId]) -> template_values.Values:
        """All values of a package; `id` is asked only if it matters."""
        if self.built_with:
            own = template_values.merged(own, self.built_with.get(id().fingerprint, {}))
        return template_values.merged(own, self.files)

    def texts(self) -> Iterator[str]:
        """Whatever they may add to a rendered text."""
        yield template_values.canonical(self.files)
        yield from map(template_values.canonical, self.built_with.values())


class _Reader:
    """Reads one root."""

    def __init__(
        self,
        snapshot: Snapshot,
        renderer: Renderer,
        given: _Given,
        events: EventSink,
        doubled: dict[str, tuple[Place, Place]],
        faults: list[SpecError] | None,
        index: SpecIndex | None,
    ) -> None:
        self._index = index
        self._snapshot = snapshot
        self._renderer = renderer
        self._given = given
        self._events = events
        self._doubled = doubled
        self._faults = faults
        self._warned: set[tuple[str, str]] = set()
        self._found: list[Warning_] = []
        self._definitions = Definitions()
        self._last: tuple[tuple[str, str, str], Rendered] | None = None
        self._places: dict[str, Callable[[], Place]] = {}
        self._subs_anywhere = any(_SUBS in text for text in (*given.texts(), *(text for _, text in renderer.shared)))

    def folders(self) -> Iterator[_Folder]:
        """All folders of the root in walk order."""
        return _folders(self._snapshot)

    def folder(self, path: str) -> _Folder:
        """One of them, without its Dockerfiles."""
        found = {name: self._snapshot.find(f"{path}/{name}" if path else name) for name in SPECFILES}
        files = {name: entry for name, entry in found.items() if entry is not None and not stat.S_ISDIR(entry.mode)}
        return _Folder(path, self._snapshot.number(path) if path else -1, files, ())

    @property
    def has_warned(self) -> bool:
        """Whether there was something to warn of that no package may stand for: a collection can be without any."""
        return any(file.endswith("/collection.yaml") for _, file in self._warned)

    def refuse(self, err: SpecError) -> None:
        """Notes a broken folder, or raises the error where faults are not collected."""
        if self._faults is None:
            raise err
        self._faults.append(err)

    def _text(self, folder: _Folder, name: str) -> tuple[str, str] | None:
        """Shown path and text of one of the folder's specfiles."""
        entry = folder.files.get(name)
        text = None if entry is None else _read(self._snapshot, entry)
        return None if entry is None or text is None else (self._snapshot.shown(entry.path), text)

    def definitions(self, folder: _Folder) -> tuple[list[Package | Encoded], bool]:
        """The folder's packages, and whether their recipes may name sub-packages: the word stands somewhere."""
        texts = [self._text(folder, name) for name in ("definition.yaml", "collection.yaml", "build.yaml")]
        build = texts[2]
        subs = build is not None and (self._subs_anywhere or any(text and _SUBS in text[1] for text in texts))
        known = None if texts[0] is None or texts[1] is not None else self._definitions.read(texts[0][1], texts[0][0])
        if known is not None:
            return [known], subs
        self._found = []
        packages: list[Package | Encoded] = [read_package(node) for node, _ in self._nodes(texts[0], texts[1])]
        if not packages:
            self.warn(self._found)
        return packages, subs

    def _plain(
        self, definition: tuple[str, str] | None, collection: tuple[str, str] | None
    ) -> tuple[Flat, Encoded] | None:
        """The data of a plain definition.yaml that stands alone, and its package encoded."""
        if definition is None or collection is not None:
            return None
        found = read_flat(definition[1])
        package = None if found is None else plain_package(found, definition[0])
        return None if found is None or package is None else (found, package)

    def plain(self, folder: _Folder) -> Item | None:
        """The folder's package, encoded, if it can be read without nodes. Raises SpecError for a file."""
        known = self._plain(self._text(folder, "definition.yaml"), self._text(folder, "collection.yaml"))
        if known is None:
            return None
        build = self._text(folder, "build.yaml")
        finalize_file, finalize = self._text(folder, "finalize.yaml") or ("", "")
        values = self._given.over(plain_values(known[0]), partial(_id_of, known[1]))
        canonical = template_values.canonical(values)
        recipe: Encoded | None = _NO_BUILD
        if build is not None:
            try:
                rendered = self._rendered(folder, build, values, canonical)
            except SpecError:
                return None  # to be said in its turn
            found = read_flat(rendered.text)
            recipe = None if found is None else plain_recipe(found, build[0], rendered.lines)
        if recipe is None:
            return None
        return known[1], (), view_of(known[1], recipe), (recipe, finalize, finalize_file, canonical)

    def packages(self, folder: _Folder, *, again: bool) -> tuple[list[TreePackage], list[Warning_]]:
        """The folder's packages read whole, and what to warn of. Raises SpecError."""
        self._found = []
        return list(self._defined(folder, again=again)), self._found

    def _defined(self, folder: _Folder, *, again: bool) -> Iterator[TreePackage]:
        items = list(self._items(folder))
        if not items:
            return
        build = self._text(folder, "build.yaml")
        finalize_file, finalize = self._text(folder, "finalize.yaml") or ("", "")
        parsed: dict[str, Recipe] = {}
        for node, own in items:
            package = read_package(node, self._tell)
            report_doubled(node, self._tell)
            if not package.id.name:
                self._tell("", "the package has no name", node.place)
            if not again:
                self._claim(package)
            values = self._given.over(own, partial(getattr, package, "id"))
            recipe = Recipe(has_build_file=False) if build is None else self._recipe(folder, build, values, parsed)
            for sub in () if again else recipe.subpackages:
                self._claim(sub.package)
            yield self._made(folder, package, recipe, (finalize_file, finalize), values)

    def _items(self, folder: _Folder) -> Iterator[tuple[Node, template_values.Values]]:
        """The definition and the collection's items, each with its template values.

        Where both stand in a folder, the collection's data is used for the definition as well (luet.md §2.1); luet
        renders with no values at all where the collection has no such item, we with the definition's.
        """
        nodes = list(self._nodes(self._text(folder, "definition.yaml"), self._text(folder, "collection.yaml")))
        both = len(nodes) > 1 and not nodes[0][1]
        items = {read_id(node): node for node, collected in reversed(nodes) if collected} if both else {}
        for node, collected in nodes:
            item = node if collected else items.get(read_id(node)) if items else None
            values = template_values.of_definition(node) if item is None else template_values.of_collection_item(item)
            yield node, values

    def _nodes(
        self, definition: tuple[str, str] | None, collection: tuple[str, str] | None
    ) -> Iterator[tuple[Node, bool]]:
        """The definition and the items of the collection, and whether it is one of these."""
        if definition is not None:
            yield load(definition[1], definition[0]), False
        if collection is not None:
            whole = load(collection[1], collection[0])
            report(whole, COLLECTION_KEYS, self._tell_of_collection)
            for item in whole.children("packages"):
                item.entries("an item of packages")
                yield item, True

    def _recipe(
        self, folder: _Folder, build: tuple[str, str], values: template_values.Values, parsed: dict[str, Recipe]
    ) -> Recipe:
        file, _ = build
        rendered = self._rendered(folder, build, values, template_values.canonical(values))
        known = parsed.get(rendered.text)
        if known is None:
            first = len(self._found)
            try:
                known = read_recipe(load(rendered.text, file, lines=rendered.lines), self._tell)
            except SpecError as err:
                raise self._in_template(err, folder, build, rendered, values) from err
            parsed[rendered.text] = known
            if len(self._found) > first and self._renderer.shared:
                self._find_in_templates(first, folder, build, rendered, values)
        return known

    def _find_in_templates(
        self, first: int, folder: _Folder, build: tuple[str, str], rendered: Rendered, values: template_values.Values
    ) -> None:
        """Gives what was told of a rendered text, from number `first` on, its place in the template that wrote it."""
        places: list[Place] = []
        read_recipe(load(rendered.text, build[0]), lambda *told: places.append(told[2]))
        origins = self._renderer.origins(build[1], values, file=build[0], seed=partial(self._seed, folder))
        for number, place in enumerate(places, first):
            key, message, told = self._found[number]
            found = origins.get(place.line)
            if found is not None:  # a key is wrong there, all else may be the caller's fault
                self._found[number] = key, message if key else f"{message} (called in {told})", found

    def _in_template(
        self,
        err: SpecError,
        folder: _Folder,
        build: tuple[str, str],
        rendered: Rendered,
        values: template_values.Values,
    ) -> SpecError:
        """The fault of a rendered text, at the line of the shared template that wrote it, if one did."""
        file, text = build
        seed = partial(self._seed, folder)
        try:
            read_recipe(load(rendered.text, file), lambda *_: None)
        except SpecError as again:
            line = again.where.line if again.where is not None else 0
            found = self._renderer.origins(text, values, file=file, seed=seed).get(line)
            if found is not None:
                called = f"{err.message} (called in {err.where})"
                return SpecError(called, hint=err.hint, where=found, reason=err.reason)
        return err

    def _seed(self, folder: _Folder) -> bytes:
        """What random functions of a folder's templates begin from."""
        try:
            return bytes.fromhex(context_digest(self._snapshot, folder.path, self._index).hex)
        except SpecError:  # a context that cannot be built is refused when it is to be
            return b""

    def _rendered(
        self, folder: _Folder, build: tuple[str, str], values: template_values.Values, canonical: str
    ) -> Rendered:
        """A rendered text; the last one is kept, for whoever cannot be content with a plain reading of it."""
        key = (*build, canonical)
        if self._last is None or self._last[0] != key:
            self._last = key, self._renderer.render(build[1], values, file=build[0], seed=partial(self._seed, folder))
        return self._last[1]

    def dockerfiles(self, folder: _Folder) -> Iterator[TreePackage]:
        """`--dockerfiles`: a folder's Dockerfile is a package of the folder's name, without category and version."""
        for count, entry in enumerate(folder.dockerfiles):
            text = _read(self._snapshot, entry)
            if text is None:
                continue
            where = Place(self._snapshot.shown(entry.path))
            if count:
                message = f"only {folder.dockerfiles[0].name} of this folder is built, not {entry.name}"
                self._events.emit(Warned(message, where))
                continue
            name = os.path.basename(os.path.join(self._snapshot.absolute, folder.path).rstrip("/"))
            if folder.files:  # as luet has it, and hardly anybody means it
                message = f"this is a package of its own, {name!r}: it does not build those of the folder's specfiles"
                self._events.emit(Warned(message, where))
            package = Package(PackageId("", name, ""), where=where)
            self._claim(package)
            recipe = Recipe(dockerfile=text, where=where)
            yield self._made(folder, package, recipe, ("", ""), {"name": name})

    def _made(
        self,
        folder: _Folder,
        package: Package,
        recipe: Recipe,
        finalize: tuple[str, str],
        values: template_values.Values,
    ) -> TreePackage:
        context = os.path.join(self._snapshot.absolute, folder.path) if folder.path else self._snapshot.absolute
        return TreePackage(
            package, recipe, context, folder.path, finalize[1], finalize[0], self._snapshot.root,
            template_values.canonical(values),
        )  # fmt: skip

    def claim(self, key: tuple[str, str, str], where: Callable[[], Place]) -> None:
        """One fingerprint should stand once in a root; of several the first counts. `where` is asked if it does not."""
        category, name, version = key
        fingerprint = f"{name}-{category}-{version}"
        before = self._places.setdefault(fingerprint, where)
        if before is not where and fingerprint not in self._doubled:
            self._doubled[fingerprint] = first, second = before(), where()
            hint = "change a version, or remove one of the two"
            message = f"the package {PackageId(*key)} is defined twice, first in {first}"
            self._events.emit(Warned(message, second, hint))

    def _claim(self, package: Package) -> None:
        self.claim((package.id.category, package.id.name, package.id.version), lambda: package.where)

    def warn(self, warnings: Sequence[Warning_]) -> None:
        """Warns of each thing once in a file."""
        for key, message, place in warnings:
            if (key + message, place.file) in self._warned:
                continue
            self._warned.add((key + message, place.file))
            message, hint = unknown_key(key, message) if key else (message, None)
            self._events.emit(Warned(message, place, hint))

    def _tell(self, key: str, message: str, place: Place) -> None:
        self._found.append((key, message, place))

    def _tell_of_collection(self, key: str, message: str, place: Place) -> None:
        """What a collection holds beside its packages may be there for its anchors, if it is called so."""
        if not key.startswith(("x-", ".")):
            self._tell(key, message, place)


def _id_of(package: Encoded) -> PackageId:
    return PackageId(*package[stored.ID][1:])


def _base(
    shared: tuple[tuple[str, str], ...], values: template_values.Values, env: Mapping[str, str], epoch_s: int, salt: str
) -> bytes:
    """What every folder of a run depends on beside its own files."""
    given = [stored.SHAPE, __version__, shared, template_values.canonical(values), sorted(env.items()), epoch_s, salt]
    return hashlib.sha256(repr(given).encode("utf-8", "surrogatepass")).digest()
