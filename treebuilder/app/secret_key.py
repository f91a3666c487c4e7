"""The key under which the values of secrets enter keys of results (`secrets:` of build.yaml).

Documents of keys are pushed with results. A plain hash of a password in them could be tried out by whoever reads them;
a keyed one cannot. Who has another key has other keys of results, so a team that shares a cache shares this key too.
"""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.app.workspace import Workspace
from treebuilder.errors import ConfigError
from treebuilder.system.files import disk_errors

if TYPE_CHECKING:
    from treebuilder.plan.graph import BuildPlan

_BYTES = 32
_LONGEST = 1 << 16


def secret_key(plan: BuildPlan, work: Workspace) -> bytes:
    """The key for a plan; empty where it has no secret. Made in the cache when none is configured.

    Raises ConfigError (reason "secret-key").
    """
    if not any(node.package.recipe.secrets for node in plan.nodes.values()):
        return b""
    named = work.settings.secret_key
    return _read(Path(named)) if named else _own(work.store.folder / "secret.key")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST).strip()
    except OSError as err:
        raise ConfigError(f"the secret key {path} cannot be read: {err.strerror}", reason="secret-key") from err
    if len(data) < _BYTES:
        raise ConfigError(
            f"the secret key {path} is shorter than {_BYTES} bytes", reason="secret-key",
            hint="openssl rand -hex 32 > FILE",
        )  # fmt: skip
    return data


def _own(path: Path) -> bytes:
    """A random key that only its owner reads; of two that make one at a time, one counts."""
    with disk_errors(f"writing {path}", path.parent):
        part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        if not path.exists():
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(fd, "w", encoding="ascii") as out:
                    out.write(os.urandom(_BYTES).hex())
                os.link(part, path)
            except FileExistsError:
                pass
            finally:
                part.unlink()
    return _read(path)
