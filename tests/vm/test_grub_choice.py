"""grub.cfg does what `rules.boot` does: GRUB is asked, for every pointer and every set of slots that are there."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from tests.services import installed, program
from tests.vm.grub_disk import make_disk, serial_output, serial_typed
from treebuilder.device import grubcfg
from treebuilder.device.grubenv import GrubControl, encode
from treebuilder.device.rules import boot
from treebuilder.device.slots import LINKS
from treebuilder.device.states import TRIES, Device, Image, Pointer, Slot
from treebuilder.model.digest import Digest
from treebuilder.records import replace

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
for tb_entry in cos fallback recovery; do
  if [ "$tb_entry" != "$tb_choice" ]; then tb_begin $tb_entry; fi
done
unset tb_start; unset tb_left; unset tb_spare; unset tb_trial
load_env --file "$tb_block" tb_start tb_left tb_spare tb_trial
echo "picked {n} $tb_start/$tb_left/$tb_spare"
tb_begin "$tb_choice"
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


def said(pointer: Pointer) -> str:
    return f"{pointer.start}/{'' if pointer.left is None else pointer.left}/{pointer.spare}"


def expected(number: int, pointer: Pointer, present: frozenset[Slot]) -> tuple[str, str, str]:
    active, passive, recovery = (IMAGE if slot in present else None for slot in Slot)
    after = boot(Device(active, passive, recovery, pointer))
    chosen = grubcfg.ENTRIES[after.booted] if after.booted is not None else ""
    trial = after.pointer.trial.hex if after.pointer.trial is not None else ""
    case = f"case {number} {chosen}: {said(after.pointer)}"
    return f"picked {number} {said(pointer)}", case, f"trial {trial}".rstrip()


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
    output = serial_output(make_disk(tmp_path, files, uuid=UUID))
    lines = [line.rstrip() for line in output.splitlines() if line.startswith(("picked ", "case ", "trial "))]
    assert "the end" in output
    assert lines == [line for number, case in enumerate(CASES) for line in expected(number, *case)]
    assert len(lines) == 960


# the menu -------------------------------------------------------------------------------------------------------------
# Takes the place of the function that starts an image: says what would be started, and what the disk says then.
START = """
function tb_start_image {
  if [ "$2" = "$tb_broken" ]; then return 1; fi
  unset tb_start; unset tb_left; unset tb_spare
  load_env --file "$tb_block" tb_start tb_left tb_spare
  echo
  echo "started $2 $tb_start/$tb_left/$tb_spare $3"
  halt
}
"""
MENU_S = 8
UP, DOWN, ENTER = "\x10", "\x0e", "\r"


class Menu:
    """A disk with the whole grub.cfg, that somebody sits at. Image files are not needed."""

    def __init__(self, folder: Path, pointer: Pointer, *, broken: str = "", grubenv: str = "") -> None:
        make_case(folder / "files/cOS", pointer, frozenset(Slot))
        config = grubcfg.grub_cfg(grubcfg.GrubConfig(UUID, UUID, UUID, timeout_s=MENU_S))
        (folder / "files/grub2").mkdir()
        (folder / "files/grub2/grub.cfg").write_text(f"{config}{START}set tb_broken={broken}\n")
        (folder / "files/grubenv").write_bytes(encode({"next_entry": grubenv}))
        self._disk = make_disk(folder, folder / "files", uuid=UUID)

    def start(self, keys: str = "", *, read_only: bool = False) -> str:
        """What is started, and what the block says then; with ` trial` when it was told that it is on trial, and
        ` by itself` when it was told that nobody picked it."""
        output = serial_typed(self._disk, "(recovery)", keys, read_only=read_only)
        found = re.search(r"started /cOS/(\w+)\S* (\S+)(.*)", output)
        assert found is not None, output
        told = {"panic=5": " trial", "cos.fallback": " by itself"}
        return f"{found[1]} {found[2]}{''.join(said for word, said in told.items() if word in found[3].split())}"


ARMED = Pointer(Slot.ACTIVE, TRIES, TRIES, IMAGE.digest)


@pytest.fixture
def grub() -> None:
    program("grub-mkimage", "grub-common")
    installed(Path("/usr/lib/grub/i386-pc").is_dir(), "grub-pc-bin")


@pytest.mark.usefixtures("grub")
@pytest.mark.timeout(300)
def test_picking_by_hand_uses_up_no_try_of_another_version(tmp_path: Path) -> None:
    menu = Menu(tmp_path, ARMED)
    assert menu.start(DOWN + DOWN + ENTER) == "recovery active/3/3"
    assert menu.start(DOWN + ENTER) == "passive active/3/3"
    assert menu.start() == "active active/2/3 trial"
    assert menu.start(DOWN + UP + ENTER) == "active active/1/3 trial", "what is on trial is counted as it is started"
    assert [menu.start(), menu.start()] == ["active active/0/3 trial", "passive active/0/2 trial"]


@pytest.mark.usefixtures("grub")
@pytest.mark.timeout(300)
def test_what_would_have_come_by_itself_comes_the_next_time(tmp_path: Path) -> None:
    for number, (pointer, keys, picked, itself) in enumerate([
        (Pointer(Slot.PASSIVE, spare=2), UP + ENTER, "active passive//2", "passive passive//1 trial"),
        (Pointer(Slot.PASSIVE, spare=0), UP + ENTER, "passive passive//0", "recovery passive//3 by itself"),
        (Pointer(), DOWN + ENTER, "passive active//3", "active active//3"),
    ]):  # fmt: skip
        menu = Menu(tmp_path / str(number), pointer)
        assert [menu.start(keys), menu.start()] == [picked, itself]


@pytest.mark.usefixtures("grub")
@pytest.mark.timeout(300)
def test_an_image_that_cannot_be_read_is_counted_and_falls_to_passive(tmp_path: Path) -> None:
    menu = Menu(tmp_path / "some", ARMED, broken="/cOS/active.img")
    assert menu.start() == "passive active/2/2 trial"
    menu = Menu(tmp_path / "none", replace(ARMED, spare=0), broken="/cOS/active.img")
    assert menu.start() == "recovery active/2/3 by itself"


@pytest.mark.usefixtures("grub")
@pytest.mark.timeout(300)
def test_the_owners_choice_counts_nothing_also_when_it_falls(tmp_path: Path) -> None:
    for name, broken, expected in (("good", "", "active active/3/3"), ("bad", "/cOS/active.img", "passive active/3/3")):
        menu = Menu(tmp_path / name, ARMED, broken=broken, grubenv="cos")
        assert menu.start() == expected


@pytest.mark.usefixtures("grub")
@pytest.mark.timeout(300)
def test_what_cannot_be_counted_is_not_tried(tmp_path: Path) -> None:
    menu = Menu(tmp_path, ARMED)
    assert menu.start(read_only=True) == "passive active/3/3 trial"
