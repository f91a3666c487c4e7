"""`python -m treebuilder`."""

from treebuilder.cli.main import entry

entry()
