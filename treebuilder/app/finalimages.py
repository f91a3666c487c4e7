"""`build --push-final-images`: what was built as images that any engine runs (luet.md §1.4, §5.4)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from treebuilder.app.options import BuildOptions
from treebuilder.app.trusting import image_keys
from treebuilder.app.workspace import Workspace
from treebuilder.build.report import BuildReport
from treebuilder.errors import ConfigError
from treebuilder.records import record

if TYPE_CHECKING:
    from treebuilder.trust.keys import PrivateKey


@record
class FinalImages:
    """Where to, `HOST/NAME`; `force`: also over what a tag leads to. `command` is what the images run.

    `keys` sign them.
    """

    repository: str
    force: bool = False
    command: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    keys: tuple[PrivateKey, ...] = ()


def chosen(
    repository: str, *, force: bool, command: str, insecure: tuple[str, ...], sign: tuple[str, ...] = ()
) -> FinalImages:
    """What the flags say; `sign` are files of keys. Raises ConfigError before anything is built."""
    from treebuilder.repository.docker import place_of
    from treebuilder.system.process import Cancel

    if not repository:
        raise ConfigError(
            "no registry is named for the final images", reason="no-registry",
            hint="--push-final-images-repository HOST/NAME, or --image-repository",
        )  # fmt: skip
    place_of(repository, Cancel(), {}, insecure)
    try:
        words = tuple(shlex.split(command))
    except ValueError as err:
        raise ConfigError(f"--cmd {command!r} is no command: {err}") from err
    return FinalImages(repository, force, words, insecure, image_keys(sign))


def push_final_images(report: BuildReport, how: FinalImages, options: BuildOptions, work: Workspace) -> int:
    """Sends every package of a build; how many. Raises TransportError, IntegrityError, ConfigError."""
    from treebuilder.app.repositories import source_epoch
    from treebuilder.repository.docker import DockerBackend
    from treebuilder.repository.docker_images import PackageImages
    from treebuilder.repository.docker_layers import Layers
    from treebuilder.repository.image_signing import ImageSigner
    from treebuilder.repository.metadata import SUFFIX, read_built

    epoch_s = source_epoch(options.lock_file)
    layers = Layers(options.destination, work.store, work.cancel)
    made = [Path(node.artifact.path) for node in report.nodes if node.artifact is not None and node.state != "failed"]
    entries = []
    for archive in dict.fromkeys(made):
        metadata = archive.with_name(f"{archive.name.partition('.package.tar')[0]}{SUFFIX}")
        entries.append(read_built(metadata, options.destination, Path.is_file)[0].entry)
    target = DockerBackend(how.repository, work.store, work.cancel, insecure=how.insecure, epoch_s=epoch_s)
    images = PackageImages(
        target, layers, work.events, work.cancel, epoch_s=epoch_s, force=how.force, keep=not how.force,
        command=how.command, signer=ImageSigner(lambda: target.place, how.keys) if how.keys else None,
    )  # fmt: skip
    images.send(layers.entries(entries))
    return images.sent
