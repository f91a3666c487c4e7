"""`treebuild.lock`: the digests of everything a build takes from outside, and the epoch.

Written by the first build, used without network by later ones. JSON with sorted keys, one value a line, so that
a change of the lock is a readable diff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import Place, SpecError
from treebuilder.model.digest import Digest
from treebuilder.model.locked import LockedBase, LockedPackage
from treebuilder.model.package import Bootstrap
from treebuilder.records import field, record, replace
from treebuilder.tree.files import read_text

SCHEMA = 1
FIRST_EPOCH_S = 315_619_200  # 1980-01-02: the first day that FAT and zip can both say in every time zone


@record
class Lock:
    """`images` and `urls` by reference; `bootstraps` by `bootstrap_key`. `epoch_s` is 0 until it is known."""

    epoch_s: int = 0
    images: Mapping[str, Digest] = field(default_factory=dict)
    urls: Mapping[str, Digest] = field(default_factory=dict)
    bootstraps: Mapping[str, LockedBase] = field(default_factory=dict)

    def with_image(self, reference: str, digest: Digest) -> Lock:
        return replace(self, images={**self.images, reference: digest})

    def with_url(self, url: str, digest: Digest) -> Lock:
        return replace(self, urls={**self.urls, url: digest})

    def with_bootstrap(self, key: str, locked: LockedBase) -> Lock:
        return replace(self, bootstraps={**self.bootstraps, key: locked})

    def with_epoch(self, said_s: int | None) -> Lock:
        """With the time that was said, else its own, else the date of the newest bootstrap."""
        if said_s is None:
            said_s = self.epoch_s or max([FIRST_EPOCH_S, *(base.date_s for base in self.bootstraps.values())])
        return replace(self, epoch_s=said_s)

    def digest(self) -> Digest:
        return Digest.of(render(self))


def bootstrap_key(wish: Bootstrap) -> str:
    """Names a bootstrap by what it asks for."""
    names = [wish.distribution, wish.suite, wish.variant, wish.mirror, wish.architecture]
    asked = [names, [*wish.packages], [*wish.components]]
    short = Digest.of(json.dumps(asked).encode()).hex[:16]
    return f"{wish.distribution}/{wish.suite}/{wish.variant}/{short}"


def render(lock: Lock) -> bytes:
    value = {
        "schema": SCHEMA,
        "epoch": lock.epoch_s,
        "images": {ref: str(d) for ref, d in lock.images.items()},
        "urls": {url: str(d) for url, d in lock.urls.items()},
        "bootstraps": {
            key: {
                "asked": found.asked, "date": found.date_s,
                "packages": {
                    f"{f.name} {f.version} {f.architecture}":
                        {"sha256": f.sha256.hex, "size": f.size_bytes, "url": f.url}
                    for f in found.packages
                },
            }
            for key, found in lock.bootstraps.items()
        },
    }  # fmt: skip
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def parse(text: str, file: str) -> Lock:
    """Raises SpecError (reason "lock") for a lock that is not ours or was damaged."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise ValueError(f"schema {value.get('schema') if isinstance(value, dict) else value!r} is not known")
        return Lock(
            _epoch(value["epoch"]),
            {str(k): Digest.parse(v) for k, v in value["images"].items()},
            {str(k): Digest.parse(v) for k, v in value["urls"].items()},
            {str(k): _bootstrap(v) for k, v in value["bootstraps"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        said, line = (err.msg, err.lineno) if isinstance(err, json.JSONDecodeError) else (str(err), 0)
        raise SpecError(
            f"the lock cannot be read: {said}", where=Place(file, line),
            hint="treebuild lock --update writes it anew", reason="lock",
        ) from err  # fmt: skip


def _epoch(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 33:
        raise ValueError(f"the epoch {value!r} is no time")
    return value


def _bootstrap(value: dict[str, Any]) -> LockedBase:
    files = []
    for label, item in value["packages"].items():
        name, version, arch = label.split(" ")
        files.append(LockedPackage(name, version, arch, Digest.parse(item["sha256"]), item["url"], int(item["size"])))
    return LockedBase(tuple(sorted(files)), int(value["date"]), str(value["asked"]))


def read(path: Path) -> Lock:
    """The lock of a file; an empty one when there is none. Raises SpecError for what cannot be read."""
    try:
        text = read_text(str(path))
    except FileNotFoundError:
        return Lock()
    except SpecError as err:
        raise SpecError(f"the lock cannot be read: {err.message}", where=err.where, reason="lock") from err
    return parse(text, str(path))
