"""Cuts the power of a device in the middle of an upgrade, many times, and looks what comes back. No test.

python benchmarks/ota_powercut.py [--cuts 50] [--kills 10] [--firmware bios,efi] [--work DIR] [--seed 1]

A disk is installed in a virtual machine, and one upgrade of it recorded through QEMU's log of writes. For each cut that
disk is made anew up to a random write; of what came after the last flush a random part is dropped. Then it boots: it
has to come up by itself, in the old or the new version, and running the upgrade again has to end in the new one. A
kill ends the machine's process at a random instant instead, which loses nothing that QEMU was given, of an upgrade that
fetches its version from a repository on this machine.

With --work a later run goes on where this one stopped; else all is deleted in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import blklog, published, tinyguest
from benchmarks.tinyguest import Guest, Machine, raw

OLD, NEW = "1.0", "2.0"
DISK_MIB, LOG_MIB = 1536, 8192
LIMIT_S = 400

_INSTALL = """dmesg -n 1
mount -o ro /dev/vdd /mnt
treebuild device install /dev/vda /mnt/tiny-{old}.img --version {old} --firmware {firmware} -q
echo "TINY installed rc=$?"
"""
_SETTLE = """dmesg -n 1
treebuild device confirm --no-reboot -q; echo "TINY settled rc=$?"
"""
_FILE = """mount -o ro /dev/vdc /mnt
upgrade() {{ treebuild device upgrade /mnt/tiny-{new}.img --version {new} -q; }}
"""
_FETCHED = """echo '{configuration}' > /tmp/luet.yaml
upgrade() {{ treebuild device upgrade {package}@{new} --config /tmp/luet.yaml -q; }}
"""
_UPGRADE = """dmesg -n 1
{way}upgrade; echo "TINY upgraded rc=$?"
"""
# What an owner's timer does after a cut: the same again, until the new version runs and is good.
_AGAIN = """dmesg -n 1
{way}upgrade; echo "TINY rerun rc=$?"
if [ "$(cat /etc/tiny-version)" = {new} ]; then
  treebuild device confirm --no-reboot -q; echo "TINY confirmed rc=$?"
else
  sync; echo b > /proc/sysrq-trigger; sleep 60
