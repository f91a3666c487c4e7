"""Cloud-config files that an installation is given for COS_OEM, looked at before the disk is touched."""

from __future__ import annotations

from pathlib import Path

from treebuilder.cloudconfig.classic import translated
from treebuilder.cloudconfig.config import Source, is_classic, parse
from treebuilder.cloudconfig.schema import check
from treebuilder.errors import ConfigError
from treebuilder.events import EventSink
from treebuilder.system.files import disk_errors

_MAX_FILES, _MAX_BYTES = 10, 1 << 20


def read(paths: tuple[Path, ...], events: EventSink) -> list[tuple[str, bytes]]:
    """Names on COS_OEM, and contents. One is 99_custom.yaml, several are 90_custom.yaml and so on, in order.

    Raises ConfigError, SpecError for what no boot could read (the page of a proxy, say): nobody could log in then.
    """
    if len(paths) > _MAX_FILES:
        raise ConfigError(f"no more than {_MAX_FILES} cloud-configs can be installed", reason="too-many-configs")
    found = []
    for number, path in enumerate(paths):
        name = "99_custom.yaml" if len(paths) == 1 else f"9{number}_custom.yaml"
        with disk_errors(f"reading {path}"), path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_BYTES >> 20} MiB", reason="bad-config")
        _check(str(path), data, events)
        found.append((name, data))
    return found


def _check(path: str, data: bytes, events: EventSink) -> None:
    try:
        source = Source(path, data.decode())
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is no cloud-config: it is no text", reason="bad-config") from err
    node, classic = parse(source).node, is_classic(source)
    for warning in check(node, classic=classic):
        events.emit(warning)
    if classic:
        translated(node)
