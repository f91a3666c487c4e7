"""A fleet that follows a rollout, hour by hour, by the rules of the device and of the channel as they are. No test.

python benchmarks/fleet.py [--devices 1000000] [--hours 96] [--bad 30] [--limit 100:2%] [--no-halt] [--seed 1] [--json]

Hour 0: everybody runs 1.0, and 2.0 is published, which does not come up on some devices. A watcher counts the results
once an hour and halts the channel at the limit; twelve hours later 3.0 is published, which is good. A device asks every
six hours, and has bad luck now and then: no network, a broken download, a power cut between two writes, days offline.

Devices of equal state, place in the rollout, hour of asking and luck are moved as one, for the rules are functions of
exactly that; tests/unit/test_fleet.py moves each alone and gets the same table.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from treebuilder.app.channels import parse_limit
from treebuilder.channel import publishing
from treebuilder.channel.publishing import Growth, Release, Terms
from treebuilder.channel.rules import Channel, Counts, Limit, Verdict, must_halt, place, share_at
from treebuilder.device import rules
from treebuilder.device.following import offered
from treebuilder.device.rules import Check, Fetch, Link, Point, Remember
from treebuilder.device.states import Device, Image, Slot
from treebuilder.errors import UpdateRefused
from treebuilder.model.digest import Digest
from treebuilder.records import asdict, record, replace

HOUR = 3600
ASKS_EVERY = 6  # hours
REPAIRED_AFTER = 12  # hours from the halt to the next version
STEPS = ((0, 100), (6, 1000), (12, 5000), (24, 10_000))  # hours, hundredths of a percent


def image(version: str) -> Image:
    return Image(version, Digest.of(version.encode()))


OLD, BAD, NEW = image("1.0"), image("2.0"), image("3.0")
FRESH = rules.boot(Device(OLD, OLD, image("1.0-recovery")))


@record
class Luck:
    """What happens to a device: `fate` of 2.0 there (good, crash, health), and one mishap of its first upgrade.

    `mishap`: "" or network, download, cut; `at`: after which write the power is cut; `offline` until an hour.
    """

    fate: str = "good"
    mishap: str = ""
    at: int = 0
    offline: int = 0


@record
class Outcome:
    """A device after it was offered a version, and what it reports: good, failed or nothing."""

    device: Device
    report: str
    cuts: int


@record
class Row:
    """The fleet at the end of an hour."""

    hour: int
    share: int
    halted: bool
    running: tuple[tuple[str, int], ...]
    on_passive: int
    remembered: int
    good: int
    failed: int
    refused: int
    cuts: int


# one device ----------------------------------------------------------------------------------------------------------
def settled(device: Device, luck: Luck) -> Device:
    """Power comes back: boots until something stays up, as the boot loader and the first service do it."""
    while True:
        device = rules.boot(rules.power_lost(device))
        if device.running == BAD and luck.fate == "crash":
            continue
        for write in rules.settle(device):
            device = rules.apply(device, write)
        unwell = device.running == BAD and luck.fate == "health"
        for write in rules.unhealthy(device) if unwell else rules.healthy(device):
            device = rules.apply(device, write)
        if not unwell:
            return device


def follow(device: Device, wanted: Image, luck: Luck) -> Outcome:
    """A device is offered a version, and does what its rules say. Raises UpdateRefused."""
    writes, cuts = 0, 0
    left = list(rules.ask(device, wanted, automatic=True))
    while True:
        if not left:
            action = rules.decide(device)
            match action:
                case None:
                    break
                case Fetch():
                    if luck.mishap == "network":
                        return Outcome(device, "", cuts)  # the plan stays, and goes on when it asks again
                    action = rules.fetched(device)
                case Check():
                    action = rules.checked(device, good=luck.mishap != "download")
                case Link() | Point() | Remember():
                    pass
            left = [action]
        device = rules.apply(device, left.pop(0))
        writes += 1
        if luck.mishap == "cut" and writes == luck.at:
            device, left, cuts = settled(device, luck), [], cuts + 1
    if device.active != wanted or luck.mishap == "download":
        return Outcome(device, "", cuts)
    device = settled(device, luck)
    return Outcome(device, "good" if device.running == wanted else "failed", cuts)


# the fleet -----------------------------------------------------------------------------------------------------------
Group = tuple[Device, int, int, Luck, int]  # state, place, hour of asking, luck, and its number when it goes alone


class Fleet:
    """Devices in groups of equals. `alone`: each device is a group."""

    def __init__(self, count: int, bad: float, seed: int, *, alone: bool = False) -> None:
        chance = random.Random(seed)
        self.ids = [f"{chance.getrandbits(128):032x}" for _ in range(count)]
        self._alone = alone
        self.groups: dict[Group, list[int]] = {}
        known: dict[Luck, Luck] = {}
        for number in range(count):
            luck = _luck(chance, bad)
            key = (FRESH, 0, chance.randrange(ASKS_EVERY), known.setdefault(luck, luck), number if alone else 0)
            self.groups.setdefault(key, []).append(number)

    def placed(self, snapshot: str) -> None:
        """Everybody's place in the rollout of another snapshot."""
        old, self.groups = self.groups, {}
        for (device, _, phase, luck, number), members in old.items():
            for member in members:
                key = (device, place(self.ids[member], snapshot), phase, luck, number)
                self.groups.setdefault(key, []).append(member)

    def moved(self, moves: Iterable[tuple[Group, Group]]) -> None:
        for old, new in moves:
            assert old != new
            self.groups.setdefault(new, []).extend(self.groups.pop(old))


