"""The rules of a device: every reachable state, and the stories that people tell."""

from __future__ import annotations

import pytest

from tests.unit.device_walk import BAD, BASE, FRESH, NEW, OLD, RECOVERY, Walk, uncounted
from treebuilder.channel.rules import WHOLE, Channel, Verdict
from treebuilder.device.following import offered
from treebuilder.device.rules import (
    Check,
    Fetch,
    Link,
    Point,
    Write,
    apply,
    ask,
    boot,
    cancel,
    checked,
    decide,
    fetched,
    healthy,
    picked,
    power_lost,
    remembered,
    roll_back,
    settle,
    unhealthy,
)
from treebuilder.device.states import TRIES, Device, Image, Pointer, Purpose, Slot, Stage
from treebuilder.errors import IntegrityError, UpdateRefused
from treebuilder.records import replace


# every state ---------------------------------------------------------------------------------------------------------
def test_two_versions_walked() -> None:
    walk = Walk(FRESH, (BAD, NEW))
    assert len(walk.seen) > 20_000
    assert {"failed-before", "older", "on-trial", "under-way", "Link", "Point", "Remember"} <= walk.visited.keys()


def test_a_reset_walked() -> None:
    for made in (BASE, RECOVERY, BAD):  # another image; the one of recovery itself, as nearly always; one on trial
        walk = Walk(FRESH, (BAD,), resets=(made,))
        assert len(walk.seen) > 5_000
        assert {"reset-elsewhere", "reset False", "check True"} <= walk.visited.keys()


def test_a_recovery_that_never_comes_up_walked() -> None:
    walk = Walk(FRESH, (BAD,), recoveries=(BAD, RECOVERY))
    assert any(device.recovery == BAD for device, _ in walk.seen)
    assert "recovery-in-use" in walk.visited


def test_files_that_vanish_walked() -> None:
    walk = Walk(FRESH, (BAD,), damage=True)
    assert any(device.active is None and device.passive is None for device, _ in walk.seen)
    assert "nothing-there" in walk.visited


def test_a_boot_block_that_is_lost_walked() -> None:
    walk = Walk(FRESH, (BAD,), lost=True)
    assert {"begun anew", "roll back"} <= walk.visited.keys()
    assert any(uncounted(device) and device.active == BAD for device, _ in walk.seen)
    doubted = Pointer(Slot.PASSIVE, 0, TRIES, BAD.digest)
    assert any(device.pointer == doubted and device.on_trial for device, _ in walk.seen)


def test_without_recovery_walked() -> None:
    assert len(Walk(Device(OLD, OLD, None), (OLD, BAD)).seen) > 1000


# a channel -----------------------------------------------------------------------------------------------------------
def test_a_device_and_its_channel() -> None:
    channel = Channel("stable", 5, "system/os", "s2", BAD.digest, BAD.version, 1000, share=WHOLE)
    device = started(FRESH)
    assert offered(device, channel, 0, 5, 10) is Verdict.OFFERED
    assert offered(device, replace(channel, version="1.0"), 0, 0, 10) is Verdict.NOT_NEWER
    with pytest.raises(IntegrityError) as replayed:
        offered(device, channel, 0, 6, 10)
    assert replayed.value.reason == "rolled-back"
    device = upgraded(device, BAD, automatic=True)
    for _ in range(TRIES + 1):
        device = started(device)
    with pytest.raises(UpdateRefused) as refused:
        offered(device, channel, 0, 5, 10)
    assert refused.value.reason == "failed-before"
    assert offered(device, replace(channel, halted=True), 0, 5, 10) is Verdict.HALTED


# stories -------------------------------------------------------------------------------------------------------------
def written(device: Device, writes: tuple[Write, ...]) -> Device:
    for write in writes:
        device = apply(device, write)
    return device


def started(device: Device) -> Device:
    device = boot(power_lost(device))
    return written(device, settle(device))


def finished(device: Device) -> tuple[Device, list[str]]:
    """The plan carried out, and what was done."""
    done = []
    while (action := decide(device)) is not None:
        match action:
            case Fetch():
                device = apply(device, fetched(device))
            case Check():
                device = apply(device, checked(device, good=True))
            case _:
                device = apply(device, action)
        match action:
            case Link(slot, image):
                done.append(f"{slot} is {image.version}")
            case Point(Pointer(start, left)):
                done.append(f"start {start} {left}")
            case _:
                done.append(type(action).__name__)
    return device, done


def upgraded(device: Device, image: Image, *, automatic: bool = False) -> Device:
    return finished(written(device, ask(device, image, automatic=automatic)))[0]


def reason(device: Device, image: Image, purpose: Purpose = Purpose.UPGRADE, *, automatic: bool = False) -> str:
    with pytest.raises(UpdateRefused) as caught:
        ask(device, image, purpose, automatic=automatic)
    return caught.value.reason


def where(device: Device) -> tuple[str, str]:
    assert device.booted is not None
    assert device.running is not None
    return device.booted.value, device.running.version


