"""The text of grub.cfg: what `rules.boot` says, in GRUB's language. A pure function.

GRUB counts down, and writes, before it starts anything, and in the entry that is started: who picks another one in the
menu counts nothing. An entry whose commands fail falls to the next one. File systems are searched by UUID, on the disk
that GRUB was read from first; labels are what is left when the UUID is not there (a partition that was made anew), and
count on that disk alone.
Source: os-and-ota facts 4.3-4.4; GRUB manual. `-s` follows links, `-f` and `-e` do not.
"""

from __future__ import annotations

from treebuilder.device import places
from treebuilder.device.grubenv import LEFT, SPARE, START, TRIAL
from treebuilder.device.slots import LINKS
from treebuilder.device.states import TRIES, Slot
from treebuilder.records import record

ENTRIES = {Slot.ACTIVE: "cos", Slot.PASSIVE: "fallback", Slot.RECOVERY: "recovery"}  # ids of the menu, as cOS has them
DEADLINE_S = 900  # how long a version may take to show that it is good, until the machine starts anew

# A version that crashes comes back by itself. One that hangs is ended by the deadline that the initrd sets.
TRIAL_WORDS = "panic=5 rd.emergency=reboot rd.shell=0 systemd.crash_reboot systemd.crash_shell=0"

# No further console: images have the screen's already, and the last one named is the main one.
_SCREEN = ("", "tty1", "console")

_HEAD = """\
# Made by treebuild when this device was installed; only another installation writes it. Own entries go to /grubcustom.
insmod part_gpt
insmod part_msdos
insmod ext2
insmod loopback
insmod squash4
insmod gzio
insmod regexp
insmod loadenv
insmod search_fs_uuid
insmod search_label
insmod probe
if [ "$grub_platform" = efi ]; then insmod efi_gop; insmod efi_uga; fi
if serial --unit=0 --speed=115200; then
  terminal_input --append serial
  terminal_output --append serial
fi
set timeout={timeout}

# Partitions: by UUID, on the disk that this file was read from first.
set tb_disk="$root"
regexp --set=1:tb_disk '^([^,]+)' "$root"
{searches}
if [ -z "$tb_state" ]; then set tb_state="$root"; fi
set tb_cos="($tb_state)/{folder}"
set tb_recovery_cos="($tb_recovery)/{folder}"
set tb_block="($tb_state)/{block}"

# What the owner and the maker of the image wish.
for tb_file in "($tb_state)/{oem_env}" "($tb_oem)/{oem_env}" "($tb_oem)/{grubenv}"; do
  if [ -s "$tb_file" ]; then load_env --file "$tb_file"; fi
done
set tb_picked=
if [ -n "$next_entry" ]; then
  set tb_picked="$next_entry"
  set next_entry=
  # When it cannot be cleared it would be picked for ever.
  if save_env --file "($tb_oem)/{grubenv}" next_entry; then true; else set tb_picked=; fi
elif [ "$saved_entry" != "" -a "$saved_entry" != cos -a "$saved_entry" != 0 ]; then
  set tb_picked="$saved_entry"
fi
"""

_CHOICE = """\
function tb_save {{
  save_env --file "$tb_block" {left} {spare}
}}
function tb_choose {{
  set tb_choice=
  unset {start}; unset {left}; unset {spare}; unset {trial}
  if [ -s "$tb_block" ]; then load_env --file "$tb_block" {start} {left} {spare} {trial}; fi
  if [ -z "${start}" ]; then set {start}=active; fi
  if [ -z "${spare}" ]; then set {spare}={tries}; fi
  if [ "${start}" = active -a -s "$tb_cos/{active}" ]; then
    if [ -z "${left}" ]; then
      set tb_choice={cos}
    elif [ {some_left} ]; then
      # What cannot be counted is not tried: what is there is written once more, to see whether it can be.
      if tb_save; then set tb_choice={cos}; fi
    fi
  fi
  if [ -z "$tb_choice" -a -s "$tb_cos/{passive}" ]; then
    if [ {some_spare} ]; then set tb_choice={fallback}; fi
  fi
  if [ -z "$tb_choice" -a -s "$tb_recovery_cos/{recovery}" ]; then set tb_choice={rescue}; fi
  if [ -z "$tb_choice" -a -s "$tb_cos/{passive}" ]; then set tb_choice={fallback}; fi
}}
function tb_count_active {{
  set tb_before="${left}"
{count_left}
  fi
  if tb_save; then return 0; fi
  set {left}="$tb_before"
  return 1
}}
function tb_count_passive {{
  set tb_counted=1
{count_spare}
  else
    set tb_counted=
  fi
  if [ "$tb_counted" = 1 ]; then tb_save; fi
}}
# tb_begin ENTRY: it is started now. Only what was chosen above is counted, and not what is picked instead of it.
function tb_begin {{
  if [ "$1" != "$tb_choice" ]; then return 0; fi
  if [ "$1" = {cos} -a -n "${left}" ]; then
    if tb_count_active; then return 0; else return 1; fi
  fi
  if [ "$1" = {fallback} ]; then tb_count_passive; fi
  if [ "$1" = {rescue} ]; then
    set {spare}={tries}
    tb_save
    set tb_words_recovery={by_itself}
  fi
  return 0
}}
"""