def _luck(chance: random.Random, bad: float) -> Luck:
    fate = chance.choice(("crash", "health")) if chance.random() * 100 < bad else "good"
    draw = chance.random()
    if draw < 0.02:
        return Luck(fate, "network")
    if draw < 0.03:
        return Luck(fate, "download")
    if draw < 0.05:
        return Luck(fate, "cut", chance.randrange(1, 8))
    return Luck(fate, offline=chance.randrange(12, 72, 12) if draw < 0.08 else 0)


class Simulation:
    """Time, the channel, and the results that were posted."""

    def __init__(self, fleet: Fleet, limit: Limit, *, halts: bool) -> None:
        self._fleet, self._halts = fleet, halts
        self._outcomes: dict[tuple[Device, Image, Luck], Outcome] = {}
        self._counts = Counts()
        self._cuts = self._refused = 0
        self._repaired_at: int | None = None
        self._terms = Terms(report_url="https://results.example/", limit=limit)
        self._wanted = BAD
        self.channel = self._published(None, 0)
        self.states: set[Device] = {FRESH}

    def _published(self, before: Channel | None, hour: int) -> Channel:
        snapshot = f"s{self._wanted.version}"
        self._fleet.placed(snapshot)
        steps = tuple(Growth(after * HOUR, share) for after, share in STEPS)
        release = Release("system/os", snapshot, self._wanted.digest, self._wanted.version)
        self._counts = Counts()
        return publishing.publish(before, "stable", release, replace(self._terms, steps=steps), hour * HOUR)

    def hour(self, hour: int) -> Row:
        """What happens in an hour: the author, the devices, the watcher."""
        if hour == self._repaired_at:
            self._wanted = NEW
            self.channel = self._published(self.channel, hour)
        self._asked(hour)
        if self._halts and not self.channel.halted and must_halt(self._counts, self.channel.limit):
            self.channel = publishing.halt(self.channel, "too many failures", hour * HOUR)
            self._repaired_at = hour + REPAIRED_AFTER
        return self._row(hour)

    def _asked(self, hour: int) -> None:
        now, moves = hour * HOUR, []
        good, failed = self._counts.good, self._counts.failed
        for group, members in self._fleet.groups.items():
            device, at, phase, luck, number = group
            if hour % ASKS_EVERY != phase or hour < luck.offline:
                continue
            try:
                if offered(device, self.channel, at, self.channel.revision, now) is not Verdict.OFFERED:
                    continue
                outcome = self._outcome(device, luck)
            except UpdateRefused as err:
                if err.reason != "failed-before":
                    raise
                self._refused += len(members)
                continue
            self._cuts += outcome.cuts * len(members)
            good += len(members) if outcome.report == "good" else 0
            failed += len(members) if outcome.report == "failed" else 0
            self.states.add(outcome.device)
            moves.append((group, (outcome.device, at, phase, replace(luck, mishap="", at=0), number)))
        self._fleet.moved(moves)
        self._counts = Counts(good, failed)

    def _outcome(self, device: Device, luck: Luck) -> Outcome:
        key = (device, self._wanted, luck)
        if key not in self._outcomes:
            self._outcomes[key] = follow(*key)
        return self._outcomes[key]

    def _row(self, hour: int) -> Row:
        running: Counter[str] = Counter()
        on_passive = remembered = 0
        for (device, *_), members in self._fleet.groups.items():
            assert device.running is not None
            running[device.running.version] += len(members)
            on_passive += len(members) if device.booted is Slot.PASSIVE else 0
            remembered += len(members) if device.memory.failed else 0
        channel = self.channel
        return Row(
            hour, 0 if channel.halted else share_at(channel, hour * HOUR), channel.halted,
            tuple((found.version, running[found.version]) for found in (OLD, BAD, NEW)), on_passive, remembered,
            self._counts.good, self._counts.failed, self._refused, self._cuts,
        )  # fmt: skip


def simulate(
    devices: int, hours: int, bad: float, limit: Limit, seed: int, *, halts: bool = True, alone: bool = False
) -> tuple[list[Row], Simulation]:
    """The fleet at the end of each hour."""
    found = Simulation(Fleet(devices, bad, seed, alone=alone), limit, halts=halts)
    return [found.hour(hour) for hour in range(hours)], found


def main() -> int:
    parser = argparse.ArgumentParser(description="a fleet that follows a rollout")
    parser.add_argument("--devices", type=int, default=1_000_000)
    parser.add_argument("--hours", type=int, default=96)
    parser.add_argument(
        "--bad", type=float, default=30.0, help="on how many percent of the devices 2.0 does not come up"
    )
    parser.add_argument("--limit", default="100:2%", help="when the channel is halted")
    parser.add_argument("--no-halt", action="store_true", help="nobody watches")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    begin = time.monotonic()
    limit = parse_limit(args.limit)
    rows, found = simulate(args.devices, args.hours, args.bad, limit, args.seed, halts=not args.no_halt)
    took = time.monotonic() - begin
    if args.json:
        print(json.dumps([{**asdict(row), "running": dict(row.running)} for row in rows]))
        return 0
    print("hour  offered     1.0      2.0      3.0  on passive  remembered  results: good/failed  refused  power cuts")
    for row in rows:
        share = "halted" if row.halted else f"{row.share / 100:g} %"
        versions = "".join(f"{count:>9}" for _, count in row.running)
        print(
            f"{row.hour:4}{share:>9}{versions}{row.on_passive:>12}{row.remembered:>12}"
            f"{f'{row.good}/{row.failed}':>22}{row.refused:>9}{row.cuts:>12}"
        )
    print(
        f"{args.devices} devices, {args.hours} hours in {took:.1f} s; {len(found.states)} different states of a device"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
