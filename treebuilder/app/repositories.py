"""Use cases of repositories: composed out of what was built; used as sources of recipes and artifacts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.app import building
from treebuilder.app.alone import alone
from treebuilder.app.asking import ask, succeeded
from treebuilder.app.options import BuildOptions
from treebuilder.app.settings import RepositorySettings
from treebuilder.app.targets import targets_of
from treebuilder.app.trusting import TrustRules
from treebuilder.app.unchanged import code_stamp
from treebuilder.app.workspace import Workspace
from treebuilder.build.report import BuildReport
from treebuilder.errors import SpecError
from treebuilder.events import EventSink
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId, PackageRef
from treebuilder.model.version import Selector, select
from treebuilder.oci.layout import unpack_into_store
from treebuilder.oci.store import Store
from treebuilder.plan import lock as locks
from treebuilder.plan.graph import Foreign
from treebuilder.records import record, replace
from treebuilder.repository import (
    Artifact,
    Created,
    CreateOptions,
    RepositoryPackages,
    RepositorySource,
    SyncedRepository,
    Trees,
    create_repository,
    open_backend,
    sync,
)
from treebuilder.system.files import remove_unfinished
from treebuilder.tree import Tree, load_tree, tree_fingerprint
from treebuilder.tree.values import Values

if TYPE_CHECKING:
    from treebuilder.app.publishing import PublishOptions
    from treebuilder.build.bases import ImageSource
    from treebuilder.build.watching import Watcher
    from treebuilder.trust.index import Signing

SCHEMA = "treebuild.repository/1"


def source_of(settings: RepositorySettings, rules: TrustRules) -> RepositorySource:
    """Raises ConfigError (reason "bad-key")."""
    return RepositorySource(
        settings.name,
        settings.type,
        settings.urls,
        settings.priority,
        settings.reference,
        settings.where,
        settings.auth,
        settings.cached,
        rules.settle(settings.trust, settings.type, settings.base, settings.where),
    )


def local_source(folder: str, position: int = 0) -> RepositorySource:
    """A repository in a folder that was named on the command line: preferred to all that are configured."""
    return RepositorySource("", "disk", (os.path.abspath(folder),), position - (1 << 30))


def sync_configured(work: Workspace) -> tuple[SyncedRepository, ...]:
    """Every enabled repository of the configuration, preferred first.

    Raises SpecError (reason "no-repository" also when none is enabled), TransportError, IntegrityError, ConfigError.
    """
    return sync_all(work, ())


def sync_all(work: Workspace, local: tuple[RepositorySource, ...]) -> tuple[SyncedRepository, ...]:
    """The repositories named on the command line, and the enabled ones of the configuration."""
    configured = tuple(source_of(found, work.settings.rules) for found in work.settings.repositories if found.enable)
    if not local and not configured:
        raise SpecError(
            "no repository is configured and enabled", reason="no-repository",
            hint="describe one in .luet.yaml, or in a file of its repos_confdir, with enable: true",
        )  # fmt: skip
    sources = (*local, *configured)

    def one(source: RepositorySource, events: EventSink) -> SyncedRepository:
        return sync(source, work.store, events, work.cancel)

    results = ask(sources, one, work.events, work.cancel)
    return tuple(succeeded(zip([source.name for source in sources], results, strict=True), work.events))


def source_epoch(lock_file: Path) -> int:
    """SOURCE_DATE_EPOCH, else the lock's epoch, else the first day that all formats know."""
    return locks.read(lock_file).with_epoch(building.epoch_from_environment()).epoch_s


# create-repo ----------------------------------------------------------------------------------------------------------
@record
class RepositoryReport:
    """What `create-repo` came to. `pushed` is the number of packages that were sent to a registry."""

    output: str
    created: Created
    removed: tuple[str, ...] = ()
    pushed: int = 0

    def to_json(self) -> dict[str, Any]:
        index = self.created.index
        return {
            "schema": SCHEMA, "name": index.name, "output": self.output, "revision": index.revision,
            "changed": self.created.changed, "sha256": self.created.index_sha256.hex,
            "packages": [
                {"category": id.category, "name": id.name, "version": id.version} for id in self.created.packages
            ],
            "removed": list(self.removed), "signed": list(self.created.signed), "expires": self.created.expires_s,
            "pushed": self.pushed,
        }  # fmt: skip


def pruned(report: RepositoryReport, options: CreateOptions, keep: int, work: Workspace) -> RepositoryReport:
    """Deletes what neither the index, the last `keep` snapshots nor those of channels reach, of what the run saw.

    Raises IntegrityError (also a channel that cannot be read), SpecError.
    """
    from treebuilder.app.mirroring import folder_snapshots
    from treebuilder.repository.pruning import prune

    output = Path(report.output)
    with alone(output, work):
        spared = folder_snapshots(output, work)
        gone = prune(options.packages, output, keep, spared, report.created.seen)
    return replace(report, removed=gone.removed)


