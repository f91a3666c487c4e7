"""What a device remembers between two commands and two boots, on its state partition.

`memory.json` is the journal that counts: the plan and how far it is, versions that failed, and which boot this is; it
is replaced whole before or after each step, as the rules say. `history.jsonl` is for people: a line for each step. A
line that a power cut tore is passed over.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.device.states import Failure, Image, Memory, Plan, Purpose, Slot, Stage
from treebuilder.errors import StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.records import record
from treebuilder.system import clock
from treebuilder.system.files import disk_errors, write_atomic

SCHEMA = "treebuild.device-memory/1"
MAX_BYTES = 256 << 10
MAX_HISTORY_BYTES = 1 << 20


@record
class Boot:
    """The boot that was settled: its id (the kernel's), and what was booted from where."""

    id: str
    slot: Slot
    image: Image | None


@record
class Entry:
    """One line of the history."""

    at_epoch_s: int
    what: str


class Journal:
    """The memory and the history in a folder that is there."""

    def __init__(self, folder: Path, name: str = "memory.json") -> None:
        self._memory = folder / name
        self._history = folder / "history.jsonl"

    def read(self) -> tuple[Memory, Boot | None]:
        """Nothing remembered where there is no file. Raises StateCorrupt (reason "bad-memory")."""
        with disk_errors(f"reading {self._memory}"):
            try:
                with self._memory.open("rb") as source:
                    data = source.read(MAX_BYTES + 1)
            except FileNotFoundError:
                return Memory(), None
        try:
            if len(data) > MAX_BYTES:
                raise ValueError("it is too long")
            return _read(json.loads(data))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as err:
            raise StateCorrupt(
                f"{self._memory} cannot be read: {err}", reason="bad-memory",
                hint="when it is deleted, what was planned and which versions failed is forgotten",
            ) from err  # fmt: skip

    def write(self, memory: Memory, boot: Boot | None) -> None:
        """Replaces what is remembered, at once. Raises NoSpace, TreebuildError."""
        booted = None if boot is None else {"id": boot.id, "slot": boot.slot.value, "image": _image_json(boot.image)}
        value = {
            "schema": SCHEMA, "plan": None if memory.plan is None else _plan_json(memory.plan),
            "failed": [{"version": f.version, "digest": f.digest.hex, "why": f.why} for f in memory.failed],
            "boot": booted,
        }  # fmt: skip
        write_atomic(self._memory, (json.dumps(value, indent=1) + "\n").encode())

    def add(self, what: str) -> None:
        """A line of history; when there is too much the older half goes. Raises NoSpace, TreebuildError."""
        line = json.dumps({"at": clock.now_epoch_s(), "what": what}).encode() + b"\n"
        with disk_errors(f"writing {self._history}", self._history.parent):
            if self._history.exists() and self._history.stat().st_size > MAX_HISTORY_BYTES:
                lines = self._history.read_bytes().splitlines(keepends=True)
                write_atomic(self._history, b"".join(lines[len(lines) // 2 :]))
            with self._history.open("ab") as out:
                if out.tell() and not self._ends_a_line():
                    line = b"\n" + line
                out.write(line)
                out.flush()
                os.fsync(out.fileno())

    def history(self) -> tuple[Entry, ...]:
        """Oldest first."""
        found = []
        for line in self._history.read_bytes().splitlines() if self._history.exists() else ():
            try:
                value = json.loads(line)
                found.append(Entry(int(value["at"]), str(value["what"])))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                continue
        return tuple(found)

    def _ends_a_line(self) -> bool:
        with self._history.open("rb") as source:
            source.seek(-1, os.SEEK_END)
            return source.read(1) == b"\n"


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "purpose": plan.purpose.value, "image": _image_json(plan.image), "stage": plan.stage.value, "go": plan.go,
        "automatic": plan.automatic,
    }  # fmt: skip


def _image_json(image: Image | None) -> dict[str, str] | None:
    return None if image is None else {"version": image.version, "digest": image.digest.hex}


def _read(value: Any) -> tuple[Memory, Boot | None]:  # noqa: ANN401 - straight from JSON
    if value["schema"] != SCHEMA:
        raise ValueError("another version of treebuild wrote it")
    failed = tuple(Failure(str(f["version"]), Digest(f["digest"]), str(f["why"])) for f in value["failed"])
    plan, boot = value["plan"], value["boot"]
    return (
        Memory(None if plan is None else _plan(plan), failed),
        None if boot is None else Boot(str(boot["id"]), Slot(boot["slot"]), _image(boot["image"])),
    )


def _plan(value: Any) -> Plan:  # noqa: ANN401 - straight from JSON
    image = _image(value["image"])
    if image is None:
        raise ValueError("a plan without an image")
    return Plan(Purpose(value["purpose"]), image, Stage(value["stage"]), bool(value["go"]), bool(value["automatic"]))


def _image(value: Any) -> Image | None:  # noqa: ANN401 - straight from JSON
    return None if value is None else Image(str(value["version"]), Digest(value["digest"]))
