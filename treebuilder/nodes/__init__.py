"""YAML as typed nodes that remember file and line, so that every complaint about a specfile names its place."""

from treebuilder.nodes.node import Node, load

__all__ = ["Node", "load"]
