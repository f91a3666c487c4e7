"""With whom a build shares its cache: registries and folders."""

from __future__ import annotations

from treebuilder.app.options import BuildOptions
from treebuilder.app.trusting import private_key, public_key
from treebuilder.app.workspace import Workspace
from treebuilder.build.record_signing import RecordTrust
from treebuilder.build.shared import SharedCache
from treebuilder.build.waiting import Waiting
from treebuilder.errors import ConfigError
from treebuilder.oci.folder import FolderRepository, refuse_foreign
from treebuilder.oci.reference import parse_reference, speaks_plain
from treebuilder.oci.remote import Repository


def opened(name: str, options: BuildOptions, work: Workspace) -> Repository:
    """The repository `HOST/NAME`. Raises SpecError for what is no name, ConfigError for one of an image."""
    reference = parse_reference(name)
    if "@" in name or ":" in name.rpartition("/")[2]:
        raise ConfigError(f"{name}: the cache's repository is HOST/NAME, without tag and digest")
    plain = speaks_plain(reference.host, options.insecure_registries)
    return Repository(reference.host, reference.repository, plain, work.cancel)


def shared_cache(options: BuildOptions, work: Workspace) -> SharedCache | None:
    """The cache of `--pull`, `--push`, `--cache-from` and `--cache-to`; None without them.

    Raises ConfigError, SpecError for what is no name.
    """
    if not options.shares:
        return None
    named = dict.fromkeys(name for name in (options.image_repository, *options.pull_repositories) if name)
    if (options.pull and not named) or (options.push and not options.image_repository):
        raise ConfigError(
            "no registry is named to share the cache with", hint="--image-repository HOST/NAME", reason="no-registry"
        )

    repositories = {name: opened(name, options, work) for name in named}
    for path in options.cache_to:
        refuse_foreign(path)
    folders = {path: FolderRepository(path) for path in (*options.cache_from, *options.cache_to)}
    sources = [folders[path] for path in options.cache_from], [*repositories.values()] if options.pull else []
    target = [repositories[options.image_repository]] if options.push else []
    kept = [folders[path] for path in options.cache_to]
    trust = RecordTrust(
        tuple(map(public_key, work.settings.cache_keys)),
        tuple(map(private_key, options.sign)) if options.push or kept else (),
    )
    return SharedCache(
        (*sources[0], *sources[1]), (*kept, *target), work.store, work.events, tuple(one.commit for one in kept), trust,
        Waiting(options.wait_s, work.events, work.cancel) if options.wait_s and sources[1] else None,
    )  # fmt: skip
