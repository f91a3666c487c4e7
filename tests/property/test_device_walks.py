"""Anything asked of a device of real files, in any order, with boots between: it is done whole, or refused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.device_parts import CONTENT, Lab
from treebuilder.device.slots import Source
from treebuilder.device.states import Device, Image, Purpose, Slot
from treebuilder.errors import UpdateRefused
from treebuilder.model.digest import Digest

REFUSALS = {
    "failed-before", "older", "on-trial", "reset-elsewhere", "recovery-in-use", "nothing-there", "under-way",
    "nothing-staged",
}  # fmt: skip
Step = tuple[str, str]

VERSIONS = st.sampled_from(sorted(CONTENT))
STEPS = st.one_of(
    st.tuples(st.sampled_from(("upgrade", "automatic", "stage", "recovery", "reset")), VERSIONS),
    st.tuples(
        st.sampled_from(("reset to recovery", "apply", "cancel", "boot", "confirm", "unhealthy", "roll back")),
        st.just(""),
    ),
    st.tuples(st.just("pick"), st.sampled_from([slot.value for slot in Slot])),
)


def image(version: str) -> Image:
    return Image(version, Digest.of(CONTENT[version]))


def ask(lab: Lab, version: str, purpose: Purpose, *, automatic: bool = False, go: bool = True) -> Device:
    return lab.machine.upgrade(image(version), Source(lab.file(version)), purpose, automatic=automatic, go=go)


def reset_to_recovery(lab: Lab) -> Device:
    """As the command does it: the file is the one that we run from."""
    found = lab.written().recovery
    assert found is not None
    source = Source(lab.recovery / "cOS/recovery.squashfs")
    device = lab.machine.upgrade(found, source, Purpose.RESET, go=False)
    return device if device.memory.plan is None else lab.machine.go_on()


def take(lab: Lab, what: str, of: str) -> None:
    commands: dict[str, Callable[[], object]] = {
        "automatic": lambda: ask(lab, of, Purpose.UPGRADE, automatic=True),
        "stage": lambda: ask(lab, of, Purpose.UPGRADE, go=False),
        "apply": lambda: lab.machine.go_on(),
        "cancel": lambda: lab.machine.cancel(),
        "confirm": lambda: lab.machine.healthy(),
        "unhealthy": lambda: lab.machine.unhealthy(),
        "roll back": lambda: lab.machine.roll_back(),
        "boot": lab.boot,
    }
    match what:
        case "pick":
            lab.boots, lab.slot = lab.boots + 1, Slot(of)
        case "upgrade":
            device = ask(lab, of, Purpose.UPGRADE)
            assert (device.active, device.pointer.start) == (image(of), Slot.ACTIVE)
        case "recovery":
            assert ask(lab, of, Purpose.RECOVERY).recovery == image(of)
        case "reset":
            device = ask(lab, of, Purpose.RESET)
            assert (device.active, device.passive, device.pointer.start) == (image(of), image(of), Slot.ACTIVE)
        case "reset to recovery":
            device = reset_to_recovery(lab)
            assert device.active == device.passive == device.recovery
        case _:
            commands[what]()


def refused(lab: Lab, what: str, of: str) -> bool:
    """Takes a step, unless the rules refuse it."""
    try:
        take(lab, what, of)
    except UpdateRefused as err:
        if err.reason not in REFUSALS:
            raise
        return True
    return False


def check(lab: Lab) -> None:
    """Slots name whole files, and state.yaml says which."""
    device, told = lab.written(), yaml.safe_load((lab.state / "state.yaml").read_text())
    for slot in Slot:
        found = device.slot(slot)
        assert found is not None
        name = "recovery.squashfs" if slot is Slot.RECOVERY else f"{slot.value}.img"
        folder = lab.recovery if slot is Slot.RECOVERY else lab.state
        assert (folder / "cOS" / name).read_bytes() == CONTENT[found.version]
        assert told["recovery" if slot is Slot.RECOVERY else "state"][slot.value]["digest"] == str(found.digest)


# Two upgrades push the image of recovery out of the other slots, and then somebody resets.
LATE_RESET = [
    step for version in ("3.0", "4.0") for step in (("upgrade", version), ("boot", ""), ("confirm", ""))
] + [("pick", "recovery"), ("reset to recovery", "")]  # fmt: skip

# An image that waits for its first boot is not yet what a reset to it leaves.
RESET_TO_A_TRIAL = [("upgrade", "3.0"), ("pick", "recovery"), ("reset", "3.0")]


# All that is staged, and what may be made of it.
STAGED = [
    ("stage", "3.0"), ("apply", ""), ("boot", ""), ("confirm", ""), ("stage", "4.0"), ("cancel", ""),
    ("automatic", "4.0"), ("boot", ""), ("unhealthy", ""), ("boot", ""), ("roll back", ""),
]  # fmt: skip


def walked(steps: list[Step]) -> list[Step]:
    """Takes all steps on a new device and looks at it after each. Returns those that were refused."""
    found = []
    with tempfile.TemporaryDirectory() as top:
        lab = Lab(Path(top))
        lab.install()
        lab.boot()
        lab.machine.status()
        check(lab)
        for step in steps:
            before = lab.written()
            if refused(lab, *step):
                after = lab.written()
                assert [after.slot(slot) for slot in Slot] == [before.slot(slot) for slot in Slot]
                found.append(step)
            lab.machine.status()
            check(lab)
    return found


@pytest.mark.parametrize("steps", [LATE_RESET, RESET_TO_A_TRIAL, STAGED], ids=["late reset", "trial", "staged"])
def test_what_may_be_done_is_done(steps: list[Step]) -> None:
    assert walked(steps) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=4, max_size=14))
def test_what_is_asked_is_done_whole_or_refused(steps: list[Step]) -> None:
    walked(steps)