def create(
    options: CreateOptions, trees: BuildOptions, output: str, work: Workspace, *, from_repositories: bool,
    signing: Signing | None = None, publish: PublishOptions | None = None,
) -> RepositoryReport:  # fmt: skip
    """Composes a repository in the folder `output`, or with `publish` in the repository `HOST/NAME` of a registry.

    Only trees, values and lock of `trees` are looked at.

    Raises what `repository.create_repository` and loading trees raise.
    """
    recipes: list[str] = []
    if from_repositories:
        recipes = [str(folder) for found in sync_configured(work) for folder in found.recipes()]
    env = {name: os.environ[name] for name in work.settings.template_env if name in os.environ}
    fingerprint = tree_fingerprint(
        trees.trees, trees.values, template_env=env, epoch_s=options.epoch_s, dockerfiles=trees.dockerfiles,
        layering=trees.layering,
    )  # fmt: skip

    def load() -> tuple[Tree, tuple[Tree, ...]]:
        tree = building.open_tree(trees, work, options.epoch_s, recipes=False)
        return tree, tuple(
            load_tree([folder], events=work.events, index=work.specs, epoch_s=options.epoch_s, recipes=False)
            for folder in recipes
        )

    # in a tree (luet's defaults are . and ./build) each repository would hold all that were there before
    without = (str(options.packages), *(() if options.type == "docker" else (output,)))
    known = Trees(repr((fingerprint, recipes, code_stamp())), tuple(dict.fromkeys(trees.roots)), load, without)
    if options.type == "docker":
        from treebuilder.app.publishing import PublishOptions, docker_output

        with work.store.single_flight(f"publish-{output}", work.cancel):
            target = docker_output(options, output, publish or PublishOptions(), work, signing)
            created = create_repository(
                options, known, target, work.events, work.store, signing, entries=target.entries
            )  # fmt: skip
        return RepositoryReport(output, created, pushed=target.pushed)
    backend = open_backend("disk" if options.type == "http" else options.type, output, work.store, work.cancel)
    with alone(Path(output), work):
        remove_unfinished(Path(output))
        return RepositoryReport(output, create_repository(options, known, backend, work.events, work.store, signing))


# build --from-repositories --------------------------------------------------------------------------------------------
@record
class Joined:
    """A request over its own trees and the recipes of repositories: `tree` are both, `options` name its targets."""

    options: BuildOptions
    tree: Tree
    foreign: Mapping[PackageId, Foreign]
    source: RepositoryArtifacts


def join_repositories(options: BuildOptions, work: Workspace) -> Joined:
    """Reads the recipes of all enabled repositories behind the local ones (luet.md §4.11).

    A local recipe replaces one of equal identity; targets are local packages. A repository's recipe is rendered with
    the values that its package was built with, under those of the request.
    """
    epoch = building.epoch_of(options)
    local = building.open_tree(options, work, epoch)
    packages = RepositoryPackages(sync_configured(work))
    recipes: dict[str, Mapping[str, Values]] = {}
    for repository in packages.repositories:
        for folder in repository.recipes():
            recipes.setdefault(str(folder), repository.build_values())
    known = {folder: values for folder, values in recipes.items() if values}
    wide = replace(options, tree_deps=(*options.tree_deps, *recipes))
    tree = building.open_tree(wide, work, epoch, built_with=known or None)
    _refuse_theirs(options.targets, local, packages)
    targets = targets_of(wide, tree)
    joined = replace(options, trees=(*options.trees, *recipes), targets=targets, all=False, full=False, revdeps=False)
    source = RepositoryArtifacts(packages)
    return Joined(joined, tree, source.foreign(local), source)


def build_from_repositories(
    options: BuildOptions, work: Workspace, images: ImageSource | None = None, watcher: Watcher | None = None
) -> BuildReport:
    """Builds local packages on the recipes and artifacts of all enabled repositories.

    What a repository has as an artifact is joined as it is; what is needed as an image is built from its recipe.
    """
    joined = join_repositories(options, work)
    return building.build(
        joined.options, work, images, foreign=joined.foreign, source=joined.source, tree=joined.tree, watcher=watcher
    )


def _refuse_theirs(targets: tuple[PackageRef, ...], local: Tree, packages: RepositoryPackages) -> None:
    """What repositories have is not built for its own sake: raises SpecError for a target that only they have."""
    compiler = local.compiler()
    for ref in targets:
        ours = compiler.versions(ref.pkgname)
        wanted = Selector.parse(ref.version)
        if compiler.providers(ref.pkgname) or select(wanted, ours):
            continue
        theirs = select(wanted, packages.versions(ref.pkgname))
        if theirs:
            raise SpecError(
                f"{ref} is no package of the trees: only the repository {packages.homes[theirs[0].id].source.name} "
                "has it, and what repositories have is built on, not built for its own sake",
                reason="no-version" if ours else "unknown-package",
                hint="install takes it from there; to build it, give its tree with --tree",
            )  # fmt: skip


class RepositoryArtifacts:
    """Implements `build.bases.ForeignArtifacts` over synced repositories."""

    def __init__(self, packages: RepositoryPackages) -> None:
        self._packages = packages
        self._known: dict[Digest, tuple[SyncedRepository, Artifact]] = {}

    def foreign(self, local: Tree) -> Mapping[PackageId, Foreign]:
        """The artifacts that are used instead of building: those of packages that the local tree does not have."""
        runtime = local.runtime()
        found: dict[PackageId, Foreign] = {}
        for id, home in self._packages.homes.items():
            artifact = home.artifacts.get(id)
            package = self._packages.find(id)
            if artifact is None or package is None or runtime.find(id) is not None:
                continue
            self._known[artifact.sha256] = (home, artifact)
            found[id] = Foreign(package, artifact.sha256, home.source.name, artifact.path)
        return found

    def bring(self, artifact: Foreign, store: Store) -> Digest:
        """Raises TransportError, IntegrityError."""
        key = artifact.sha256.hex
        with store.single_flight(f"foreign-{key}"):
            noted = store.index.note("foreign", key)
            if noted is not None and store.has_tree(Digest(noted.decode())):
                return Digest(noted.decode())
            home, found = self._known[artifact.sha256]
            path = home.fetch(found)
            with path.open("rb") as source:
                # What the index says about the content is not taken on trust: it would name a folder of the store.
                content = unpack_into_store(source, store, f"{home.source.name}: {found.path}", home.bound(found))
            store.index.set_notes("foreign", {key: content.hex.encode()})
        return content
