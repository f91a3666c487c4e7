"""The keys of a step, for warnings: yip ignores an unknown key, so a slip of the pen does nothing, silently.

`check` is also the linter's: it needs no machine.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from treebuilder.events import Warned
from treebuilder.nodes import Node

# A form is: None for anything, a dict of known keys for a map, a one-item list for a list, {"*": form} for any key.
Form = None | dict[str, "Form"] | list["Form"]

_FILE: Final[Form] = {
    "path": None, "content": None, "permissions": None, "owner": None, "group": None, "ownerstring": None,
    "encoding": None,
}  # fmt: skip
_USER: Final[Form] = dict.fromkeys(
    ("name", "passwd", "gecos", "homedir", "no_create_home", "primary_group", "groups", "no_user_group", "system",
     "no_log_init", "shell", "lock_passwd", "uid", "ssh_authorized_keys")
)  # fmt: skip
_ENTITY: Final[Form] = [{"path": None, "entity": None}]

UNSUPPORTED: Final = (
    "datasource", "downloads", "git", "layout", "package_pins", "packages", "unpack_images",
)  # fmt: skip
CONDITIONS: Final = (
    "if", "if_files", "node", "only_os", "only_os_version", "only_arch", "only_service_manager",
)  # fmt: skip

STEP: Final[dict[str, Form]] = {
    "name": None, "after": [{"name": None}],
    **dict.fromkeys(CONDITIONS), "if_files": {"any": None, "all": None, "none": None},
    "commands": None, "files": [_FILE], "hostname": None,
    "directories": [{"path": None, "permissions": None, "owner": None, "group": None}],
    "ensure_entities": _ENTITY, "delete_entities": _ENTITY, "users": {"*": _USER}, "authorized_keys": None,
    "dns": dict.fromkeys(("nameservers", "search", "options", "path")), "sysctl": None, "modules": None,
    "systemctl": {"enable": None, "disable": None, "mask": None, "start": None,
                  "overrides": [{"service": None, "name": None, "content": None}]},
    "environment": None, "environment_file": None, "timesyncd": None, "systemd_firstboot": None,
    **dict.fromkeys(UNSUPPORTED),
}  # fmt: skip

FILE: Final[dict[str, Form]] = {"name": None, "stages": {"*": [STEP]}}

_MEANT: Final = {
    "systemd": "systemctl", "permission": "permissions", "owner_string": "ownerstring", "ssh_authorized_keys":
    "authorized_keys", "write_files": "files", "runcmd": "commands", "env": "environment", "entities":
    "ensure_entities", "dir": "directories", "user": "users", "command": "commands", "file": "files",
}  # fmt: skip


def check(config: Node) -> tuple[Warned, ...]:
    """A warning for each key of a whole file that means nothing, with its place and what was probably meant."""
    return tuple(_check(config, FILE, ""))


def _check(node: Node, form: Form, path: str) -> Iterator[Warned]:
    if isinstance(form, list) and node.kind == "list":
        for item in node.items():
            yield from _check(item, form[0], path)
    elif isinstance(form, dict) and node.kind == "map":
        wild = form.get("*")
        known = {name.lower(): inner for name, inner in form.items()}
        for name, value in node.entries():
            here = f"{path}.{name}" if path else name
            if "*" in form:
                yield from _check(value, wild, here)
            elif name.lower() in known:
                yield from _check(value, known[name.lower()], here)
            else:
                yield Warned(f"unknown key {here}: it does nothing", value.place, _hint(name, form))


def _hint(name: str, form: dict[str, Form]) -> str | None:
    meant = _MEANT.get(name.lower())
    if meant not in form:
        close = difflib.get_close_matches(name.lower(), form, n=1, cutoff=0.7)
        meant = close[0] if close else None
    return f"did you mean {meant}?" if meant else None
