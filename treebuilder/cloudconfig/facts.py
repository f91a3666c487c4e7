"""What a machine is: the `.Values` of templates and the answers of conditionals.

The names follow yip's: node, os, kernel, product, board, bios, cpu, memory, network. With a root that is not `/`, only
what stands in its files is told of the system; hardware is this machine's.
"""

from __future__ import annotations

import os
import re
import shlex
import uuid
from collections.abc import Mapping
from pathlib import Path

from treebuilder.cloudconfig.root import Root

_ARCHITECTURES = {
    "x86_64": "amd64", "aarch64": "arm64", "armv6l": "arm", "armv7l": "arm", "i386": "386", "i686": "386",
    "loongarch64": "loong64", "mips64el": "mips64le",
}  # fmt: skip
_DMI = "/sys/class/dmi/id"


def os_release(root: Root) -> dict[str, str]:
    """/etc/os-release (or /usr/lib's), parsed, never sourced."""
    text = root.read_text("/etc/os-release") or root.read_text("/usr/lib/os-release")
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        try:
            found[name] = "".join(shlex.split(value))
        except ValueError:
            found[name] = value
    return found


def hostname(root: Root) -> str:
    """The name of the running machine, or the one that the root's files give it."""
    return os.uname().nodename if root.is_host else root.read_text("/etc/hostname").strip()


def architecture() -> str:
    """Go's word for the processor: amd64, arm64, riscv64."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def machine_id(root: Root) -> str:
    return root.read_text("/etc/machine-id").strip()


def values(root: Root) -> Mapping[str, object]:
    """`.Values` for templates. `Random` and `UUID` are new in each run, `ProtectedID` belongs to the machine."""
    release = os_release(root)
    kernel = os.uname()
    identity = machine_id(root)
    return {
        "node": {"hostname": hostname(root), "machineid": identity,
                 "timezone": root.read_text("/etc/timezone").strip()},
        "os": {
            "name": release.get("PRETTY_NAME", release.get("NAME", "")), "vendor": release.get("ID", ""),
            "version": release.get("VERSION_ID", ""), "release": release.get("VERSION_ID", ""),
            "architecture": architecture(),
        },
        "kernel": {"release": kernel.release, "version": kernel.version, "architecture": kernel.machine},
        "product": {"name": _dmi("product_name"), "vendor": _dmi("sys_vendor"), "version": _dmi("product_version"),
                    "serial": _dmi("product_serial")},
        "board": {"name": _dmi("board_name"), "vendor": _dmi("board_vendor"), "version": _dmi("board_version"),
                  "serial": _dmi("board_serial")},
        "bios": {"vendor": _dmi("bios_vendor"), "version": _dmi("bios_version"), "date": _dmi("bios_date")},
        "cpu": _cpu(), "memory": {"size": _memory_mib()}, "network": _network(),
        "Random": uuid.uuid4().hex, "UUID": str(uuid.uuid4()), "MachineID": identity,
        "ProtectedID": uuid.uuid5(uuid.NAMESPACE_OID, f"treebuild:{identity}").hex if identity else "",
    }  # fmt: skip


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _dmi(name: str) -> str:
    return _read(f"{_DMI}/{name}")


def _cpu() -> dict[str, object]:
    model = re.search(r"^model name\s*:\s*(.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return {"model": model[1] if model else "", "cpus": os.cpu_count() or 1, "threads": os.cpu_count() or 1}


def _memory_mib() -> int:
    total = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    return int(total[1]) // 1024 if total else 0


def _network() -> list[dict[str, str]]:
    folder = Path("/sys/class/net")
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    return [{"name": name, "macaddress": _read(f"{folder}/{name}/address")} for name in names if name != "lo"]
