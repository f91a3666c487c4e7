"""Disks and disks' labels that carry user data: NoCloud's cidata, OpenStack's config drive. Mounted read-only."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.cloudconfig.metadata import Instance, openstack_instance
from treebuilder.cloudconfig.root import Root
from treebuilder.errors import Place, TreebuildError
from treebuilder.nodes import Node, load
from treebuilder.system import process

_LIMIT_S = 30.0
_MAX_BYTES = 4 << 20


def cdrom() -> Instance:
    """A volume labelled cidata (ISO 9660 or vfat), or what lies in a CD drive: `user-data` or `config`, `meta-data`.

    Raises TreebuildError (reason "datasource") when no volume has them.
    """
    for device in (*_labelled("cidata"), *sorted(str(path) for path in Path("/dev").glob("sr[0-9]*"))):
        with _mounted(device) as folder:
            found = None if folder is None else no_cloud("cdrom", folder)
            if found is not None:
                return found
    raise TreebuildError("no CD and no volume labelled cidata has user-data", reason="datasource")


def config_drive() -> Instance:
    """A volume labelled config-2. Raises TreebuildError (reason "datasource")."""
    for device in _labelled("config-2"):
        with _mounted(device) as folder:
            if folder is None:
                continue
            about = _read(folder, "openstack/latest/meta_data.json")
            userdata = _read(folder, "openstack/latest/user_data")
            if about or userdata:
                return openstack_instance("config-drive", _json(about), userdata)
    raise TreebuildError("no volume labelled config-2 has openstack/latest", reason="datasource")


def no_cloud(provider: str, folder: Path) -> Instance | None:
    """The files of NoCloud in a folder; None where there are none."""
    userdata = _read(folder, "user-data") or _read(folder, "config")
    about = _read(folder, "meta-data")
    return from_seed(provider, userdata, about) if userdata or about else None


def from_seed(provider: str, userdata: bytes, about: bytes) -> Instance:
    """`meta-data` is YAML: local-hostname, public-keys (a list, or a map). Raises SpecError."""
    node = load(about.decode("utf-8", "replace"), "meta-data") if about.strip() else Node("nothing", Place(""), None)
    name = node.get("local-hostname") or node.get("hostname")
    keys = node.get("public-keys")
    items = () if keys is None else tuple(keys.value.values()) if keys.kind == "map" else keys.items("public-keys")
    texts = tuple(item.as_text("a key").strip() for item in items)
    return Instance(provider, userdata, "" if name is None else name.as_text("hostname"), texts)


def _labelled(label: str) -> list[str]:
    """Devices with a label in either case, read from the devices and not from a cache."""
    found: list[str] = []
    program = process.require("blkid", "to find a volume with user data")
    for each in (label, label.upper()):
        # 2: there is none
        done = process.run(
            [program, "-c", "/dev/null", "-t", f"LABEL={each}", "-o", "device"], check=False, timeout_s=_LIMIT_S
        )
        found += [line for line in done.stdout.decode("utf-8", "surrogateescape").split("\n") if line]
    return list(dict.fromkeys(found))


@contextmanager
def _mounted(device: str) -> Iterator[Path | None]:
    """The volume at a folder of its own; None where it cannot be mounted (an empty drive, no file system)."""
    with tempfile.TemporaryDirectory(prefix="cloud-config-") as folder:
        options = "ro,nosuid,nodev,noexec"
        mount = process.require("mount", "to read a volume with user data")
        if process.run([mount, "-o", options, device, folder], check=False, timeout_s=_LIMIT_S).status != 0:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            process.run([process.require("umount", "to read a volume with user data"), folder], timeout_s=_LIMIT_S)


def _read(folder: Path, name: str) -> bytes:
    """A file of a volume, whose links lead nowhere else. Raises TreebuildError for one that is too large."""
    path = Root(folder).locate(name)
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise TreebuildError(f"{name} is larger than {_MAX_BYTES >> 20} MiB", reason="datasource")
    return data


def _json(data: bytes) -> object:
    try:
        value: object = json.loads(data) if data else {}
    except (ValueError, RecursionError) as err:
        raise TreebuildError(f"meta_data.json is no JSON: {err}", reason="metadata") from err
    return value
