"""Features: cloud-config files of the image that an owner turns on, by links in /oem/features (facts, §5.4).

A link says where it leads from its own folder, so that it is right wherever the root is mounted. Absolute links, as cOS
makes them, count too.
"""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.cloudconfig.root import Root
from treebuilder.errors import ConfigError
from treebuilder.records import record
from treebuilder.system.files import disk_errors

OFFERED = "/system/features"
ENABLED = "/oem/features"


@record(order=True)
class Feature:
    """`present`: the image has it. One that is enabled and not present does nothing."""

    name: str
    present: bool
    enabled: bool


def features(root: Root, offered: str = OFFERED) -> tuple[Feature, ...]:
    """What the image offers and what is turned on, by name."""
    present, enabled = _names(root, offered), _names(root, ENABLED)
    return tuple(Feature(name, name in present, name in enabled) for name in sorted(present | enabled))


def enable(root: Root, name: str, offered: str = OFFERED) -> None:
    """Raises ConfigError (feature-missing, feature-enabled)."""
    found = _find(root, name, offered)
    if not found.present:
        raise ConfigError(
            f"Feature {name} not present", reason="feature-missing", hint=f"{offered} of this image has it not"
        )
    if found.enabled:
        raise ConfigError(f"Feature {name} already enabled", reason="feature-enabled")
    folder = root.make_folders(ENABLED)
    with disk_errors(f"enabling {name}"):
        (folder / f"{name}.yaml").symlink_to(f"{os.path.relpath(offered, ENABLED)}/{name}.yaml")


def disable(root: Root, name: str, offered: str = OFFERED) -> None:
    """Also one that the image has no more. Raises ConfigError (feature-missing, feature-disabled)."""
    found = _find(root, name, offered)
    if not found.enabled:
        reason, said = ("feature-disabled", "enabled") if found.present else ("feature-missing", "present")
        raise ConfigError(f"Feature {name} not {said}", reason=reason)
    with disk_errors(f"disabling {name}"):
        (root.locate(ENABLED) / f"{name}.yaml").unlink()


def _find(root: Root, name: str, offered: str) -> Feature:
    return next((each for each in features(root, offered) if each.name == name), Feature(name, False, False))


def _names(root: Root, inside: str) -> set[str]:
    """Files and links, also those that lead nowhere."""
    folder = root.locate(inside)
    names = os.listdir(folder) if folder.is_dir() else []
    return {Path(name).stem for name in names if name.endswith(".yaml") and not name.startswith(".")}
