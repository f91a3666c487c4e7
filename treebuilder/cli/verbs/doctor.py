"""Says which programs are missing, which package brings each, and which engines work here.

examples:
  treebuild doctor
  apt-get install $(treebuild doctor --missing)
"""

from __future__ import annotations

import argparse

from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--missing", action="store_true", help="print only the packages to install, one a line")
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app.doctor import examine
    from treebuilder.engine import factory
    from treebuilder.ui import tables

    found = examine()
    missing = sorted({f.package for f in found if not f.path})
    if args.missing:
        tables.write({}, "terminal", "\n".join(missing))
        return 0
    probes = factory.probes()
    rows = [[f.program, f.use, f.path or f"missing: apt-get install {f.package}"] for f in found]
    rows += [[f"engine {p.name}", "build packages", p.said if p.usable else f"not usable: {p.said}"] for p in probes]
    value = {
        "schema": "treebuild.doctor/1",
        "programs": [{"program": f.program, "use": f.use, "path": f.path, "package": f.package} for f in found],
        "engines": [{"name": p.name, "usable": p.usable, "said": p.said} for p in probes],
        "missing": missing,
    }
    tables.write(value, session.output, tables.table(["program", "needed to", "found"], rows))
    return 0 if not missing and any(p.usable for p in probes) else 2
