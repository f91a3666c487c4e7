"""The main job in one go: tree, repository, ISO, boot by BIOS and UEFI, an answer from the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
TREEBUILD = TOP / ".venv" / "bin" / "treebuild"
PACKAGES = ("system/sampleOS", "live/systemd-boot", "live/boot", "live/syslinux", "offline/bundle")
TREE = ("--tree", "packages", "--values", "packages/values/demo.yaml")
SERVICE = "8090/fortuneteller"


def treebuild(*words: str) -> dict[str, Any]:
    """Runs a verb with `--json`; progress goes to the terminal, the result comes back."""
    print(f"\n$ treebuild {' '.join(words)}", flush=True)
    done = subprocess.run([TREEBUILD, *words, "--json"], cwd=TOP, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count / 1024:.1f} KiB"


def show_packages(report: dict[str, Any]) -> None:
    rows = [("package", "version", "size", "state", "seconds")]
    for node in report["nodes"]:
        if node["artifact"]:
            name = f"{node['category']}/{node['name']}"
            seconds = f"{node['seconds']:.1f}"
            rows.append(
                (name, node["version"], size((TOP / node["artifact"]["path"]).stat().st_size), node["state"], seconds)
            )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> int:
    began = time.monotonic()
    build = os.environ.get("DESTINATION", "build")
    report = treebuild("build", *TREE, "--destination", build, *PACKAGES)
    treebuild("create-repo", *TREE, "--packages", build, "--output", build, "--name", "sampleOS")
    iso = treebuild("iso", "iso.yaml", "--local", build)["images"][0]
    boots = {}
    for firmware in ("bios", "uefi"):
        boots[firmware] = treebuild(
            "boot",
            iso["path"],
            "--firmware",
            firmware,
            "--http",
            SERVICE,
            "--login",
            "root:sampleos:root@sampleos",
            "--timeout",
            "900",  # a machine without acceleration, and others on it
        )
    print()
    show_packages(report)
    print(f"\niso     {iso['path']}\nsize    {size(iso['size'])}\nsha256  {iso['sha256']}")
    for firmware, boot in boots.items():
        print(f"{firmware}    answered after {boot['seconds_to_http']:.1f} s ({boot['accel']})")
    print(f"\n{boots['uefi']['http_body'].rstrip()}\n\n{time.monotonic() - began:.0f} s in all")
    print("demo: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
