"""`treebuild device lint FILE|DIR...`: cloud-config files looked at, and nothing of them run."""

from __future__ import annotations

from collections.abc import Sequence

from treebuilder.cli.session import Session
from treebuilder.errors import ConfigError


def run(words: Sequence[str], session: Session) -> int:
    """Findings as `file:line: rule: sentence`. Returns 2 when there are any."""
    from treebuilder.app import cloudlint
    from treebuilder.ui import tables
    from treebuilder.ui.failures import counted

    if not words:
        raise ConfigError("device lint takes files and folders", reason="usage", hint="device lint /oem")
    count, found = cloudlint.lint(words)
    session.close()
    lines = [f"{each.where}: {each.rule}: {each.message}{f' ({each.hint})' if each.hint else ''}" for each in found]
    value = {
        "schema": "treebuild.device-lint/1", "files": count, "findings": [cloudlint.to_json(each) for each in found],
    }  # fmt: skip
    tables.write(
        value, session.output, "\n".join([*lines, f"{counted(count, 'file')}, {counted(len(found), 'finding')}"])
    )
    return 2 if found else 0