BASE_TWO = Device(OLD, BASE, RECOVERY)


def test_an_upgrade_is_these_steps_in_this_order() -> None:
    device, done = finished(written(started(BASE_TWO), ask(started(BASE_TWO), NEW)))
    assert done == [
        "Fetch", "Check", "passive is 1.0", "start passive None", "active is 3.0", "start active 3", "Remember"
    ]  # fmt: skip
    assert device.memory.plan is None
    device = started(device)
    assert where(device) == ("active", "3.0")
    assert not device.confirmed
    device = written(device, healthy(device))
    assert device.confirmed
    assert device.passive == OLD


def test_a_version_that_never_comes_up_is_tried_three_times_and_remembered() -> None:
    device = upgraded(started(FRESH), BAD, automatic=True)
    for _ in range(TRIES):
        device = boot(power_lost(device))
        assert where(device) == ("active", "2.0")
    device = started(device)
    assert where(device) == ("passive", "1.0")
    failure = remembered(device, BAD.version)
    assert failure is not None
    assert failure.why == "boot"
    assert reason(device, BAD, automatic=True) == "failed-before"
    assert where(started(device)) == ("passive", "1.0")
    assert where(started(upgraded(device, BAD))) == ("active", "2.0"), "who names it gets it"


def test_who_picks_another_entry_uses_up_no_try() -> None:
    device = upgraded(started(FRESH), BAD)
    for slot in (Slot.RECOVERY, Slot.PASSIVE, Slot.RECOVERY):
        device = picked(power_lost(device), slot)
        device = written(device, settle(device))
        assert (device.booted, device.pointer.left, device.memory.failed) == (slot, TRIES, ())
    device = picked(power_lost(device), Slot.ACTIVE)  # what would have come by itself
    assert (device.pointer.left, device.on_trial) == (TRIES - 1, True)


def test_a_version_whose_health_fails_has_its_tries_too() -> None:
    device = upgraded(started(FRESH), BAD)
    for turn in range(TRIES):
        device = started(device)
        assert where(device) == ("active", "2.0")
        assert bool(unhealthy(device)) is (turn == TRIES - 1)
        device = written(device, unhealthy(device))
    failure = remembered(device, BAD.version)
    assert failure is not None
    assert failure.why == "health"
    assert where(started(device)) == ("passive", "1.0")


def test_tries_belong_to_the_version_and_a_later_good_one_clears_what_failed() -> None:
    device = upgraded(started(FRESH), BAD)
    device = started(started(device))
    assert device.pointer.left == TRIES - 2
    device = upgraded(device, NEW)  # BAD, half tried, asked for it
    assert device.pointer.left == TRIES
    assert device.passive == OLD, "what has not shown that it is good does not become what we fall back to"
    device = started(device)
    device = written(device, healthy(device))
    assert where(device) == ("active", "3.0")
    assert device.memory.failed == ()


def test_a_failure_is_forgotten_by_a_later_good_version_only() -> None:
    device = upgraded(started(FRESH), NEW)
    for _ in range(TRIES + 1):
        device = started(device)
    assert remembered(device, NEW.version)
    device = started(upgraded(device, BAD))
    device = written(device, healthy(device))  # 2.0, which is older than what failed
    assert remembered(device, NEW.version)


def test_an_upgrade_from_passive_leaves_passive_alone() -> None:
    device = picked(BASE_TWO, Slot.PASSIVE)
    device, done = finished(written(device, ask(device, NEW)))
    assert not any(step.startswith("passive is") for step in done)
    assert (device.active, device.passive) == (NEW, BASE)


def test_a_reset_works_in_recovery_and_sets_both() -> None:
    assert reason(started(FRESH), BASE, Purpose.RESET) == "reset-elsewhere"
    device = picked(FRESH, Slot.RECOVERY)
    device, _ = finished(written(device, ask(device, BASE, Purpose.RESET)))
    assert (device.active, device.passive) == (BASE, BASE)
    device = started(device)
    assert where(device) == ("active", "0.9")
    assert written(device, healthy(device)).confirmed


def test_a_reset_fetches_what_recovery_alone_has() -> None:
    """It runs, and yet there is no file of it on the state partition."""
    device = picked(Device(NEW, OLD, RECOVERY), Slot.RECOVERY)
    device, done = finished(written(device, ask(device, RECOVERY, Purpose.RESET)))
    assert done[0] == "Fetch"
    assert (device.active, device.passive) == (RECOVERY, RECOVERY)


def test_a_reset_writes_a_broken_file_anew() -> None:
    device = picked(Device(RECOVERY, RECOVERY, RECOVERY), Slot.RECOVERY)
    device = written(device, ask(device, RECOVERY, Purpose.RESET))
    assert isinstance(decide(device), Check)
    device = apply(device, checked(device, good=False))
    assert isinstance(decide(device), Fetch)
    device = apply(device, fetched(device))
    assert isinstance(decide(device), Check)
    assert apply(device, checked(device, good=False)).memory.plan is None  # once


