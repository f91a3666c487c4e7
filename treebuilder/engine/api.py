"""The engine's port: a `Job` of digests and texts, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from treebuilder.annotations import Protocol
from treebuilder.events import EventSink
from treebuilder.model.digest import Digest
from treebuilder.oci.seal import Sealed
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.system.process import Cancel


@record
class Job:
    """Commands to run on a stack of layers. Digests only: it round-trips through JSON and holds no host path.

    `layers` are content digests, bottom first, whose folders the store has. Each of `commands` runs as its own
    `shell… COMMAND` from `cwd`. `env` is the commands' environment, sorted. `step_timeout_s` limits each command.
    `hidden` are texts that no output shows: the values of secrets.
    """

    name: str
    layers: tuple[Digest, ...]
    commands: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    epoch_s: int
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    cwd: str = "/luetbuild"
    user: str = ""
    network: bool = True
    step_timeout_s: float | None = None
    hidden: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps({
            "name": self.name, "layers": [d.hex for d in self.layers], "commands": [*self.commands],
            "env": [[*pair] for pair in self.env], "epoch_s": self.epoch_s, "shell": [*self.shell], "cwd": self.cwd,
            "user": self.user, "network": self.network, "step_timeout_s": self.step_timeout_s,
            "hidden": [*self.hidden],
        }, sort_keys=True)  # fmt: skip

    @staticmethod
    def from_json(text: str) -> Job:
        v = json.loads(text)
        return Job(
            v["name"], tuple(Digest(h) for h in v["layers"]), tuple(v["commands"]),
            tuple((k, w) for k, w in v["env"]), v["epoch_s"], tuple(v["shell"]), v["cwd"], v["user"], v["network"],
            v["step_timeout_s"], tuple(v["hidden"]),
        )  # fmt: skip


@record
class Outcome:
    """The sealed layer of a job that succeeded; its folder is in the store."""

    layer: Sealed
    log: Path


@record
class Probe:
    """Whether an engine can work here: `usable`, and what it said either way."""

    name: str
    usable: bool
    said: str


def _nothing() -> bool:
    return False


@record
class RunOptions:
    """How to run, as far as it cannot change a result.

    `meanwhile` does something short while a container runs, and says whether there was anything.
    """

    log_folder: Path
    keep_failed: Path | None = None
    meanwhile: Callable[[], bool] = _nothing


class Engine(Protocol):
    """Runs jobs. `run` may be called from many threads at once."""

    name: str

    def probe(self) -> Probe: ...

    def run(self, job: Job, store: Store, options: RunOptions, events: EventSink, cancel: Cancel) -> Outcome:
        """Raises BuildFailed (reasons "step-failed", "step-timeout") with command, exit status, log and tail."""
        ...

    def close(self) -> None: ...
