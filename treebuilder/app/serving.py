"""The use cases *registry serve*, *registry gc* and *serve-repo*: a folder as an OCI registry, or as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.errors import ConfigError, LockHeld
from treebuilder.records import record
from treebuilder.serve.folder import Folder
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, Server, read_users, run
from treebuilder.serve.storage import Storage
from treebuilder.serve.tidying import Freed, Tidying, tidy
from treebuilder.serve.uploads import Uploads
from treebuilder.system import clock, locks
from treebuilder.system.process import Cancel


@record
class ServeOptions:
    folder: Path
    address: str
    certificate: Path | None = None
    key: Path | None = None
    users: Path | None = None


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `:PORT` or `PORT`; without a host only this machine is meant. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 1 << 16):
        raise ConfigError(f"{text!r} is no address", hint="HOST:PORT, for example 127.0.0.1:5000")
    return host.strip("[]") or "127.0.0.1", int(port)


def serve(options: ServeOptions, ready: Callable[[str], None], log: Callable[[str], None], cancel: Cancel) -> None:
    """Serves until `cancel` is set or the thread is interrupted. `ready` is told the address.

    Raises ConfigError, LockHeld (another process serves the folder), StateCorrupt.
    """
    host, port = parse_address(options.address)
    if options.certificate is None and options.key is not None:
        raise ConfigError("a key without a certificate", hint="name the certificate with --tls-cert")
    users = read_users(options.users) if options.users is not None else {}
    _refuse_foreign(options.folder)
    options.folder.mkdir(parents=True, exist_ok=True)
    with _storage(options.folder) as storage:
        registry = Registry(storage)
        server = Server(registry, Listening(host, port, options.certificate, options.key, users, log))
        with Tidying(storage, registry.uploads, log):
            run(server, ready, cancel)


def collect(folder: Path) -> Freed:
    """Deletes what nothing in a registry's folder needs, while nobody serves it.

    Raises ConfigError (there is no registry), LockHeld (it is being served), StateCorrupt.
    """
    if not (folder / "registry.sqlite").is_file():
        raise ConfigError(f"{folder} is no folder of a registry", hint="treebuild registry serve makes one")
    with _storage(folder) as storage:
        uploads = Uploads(storage.folder / "uploads")
        return tidy(storage, uploads, clock.now_epoch_s())


def _refuse_foreign(folder: Path) -> None:
    """Raises ConfigError for a folder with other things in it."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder")
    names = {path.name for path in folder.iterdir()} - {"lost+found"}
    if names and not names & {"oci-layout", "registry.sqlite", "registry.lock"}:
        raise ConfigError(
            f"{folder} is no folder of a registry, and not empty: nothing is written there",
            hint="name a new or empty folder, or an OCI layout",
        )


@contextmanager
def _storage(folder: Path) -> Iterator[Storage]:
    """A registry's folder, for this process alone. Raises LockHeld, StateCorrupt."""
    try:
        with locks.exclusive(folder / "registry.lock", f"the folder {folder}"):
            storage = Storage(folder)
            try:
                yield storage
            finally:
                storage.close()
    except LockHeld as err:
        raise LockHeld(str(err), hint="another registry serves this folder") from err


def serve_folder(
    folder: Path, host: str, port: int, ready: Callable[[str], None], log: Callable[[str], None], cancel: Cancel
) -> None:
    """Serves a folder to be read until `cancel` is set or the thread is interrupted. `ready` is told the address.

    Raises ConfigError.
    """
    run(Server(Folder(folder), Listening(host, port, log=log, headers={})), ready, cancel)
