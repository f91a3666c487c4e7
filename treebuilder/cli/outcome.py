"""What a change came to where something failed after it: that is a result too."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli import changing
from treebuilder.cli.session import Session

if TYPE_CHECKING:
    from treebuilder.client.api import AfterChange, ChangeReport


def done(change: Callable[[], ChangeReport]) -> tuple[ChangeReport, tuple[AfterChange, ...]]:
    """What a change came to, and what failed after it."""
    from treebuilder.client.api import AfterChange

    try:
        return change(), ()
    except AfterChange as err:
        if err.report is None:
            raise
        return err.report, (err,)


@contextmanager
def shown(args: argparse.Namespace, session: Session) -> Iterator[None]:
    """Shows the change that a failure came after. A document of ours has the failure too, so main writes it."""
    from treebuilder.client.api import AfterChange

    try:
        yield
    except AfterChange as err:
        if err.report is not None and (session.output == "terminal" or changing.is_luet(args)):
            changing.show(err.report, args, session, "")
        raise
