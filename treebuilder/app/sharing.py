"""Which registries a build shares its cache with."""

from __future__ import annotations

from treebuilder.app.options import BuildOptions
from treebuilder.app.workspace import Workspace
from treebuilder.build.shared import SharedCache
from treebuilder.errors import ConfigError
from treebuilder.oci.reference import is_loopback, parse_reference
from treebuilder.oci.remote import Repository


def shared_cache(options: BuildOptions, work: Workspace) -> SharedCache | None:
    """The cache of `--pull` and `--push`; None without them. Raises ConfigError, SpecError for what is no name."""
    if not options.pull and not options.push:
        return None
    named = dict.fromkeys(name for name in (options.image_repository, *options.pull_repositories) if name)
    if not named or (options.push and not options.image_repository):
        raise ConfigError(
            "no registry is named to share the cache with", hint="--image-repository HOST/NAME", reason="no-registry"
        )

    def opened(name: str) -> Repository:
        reference = parse_reference(name)
        plain = is_loopback(reference.host) or reference.host in options.insecure_registries
        return Repository(reference.host, reference.repository, plain, work.cancel)

    repositories = {name: opened(name) for name in named}
    target = repositories[options.image_repository] if options.push else None
    return SharedCache(tuple(repositories.values()) if options.pull else (), target, work.store, work.events)
