"""The plan as values: nodes of the prefix tree, what each stands on, and the artifacts that are wanted."""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.errors import Place
from treebuilder.model.digest import Digest
from treebuilder.model.package import Bootstrap, Package, PackageId
from treebuilder.records import field, record
from treebuilder.tree import TreePackage


@record
class EmptyBase:
    """FROM scratch."""


@record
class ImageBase:
    """An image from outside: a registry reference or `oci:PATH`, a layout folder (absolute here)."""

    reference: str
    where: Place = field(default=Place(""), compare=False)


@record
class BootstrapBase:
    wish: Bootstrap


@record
class NodeBase:
    """The images of other nodes: one in a chain, several where stacks are merged (in this order)."""

    nodes: tuple[str, ...]


@record
class Foreign:
    """An artifact that a repository has: used as it is, never built. `open` names where it can be fetched."""

    package: Package
    sha256: Digest
    repository: str
    file: str


@record
class JoinBase:
    """The final artifacts of packages, one over the other, in this order."""

    members: tuple[str | Foreign, ...]


Base = EmptyBase | ImageBase | BootstrapBase | NodeBase | JoinBase


@record
class CopySource:
    """One `copy:` item: from a node's image or an image from outside."""

    node: str
    image: str
    source: str
    destination: str
    where: Place = field(default=Place(""), compare=False)


@record
class Retrieved:
    """One file for /luetbuild: a URL, a file of the destination folder, a resource of ours, or a node's artifact."""

    name: str
    url: str = ""
    path: str = ""
    resource: str = ""
    node: str = ""
    digest: Digest | None = None


@record
class BuildNode:
    """A package on a base. `id` is unique in the plan and says nothing about content.

    `images` are those that the package's Dockerfile names.
    """

    id: str
    package: TreePackage
    base: Base
    copies: tuple[CopySource, ...] = ()
    retrieved: tuple[Retrieved, ...] = ()
    images: tuple[str, ...] = ()

    @property
    def pid(self) -> PackageId:
        return self.package.package.id

    def parents(self) -> tuple[str, ...]:
        """Nodes whose images this one needs."""
        nodes = self.base.nodes if isinstance(self.base, NodeBase) else ()
        return (*nodes, *(c.node for c in self.copies if c.node))

    def joined(self) -> tuple[str, ...]:
        """Nodes whose artifacts this one needs."""
        members = self.base.members if isinstance(self.base, JoinBase) else ()
        return (*(m for m in members if isinstance(m, str)), *(r.node for r in self.retrieved if r.node))


@record
class BuildPlan:
    """`nodes` in an order in which they could be built. `artifacts` maps each package to pack to its node.

    `targets` are what was asked for. `solutions` holds, for each target, the ordered packages it stands on.
    """

    nodes: Mapping[str, BuildNode]
    artifacts: Mapping[PackageId, str]
    targets: tuple[PackageId, ...]
    orders: Mapping[PackageId, tuple[Package, ...]]

    def images(self) -> tuple[str, ...]:
        """References of all images from outside, sorted."""
        found = {n.base.reference for n in self.nodes.values() if isinstance(n.base, ImageBase)}
        found |= {c.image for n in self.nodes.values() for c in n.copies if c.image}
        found |= {image for n in self.nodes.values() for image in n.images}
        return tuple(sorted(found))

    def urls(self) -> tuple[str, ...]:
        return tuple(sorted({r.url for n in self.nodes.values() for r in n.retrieved if r.url}))

    def bootstraps(self) -> tuple[Bootstrap, ...]:
        """Distinct bootstraps in plan order."""
        found: dict[Bootstrap, None] = {}
        for node in self.nodes.values():
            if isinstance(node.base, BootstrapBase):
                found.setdefault(node.base.wish)
        return tuple(found)
