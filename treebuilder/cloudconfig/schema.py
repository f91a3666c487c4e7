"""The keys of a step, for warnings: yip ignores an unknown key, so a slip of the pen does nothing, silently.

`check` is also the linter's: it needs no machine. What types values have is known by who reads them alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from treebuilder.annotations import Final
from treebuilder.events import Warned
from treebuilder.nodes import Node

# A form is: None for anything, a dict of known keys for a map, a one-item list for a list, {"*": form} for any key.
Form = None | dict[str, "Form"] | list["Form"]

_FILE: Final[Form] = {
    "path": None, "content": None, "permissions": None, "owner": None, "group": None, "ownerstring": None,
    "encoding": None, "append": None,
}  # fmt: skip
_USER: Final[dict[str, Form]] = dict.fromkeys(
    ("name", "passwd", "gecos", "homedir", "no_create_home", "primary_group", "groups", "no_user_group", "system",
     "no_log_init", "shell", "lock_passwd", "uid", "ssh_authorized_keys")
)  # fmt: skip
_ENTITY: Final[Form] = [{"path": None, "entity": None}]

_OWNED: Final = ("path", "permissions", "owner", "group", "ownerstring")
_LAYOUT: Final[Form] = {
    "device": dict.fromkeys(("label", "path", "init_disk", "disk_name")), "expand_partition": {"size": None},
    "add_partitions": [dict.fromkeys(("fsLabel", "pLabel", "size", "filesystem", "bootable"))],
}  # fmt: skip
_GIT: Final[Form] = {
    **dict.fromkeys(("url", "path", "branch", "branch_only")),
    "auth": dict.fromkeys(("username", "password", "private_key", "public_key", "insecure")),
}  # fmt: skip

# What belongs to the image, with what to do instead.
UNSUPPORTED: Final = {
    "package_pins": "a version is said where the image is built: name: category/name, version: ...",
    "packages": "packages are part of the image; one for this machine alone: commands: [treebuild install ...]",
    "unpack_images": "commands: [treebuild util unpack IMAGE FOLDER]",
}  # fmt: skip
CONDITIONS: Final = (
    "if", "if_files", "node", "only_os", "only_os_version", "only_arch", "only_service_manager",
)  # fmt: skip

STEP: Final[dict[str, Form]] = {
    "name": None, "after": [{"name": None}],
    **dict.fromkeys(CONDITIONS), "if_files": {"any": None, "all": None, "none": None},
    "commands": None, "files": [_FILE], "hostname": None,
    "directories": [dict.fromkeys(_OWNED)], "downloads": [dict.fromkeys((*_OWNED, "url", "timeout"))], "git": _GIT,
    "layout": _LAYOUT, "datasource": dict.fromkeys(("providers", "path", "userdata_name")),
    "ensure_entities": _ENTITY, "delete_entities": _ENTITY, "users": {"*": _USER}, "authorized_keys": None,
    "dns": dict.fromkeys(("nameservers", "search", "options", "path")), "sysctl": None, "modules": None,
    "systemctl": {"enable": None, "disable": None, "mask": None, "start": None,
                  "overrides": [{"service": None, "name": None, "content": None}]},
    "environment": None, "environment_file": None, "timesyncd": None, "systemd_firstboot": None,
    **dict.fromkeys(UNSUPPORTED),
}  # fmt: skip

FILE: Final[dict[str, Form]] = {"name": None, "stages": {"*": [STEP]}}
CLASSIC: Final[dict[str, Form]] = {
    **FILE, "hostname": None, "ssh_authorized_keys": None, "runcmd": None, "growpart": {"mode": None, "devices": None},
    "users": [{**_USER, **dict.fromkeys(("sudo", "hashed_passwd", "plain_text_passwd"))}],
    "write_files": [dict.fromkeys(("path", "content", "permissions", "owner", "encoding", "append", "defer"))],
}  # fmt: skip
_CLASSIC_KEYS: Final = CLASSIC.keys() - FILE.keys()
_ELSEWHERE: Final = {
    "bootcmd": "commands of a step in stages.initramfs or stages.fs", "packages": UNSUPPORTED["packages"],
    "package_update": UNSUPPORTED["packages"], "package_upgrade": "treebuild device upgrade, or cos-upgrade",
    "apt": "sources are part of the image", "chpasswd": "users: [{name: NAME, passwd: HASH}]", "ntp":
    "timesyncd of a step", "timezone": "commands of a step: ln -sf /usr/share/zoneinfo/... /etc/localtime",
    "fs_setup": "layout of a step", "disk_setup": "layout of a step", "power_state":
    "commands of a step in stages.boot.after", "fqdn": "hostname", "manage_etc_hosts": "hostname does it",
}  # fmt: skip

_MEANT: Final = {
    "systemd": "systemctl", "permission": "permissions", "owner_string": "ownerstring", "ssh_authorized_keys":
    "authorized_keys", "write_files": "files", "runcmd": "commands", "env": "environment", "entities":
    "ensure_entities", "dir": "directories", "user": "users", "command": "commands", "file": "files",
}  # fmt: skip


def check(config: Node, *, classic: bool = False) -> tuple[Warned, ...]:
    """A warning for each key of a whole file that means nothing, with its place and what was probably meant.

    `classic` is for files that begin with `#cloud-config`.
    """
    return tuple(_check(config, CLASSIC if classic else FILE, ""))


def _check(node: Node, form: Form, path: str) -> Iterator[Warned]:
    if isinstance(form, list) and node.kind == "list":
        for item in node.items():
            yield from _check(item, form[0], path)
    elif isinstance(form, dict) and node.kind == "map":
        wild = form.get("*")
        known = {name.lower(): inner for name, inner in form.items()}
        dashes = form is CLASSIC or path == "users"  # cloud-init's keys were written so once
        for name, value in node.entries():
            here = f"{path}.{name}" if path else name
            folded = name.lower().replace("-", "_") if dashes else name.lower()
            if "*" in form:
                yield from _check(value, wild, here)
            elif folded in known:
                yield from _check(value, known[folded], here)
            elif form is CLASSIC and folded in _ELSEWHERE:
                hint = f"instead: {_ELSEWHERE[folded]}"
                yield Warned(f"{name} of cloud-init is not translated: it does nothing", value.place, hint)
            elif form is FILE and name.lower().replace("-", "_") in _CLASSIC_KEYS:
                hint = "begin the file with #cloud-config, or write stages"
                yield Warned(f"{name} is a key of cloud-init: it does nothing here", value.place, hint)
            else:
                yield Warned(f"unknown key {here}: it does nothing", value.place, _hint(name, form))


def _hint(name: str, form: dict[str, Form]) -> str | None:
    meant = _MEANT.get(name.lower())
    if meant not in form:
        import difflib  # takes 8 ms, and hardly any file has a fault

        close = difflib.get_close_matches(name.lower(), form, n=1, cutoff=0.7)
        meant = close[0] if close else None
    return f"did you mean {meant}?" if meant else None
