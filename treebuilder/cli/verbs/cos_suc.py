"""`suc-upgrade`: what a pod of system-upgrade-controller runs in a new version's image, to bring a host to it.

The host's root is at HOST_DIR (/host). Its os-release tells whether there is anything to do; a version that failed on
this host is not tried for ever, as cOS does: the pod ends, and FORCE=true tries it again.
Source: os-and-ota facts 5.4.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli.session import Session
from treebuilder.cli.verbs import device as verb
from treebuilder.errors import ConfigError

if TYPE_CHECKING:
    from treebuilder.app.device import Site
    from treebuilder.app.device_upgrade import Report

_AGAIN = 1  # the pod is run again, unless the restart has taken it away


def run(args: argparse.Namespace, session: Session) -> int:
    """Returns 0 when nothing is left to do, 1 after an upgrade. Raises ConfigError, and what an upgrade raises."""
    from treebuilder.app import device
    from treebuilder.app.device_upgrade import Report
    from treebuilder.device.contents import os_release, version_of
    from treebuilder.device.rules import remembered
    from treebuilder.ui import tables

    if args.words:
        raise ConfigError("suc-upgrade takes no word: the image is the root that it runs in", reason="usage")
    host, root = Path(os.environ.get("HOST_DIR", "") or "/host"), Path(args.root).absolute()
    force = args.force or os.environ.get("FORCE") == "true"
    ours, theirs = os_release(root), os_release(host)
    if not ours or not theirs:
        raise ConfigError(
            f"there is no os-release in {root if theirs else host}", reason="no-host",
            hint="the root of the host has to be mounted at HOST_DIR (/host)",
        )  # fmt: skip
    version = args.version or version_of(ours)
    if ours == theirs and not force:
        report = Report("upgrade", "up-to-date", version, version, str(root))
        tables.write(report.to_json(), session.output, f"{host} is at {version} already")
        return 0
    verb.enter(args, session)
    if not args.state:
        _borrow(host)
    with device.opened(verb.options_of(args), session.events, session.cancel) as site:
        failure = remembered(site.machine.status(), version)
        if failure is not None and not force:
            report = Report("upgrade", "failed-before", version, version_of(theirs), str(root))
            said = f"{version} is not tried again: it failed on this host ({failure.why}); FORCE=true tries it"
            tables.write(report.to_json(), session.output, said)
            return 0
        report = _upgraded(args, session, site, root, force)
    session.close()
    tables.write(report.to_json(), session.output, verb.text_of(report))
    if not report.reboot:
        return 0
    if args.state:
        device.restart(site)
    else:
        _restart_host()
    return _AGAIN


def _upgraded(args: argparse.Namespace, session: Session, site: Site, root: Path, force: bool) -> Report:
    from treebuilder.app import device_upgrade
    from treebuilder.app.device_upgrade import Wish

    wish = Wish(str(root), "directory", "", args.version, force=force, strict=args.strict)
    return device_upgrade.upgrade(site, wish, partial(verb.load, args, session))


def _borrow(host: Path) -> None:
    """The host's devices and what is mounted below its /run become ours, in mounts that are gone with us."""
    from treebuilder.container import namespace
    from treebuilder.system.process import require, run

    namespace.enter_private_mounts()
    for name in ("dev", "run"):
        if not os.path.samefile(host / name, f"/{name}"):
            run([require("mount", "to reach the host's disks"), "--rbind", host / name, f"/{name}"])


def _restart_host() -> None:
    from treebuilder.system.process import require, run

    enter = require("nsenter", "to start the host anew")
    run([enter, "--ipc", "--mount", "--target", "1", "--", "reboot"])
