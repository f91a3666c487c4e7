"""The fast path of a build with nothing to do: stats only (architecture, "Nothing to do costs nothing").

A finished build leaves a note under everything that could change its result: stats of the trees, the lock, the
options, our own code. While the note is there and the written packages are untouched, its report is the answer.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.oci.store import Store
from treebuilder.tree import tree_fingerprint

if TYPE_CHECKING:
    from treebuilder.app.options import BuildOptions

_KIND = "unchanged"
_KEPT = 64


def trees_key(options: BuildOptions, template_env: tuple[str, ...]) -> str:
    """The state of the trees, to be taken before they are read: what changes while a build runs is not in it."""
    env = {name: os.environ[name] for name in template_env if name in os.environ}
    return tree_fingerprint(
        options.roots, options.values, template_env=env, dockerfiles=options.dockerfiles, layering=options.layering
    )


def request_key(options: BuildOptions, fingerprint: str) -> str:
    """A digest of all that a build's result depends on; `fingerprint` is `trees_key`'s."""
    seen = hashlib.sha256(code_stamp().encode())
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    chosen = [
        [str(ref) for ref in options.targets], options.all, str(options.destination.absolute()), options.compression,
        options.only_target_package, options.nodeps, options.onlydeps, options.locked, epoch,
        options.full, options.revdeps, [*options.tree_deps],
    ]  # fmt: skip
    lock = options.lock_file.read_bytes() if options.lock_file.is_file() else b""
    for part in (fingerprint, json.dumps(chosen), hashlib.sha256(lock).hexdigest()):
        seen.update(part.encode() + b"\0")
    return seen.hexdigest()


@functools.cache
def code_stamp() -> str:
    """Changes with our own code, which the results depend on too."""
    stamps = []
    folders = [os.path.dirname(os.path.dirname(__file__))]
    for folder in folders:
        with os.scandir(folder) as found:
            for item in sorted(found, key=lambda item: item.name):
                if not item.is_dir():
                    info = item.stat()
                    stamps.append((item.name, info.st_size, info.st_mtime_ns))
                elif item.name != "__pycache__":
                    folders.append(item.path)
    return repr(stamps)


def recall(store: Store, key: str, destination: Path) -> dict[str, Any] | None:
    """The report of the build that left this note, if its packages are still as it wrote them."""
    noted = store.index.note(_KIND, key)
    if noted is None:
        return None
    value = json.loads(noted)
    for path, size, mtime, inode in value["files"]:
        try:
            info = os.stat(path)
        except OSError:
            return None
        if [info.st_size, info.st_mtime_ns, info.st_ino] != [size, mtime, inode]:
            return None
    if value["listing"] and value["listing"] != _listing(destination):
        return None
    report = value["report"]
    return report if isinstance(report, dict) else None


def remember(store: Store, key: str, report: dict[str, Any], watched: Path | None) -> None:
    """Leaves the note of a build in which nothing failed. `watched` is a destination that recipes retrieve from."""
    files = []
    for node in report["nodes"]:
        if node["artifact"]:
            path = os.path.abspath(node["artifact"]["path"])
            meta = path.rpartition(".package.tar")[0] + ".metadata.yaml"
            for name in (path, meta):
                info = os.stat(name)
                files.append([name, info.st_size, info.st_mtime_ns, info.st_ino])
    again = {
        **report,
        "nodes": [{**node, "state": "cached", "reason": "nothing changed", "seconds": 0.0} for node in report["nodes"]],
    }
    again["counts"] = dict.fromkeys(report["counts"], 0) | {"cached": len(report["nodes"])}
    value = {"files": files, "report": again, "listing": _listing(watched) if watched is not None else ""}
    notes = store.index.notes(_KIND)
    if len(notes) >= _KEPT:
        store.index.drop_notes(_KIND)
    store.index.set_notes(_KIND, {key: json.dumps(value).encode()})


def _listing(folder: Path) -> str:
    """A digest of the names and stats of a folder's files."""
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return "none"
    stats = [(path.name, info.st_size, info.st_mtime_ns, info.st_ino) for path in found for info in (path.lstat(),)]
    return hashlib.sha256(repr(stats).encode("utf-8", "surrogateescape")).hexdigest()
