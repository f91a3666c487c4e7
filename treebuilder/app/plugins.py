"""luet's event bus (luet.md §7.9): programs that are told what happens to packages.

A plugin is a program of PATH. It gets the event's name and one JSON document as arguments, and prints
`{"state": "", "data": "", "error": ""}`; an error ends the command.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.client.api import Change, Planned, Record
from treebuilder.errors import Cancelled, ConfigError, TreebuildError
from treebuilder.events import EventSink, Said, Warned
from treebuilder.model.package import Package, PackageRef
from treebuilder.records import record, replace
from treebuilder.system.process import Cancel, run, which

if TYPE_CHECKING:
    from treebuilder.client.install import Manner

_LONGEST_ARGUMENT = 8192
_TIMEOUT_S = 600.0


class PluginFailed(TreebuildError):
    """A plugin said that something is wrong, or nothing that can be understood."""

    reason = "plugin"


@record
class Plugins:
    """`names` are programs of PATH, or paths."""

    names: tuple[str, ...]
    events: EventSink
    cancel: Cancel

    def check(self) -> None:
        """Raises ConfigError (reason "plugin") for one that is not there: before anything is done."""
        for name in self.names:
            _place(name)

    def after(self, change: Change, *, upgrade: bool) -> None:
        """What was removed and installed, package by package, and the end of an upgrade."""
        for found in change.remove:
            self.tell("package.uninstall", package(found.package))
        for item in change.add:
            self.tell("package.install", _installed(item))
        if upgrade:
            self.tell("package.post.upgrade", _upgrade(change))

    def tell(self, event: str, payload: object) -> None:
        """Every plugin in turn. May be called by many threads. Raises PluginFailed, ToolFailed."""
        data = json.dumps(payload)
        with tempfile.TemporaryDirectory(prefix="treebuild-event-") as folder:
            file = ""
            if len(data) > _LONGEST_ARGUMENT:
                path = Path(folder, "data")
                path.write_text(data)
                data, file = "", str(path)
            document = json.dumps({"name": event, "data": data, "file": file})
            for name in self.names:
                self._ask(name, event, document)

    def _ask(self, name: str, event: str, document: str) -> None:
        # In the environment that we have, as luet's: who signs takes its key and its password from there.
        done = run([_place(name), event, document], env=os.environ, timeout_s=_TIMEOUT_S, cancel=self.cancel)
        try:
            answer = json.loads(done.stdout)
            error, state = str(answer.get("error") or ""), str(answer.get("state") or "")
        except (ValueError, AttributeError, RecursionError) as err:
            raise PluginFailed(f"the plugin {name} answered {done.stdout[:100]!r} to {event}, and no JSON") from err
        if error:
            raise PluginFailed(f"the plugin {name} failed at {event}: {error}")
        if state:
            self.events.emit(Said(f"plugin {name}: {state}"))


class ToldChange:
    """One change of a root, and what plugins are told of it."""

    def __init__(self, plugins: Plugins, *, upgrade: bool) -> None:
        self._plugins, self._upgrade = plugins, upgrade
        self._begun: Change | None = None

    def manner(self, manner: Manner) -> Manner:
        """The manner in which plugins are told too."""

        def confirm(change: Change) -> bool:
            if manner.confirm is not None and not manner.confirm(change):
                return False
            if self._upgrade:
                self._plugins.tell("package.pre.upgrade", _upgrade(change))
                self._begun = change
            return True

        def applied(change: Change) -> None:
            self._begun = None
            self._plugins.after(change, upgrade=self._upgrade)

        return replace(manner, confirm=confirm, applied=applied)

    def failed(self, error: TreebuildError) -> None:
        """The end of an upgrade that was begun, and changed nothing."""
        if self._begun is not None and not isinstance(error, Cancelled):
            try:
                self._plugins.tell("package.post.upgrade", _upgrade(self._begun) | {"Error": error.message})
            except TreebuildError as err:  # what it was about counts for more
                self._plugins.events.emit(Warned(err.message))


def _place(name: str) -> str:
    path = name if "/" in name else which(name)
    if path is None:
        raise ConfigError(f"the plugin {name} is not in PATH", reason="plugin")
    return path


def package(found: Package) -> dict[str, Any]:
    """Under luet's JSON names."""
    id = found.id
    value: dict[str, Any] = {
        "id": 0, "name": id.name, "version": id.version, "category": id.category, "requires": _refs(found.requires),
        "conflicts": _refs(found.conflicts), "provides": _refs(found.provides), "hidden": found.hidden,
        "annotations": dict(found.annotations), "labels": dict(found.labels), "description": found.description,
        "license": found.license, "uri": list(found.uri), "use_flags": list(found.use_flags),
    }  # fmt: skip
    return value


def _refs(refs: Sequence[PackageRef]) -> list[dict[str, str]]:
    return [{"name": ref.name, "version": ref.version, "category": ref.category} for ref in refs]


def _installed(item: Planned) -> dict[str, Any]:
    artifact = {
        "path": item.artifact.path, "checksums": {"sha256": item.artifact.sha256.hex},
        "compressiontype": item.artifact.compression, "files": list(item.artifact.files),
    }  # fmt: skip
    repository = {"name": item.repository.source.name, "urls": list(item.repository.source.urls)}
    return {"Package": package(item.package), "Artifact": artifact, "Repository": repository}


def _upgrade(change: Change) -> dict[str, Any]:
    gone: tuple[Record, ...] = change.remove
    return {
        "Uninstall": [package(found.package) for found in gone],
        "Install": [package(item.package) for item in change.add],
    }
