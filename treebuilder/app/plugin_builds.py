"""luet's event bus where packages, images and repositories are made (luet.md §7.9)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.app.plugins import Plugins, package

if TYPE_CHECKING:
    from treebuilder.build.bases import ImageSource
    from treebuilder.build.report import PackedFile
    from treebuilder.model.digest import Digest
    from treebuilder.model.image import State
    from treebuilder.model.package import Package, Step
    from treebuilder.oci.store import Store
    from treebuilder.plan.graph import BuildNode


class ToldBuild:
    """Implements `build.watching.Watcher`: `package.pre.build` and its kin."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def building(self, node: BuildNode) -> None:
        self._plugins.tell("package.pre.build", {"CompileSpec": _spec(node), "Assert": _assertion(node)})

    def built(self, node: BuildNode) -> None:
        self._plugins.tell("package.post.build", {"CompileSpec": _spec(node), "Assert": _assertion(node)})

    def packing(self, node: BuildNode) -> None:
        self._plugins.tell("package.pre.build_artifact", {"compilationspec": _spec(node)})

    def packed(self, node: BuildNode, package_: Package, file: PackedFile, compression: str) -> None:
        value = {
            "path": file.path, "compilationspec": _spec(node), "checksums": {"sha256": file.sha256.hex},
            "compressiontype": compression, "runtime": package(package_),
        }  # fmt: skip
        self._plugins.tell("package.post.build_artifact", value)


class ToldImages:
    """Implements `ImageSource`: `image.pre.pull` and `image.post.pull` around what is fetched."""

    def __init__(self, images: ImageSource, plugins: Plugins) -> None:
        self._images, self._plugins = images, plugins

    def resolve(self, reference: str) -> Digest:
        return self._images.resolve(reference)

    def load(self, reference: str, digest: Digest, store: Store) -> State:
        self._plugins.tell("image.pre.pull", _image(reference))
        state = self._images.load(reference, digest, store)
        self._plugins.tell("image.post.pull", _image(reference))
        return state


class ToldTransfers:
    """Implements `repository.watching.ImageWatcher`: `image.pre.unpack`, `image.pre.push` and their kin."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def fetching(self, image: str) -> None:
        self._plugins.tell("image.pre.unpack", {"Image": image, "Dest": ""})

    def fetched(self, image: str) -> None:
        self._plugins.tell("image.post.unpack", {"Image": image, "Dest": ""})

    def sending(self, image: str) -> None:
        self._plugins.tell("image.pre.push", _image(image))

    def sent(self, image: str) -> None:
        self._plugins.tell("image.post.push", _image(image))


@contextmanager
def told(plugins: Plugins | None, what: str, payload: object) -> Iterator[None]:
    """`KIND.pre.VERB` before, and `KIND.post.VERB` after what succeeds; `what` is `KIND VERB`."""
    kind, _, verb = what.partition(" ")
    if plugins is not None:
        plugins.tell(f"{kind}.pre.{verb}", payload)
    yield
    if plugins is not None:
        plugins.tell(f"{kind}.post.{verb}", payload)


def _image(reference: str) -> dict[str, Any]:
    """As luet describes what a backend is to do; it had folders and a Dockerfile for that."""
    return {
        "ImageName": reference, "SourcePath": "", "DockerFileName": "", "Destination": "", "Context": "",
        "BackendArgs": [],
    }  # fmt: skip


def _spec(node: BuildNode) -> dict[str, Any]:
    recipe = node.package.recipe
    return {
        "steps": _texts(recipe.steps), "env": list(recipe.env), "prelude": _texts(recipe.prelude),
        "image": recipe.image, "seed": recipe.seed, "package": package(node.package.package),
        "package_dir": recipe.package_dir, "retrieve": list(recipe.retrieve), "unpack": recipe.unpack,
        "includes": list(recipe.includes), "excludes": list(recipe.excludes),
    }  # fmt: skip


def _texts(steps: tuple[Step, ...]) -> list[str]:
    return [step.command for step in steps]


def _assertion(node: BuildNode) -> dict[str, Any]:
    return {"Package": package(node.package.package), "Value": True}
