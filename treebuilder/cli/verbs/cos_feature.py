"""`cos-feature list|enable|disable NAME...`: cloud-config that the image brings, turned on and off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli.session import Session
from treebuilder.errors import ConfigError

if TYPE_CHECKING:
    from treebuilder.cloudconfig.features import Feature
    from treebuilder.cloudconfig.root import Root

_CONFIG = "/etc/cos/config"


def run(words: Sequence[str], folder: Path, session: Session) -> int:
    """All names are tried; returns 1 when one of them could not be done. Raises ConfigError for wrong words."""
    from treebuilder.cloudconfig import features
    from treebuilder.cloudconfig.root import Root
    from treebuilder.events import Warned
    from treebuilder.ui import tables

    what, names = (words[0] if words else ""), words[1:]
    if what not in ("list", "enable", "disable") or (what == "list") == bool(names):
        raise ConfigError("cos-feature list, or cos-feature enable|disable NAME...", reason="usage")
    root = Root(folder)
    offered = _offered(root)
    said, failed = [], False
    for name in names:
        try:
            (features.enable if what == "enable" else features.disable)(root, name, offered)
            said.append(f"{name} {what}d")
        except ConfigError as err:
            session.events.emit(Warned(err.message, err.where, err.hint))
            failed = True
    session.close()
    found = features.features(root, offered)
    value = {
        "schema": "treebuild.device-feature/1",
        "features": [{"name": each.name, "present": each.present, "enabled": each.enabled} for each in found],
    }  # fmt: skip
    lines = said if names else [_line(each) for each in found] or [f"{offered} has none"]
    tables.write(value, session.output, "\n".join(lines))
    return 1 if failed else 0


def _line(feature: Feature) -> str:
    if not feature.enabled:
        return feature.name
    return f"{feature.name} (enabled)" if feature.present else f"{feature.name} (enabled, and not in this image)"


def _offered(root: Root) -> str:
    """The folder of features; COS_FEATURESDIR of the configuration names another."""
    from treebuilder.cloudconfig.features import OFFERED
    from treebuilder.device.cosfiles import parse_variables

    named = parse_variables(root.read_text(_CONFIG), _CONFIG).values.get("COS_FEATURESDIR", "")
    return named if named.startswith("/") else OFFERED
