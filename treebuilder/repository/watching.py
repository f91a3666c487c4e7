"""Who is told which images of a registry are fetched and sent."""

from __future__ import annotations

from treebuilder.annotations import Protocol


class ImageWatcher(Protocol):
    """Is told references, `HOST/NAME:TAG`, by the threads that do the work, and waited for.

    A TreebuildError that it raises ends the work.
    """

    def fetching(self, image: str) -> None: ...

    def fetched(self, image: str) -> None: ...

    def sending(self, image: str) -> None:
        """Of those that have to be there in the end: one that turns out to be there is not sent."""

    def sent(self, image: str) -> None:
        """It is there, and so is all that is sent with it."""
