"""Where `create-repo --type docker` writes to."""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.app.workspace import Workspace
from treebuilder.errors import ConfigError
from treebuilder.events import Warned
from treebuilder.records import record
from treebuilder.repository import CreateOptions
from treebuilder.repository.api import INDEX_NAME

if TYPE_CHECKING:
    from treebuilder.repository.docker_publish import DockerOutput
    from treebuilder.repository.watching import ImageWatcher
    from treebuilder.trust.index import Signing


@record
class PublishOptions:
    """How images are sent: `push` at all, `force` also what is there; `insecure` hosts are spoken to by plain HTTP.

    `watcher` is told of them.
    """

    push: bool = False
    force: bool = False
    insecure: tuple[str, ...] = ()
    watcher: ImageWatcher | None = None


def docker_output(
    options: CreateOptions, output: str, how: PublishOptions, work: Workspace, signing: Signing | None = None
) -> DockerOutput:
    """The repository `HOST/NAME`. Raises ConfigError for what is no such name.

    Of the keys of `signing`, those that cosign knows sign the images too; a warning says so where there are none.
    """
    from treebuilder.repository.docker import DockerBackend, tag_of
    from treebuilder.repository.docker_publish import DockerOutput
    from treebuilder.trust.cosign import IMAGE_KEYS

    host, slash, _ = output.partition("://")[2 if "://" in output else 0].partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host):
        raise ConfigError(
            f"--output {output!r} names no repository of a registry", hint="--output HOST/NAME",
            reason="repository-type",
        )  # fmt: skip
    snapshot = f"{options.snapshot}-{INDEX_NAME}"
    if options.snapshot and tag_of(snapshot) != snapshot:
        raise ConfigError(
            f"the snapshot {options.snapshot[:200]!r} has no tag of its own in a registry",
            hint=f"letters, digits, _, . and - only, {127 - len(INDEX_NAME)} at most", reason="same-tag",
        )  # fmt: skip
    target = DockerBackend(output, work.store, work.cancel, insecure=how.insecure, epoch_s=options.epoch_s)
    signers = signing.keys if signing is not None else ()
    keys = tuple({key.public.id: key for key in signers if key.public.type == IMAGE_KEYS}.values())
    if signers and not keys:
        work.events.emit(Warned(
            "only the index is signed, and no image: Ed25519 keys are for indexes", hint="treebuild key new FILE"
        ))  # fmt: skip
    return DockerOutput(
        target, options.packages, work.store, work.events, work.cancel, epoch_s=options.epoch_s, push=how.push,
        force=how.force, keys=keys, watcher=how.watcher,
    )  # fmt: skip
