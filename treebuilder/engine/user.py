"""`USER`: who runs a job's commands, looked up in the image as Docker does (Dockerfile reference, "USER").

Engines get numbers, so that no engine reads passwd in a way of its own. The native engine changes the user inside,
with the image's own setpriv or su, for nothing of the host can run there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from treebuilder.errors import BuildFailed
from treebuilder.oci.view import StackView
from treebuilder.records import record

# $1 uid, $2 gid, $3 groups or "-", $4 a name that su would make the same of, or "-"; then the command.
_BECOME = r"""u=$1 g=$2 s=$3 n=$4; shift 4
if setpriv --reuid 0 true 2>/dev/null; then
 if [ "$s" = - ]; then exec setpriv --reuid "$u" --regid "$g" --clear-groups -- "$@"; fi
 exec setpriv --reuid "$u" --regid "$g" --groups "$s" -- "$@"
fi
if [ "$n" = - ]; then echo "to become $u:$g the image needs setpriv (util-linux)"; exit 125; fi
exec su -m -s /bin/sh -c "exec \"\$@\"" -- "$n" sh "$@"
"""


@record
class Identity:
    """Numbers of a user; `groups` are the further ones, sorted. `name` is passwd's for just these, or ""."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def identity(wanted: str, view: StackView, task: str) -> Identity | None:
    """The user `NAME|UID[:GROUP|GID]` of an image; None for root. Raises BuildFailed for names it does not know."""
    name, _, group = wanted.partition(":")
    if name in ("", "root", "0") and group in ("", "root", "0"):
        return None
    row = next((r for r in _rows(view, "etc/passwd", 6) if name in (r[0], r[2])), None)
    if row is None and not _is_number(name or "0"):
        raise BuildFailed(f"{task}: there is no user {name!r} in the image's /etc/passwd", reason="no-user")
    uid, gid, home = (int(row[2]), int(row[3]), row[5]) if row is not None else (int(name or "0"), 0, "/")
    known = row[0] if row is not None else ""
    groups: tuple[int, ...] = ()
    rows = list(_rows(view, "etc/group", 4))
    if group:
        found = next((int(r[2]) for r in rows if group in (r[0], r[2])), int(group) if _is_number(group) else None)
        if found is None:
            raise BuildFailed(f"{task}: there is no group {group!r} in the image's /etc/group", reason="no-user")
        gid, known = found, ""
    elif known:
        groups = tuple(sorted({int(r[2]) for r in rows if known in r[3].split(",")} - {gid}))
    return Identity(known, uid, gid, groups, home or "/")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 1 << 31


def _rows(view: StackView, path: str, columns: int) -> Iterator[list[str]]:
    found = view.find(view.resolve(path))
    if found is None:
        return
    for line in Path(found.real).read_text(encoding="utf-8", errors="replace").splitlines():
        row = line.split(":")
        if len(row) >= columns and _is_number(row[2]) and (columns < 6 or _is_number(row[3])):
            yield row


def prefix(identity: Identity | None) -> tuple[str, ...]:
    """Words before a shell that make it run as this user, by programs of the image."""
    if identity is None:
        return ()
    groups = ",".join(str(group) for group in identity.groups) or "-"
    return ("/bin/sh", "-c", _BECOME, "become", str(identity.uid), str(identity.gid), groups, identity.name or "-")


def environment(identity: Identity | None) -> dict[str, str]:
    """HOME, where it is not root's."""
    return {} if identity is None else {"HOME": identity.home}
