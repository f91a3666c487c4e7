"""Platforms in the image specification's words, which are Go's."""

from __future__ import annotations

import os

from treebuilder.errors import ConfigError
from treebuilder.records import record


@record
class Platform:
    """`variant` is of the architecture, "" where it does not matter."""

    architecture: str
    os: str = "linux"
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")


def architecture() -> str:
    """This machine's."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def here() -> Platform:
    return Platform(architecture())


def parse_platform(text: str) -> Platform:
    """`OS/ARCH` or `OS/ARCH/VARIANT`, "" for this machine's. Raises ConfigError."""
    if not text:
        return here()
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise ConfigError(f"{text!r} is no platform", hint="OS/ARCH or OS/ARCH/VARIANT: linux/arm64, linux/arm/v7")
    return Platform(parts[1], parts[0], parts[2] if len(parts) == 3 else "")
