"""grub.cfg does what `rules.boot` does: GRUB is asked, for every pointer and every set of slots that are there."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.services import installed, program
from tests.vm.grub_disk import make_disk, serial_output
from treebuilder.device import grubcfg
from treebuilder.device.grubenv import GrubControl
from treebuilder.device.rules import boot
from treebuilder.device.slots import LINKS
from treebuilder.device.states import TRIES, Device, Image, Pointer, Slot
from treebuilder.model.digest import Digest

pytestmark = pytest.mark.vm
IMAGE = Image("1", Digest.of(b"x"))
UUID = "5a1f0c1e-7b70-4a5e-9d57-0d6a4d0f7c11"
POINTERS = [
    Pointer(start, left, spare, trial)
    for start, (left, trial), spare in product(
        (Slot.ACTIVE, Slot.PASSIVE),
        [(None, None), *((left, IMAGE.digest) for left in range(TRIES + 1))],
        range(TRIES + 1),
    )
]
PRESENT = [
    frozenset(slot for slot, there in zip(Slot, bits, strict=True) if there) for bits in product((0, 1), repeat=3)
]
CASES = list(product(POINTERS, PRESENT))

ASK = """
set tb_block="($root)/{n}/boot.env"
set tb_cos="($root)/{n}"
set tb_recovery_cos="($root)/{n}"
tb_choose
load_env --file "$tb_block" tb_start tb_left tb_spare tb_trial
echo "case {n} $tb_choice: $tb_start/$tb_left/$tb_spare"
echo "trial $tb_trial"
"""


def make_case(folder: Path, pointer: Pointer, present: frozenset[Slot]) -> None:
    folder.mkdir(parents=True)
    GrubControl(folder / "boot.env").write(pointer)
    (folder / "images").mkdir()
    (folder / "images" / "one.img").write_bytes(b"x")
    for slot in Slot:
        # A link to a file that is gone is no slot.
        name = "one.img" if slot in present else "gone.img"
        if slot in present or slot is Slot.PASSIVE:
            (folder / LINKS[slot]).symlink_to(f"images/{name}")


def expected(number: int, pointer: Pointer, present: frozenset[Slot]) -> tuple[str, str]:
    active, passive, recovery = (IMAGE if slot in present else None for slot in Slot)
    after = boot(Device(active, passive, recovery, pointer))
    chosen = grubcfg.ENTRIES[after.booted] if after.booted is not None else ""
    left = "" if after.pointer.left is None else after.pointer.left
    trial = after.pointer.trial.hex if after.pointer.trial is not None else ""
    return f"case {number} {chosen}: {after.pointer.start}/{left}/{after.pointer.spare}", f"trial {trial}".rstrip()


@pytest.mark.timeout(300)
def test_grub_chooses_counts_and_writes_as_the_rules_do(tmp_path: Path) -> None:
    program("grub-mkimage", "grub-common")
    installed(Path("/usr/lib/grub/i386-pc").is_dir(), "grub-pc-bin")
    files = tmp_path / "files"
    script = ["serial --unit=0 --speed=115200", "terminal_output serial", grubcfg.choice(), "echo"]
    for number, (pointer, present) in enumerate(CASES):
        make_case(files / str(number), pointer, present)
        script.append(ASK.format(n=number))
    (files / "grub2").mkdir()
    (files / "grub2" / "grub.cfg").write_text("\n".join([*script, "echo the end", "halt"]))
    said = serial_output(make_disk(tmp_path, files, uuid=UUID))
    lines = [line.rstrip() for line in said.splitlines() if line.startswith(("case ", "trial "))]
    assert "the end" in said
    assert lines == [line for number, case in enumerate(CASES) for line in expected(number, *case)]
    assert len(lines) == 640