fi
"""


@dataclass
class Outcome:
    """One cut. `first` is what booted after it, `last` what ran in the end; `fault` is empty when all was well."""

    what: str
    firmware: str
    at: int
    of: int
    dropped: int
    first: str
    last: str
    seconds: float
    fault: str
    fetched_mb: float = 0.0


class Bench:
    """A firmware's disk, its recorded upgrade, and the cuts of it."""

    def __init__(self, guest: Guest, firmware: str, work: Path, repository: Path) -> None:
        self._guest, self._firmware, self._work, self._repository = guest, firmware, work, repository
        work.mkdir(exist_ok=True)
        self._base, self._log = work / "installed", work / "log"
        self._results = work / "results.jsonl"
        self._payload = {v: self._packed(v) for v in (OLD, NEW)}

    def prepare(self) -> None:
        """Installs and records, unless an earlier run did."""
        done = self._work / "recorded"
        if done.exists():
            return
        guest = self._guest
        tinyguest.blank(self._base, DISK_MIB)
        job = self._job("install", _INSTALL.format(old=OLD, firmware=self._firmware))
        disks = [raw(self._base, "d0"), raw(guest.images[OLD], "d1", readonly=True), raw(job, "d2", readonly=True)]
        line = "console=ttyS0 quiet root=/dev/vdb panic=5"
        self._run(
            [*disks, raw(self._payload[OLD], "d3", readonly=True)], "installed rc=0", (guest.kernel, guest.initrd, line)
        )
        self._run([raw(self._base, "d0"), raw(self._job("settle", _SETTLE), "d1", readonly=True)], "settled rc=0")
        with self._copy() as disk:
            tinyguest.blank(self._log, LOG_MIB)
            self._run([blklog.blockdev(disk, self._log, "d0"), *self._upgrade()], "upgraded rc=0")
        done.touch()

    def outcomes(self) -> list[Outcome]:
        if not self._results.exists():
            return []
        return [Outcome(**json.loads(line)) for line in self._results.read_text().splitlines()]

    def cuts(self, count: int, seed: int) -> None:
        """Cuts at random writes; those of earlier runs count."""
        found = blklog.entries(self._log)
        writes = [at for at, entry in enumerate(found) if entry.is_write]
        for turn in range(count):
            rng = random.Random(f"{self._firmware} {seed} {turn}")
            at = rng.choice(writes) + 1
            kept = blklog.survivors(found, at, rng)
            if turn < sum(o.what == "cut" for o in self.outcomes()):
                continue
            with self._copy() as disk:
                blklog.replay(self._log, kept, disk)
                self._look("cut", disk, at, len(found), at - len(kept))

    def kills(self, count: int, seed: int) -> None:
        """Ends the machine at random instants of an upgrade that is fetched, of which one is left alone before."""
        done = sum(o.what == "kill" for o in self.outcomes())
        if done >= count:
            return
        with published.served(self._repository) as server:
            way = _FETCHED.format(configuration=server.configuration(), package=published.PACKAGE, new=NEW)
            job = raw(self._job("fetch", _UPGRADE.format(way=way)), "d1", readonly=True)

            def begun(disk: Path, limit_s: float) -> tuple[float, float, list[str]]:
                """An upgrade for so long: how long it was, MB that were fetched, and what it said."""
                before = server.sent
                with Machine([raw(disk, "d0"), job], efi=self._efi, net=True) as machine:
                    machine.until(("TINY slot=",), LIMIT_S)
                    start = time.monotonic()
                    machine.until(("TINY upgraded",), limit_s)
                    return time.monotonic() - start, (server.sent - before) / 1e6, machine.said

            with self._copy() as disk:
                whole_s, _, said = begun(disk, LIMIT_S)
            if not any("upgraded rc=0" in line for line in said):
                sys.exit("\n".join(["", *said[-40:], "nothing could be fetched"]))
            for turn in range(done, count):
                rng = random.Random(f"kill {self._firmware} {seed} {turn}")
                with self._copy() as disk:
                    seconds, fetched_mb, _ = begun(disk, rng.uniform(0.5, whole_s))
                    self._look("kill", disk, round(seconds * 1000), 0, 0, way, fetched_mb)

    def _look(
        self, what: str, disk: Path, at: int, of: int, dropped: int, way: str = "", fetched_mb: float = 0.0
    ) -> None:
        began = time.monotonic()
        job = self._job("again", _AGAIN.format(way=way or _FILE.format(new=NEW), new=NEW))
        first = last = fault = ""
        disks = [raw(disk, "d0"), raw(job, "d1", readonly=True)]
        if not way:
            disks.append(raw(self._payload[NEW], "d2", readonly=True))
        with Machine(disks, efi=self._efi, net=bool(way)) as machine:
            left = LIMIT_S + began - time.monotonic()
            while (line := machine.until(("TINY slot=", "TINY rerun", "TINY confirmed", "TINY end"), left)) != "":
                if "slot=" in line:
                    last = line.partition("TINY ")[2]
                    first = first or last
                elif "rc=" in line and not line.endswith("rc=0"):
                    fault = fault or line
                elif "TINY confirmed" in line:
                    break
                left = LIMIT_S + began - time.monotonic()
            else:
                fault = fault or "it did not come to its end"
            if not fault and (f"version={NEW}" not in last or not first):
                fault = f"in the end it ran {last or 'nothing'}"
            if fault:
                (self._work / f"console-{what}-{at}.txt").write_text("\n".join(machine.said))
        seconds = round(time.monotonic() - began, 1)
        found = Outcome(what, self._firmware, at, of, dropped, first, last, seconds, fault, fetched_mb)
        with self._results.open("a") as out:
            out.write(json.dumps(asdict(found)) + "\n")
        where = (
            f"{at} of {of}, {dropped} writes lost" if of else f"after {at / 1000:.1f} s, {fetched_mb:.1f} MB fetched"
        )
        print(
            f"{self._firmware:>5} {what:>5} {where:<36} {first:<30} {last:<30} {found.seconds:6.1f} s  {fault}",
            flush=True,
        )

    # parts ------------------------------------------------------------------------------------------------------------
    @property
    def _efi(self) -> bool:
        return self._firmware == "efi"

    def _upgrade(self) -> list[str]:
        job = self._job("upgrade", _UPGRADE.format(way=_FILE.format(new=NEW)))
        return [raw(job, "d1", readonly=True), raw(self._payload[NEW], "d2", readonly=True)]

    def _job(self, name: str, text: str) -> Path:
        return tinyguest.script(text, self._work / f"job-{name}")

    def _packed(self, version: str) -> Path:
        disk = self._work.parent / f"payload-{version}"
        if not disk.exists():
            tinyguest.payload(self._work, (self._guest.images[version],), disk)
        return disk

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        """The disk as it was installed, for one use."""
        disk = self._work / "disk"
        subprocess.run(["cp", "--sparse=always", str(self._base), str(disk)], check=True)
        try:
            yield disk
        finally:
            disk.unlink()

    def _run(self, disks: list[str], wanted: str, kernel: tuple[Path, Path, str] | None = None) -> None:
        with Machine(disks, efi=self._efi and kernel is None, kernel=kernel) as machine:
            machine.until(("TINY end",), LIMIT_S)
            machine.until(("TINY",), 10)  # it powers off, and QEMU writes its log to the end
            if not any(wanted in line for line in machine.said):
                sys.exit("\n".join(["", *machine.said[-40:], f"it did not say {wanted!r}"]))


