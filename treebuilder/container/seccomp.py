"""A seccomp filter for steps: calls that reach the kernel itself are answered with EPERM.

The capability list already stops them for real; the filter also covers what needs no capability (keyrings, io_uring,
bpf, perf, userfaultfd, new namespaces). A denied list rather than an allowed one, because steps run arbitrary tools.
Written as classic BPF (seccomp(2), struct sock_filter) for the architectures we run on.
"""

from __future__ import annotations

import functools
import os
import struct

_LOAD, _JUMP_EQ, _JUMP_GE, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

# name: (x86_64, aarch64)
_DENIED = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "clock_settime": (227, 112),
    "delete_module": (176, 106), "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "mount": (165, 40), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "pivot_root": (155, 41), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "reboot": (169, 142),
    "request_key": (249, 218), "setns": (308, 268), "settimeofday": (164, 170), "swapoff": (168, 225),
    "swapon": (167, 224), "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97),
    "userfaultfd": (323, 282), "vhangup": (153, 58),
}  # fmt: skip


@functools.cache
def program(machine: str | None = None) -> bytes | None:
    """The filter as an array of sock_filter, or None for an architecture we have no table for."""
    name = machine or os.uname().machine
    if name not in _ARCHES:
        return None
    column = 0 if name == "x86_64" else 1
    denied = sorted(numbers[column] for numbers in _DENIED.values())
    # [0] arch, [1] other arches are killed, [2] number, then the list; jumps count the instructions to skip.
    code = [_op(_LOAD, 4), _op(_JUMP_EQ, _ARCHES[name], 1, 0), _op(_RETURN, _KILL), _op(_LOAD, 0)]
    if name == "x86_64":
        code += [_op(_JUMP_GE, _X32_BIT, 0, 1), _op(_RETURN, _ERRNO | _ENOSYS)]
    for index, number in enumerate(denied):
        code.append(_op(_JUMP_EQ, number, len(denied) - index, 0))
    code += [_op(_RETURN, _ALLOW), _op(_RETURN, _ERRNO | _EPERM)]
    return b"".join(code)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