def test_a_second_reset_after_boots_looks_again() -> None:
    device = picked(FRESH, Slot.RECOVERY)
    device, _ = finished(written(device, ask(device, RECOVERY, Purpose.RESET)))
    again, done = finished(written(device, ask(device, RECOVERY, Purpose.RESET)))
    assert (again, done) == (device, ["Remember"])  # nothing has booted since
    for _ in range(6):
        device = boot(power_lost(device))
        assert device.booted is not Slot.RECOVERY
    device = started(device)  # the seventh: neither active nor passive came up, and recovery has the same image
    assert where(device) == ("recovery", "0.8")
    assert not device.confirmed
    assert device.pointer.trial is None
    device, done = finished(written(device, ask(device, RECOVERY, Purpose.RESET)))
    assert done[0] == "Check"
    assert where(started(device)) == ("active", "0.8")


def test_a_reset_that_is_cut_comes_back_to_recovery_and_goes_on() -> None:
    device = picked(Device(None, BAD, RECOVERY), Slot.RECOVERY)
    device = written(device, ask(device, BASE, Purpose.RESET))
    for action in (Fetch, Check, Point, Link):
        found = decide(device)
        assert isinstance(found, action)
        match found:
            case Fetch():
                device = apply(device, fetched(device))
            case Check():
                device = apply(device, checked(device, good=True))
            case _:
                device = apply(device, found)
    device = started(device)
    assert where(device) == ("recovery", "0.8")
    device, done = finished(device)
    assert done[0] == "Check", "after a cut the file is read again"
    assert (device.active, device.passive) == (BASE, BASE)


def test_recovery_is_replaced_from_elsewhere_only() -> None:
    assert reason(picked(FRESH, Slot.RECOVERY), NEW, Purpose.RECOVERY) == "recovery-in-use"
    device = started(FRESH)
    device, done = finished(written(device, ask(device, NEW, Purpose.RECOVERY)))
    assert done == ["Fetch", "Check", "recovery is 3.0", "Remember"]
    assert (device.active, device.passive, device.recovery, device.pointer) == (OLD, OLD, NEW, Pointer())


def test_rolled_back_by_command_and_back_again() -> None:
    device = started(upgraded(started(FRESH), NEW))
    device = written(device, healthy(device))
    device = started(written(device, roll_back(device)))
    assert where(device) == ("passive", "1.0")
    assert reason(device, NEW, automatic=True) == "failed-before"
    device = started(written(device, roll_back(device)))
    assert where(device) == ("active", "3.0")
    assert device.on_trial
    assert device.memory.failed == ()
    with pytest.raises(UpdateRefused):
        roll_back(Device(OLD, None, RECOVERY, booted=Slot.ACTIVE, running=OLD))


def test_an_upgrade_that_waits_for_its_boot_is_undone_by_a_rollback() -> None:
    device = upgraded(started(FRESH), NEW)
    device = started(written(device, roll_back(device)))
    assert where(device) == ("passive", "1.0")


def test_staged_images_wait_and_are_read_again_after_a_boot() -> None:
    device = started(FRESH)
    device, done = finished(written(device, ask(device, NEW, go=False)))
    assert done == ["Fetch", "Check"]
    assert device.active == OLD
    device = started(device)
    plan = device.memory.plan
    assert plan is not None
    assert plan.stage is Stage.WRITTEN
    device, done = finished(written(device, ask(device, NEW)))
    assert done[0] == "Check"
    assert device.active == NEW
    assert finished(written(device, cancel(device)))[1] == []


def test_what_nobody_asked_for_only_goes_forward() -> None:
    device = started(FRESH)
    assert reason(device, BASE, automatic=True) == "older"
    assert ask(device, OLD, automatic=True) == ask(device, OLD) == ()
    assert reason(started(upgraded(device, BAD)), NEW, automatic=True) == "on-trial"


def test_a_broken_download_ends_the_plan_and_says_nothing_of_the_version() -> None:
    device = started(FRESH)
    device = written(device, ask(device, NEW, automatic=True))
    device = apply(device, fetched(device))
    device = apply(device, checked(device, good=False))
    assert decide(device) is None
    assert remembered(device, NEW.version) is None
    assert ask(device, NEW, automatic=True)


def test_what_is_missing_is_passed_over() -> None:
    assert where(boot(Device(None, OLD, RECOVERY))) == ("passive", "1.0")
    assert where(boot(Device(None, None, RECOVERY))) == ("recovery", "0.8")
    assert boot(Device(None, None, None)).booted is None


def test_passive_that_does_not_come_up_gives_recovery_a_turn_and_tries_again() -> None:
    device = Device(None, BAD, RECOVERY)
    found = []
    for _ in range(2 * (TRIES + 1)):
        device = boot(power_lost(device))
        found.append(where(device)[0])
    assert found == (["passive"] * TRIES + ["recovery"]) * 2
    device = boot(power_lost(device))
    assert apply(device, healthy(device)[0]).pointer.spare == TRIES
