"""Bases made from a distribution's packages: resolve to exact packages (lock), then install just those."""

from __future__ import annotations

from treebuilder.engine.bootstrap.api import Bootstrapper
from treebuilder.errors import SpecError
from treebuilder.model.package import Bootstrap

__all__ = ["Bootstrapper", "bootstrapper_for"]


def bootstrapper_for(wish: Bootstrap) -> Bootstrapper:
    """The distribution's own file in this folder. Raises SpecError for one we cannot bootstrap yet."""
    if wish.distribution == "debian":
        from treebuilder.engine.bootstrap.debian import DebianBootstrapper

        return DebianBootstrapper()
    raise SpecError(
        f"bootstrap: the distribution {wish.distribution!r} is not known", where=wish.where, hint="known: debian",
        reason="bootstrap",
    )  # fmt: skip
