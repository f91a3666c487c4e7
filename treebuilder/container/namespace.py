"""Mounts of our own: nothing we mount is seen outside, and all of it is gone when we end, however we end."""

from __future__ import annotations

import functools
import os
import pwd
import threading
from pathlib import Path

from treebuilder.container import syscalls
from treebuilder.errors import EngineUnavailable, ToolFailed
from treebuilder.system.process import PACKAGES, run, which

_WHOLE_MAP = ["0", "0", "4294967295"]
_IDS = 65536  # what images expect: 0 to 65535, nobody included
_RANGE = f"100000-{100000 + _IDS - 1}"
_lock = threading.Lock()
_entered = threading.Event()


@functools.cache
def in_user_namespace() -> bool:
    """Whether ids here are not the machine's own: we started ourselves again, or somebody's container is around us.

    Source: user_namespaces(7): the initial namespace maps all ids to themselves.
    """
    try:
        return Path("/proc/self/uid_map").read_text(encoding="ascii").split() != _WHOLE_MAP
    except OSError:
        return False


def ids_are_mapped() -> bool:
    """Whether layers of this user hold mapped owners: always so without root, before and after the new start."""
    return os.geteuid() != 0 or in_user_namespace()


def why_not_unprivileged() -> str:
    """Empty if an ordinary user can get a user namespace with a range of ids, else what is missing, with the fix."""
    user = _user_name()
    for kind in ("subuid", "subgid"):
        given = _ids_given(Path(f"/etc/{kind}"), user)
        if given < _IDS:
            what = f"gives {user} only {given} ids" if given else f"gives {user} no range of ids"
            return f"/etc/{kind} {what} (fix: usermod --add-{kind}s {_RANGE} {user})"
    for program in ("newuidmap", "newgidmap", "unshare"):
        if which(program) is None:
            return f"{program} is not installed (fix: apt-get install {PACKAGES[program]})"
    return ""


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _ids_given(file: Path, user: str) -> int:
    """The length of the longest range that subuid(5) gives this user."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    rows = [line.split(":") for line in lines]
    lengths = [int(r[2]) for r in rows if len(r) == 3 and r[0] in (user, str(os.getuid())) and r[2].strip().isdigit()]
    return max(lengths, default=0)


def reexec_words(argv: list[str]) -> list[str]:
    """The command that runs `argv` again as root of a new user namespace with the user's range of ids mapped.

    Raises EngineUnavailable with the fix when that is not possible.
    """
    missing = why_not_unprivileged()
    if missing:
        raise EngineUnavailable(
            f"without root, files of several owners need a range of user ids: {missing}", hint="or run as root"
        )
    words = [which("unshare") or "unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--"]
    try:
        run([*words, "true"], timeout_s=20)
    except ToolFailed as err:
        said = "; ".join(err.tail) or err.message
        raise EngineUnavailable(
            f"this machine refuses a user namespace: {said}",
            hint="run as root, or look at the sysctls user.max_user_namespaces and "
            "kernel.apparmor_restrict_unprivileged_userns",
        ) from err
    return [*words, *argv]


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
