"""Names of stages, in the order in which they are run, and who runs them (os-and-ota.md §6.2)."""

from __future__ import annotations

from treebuilder.annotations import Final

_BOOT: Final = ("initramfs", "fs", "boot", "network")  # in the root itself; rootfs runs in the initrd
_TOOLS: Final = ("install", "upgrade", "reset")
RUN: Final = (
    "rootfs", *_BOOT, "default",
    *(f"{when}-{tool}" for tool in _TOOLS for when in ("before", "after")),
)  # fmt: skip

# Stages of cOS and its heirs that nothing of this toolkit runs.
_NOT_RUN: Final = {
    "pre-rootfs": "rootfs.before comes first here",
    "reconcile": "no timer runs it; one of your own can: ExecStart=/usr/bin/cos-setup reconcile",
    "partitioning": "a step with layout in stage rootfs, or the flags of device install",
    "before-deploy": "deploy is a reset here: before-reset",
    "after-deploy": "deploy is a reset here: after-reset",
    **{f"after-{tool}-chroot": "an image stays as it was published" for tool in (*_TOOLS, "deploy")},
    **{f"post-{tool}": f"after-{tool}" for tool in (*_TOOLS, "deploy")},
}


def hooks(stage: str) -> tuple[str, str, str]:
    """A stage and what runs around it."""
    return f"{stage}.before", stage, f"{stage}.after"


def gone_by(stage: str) -> tuple[str, ...]:
    """The stages of a boot up to this one, which is the last; none for a stage that is not of a boot."""
    parts = tuple(part for each in _BOOT for part in hooks(each))
    return parts[: parts.index(stage) + 1] if stage in parts else ()


def stage_fault(name: str) -> tuple[str, str, str] | None:
    """Why a stage does not run, as a rule, a sentence and a hint; None for one that does."""
    plain = name.removesuffix(".before").removesuffix(".after")
    if plain in RUN:
        return None
    if plain in _NOT_RUN:
        return "stage-not-run", f"the stage {plain} is not run by this toolkit", _NOT_RUN[plain]
    import difflib  # takes 8 ms, and every boot starts yip several times

    close = difflib.get_close_matches(plain, (*RUN, *_NOT_RUN), n=1, cutoff=0.7)
    meant = f"did you mean {close[0]}?" if close else f"only `yip -s {name}` runs it"
    return "unknown-stage", f"{name} is no stage of a boot, an installation, an upgrade or a reset", meant
