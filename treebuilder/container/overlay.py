"""Overlay mounts over layer folders, however many there are.

Options, each with its reason: `redirect_dir=off` and `metacopy=off`, so the upper folder is complete and means the
same in any other stack; `index=off`, so a lower may serve many mounts; `userxattr` inside a user namespace, where
`trusted.*` cannot be set; `volatile`, so nobody waits for the disk when it is unmounted: what a lost machine leaves is
found by its listing and made again (kernel documentation, filesystems/overlayfs.rst).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.container import syscalls
from treebuilder.errors import EngineUnavailable, TreebuildError

_OPTION_PAGE = 4000  # mount(2) takes one page of options


def distinct(lowers: list[str]) -> list[str]:
    """Bottom-first lowers without repeats: the upper copy of a repeated layer shows everything the lower one does."""
    seen: set[str] = set()
    kept = [low for low in reversed(lowers) if not (low in seen or seen.add(low))]  # type: ignore[func-returns-value]
    return kept[::-1]


@contextmanager
def mounted(
    lowers: list[str], upper: Path, work: Path, target: Path, *, unprivileged: bool, volatile: bool = True
) -> Iterator[None]:
    """An overlay on `target`, gone at the end. `lowers` are bottom first and at least one."""
    options = {"index": "off", "metacopy": "off"}
    if volatile:
        options["volatile"] = ""
    if unprivileged:
        options["userxattr"] = ""
    else:
        options["redirect_dir"] = "off"
    top_first = distinct(lowers)[::-1]
    try:
        _mount(top_first, str(upper), str(work), str(target), options)
    except OSError as err:
        if err.errno in (errno.EPERM, errno.EACCES):
            raise EngineUnavailable(
                f"not allowed to mount an overlay: {err.strerror}", hint="run as root, or use --engine docker"
            ) from err
        raise TreebuildError(f"cannot stack {len(top_first)} layers: {err.strerror} ({err.filename})") from err
    try:
        yield
    finally:
        syscalls.unmount(str(target))


def _mount(top_first: list[str], upper: str, work: str, target: str, options: dict[str, str]) -> None:
    try:
        syscalls.mount_overlay(top_first, upper, work, target, options)
        return
    except OSError as err:
        if err.errno not in (
            errno.EINVAL,
            errno.ENOSYS,
            errno.ENOPARAM if hasattr(errno, "ENOPARAM") else errno.EINVAL,
        ):
            raise
    # Older kernels want one text of all lowers; short links keep hundreds of them below one page.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="o", dir="/tmp") as short:
        names = []
        for number, lower in enumerate(top_first):
            os.symlink(lower, f"{short}/{number}")
            names.append(f"{short}/{number}")
        text = ",".join([k if not v else f"{k}={v}" for k, v in sorted(options.items())])
        os.symlink(upper, f"{short}/u")
        os.symlink(work, f"{short}/w")
        full = f"lowerdir={':'.join(names)},upperdir={short}/u,workdir={short}/w,{text}"
        if len(full) > _OPTION_PAGE:
            raise TreebuildError(f"{len(top_first)} layers are too many for this kernel", hint="use a kernel >= 6.8")
        try:
            syscalls.mount("overlay", target, "overlay", 0, full)
        except OSError as err:
            if err.errno != errno.EINVAL or "volatile" not in options:
                raise
            syscalls.mount("overlay", target, "overlay", 0, full.replace(",volatile", ""))  # before 5.10
