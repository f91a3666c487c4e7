"""What a build was asked, as values; light, because the fast path imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from treebuilder.model.package import PackageRef
from treebuilder.records import record


@record
class BuildOptions:
    """What `treebuild build` was asked. `targets` empty and `all` False means nothing to do."""

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
