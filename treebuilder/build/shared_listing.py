"""What records a registry has, by one list of its tags: most of what is asked for may not be there.

The first answers `not there` are asked for one by one; then the tags are listed, once, in a bounded number of parts and
seconds, for which nobody waits but who began it. A list says only what need not be asked for: what it names is fetched
like anything else, and may be gone. What is pushed after it is found where nobody goes by the list: a node is asked for
by its build key before it is built.
"""

from __future__ import annotations

import threading
from collections import Counter

from treebuilder.errors import IntegrityError, TransportError
from treebuilder.oci.remote import Repository

_ASKED = 8  # answers that cost as much as a list
_PARTS = 32


class Listings:
    """The lists of the registries of one run. For many threads."""

    def __init__(self) -> None:
        self._missed: Counter[object] = Counter()
        self._tags: dict[object, frozenset[str] | None] = {}
        self._lock = threading.Lock()

    def missed(self, repository: object) -> None:
        """Notes an answer `not there`."""
        with self._lock:
            self._missed[repository] += 1

    def lacks(self, repository: object, tag: str) -> bool:
        """Whether a repository had no such tag when it was listed; False where that is not known."""
        if not isinstance(repository, Repository):  # a folder is read once anyway
            return False
        with self._lock:
            ours = repository not in self._tags
            if ours:
                if self._missed[repository] < _ASKED:
                    return False
                self._tags[repository] = None  # others ask one by one meanwhile
            found = self._tags[repository]
        if ours:
            found = _listed(repository)
            with self._lock:
                self._tags[repository] = found
        return found is not None and tag not in found


def _listed(repository: Repository) -> frozenset[str] | None:
    """None where a list is too long, or not to be had: some registries have none, or keep it from who may read.

    One without a tag may be such a registry's way to say so.
    """
    try:
        return frozenset(repository.tags(parts=_PARTS, brief=True)) or None
    except (TransportError, IntegrityError):
        return None