_DECISION = """\
if [ -n "$tb_picked" ]; then
  set default="$tb_picked"
  set fallback="0 1 2"
else
  tb_choose
  set default="$tb_choice"
  if [ "$tb_choice" = {cos} ]; then
    set fallback="1 2"
    if [ -n "${left}" ]; then set tb_words_active="{words} $tb_deadline_word"; fi
  elif [ "$tb_choice" = {fallback} ]; then
    set fallback="2 0"
    set tb_words_passive="{words} $tb_deadline_word"
  else
    # Recovery; or nothing is left, and what is there is tried all the same.
    set fallback="1 0"
    if [ -z "$tb_choice" ]; then set default=0; fi
  fi
fi
if [ -n "$default_fallback" ]; then set fallback="$default_fallback"; fi
"""

_MENU = """\
set tb_title="$default_menu_entry"
if [ -z "$tb_title" ]; then set tb_title="{title}"; fi

# tb_start_image PARTITION FILE WORDS: the image says its kernel, its initrd and its words.
function tb_start_image {{
  if [ "$tb_looped" = 1 ]; then loopback -d loop0; fi
  set tb_looped=
  if loopback loop0 "($1)$2"; then set tb_looped=1; else return 1; fi
  if [ -s (loop0)/etc/cos/bootargs.cfg ]; then true; else return 1; fi
  set img="$2"
  set root=loop0
  probe --set=tb_uuid --fs-uuid "($1)"
  set tb_root="UUID=$tb_uuid"
  # An image that is a file system of its own has a label, and is mounted by it.
  set tb_label=
  probe --set=tb_label --label (loop0)
  if [ -n "$tb_label" ]; then set label="$tb_label"; fi
  source (loop0)/etc/cos/bootargs.cfg
  if [ -s "(loop0)$initramfs" ]; then true; else return 1; fi
  linux (loop0)$kernel $kernelcmd{tty} $extra_cmdline $3
  initrd (loop0)$initramfs
}}
menuentry "$tb_title" --id {cos} {{
  # Whatever falls back from here did not choose passive before, so it is counted now; but not an owner's choice.
  if [ -z "$tb_picked" ]; then set tb_fell=1; fi
  set label="$active_label"
  if [ -z "$label" ]; then set label=COS_ACTIVE; fi
  set recoverylabel=
  if tb_begin {cos}; then
    tb_start_image "$tb_state" /{folder}/{active} "$extra_active_cmdline $tb_words_active"
  else
    false
  fi
}}
menuentry "$tb_title (fallback)" --id {fallback} {{
  set tb_go=1
  if [ "$tb_fell" = 1 ]; then
    tb_count_passive
    if [ -z "$tb_counted" ]; then
      # As the rules have it: recovery takes its turn, then passive may try again.
      set {spare}={tries}
      tb_save
      set tb_words_recovery={by_itself}
      if [ -s "$tb_recovery_cos/{recovery}" ]; then set tb_go=; fi
    fi
    set tb_fell=
    set tb_words_passive="{words} $tb_deadline_word"
  else
    tb_begin {fallback}
  fi
  set label="$passive_label"
  if [ -z "$label" ]; then set label=COS_PASSIVE; fi
  set recoverylabel=
  if [ "$tb_go" = 1 ]; then
    tb_start_image "$tb_state" /{folder}/{passive} "$extra_passive_cmdline $tb_words_passive"
  else
    false
  fi
}}
menuentry "$tb_title (recovery)" --id {rescue} {{
  tb_begin {rescue}
  set label="$system_label"
  if [ -z "$label" ]; then set label=COS_SYSTEM; fi
  set recoverylabel="$recovery_label"
  if [ -z "$recoverylabel" ]; then set recoverylabel={recovery_label}; fi
  tb_start_image "$tb_recovery" /{folder}/{recovery} "$extra_recovery_cmdline $tb_words_recovery"
}}
for tb_file in "($tb_oem)/grubmenu" "($tb_state)/grubmenu" "($tb_state)/grubcustom"; do
  if [ -s "$tb_file" ]; then source "$tb_file"; fi
done
"""