def sizes(guest: Guest, work: Path, repository: Path) -> None:
    """What an upgrade moves, beside the image and a patch of the two images."""
    patch = guest.images[NEW].with_suffix(".patch")
    words = [
        "zstd",
        "-q",
        "-f",
        "-3",
        "--long=27",
        f"--patch-from={guest.images[OLD]}",
        str(guest.images[NEW]),
        "-o",
        str(patch),
    ]
    subprocess.run(words, check=True)
    full, small = guest.images[NEW].stat().st_size / 1e6, patch.stat().st_size / 1e6
    with tempfile.TemporaryDirectory(dir=work) as name:
        whole, changed = published.moved(Path(name), repository, (OLD, NEW))
    fetched = f"the first upgrade moves {whole / 1e6:.1f} MB, and the next {changed / 1e6:.3f} MB"
    print(f"the image has {full:.1f} MB; {fetched}; zstd makes a patch of {small:.3f} MB of the two images", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=50, help="of each firmware (default: 50)")
    parser.add_argument("--kills", type=int, default=10, help="of each firmware (default: 10)")
    parser.add_argument("--firmware", default="bios,efi")
    parser.add_argument("--work", type=Path, help="where disks and results stay")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="treebuild-powercut-") as name:
        work = (args.work or Path(name)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        guest = tinyguest.build(work, (OLD, NEW))
        repository = published.publish(work / "repository", guest.images)
        sizes(guest, work, repository)
        benches = [Bench(guest, firmware, work / firmware, repository) for firmware in args.firmware.split(",")]

        def whole(bench: Bench) -> list[Outcome]:
            bench.prepare()
            bench.cuts(args.cuts, args.seed)
            bench.kills(args.kills, args.seed)
            return bench.outcomes()

        # A machine without acceleration takes one processor.
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            outcomes = [outcome for found in pool.map(whole, benches) for outcome in found]
        for firmware in args.firmware.split(","):
            for what in ("cut", "kill"):
                mine = [o for o in outcomes if (o.firmware, o.what) == (firmware, what)]
                old = sum(f"version={OLD}" in o.first for o in mine)
                new = sum(f"version={NEW}" in o.first for o in mine)
                lost = sum(bool(o.fault) for o in mine)
                booted = f"booted old {old:3}   booted new {new:3}"
                print(f"{firmware:>5} {what}s: {len(mine):3}   {booted}   not well {lost:3}")
        sys.exit(1 if any(o.fault for o in outcomes) else 0)


if __name__ == "__main__":
    main()
