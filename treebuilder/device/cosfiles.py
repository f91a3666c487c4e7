"""cOS's files of variables, read as data and never run: /etc/cos-upgrade-image, /etc/cos/config, and their company.

Later files win, the environment wins over files, and flags over all. From files that everybody fills, only names that
are known count; in cOS's own files an unknown name is warned of.
Source: os-and-ota facts 5.1, issue 797 (`IMAGE=` in os-release).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from treebuilder.errors import Place
from treebuilder.events import Warned
from treebuilder.records import record

SHARED_FILES = ("/etc/environment", "/etc/os-release")
OWN_FILES = ("/etc/cos/config", "/etc/cos-upgrade-image")
CHANNEL = "CHANNEL"  # ours alone: the channel that this device follows
_KNOWN = frozenset({
    "UPGRADE_IMAGE", "CHANNEL_UPGRADES", "RECOVERY_IMAGE", "NO_VERIFY", "GRUB_ENTRY_NAME", CHANNEL,
    "COS_FEATURESDIR",  # for cos-feature
})  # fmt: skip
_PASSED_OVER = frozenset({  # of cOS; no image of ours has a size or a label of its own, and cosign has its own keys
    "VERIFY",  # turns off the mtree of cOS, and signatures are something else: the sample derivatives have it false
    "CLOUD_INIT_PATHS", "COSIGN_REPOSITORY", "COSIGN_EXPERIMENTAL", "COSIGN_PUBLIC_KEY_LOCATION",
    "DEFAULT_IMAGE_SIZE", "GRUBCONF", "OEM_LABEL", "PERSISTENT_LABEL", "RECOVERY_LABEL", "STATE_LABEL", "ACTIVE_LABEL",
    "PASSIVE_LABEL", "SYSTEM_LABEL", "ARCH",
})  # fmt: skip
_MAX_BYTES = 1 << 16
_EXPORT = re.compile(r"\s*export\s+")
_FALSE = ("false", "0", "no", "off", "n", "f")


@record
class Variables:
    """What a file sets, and what is wrong with it."""

    values: Mapping[str, str]
    warnings: tuple[Warned, ...] = ()


@record
class CosSettings:
    """What counts of all files and the environment.

    `channel_upgrades`: without more, an upgrade is the newest package of the repositories. `verify`: signatures count.
    """

    upgrade_image: str = ""
    channel_upgrades: bool = True
    recovery_image: str = ""
    verify: bool = True
    grub_entry_name: str = ""
    channel: str = ""


def parse_variables(text: str, file: str) -> Variables:
    """`NAME=value` a line, values quoted as in os-release(5). What a shell would have to run is passed over."""
    values: dict[str, str] = {}
    warnings = []
    for number, line in enumerate(text.split("\n"), 1):  # and at nothing else: a value may hold U+2028
        words = _EXPORT.sub("", _uncommented(line)).strip()
        if not words:
            continue
        name, sign, value = words.partition("=")
        reason = ""
        if not sign or not name.isidentifier() or not name.isascii():
            reason = "is no NAME=value"
        elif any(mark in value for mark in ("$(", "`", "${")):
            reason = f"sets {name} by a command; files are read, and not run"
        else:
            try:
                values[name] = " ".join(shlex.split(value))
            except ValueError as err:
                reason = f"cannot be read: {err}"
        if reason:
            warnings.append(Warned(f"this line {reason}", Place(file, number)))
    return Variables(values, tuple(warnings))


def _uncommented(line: str) -> str:
    """The line without its comment: a `#` that begins a word, as a shell and os-release(5) have it."""
    quote, escaped, begins = "", False, True
    for at, char in enumerate(line):
        begun, begins = begins, char.isspace() and not escaped
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and begun:
            return line[:at]
    return line


def load(root: Path, environment: Mapping[str, str]) -> tuple[CosSettings, tuple[Warned, ...]]:
    """What counts on the system in `root`, and what was passed over."""
    values: dict[str, str] = {}
    warnings: list[Warned] = []
    for name in (*SHARED_FILES, *OWN_FILES):
        path = root / name.lstrip("/")
        try:
            with path.open("rb") as source:
                text = source.read(_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        found = parse_variables(text, str(path))
        values |= {key: value for key, value in found.values.items() if key in _KNOWN}
        if name in OWN_FILES:
            strange = sorted(found.values.keys() - _KNOWN - _PASSED_OVER)
            warnings += [*found.warnings, *(Warned(f"nobody knows {key}", Place(str(path))) for key in strange)]
    values |= {key: environment[key] for key in sorted(_KNOWN & environment.keys() - {CHANNEL})}
    return _settled(values), tuple(warnings)


def _settled(values: Mapping[str, str]) -> CosSettings:
    def true(name: str, default: bool) -> bool:
        text = values.get(name, "").strip().lower()
        return default if not text else text not in _FALSE

    return CosSettings(
        values.get("UPGRADE_IMAGE", ""), true("CHANNEL_UPGRADES", True), values.get("RECOVERY_IMAGE", ""),
        not true("NO_VERIFY", False), values.get("GRUB_ENTRY_NAME", ""),
        values.get(CHANNEL, ""),
    )  # fmt: skip
