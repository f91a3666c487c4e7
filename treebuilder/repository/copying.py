"""Copies of repositories: what the destination lacks is brought and checked, and what leads to it is written last.

Indexes, signatures and metas stay byte for byte what they are, so who trusts the source's signer trusts the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from treebuilder.annotations import Protocol
from treebuilder.errors import ConfigError, IntegrityError, SpecError
from treebuilder.events import EventSink, Finished, Progressed, Started, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.repository.api import INDEX_NAME, MAX_META_BYTES, MAX_TREE_BYTES, SIGNATURE_SUFFIX
from treebuilder.repository.bounds import bounded
from treebuilder.repository.index import parse_index, parse_meta
from treebuilder.system.pool import in_parallel
from treebuilder.system.process import Cancel

SNAPSHOT_SUFFIX = f"-{INDEX_NAME}"
MAX_PACKAGE_BYTES = 64 << 30
_THREADS = 4
_TASK = "copy"


@record
class Piece:
    """A file of a repository. Its name is relative to the repository, with `/`."""

    name: str
    sha256: Digest
    package: bool


@record
class State:
    """What one index leads to: the document and its signatures as they are, the files it names and the packages."""

    reference: str
    index: bytes
    signature: bytes | None
    pieces: tuple[Piece, ...]


@record
class Copied:
    """What a copy came to: the references that are in the destination now, those left out, and what was brought.

    `changed` is False where the destination already was the same. `documents` are those that lead to the references.
    """

    references: tuple[str, ...]
    left_out: tuple[str, ...]
    files: int
    packages: int
    size_bytes: int
    changed: bool
    documents: tuple[str, ...] = ()


Documents = Callable[[frozenset[str]], Mapping[str, bytes]]


def _none(references: frozenset[str]) -> Mapping[str, bytes]:
    return {}


class Source(Protocol):
    """Where a repository is copied from."""

    def index(self, reference: str) -> bytes | None:
        """As `RepositoryBackend.index`."""
        ...

    def open(self, name: str, sha256: Digest, max_bytes: int) -> Path:
        """As `RepositoryBackend.open`."""
        ...


class Destination(Protocol):
    """Where a repository is copied to. `by_name`: one name has one content, whatever index asks for it."""

    by_name: bool

    def document(self, name: str) -> bytes | None:
        """What is there under a name and stays unless it is replaced. Raises TransportError."""
        ...

    def missing(self, states: Sequence[State]) -> tuple[Piece, ...]:
        """What is to be brought. Raises TransportError, ConfigError."""
        ...

    def add(self, piece: Piece, source: Path) -> int:
        """Takes a file in, which nobody sees before `publish`; the bytes moved. Raises IntegrityError, NoSpace."""
        ...

    def publish(self, states: Sequence[State], documents: Mapping[str, bytes]) -> bool:
        """Lets readers see the states, all of which were brought; the last is the newest. False if they did already.

        `documents` by name lead to the states, and show after them.
        """
        ...


def read_state(source: Source, reference: str, what: str) -> State | None:
    """What an index of the source leads to; None where there is no such index. Raises IntegrityError."""
    data = source.index(reference)
    if data is None:
        return None
    signature = source.index(reference + SIGNATURE_SUFFIX)  # at once, for somebody may be publishing
    index = parse_index(data, f"{what}: {reference}")
    found = {file.filename: Piece(file.filename, file.sha256, False) for _, file in index.files}
    meta = index.file("meta")
    assert meta is not None  # parse_index saw to it
    path = source.open(meta.filename, meta.sha256, MAX_META_BYTES)
    for package in packages_of(path, f"{what}: {meta.filename}"):
        if found.setdefault(package.name, package) != package:
            raise IntegrityError(f"{what}: {reference} promises two contents of {package.name}")
    reserved = {reference, reference + SIGNATURE_SUFFIX, INDEX_NAME}
    for name in found:
        if name in reserved or any(part.startswith(".") for part in name.split("/")):
            raise IntegrityError(f"{what}: {reference} names the file {name!r}, which is not its own")
    return State(reference, data, signature, tuple(found.values()))


def packages_of(meta: Path, what: str) -> tuple[Piece, ...]:
    """The archives that a meta names; the first of several entries of one name counts. Raises IntegrityError."""
    with meta.open("rb") as source:
        for entry, content in bounded(source, what, max_bytes=MAX_META_BYTES):
            if entry.kind == "f" and content is not None:
                found: dict[str, Piece] = {}
                for artifact in parse_meta(content.read(), what):
                    found.setdefault(artifact.path, Piece(artifact.path, artifact.sha256, True))
                return tuple(found.values())
    raise IntegrityError(f"{what} holds no repository.meta.yaml")


def copy_repository(
    source: Source, destination: Destination, references: Sequence[str], store: Store, events: EventSink,
    cancel: Cancel, *, what: str, documents: Documents = _none, force: bool = False,
) -> Copied:  # fmt: skip
    """Copies what the references lead to; the first is the newest and must be there. `documents` says what is to be
    copied with these references. `force`: also over what clients would not take it after.

    Raises SpecError (reason "no-repository"), IntegrityError, TransportError, ConfigError (also reasons "rolled-back",
    "other-repository"), NoSpace; the destination is what it was then.
    """
    states, left_out = _states(source, destination.by_name, references, what, events)
    for state in states:
        _need_growth(state, destination, what, events, force)
    wanted = destination.missing(states)
    events.emit(Started(_TASK, f"copying {what}", len(wanted), "files"))
    try:
        moved = _bring(source, destination, wanted, store, events, cancel)
        others = documents(frozenset(state.reference for state in states))
        changed = destination.publish(states, others)
    except BaseException:
        events.emit(Finished(_TASK, "failed"))
        raise
    events.emit(Finished(_TASK))
    packages = sum(piece.package for piece in wanted)
    done = tuple(state.reference for state in reversed(states))
    return Copied(done, left_out, len(wanted) - packages, packages, moved, changed, tuple(sorted(others)))


def _states(
    source: Source, by_name: bool, references: Sequence[str], what: str, events: EventSink
) -> tuple[list[State], tuple[str, ...]]:
    """The states to be copied, the newest last, and the references of those that cannot be."""
    states: list[State] = []
    left_out: list[str] = []
    taken: dict[str, Digest] = {}
    for reference in references:
        state = read_state(source, reference, what)
        if state is None:
            raise SpecError(
                f"there is no repository at {what}", hint=f"no {reference} was found there", reason="no-repository"
            )
        if by_name and any(taken.get(piece.name, piece.sha256) != piece.sha256 for piece in state.pieces):
            left_out.append(reference)
            message = f"{what}: {reference} names files that a newer index has with another content: it is left out"
            events.emit(Warned(message, hint="a registry can hold both"))
            continue
        taken |= {piece.name: piece.sha256 for piece in state.pieces}
        states.append(state)
    return states[::-1], tuple(left_out)


def _need_growth(state: State, destination: Destination, what: str, events: EventSink, force: bool) -> None:
    """Revisions only grow: whoever saw a newer one refuses an older. Raises ConfigError unless `force`."""
    present = destination.document(state.reference)
    if present is None or present == state.index:
        return
    if state.signature is None and destination.document(state.reference + SIGNATURE_SUFFIX) is not None:
        events.emit(
            Warned(
                f"{what}: {state.reference} is not signed, and that of the destination is: clients with keys refuse it"
            )
        )
    try:
        before = parse_index(present, state.reference)
    except IntegrityError:
        return  # nobody can have taken it
    after = parse_index(state.index, state.reference)
    if before.name != after.name:
        message, reason = f"is of the repository {after.name}, and the destination of {before.name}", "other-repository"
    elif after.revision < before.revision:
        message = f"is of revision {after.revision}, and the destination of revision {before.revision}"
        reason = "rolled-back"
    elif after.revision == before.revision:
        message, reason = f"is revision {after.revision}, and the destination another one of that number", "rolled-back"
    else:
        return
    message = f"{what}: {state.reference} {message}"
    if not force:
        raise ConfigError(
            message, hint="clients that saw it refuse what comes; --force copies all the same", reason=reason
        )
    events.emit(Warned(f"{message}: clients that saw it refuse what comes"))


def _bring(
    source: Source, destination: Destination, wanted: Sequence[Piece], store: Store, events: EventSink, cancel: Cancel
) -> int:
    """The bytes moved."""
    done: list[None] = []

    def bring(piece: Piece) -> int:
        cancel.check()
        known = store.has_blob(piece.sha256)
        path = source.open(piece.name, piece.sha256, MAX_PACKAGE_BYTES if piece.package else MAX_TREE_BYTES)
        if not known:  # for whoever cleans up: nothing else here made it
            store.index.set_notes("fetched", {piece.sha256.hex: b"1"})
        size = destination.add(piece, path)
        done.append(None)
        events.emit(Progressed(_TASK, len(done)))
        return size

    return sum(in_parallel(wanted, bring, _THREADS))


def show(state: State, present: Callable[[str], bytes | None], write: Callable[[str, bytes], None]) -> bool:
    """Writes index and signatures so that at each instant the pair fits, where nothing can be replaced at once.

    In between, the signatures are those of both indexes. False if nothing is to be written.
    """
    name = state.reference + SIGNATURE_SUFFIX
    before = present(name)
    if present(state.reference) == state.index:
        if state.signature is None or state.signature == before:
            return False
        write(name, state.signature)
        return True
    if state.signature is not None:
        if before is not None:
            lines = dict.fromkeys([*state.signature.split(b"\n"), *before.split(b"\n")])
            write(name, b"".join(line + b"\n" for line in lines if line))
        else:
            write(name, state.signature)
    write(state.reference, state.index)
    if state.signature is not None and before is not None:
        write(name, state.signature)
    return True
