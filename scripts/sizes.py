"""No file over 500 lines: the one big file comes back unless something says no."""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT = 500


def main() -> int:
    top = Path(__file__).resolve().parent.parent
    files = [
        path for folder in ("treebuilder", "tests", "scripts", "benchmarks") for path in (top / folder).rglob("*.py")
    ]
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sorted(files)}
    for path, count in lines.items():
        if count > LIMIT:
            print(f"{path.relative_to(top)}: {count} lines, the limit is {LIMIT}")
    counts = sorted(lines.values())
    print(f"sizes: {len(counts)} files, median {counts[len(counts) // 2]} lines, longest {counts[-1]}")
    return 1 if counts[-1] > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
