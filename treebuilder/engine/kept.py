"""The roots of steps that failed: kept for whoever asks, with a script that opens a shell in them."""

from __future__ import annotations

import itertools
import shlex
import shutil
from pathlib import Path

from treebuilder.container import namespace, overlay
from treebuilder.engine import driver
from treebuilder.engine.api import Job
from treebuilder.errors import BuildFailed
from treebuilder.events import EventSink, Said, Warned


def keep(
    error: BuildFailed, job: Job, work: Path, init: str, lowers: list[str], folder: Path, events: EventSink
) -> BuildFailed:
    """Moves what a failed job left to `folder`, with a script `enter` that opens a shell in it."""
    name = "".join(c if c.isalnum() or c in "-._+" else "-" for c in job.name.removeprefix("build "))[:100]
    place = next(p for n in itertools.count(1) if not (p := folder / f"{name}-{n}").exists())
    try:
        place.mkdir(parents=True)
        shutil.move(str(work / "upper"), place / "upper")
        shutil.copytree(init, place / "init")
        (place / "work").mkdir()
        (place / "root").mkdir()
        enter = place / "enter"
        enter.write_text(_enter_script(job, place, lowers), encoding="utf-8")
        enter.chmod(0o755)
    except OSError as err:  # what failed is what matters
        events.emit(Warned(f"the failed root cannot be kept in {place}: {err}"))
        return error
    events.emit(Said(f"the failed root is kept; enter it with: {shlex.quote(str(enter))}"))
    return BuildFailed(
        error.message, command=error.command, exit_status=error.exit_status, log=error.log, tail=error.tail,
        reason=error.reason, hint=f"enter the failed root with: {shlex.quote(str(enter))}",
    )  # fmt: skip


def _enter_script(job: Job, place: Path, lowers: list[str]) -> str:
    stack = ":".join(reversed(overlay.distinct([str(place / "init"), *lowers])))
    open_env = tuple((k, v) for k, v in job.env if not any(text and text in v for text in job.hidden))
    env = " ".join(shlex.quote(f"{k}={v}") for k, v in driver.environment(open_env, job.epoch_s, {}).items())
    options = f"lowerdir={stack},upperdir={place}/upper,workdir={place}/work,index=off,metacopy=off"
    user = ""
    if namespace.in_user_namespace():
        options, user = f"{options},userxattr", "--user --map-root-user --map-auto "
    return f"""#!/bin/sh
# Opens a shell in the root of a step that failed; what you change stays in {place}/upper.
chroot=$(PATH="$PATH:/usr/sbin:/sbin" command -v chroot)
exec unshare {user}--mount --pid --fork --kill-child sh -ec '
mount -t overlay overlay -o "$1" "$2/root"
mount -t proc proc "$2/root/proc"; mount --rbind /dev "$2/root/dev"
cd "$2/root"; exec env -i {env} "$3" . /bin/sh -c "cd {job.cwd} && exec /bin/sh -i"
' sh {shlex.quote(options)} {shlex.quote(str(place))} "$chroot"
"""
