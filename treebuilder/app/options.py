"""What a build was asked, as values; light, because the fast path imports it."""

from __future__ import annotations

from pathlib import Path

from treebuilder.annotations import Literal
from treebuilder.model.package import PackageRef
from treebuilder.records import record


@record
class BuildOptions:
    """What `treebuild build` was asked. Nothing to do without `targets`, `all` and `full`.

    `full` is all packages that no other stands on; `revdeps` adds what stands on the targets. Packages that are only
    in `tree_deps` are built on and are never targets. `image_repository` (HOST/NAME) and `pull_repositories` are where
    the cache is shared, if `pull` or `push`; `cache_from` and `cache_to` are folders for that. `luet_cache`: what luet
    has built there is taken too. `sign` are files of keys for what is pushed. `wait_s` is how long others
    that may be building are waited for. `nodeps`: what the
    targets stand on must be in the cache. `stamp_epoch_s` is the `buildtimestamp` of packages that are written, where
    it is not the time that the build takes for now; no key depends on it.
    """

    trees: tuple[str, ...]
    targets: tuple[PackageRef, ...] = ()
    all: bool = False
    values: tuple[str, ...] = ()
    destination: Path = Path("build")
    engine: str = "native"
    compression: str = "zstd"
    jobs: int = 0
    only_target_package: bool = False
    nodeps: bool = False
    onlydeps: bool = False
    rebuild: bool = False
    locked: bool = False
    lock_file: Path = Path("treebuild.lock")
    step_timeout_s: float | None = None
    keep_failed: Path | None = None
    layering: Literal["chain", "merge"] = "chain"
    dockerfiles: bool = False
    insecure_registries: tuple[str, ...] = ()
    full: bool = False
    revdeps: bool = False
    tree_deps: tuple[str, ...] = ()
    image_repository: str = ""
    pull_repositories: tuple[str, ...] = ()
    pull: bool = False
    push: bool = False
    cache_from: tuple[Path, ...] = ()
    cache_to: tuple[Path, ...] = ()
    luet_cache: bool = False
    sign: tuple[str, ...] = ()
    wait_s: float = 0.0
    stamp_epoch_s: int | None = None

    @property
    def shares(self) -> bool:
        """Whether the cache is shared with anybody."""
        return bool(self.pull or self.push or self.cache_from or self.cache_to)

    @property
    def roots(self) -> tuple[str, ...]:
        """All trees that are read; of equal packages the first one's counts."""
        return (*self.trees, *self.tree_deps)
