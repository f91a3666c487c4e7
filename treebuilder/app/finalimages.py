"""`build --push-final-images` and `--generate-final-images`: packages as images that any engine runs.

Source: luet.md §1.4, §5.4.
"""

from __future__ import annotations

import shlex
from functools import partial
from io import BytesIO
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.app.finalimages_folder import GENERATED, being_made, put, settle
from treebuilder.app.options import BuildOptions
from treebuilder.app.trusting import image_keys
from treebuilder.app.workspace import Workspace
from treebuilder.build.report import BuildReport
from treebuilder.errors import ConfigError
from treebuilder.model.digest import Digest
from treebuilder.records import record

if TYPE_CHECKING:
    from treebuilder.repository.docker_layers import Layers
    from treebuilder.repository.watching import ImageWatcher
    from treebuilder.trust.keys import PrivateKey


@record
class FinalImages:
    """Where to, `HOST/NAME`; `force`: also over what a tag leads to. `command` is what the targets' images run.

    `keys` sign all of them.
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
    return FinalImages(repository, force, _words(command), insecure, image_keys(sign))


def push_final_images(
    report: BuildReport, how: FinalImages, options: BuildOptions, work: Workspace, watcher: ImageWatcher | None = None
) -> tuple[tuple[str, Digest], ...]:
    """Sends every package of a build; references and digests of what is there then, sorted. `watcher` is told.

    Raises TransportError, IntegrityError, ConfigError.
    """
    from treebuilder.app.repositories import source_epoch
    from treebuilder.repository.docker import DockerBackend
    from treebuilder.repository.docker_images import PackageImages
    from treebuilder.repository.docker_layers import Layers
    from treebuilder.repository.image_signing import ImageSigner

    epoch_s = source_epoch(options.lock_file)
    layers = Layers(options.destination, work.store, work.cancel)
    target = DockerBackend(how.repository, work.store, work.cancel, insecure=how.insecure, epoch_s=epoch_s)
    entries = _entries(report, options.destination, layers, how.command)
    images = PackageImages(
        target, layers, work.events, work.cancel, epoch_s=epoch_s, force=how.force, keep=not how.force,
        commands=entries, signer=ImageSigner(lambda: target.place, how.keys) if how.keys else None, watcher=watcher,
    )  # fmt: skip
    images.send([*entries])
    images.say_sent()
    return tuple((target.image(tag), digest) for tag, digest in sorted(images.there.items()))


def _entries(
    report: BuildReport, folder: Path, layers: Layers, command: tuple[str, ...]
) -> dict[bytes, tuple[str, ...]]:
    """What a repository's index would say of the packages of a build, in its order, and what their images run.

    `command` is the program of what was asked for; what that stands on may not have it.
    """
    from treebuilder.repository.metadata import SUFFIX, read_built

    commands: dict[Path, tuple[str, ...]] = {}
    for node in report.nodes:
        if node.artifact is not None and node.state != "failed":
            commands.setdefault(Path(node.artifact.path), command if node.package in report.targets else ())
    entries = []
    for archive in commands:
        metadata = archive.with_name(f"{archive.name.partition('.package.tar')[0]}{SUFFIX}")
        entries.append(read_built(metadata, folder, Path.is_file)[0].entry)
    return dict(zip(layers.entries(entries), commands.values(), strict=True))


def generated(options: BuildOptions, command: str) -> tuple[Path, tuple[str, ...]]:
    """The folder that `generate_final_images` writes, and what its targets' images run.

    Raises ConfigError where the folder is something else.
    """
    folder = options.destination / GENERATED
    settle(options.destination)
    if folder.exists() and not (folder / "oci-layout").is_file():
        raise ConfigError(f"{folder} is there and is no image layout", hint="move it away, or name a --destination")
    return folder, _words(command)


def generate_final_images(report: BuildReport, command: str, options: BuildOptions, work: Workspace) -> Path | None:
    """Makes the images of a build's packages in the OCI layout `final-images` of the destination; its folder.

    Of a build without packages there is none.

    It holds those of this build alone, under the tags that a registry would have. Raises ConfigError, IntegrityError.
    """
    from treebuilder.app.repositories import source_epoch
    from treebuilder.oci.folder import FolderRepository
    from treebuilder.oci.layerimage import MANIFEST, layer_image
    from treebuilder.repository.docker import package_tag
    from treebuilder.repository.docker_images import package_annotations
    from treebuilder.repository.docker_layers import Layers, archive_of

    folder, words = generated(options, command)
    epoch_s = source_epoch(options.lock_file)
    layers = Layers(options.destination, work.store, work.cancel)
    with being_made(folder.parent) as made:
        place = FolderRepository(made)
        for entry, runs in _entries(report, options.destination, layers, words).items():
            work.cancel.check()
            layer, opened, _, _ = layers.layer(entry)
            image = layer_image(layer, epoch_s, package_annotations(entry, epoch_s), command=runs)
            place.push_blob(layer.digest, layer.size_bytes, opened)
            config = image.config
            place.push_blob(Digest.of(config), len(config), partial(BytesIO, config))
            place.put_manifest(package_tag(archive_of(entry).path), image.manifest, MANIFEST)
        place.commit()
        if not any(made.iterdir()):
            made.rmdir()
        put(made)
    return folder if folder.exists() else None


def _words(command: str) -> tuple[str, ...]:
    """What `--cmd` says. Raises ConfigError."""
    try:
        return tuple(shlex.split(command))
    except ValueError as err:
        raise ConfigError(f"--cmd {command!r} is no command: {err}") from err