@record
class GrubConfig:
    """What grub.cfg depends on. UUIDs are those of the file systems; `tty` is one more console, by its short name."""

    state_uuid: str
    recovery_uuid: str
    oem_uuid: str
    tty: str = ""
    title: str = "cOS"
    timeout_s: int = 5
    deadline_s: int = DEADLINE_S


def grub_cfg(config: GrubConfig) -> str:
    """The whole file."""
    names = _names()
    tty = f" console={_word(config.tty)}" if config.tty not in _SCREEN else ""
    head = _HEAD.format(
        timeout=config.timeout_s, folder=places.SLOT_FOLDER, block=places.BOOT_BLOCK, oem_env=places.OEM_ENV,
        grubenv=places.OEM_GRUBENV, searches="\n".join(_searches(config)),
    )  # fmt: skip
    menu = _MENU.format(title=_title(config.title), tty=tty, **names)
    return "\n".join([head, choice(), _deadline(config), _DECISION.format(**names), menu])


def stub_cfg(state_uuid: str) -> str:
    """What lies beside the loader on the EFI partition, or inside it: it finds the whole file."""
    return (
        "regexp --set=1:tb_disk '^([^,]+)' \"$root\"\n"
        f'search --no-floppy --fs-uuid --hint "$tb_disk," --set=root {_word(state_uuid)}\n'
        f"set prefix=($root)/{places.GRUB_FOLDERS[0]}\n"
        "configfile $prefix/grub.cfg\n"
    )


def choice() -> str:
    """The functions that read `$tb_block`, look into `$tb_cos` and `$tb_recovery_cos`, and set `$tb_choice`; and the
    one that counts when an entry is started."""
    return _CHOICE.format(
        start=START, trial=TRIAL, count_left=_counted(LEFT), count_spare=_counted(SPARE), some_left=_some(LEFT),
        some_spare=_some(SPARE), **_names(),
    )  # fmt: skip


def _some(name: str) -> str:
    """The condition that something is left of a count: GRUB does not compare numbers that are none."""
    return " -o ".join(f'"${name}" = {count}' for count in range(TRIES, 0, -1))


def _counted(name: str) -> str:
    """One less, without the end: GRUB does not calculate."""
    return "\n".join(
        f'  {"if" if count == TRIES else "elif"} [ "${name}" = {count} ]; then\n    set {name}={count - 1}'
        for count in range(TRIES, 0, -1)
    )


def _names() -> dict[str, str]:
    return {
        "left": LEFT, "spare": SPARE, "tries": str(TRIES), "folder": places.SLOT_FOLDER, "words": TRIAL_WORDS,
        "active": LINKS[Slot.ACTIVE], "passive": LINKS[Slot.PASSIVE], "recovery": LINKS[Slot.RECOVERY],
        "cos": ENTRIES[Slot.ACTIVE], "fallback": ENTRIES[Slot.PASSIVE], "rescue": ENTRIES[Slot.RECOVERY],
        "recovery_label": places.RECOVERY, "by_itself": places.BY_ITSELF_WORD,
    }  # fmt: skip


def _searches(config: GrubConfig) -> list[str]:
    lines = []
    for variable, uuid, label in (
        ("tb_state", config.state_uuid, places.STATE),
        ("tb_recovery", config.recovery_uuid, places.RECOVERY),
        ("tb_oem", config.oem_uuid, places.OEM),
    ):
        search = f'search --no-floppy --hint "$tb_disk," --set={variable}'
        lines += [
            f"{search} --fs-uuid {_word(uuid)}",
            f'if [ -z "${variable}" ]; then',
            f"  {search} --label {label}",
            "  # A hint says where to look first, and not where to stop: another disk's is another system's.",
            "  set tb_found=",
            f"  regexp --set=1:tb_found '^([^,]+)' \"${variable}\"",
            f'  if [ "$tb_found" != "$tb_disk" ]; then set {variable}=; fi',
            "fi",
        ]
    return lines


def _deadline(config: GrubConfig) -> str:
    return (
        f'if [ -z "$tb_deadline" ]; then set tb_deadline={config.deadline_s}; fi\n'
        'set tb_deadline_word="rd.cos.deadline=$tb_deadline"\n'
    )


def _word(text: str) -> str:
    """A word that means nothing to GRUB but itself."""
    assert text, "an empty word"
    assert all(char.isalnum() or char in "-_,." for char in text), text
    return text


def _title(text: str) -> str:
    """For use between double quotes."""
    return "".join(f"\\{char}" if char in '\\"$' else char for char in text if char.isprintable())
