"""Mounts of our own: nothing we mount is seen outside, and all of it is gone when we end, however we end."""

from __future__ import annotations

import os
import pwd
import threading
from pathlib import Path

from treebuilder.container import syscalls
from treebuilder.errors import EngineUnavailable
from treebuilder.system.process import which

_INSIDE = "TREEBUILD_USER_NAMESPACE"
_lock = threading.Lock()
_entered = threading.Event()


def is_root() -> bool:
    return os.geteuid() == 0


def in_user_namespace() -> bool:
    """Whether we run as the root of a user namespace that we started ourselves."""
    return os.environ.get(_INSIDE) == str(os.getuid()) and is_root()


def why_not_unprivileged() -> str:
    """Empty if an ordinary user can get a user namespace with a range of ids, else what is missing."""
    user = pwd.getpwuid(os.getuid()).pw_name
    for file in ("/etc/subuid", "/etc/subgid"):
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        if not any(line.split(":")[0] in (user, str(os.getuid())) for line in lines):
            fix = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            return f"{file} gives {user} no range of ids (fix: {fix})"
    for program in ("newuidmap", "newgidmap"):
        if which(program) is None:
            return f"{program} is not installed (fix: apt-get install uidmap)"
    if which("unshare") is None:
        return "unshare is not installed (fix: apt-get install util-linux)"
    return ""


def reexec_words(argv: list[str]) -> list[str]:
    """The command that runs `argv` again as root of a new user namespace with the user's range of ids mapped.

    Raises EngineUnavailable with the fix when that is not possible.
    """
    missing = why_not_unprivileged()
    if missing:
        raise EngineUnavailable(
            f"without root, containers need a range of user ids: {missing}",
            hint="or run as root, or use --engine docker",
        )
    return [which("unshare") or "unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--", *argv]


def reexec_environment() -> dict[str, str]:
    return {**os.environ, _INSIDE: "0"}


def enter_private_mounts() -> None:
    """Must be called by the thread that starts all others. A second call does nothing.

    Raises EngineUnavailable when the kernel refuses.
    """
    with _lock:
        if _entered.is_set():
            return
        try:
            syscalls.unshare_mounts()
        except OSError as err:
            raise EngineUnavailable(
                f"not allowed to make a mount namespace: {err.strerror}", hint="run as root, or use --engine docker"
            ) from err
        _entered.set()
