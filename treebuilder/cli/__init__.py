"""One file per verb: typed arguments, a use case of `app`, a result on stdout. No logic."""

from treebuilder.cli import early

early.load()
