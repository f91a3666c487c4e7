"""YAML as typed nodes that remember file and line, so that every complaint about a specfile names its place."""

from treebuilder.nodes.loading import load
from treebuilder.nodes.node import Entries, Key, Node

__all__ = ["Entries", "Key", "Node", "load"]
