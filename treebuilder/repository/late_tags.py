"""Tags of a registry that lead to something already: they move when all that is copied is there, and not before.

Who goes by tags (luet does) then reads the old repository until the moment at which its index moves too.
"""

from __future__ import annotations

from treebuilder.model.digest import Digest
from treebuilder.oci.remote import Repository
from treebuilder.system.pool import in_parallel

_THREADS = 4


class LateTags:
    """The tags of one copy or publication. May be used from many threads."""

    def __init__(self, place: Repository) -> None:
        self._place = place
        self._led: dict[str, Digest | None] = {}
        self._later: dict[str, tuple[bytes, str]] = {}

    @property
    def waiting(self) -> bool:
        """Whether there are tags to move."""
        return bool(self._later)

    def led(self, tag: str) -> Digest | None:
        """What a tag leads to; asked once."""
        if tag not in self._led:
            self._led[tag] = self._place.digest_of(tag)
        return self._led[tag]

    def is_new(self, tag: str) -> None:
        """Takes it that a tag leads to nothing, so that nobody asks."""
        self._led[tag] = None

    def there(self, tag: str, image: Digest) -> bool:
        """Whether an image is in the registry: its tag leads to it, or it was sent by a run that was cut off."""
        led = self.led(tag)
        return led == image or (led is not None and self._place.digest_of(str(image)) is not None)

    def put(self, tag: str, manifest: bytes, media: str, *, newest: bool = True, again: bool = False) -> None:
        """Stores an image, all of whose blobs are there. The tag leads to it in the end, if it is the `newest` that
        has this tag: a registry holds older ones by their digests. `again`: also where it leads there already."""
        image = Digest.of(manifest)
        led = self.led(tag)
        if led == image and newest and not again:
            return
        if led is None and newest:
            self._place.put_manifest(tag, manifest, media)
            return
        self._place.put_manifest(str(image), manifest, media)
        if newest:
            self._later[tag] = (manifest, media)

    def move(self, last: frozenset[str], *, only: bool = False) -> None:
        """Lets the tags lead to what was put; those of `last` in the end, or `only` those. Raises TransportError."""
        first = [] if only else [tag for tag in self._later if tag not in last]
        for tags in (first, [tag for tag in self._later if tag in last]):
            in_parallel(tags, lambda tag: self._place.put_manifest(tag, *self._later[tag]), _THREADS)
            for tag in tags:
                self._led[tag] = Digest.of(self._later.pop(tag)[0])
