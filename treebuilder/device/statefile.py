"""state.yaml on COS_STATE and COS_RECOVERY: which image each slot holds, where it came from, as elemental writes it.

For people, and for tools that know elemental's; nothing is decided by it. Of images that stay, the origin is taken over
from the last file. An image's `version` and `digest`, and the part `planned`, are ours; labels of images are left out,
for our slots are links and their images have none.
Source: os-and-ota facts 4.2 (the keys) and 5.6 (when it is written).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.device import places
from treebuilder.device.imagefile import file_system
from treebuilder.device.slots import Origin, Slots
from treebuilder.device.states import Device, Image, Purpose, Slot
from treebuilder.errors import SpecError
from treebuilder.model.digest import Digest
from treebuilder.system import clock
from treebuilder.system.files import disk_errors, write_atomic

NAME = "state.yaml"
MAX_BYTES = 64 << 10
_HEAD = b"# Written by treebuild device; changes are lost with the next one.\n"
_Value = dict[str, Any]


class StateFile:
    """The file on two partitions, which are mounted at `state` and `recovery` (None: not on that one)."""

    def __init__(self, state: Path, recovery: Path | None) -> None:
        self._files = [folder / NAME for folder in (state, recovery) if folder is not None]
        self._slots = Slots(state, recovery)

    def write(self, device: Device, origins: Mapping[Digest, Origin], *, efi: bool = False) -> None:
        """Replaces the file where it would say something else. `origins` are those that are new.

        `efi`: there is a partition for EFI; one that was said stays said. Raises NoSpace, TreebuildError.
        """
        old = self._read()
        known = {**dict(_origins(old)), **{digest: origin for digest, origin in origins.items() if origin.uri}}
        state: _Value = {"label": places.STATE}
        for slot in (Slot.ACTIVE, Slot.PASSIVE):
            state |= self._slot(device, slot, known)
        value: _Value = {
            "state": state,
            "recovery": {"label": places.RECOVERY} | self._slot(device, Slot.RECOVERY, known),
            "oem": {"label": places.OEM},
            "persistent": {"label": places.PERSISTENT},
        }
        if efi or "efi" in old:
            value["efi"] = {"label": places.GRUB}
        plan = device.memory.plan
        if plan is not None:
            label = places.RECOVERY if plan.purpose is Purpose.RECOVERY else places.STATE
            value["planned"] = {"label": label, plan.purpose.value: _image(plan.image, known, "")}
        for path in self._files:
            if _load(path) != value:
                write_atomic(
                    path, _HEAD + _written({"date": clock.utc(clock.now_epoch_s(), "%Y-%m-%dT%H:%M:%SZ"), **value})
                )

    def _slot(self, device: Device, slot: Slot, known: Mapping[Digest, Origin]) -> _Value:
        image = device.slot(slot)
        return {} if image is None else {slot.value: _image(image, known, file_system(self._slots.link(slot)))}

    def _read(self) -> _Value:
        return next(filter(None, map(_load, self._files)), {})


def _image(image: Image, known: Mapping[Digest, Origin], fs: str) -> _Value:
    origin = known.get(image.digest, Origin())
    value: _Value = {"source": origin.uri}
    if origin.metadata:
        value["source-metadata"] = dict(origin.metadata)
    if fs:
        value["fs"] = fs
    return value | {"version": image.version, "digest": str(image.digest)}


def _written(value: _Value) -> bytes:
    from treebuilder.nodes.writing import write_yaml

    return write_yaml(value, indent=2)


def _load(path: Path) -> _Value:
    """What the file says but its date; nothing where it is not there, or somebody else's."""
    from treebuilder.nodes.loading import load

    with disk_errors(f"reading {path}"):
        try:
            with path.open("rb") as source:
                data = source.read(MAX_BYTES)
        except FileNotFoundError:
            return {}
    try:
        value = load(data.decode(), str(path)).plain()
    except (SpecError, UnicodeDecodeError):
        return {}
    if not isinstance(value, dict):
        return {}
    value.pop("date", None)
    return value


def _origins(value: _Value) -> Iterator[tuple[Digest, Origin]]:
    for part in value.values():
        for image in part.values() if isinstance(part, dict) else ():
            if not isinstance(image, dict):
                continue
            try:
                digest = Digest(str(image.get("digest", "")).removeprefix("sha256:"))
            except ValueError:
                continue
            metadata = image.get("source-metadata")
            pairs = metadata.items() if isinstance(metadata, dict) else ()
            found = tuple((str(key), item) for key, item in pairs if isinstance(item, (str, int)))
            if image.get("source"):
                yield digest, Origin(str(image["source"]), found)
