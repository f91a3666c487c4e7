"""The use case *device lint*: what is wrong with cloud-config files, found without running any of it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.cloudconfig.classic import FETCHED, translated
from treebuilder.cloudconfig.config import FURTHER, Config, Source, further_document, is_classic, parse, sources
from treebuilder.cloudconfig.names import stage_fault
from treebuilder.cloudconfig.rehearsal import Fault, Rehearsal, fault, rehearse
from treebuilder.cloudconfig.schema import check
from treebuilder.cloudconfig.stages import order
from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.nodes import Node
from treebuilder.records import replace

RULES = {
    "yaml": "no text, no YAML, or a second document: it is passed over",
    "unknown-key": "a key that means nothing, so what stands there is not done",
    "doubled-key": "a key that stands twice in a map: the last one counts",
    "unknown-stage": "a stage that nobody knows",
    "stage-not-run": "a stage of cOS that this toolkit does not run",
    "no-network": "something is fetched in a stage that runs before the network is there",
    "value": "a wrong type, a missing key or a value that running refuses",
    "template": "a template that fails: the text is used as it stands",
    "unsupported": "a module that this program cannot run",
    "after": "a step is to run after one that is not there",
    "cycle": "steps that wait for each other",
}

_EARLY = ("rootfs", "initramfs", "fs", "boot")
_STAGES = re.compile(r"^(#cloud-config|\s*[{\"']*stage)", re.IGNORECASE | re.MULTILINE)


def lint(paths: Iterable[str]) -> tuple[int, tuple[Fault, ...]]:
    """How many files there are, and all findings by file and line. Files are read together, as on a device.
    In a folder only what looks like cloud-config counts.

    Raises ConfigError (no-file) for a path that is not there.
    """
    faults: list[Fault] = []
    configs: list[Config] = []
    count = 0
    for path in paths:
        if not Path(path).exists():
            raise ConfigError(f"there is no file or folder {path}", reason="no-file")
        found, errors = sources(path)
        if Path(path).is_dir():  # a tree has files for other programs too
            found = [source for source in found if is_classic(source) or _STAGES.search(source.text)]
        count += len(found) + len(errors)
        faults += [fault("yaml", err.message, err.where, err.hint) for err in errors]
        for source in found:
            configs += _read(source, faults)
    for config in configs:
        for stage in config.stages():
            for step in _steps(config, stage, faults):
                faults += rehearse(step)
                if stage.removesuffix(".before").removesuffix(".after") in _EARLY:
                    faults += _too_early(step, stage)
    faults += _order(configs)
    return count, tuple(sorted(set(faults)))


def to_json(found: Fault) -> dict[str, Any]:
    return {
        "rule": found.rule, "message": found.message, "hint": found.hint,
        "where": {"file": found.file, "line": found.line},
    }  # fmt: skip


def _read(source: Source, faults: list[Fault]) -> Iterator[Config]:
    """The file's configuration, with cloud-init's keys translated; nothing where it cannot be understood at all."""
    try:
        config = parse(source)
    except TreebuildError as err:
        faults.append(fault("yaml" if err.reason == "yaml" else "value", err.message, err.where, err.hint))
        return
    classic = is_classic(source)
    faults += [
        fault("unknown-key", each.message, each.where, each.hint) for each in check(config.node, classic=classic)
    ]
    faults += _doubled(config.node)
    extra = further_document(source)
    if extra is not None:
        faults.append(fault("yaml", FURTHER, extra))
    try:
        faults += _stages(config)
        errors: list[TreebuildError] = []
        yield replace(config, node=translated(config.node, errors)) if classic else config
        faults += [fault("value", err.message, err.where, err.hint) for err in errors]
    except TreebuildError as err:
        faults.append(fault("value", err.message, err.where, err.hint))


def _stages(config: Config) -> Iterator[Fault]:
    stages = config.node.get("stages")
    for name, node in () if stages is None else stages.entries("stages"):
        found = stage_fault(name)
        if found is not None:
            rule, message, hint = found
            yield fault(rule, message, node.place, hint)


def _doubled(node: Node) -> Iterator[Fault]:
    for name, place in node.doubled():
        yield fault("doubled-key", f"{name} stands twice: the last one counts", place)
    if node.kind in ("map", "list"):
        for child in node.value.values() if node.kind == "map" else node.value:
            yield from _doubled(child)


def _steps(config: Config, stage: str, faults: list[Fault]) -> list[Node]:
    try:
        return [step.node for step in config.steps(stage)]
    except TreebuildError as err:
        faults.append(fault("value", err.message, err.where, err.hint))
        return []


def _too_early(step: Node, stage: str) -> Iterator[Fault]:
    wanted = [("a download", item) for item in _inside(step.get("downloads"))]
    git = step.get("git")
    url = _word(None if git is None or git.kind != "map" else git.get("url"))
    if git is not None and url and not url.startswith(("/", "file:")):
        wanted.append(("a repository", git))
    users = [user.get("ssh_authorized_keys") for user in _inside(step.get("users")) if user.kind == "map"]
    for keys in (*users, *_inside(step.get("authorized_keys"))):
        wanted += [(f"the key {_word(key)}", key) for key in _inside(keys) if _word(key).startswith(FETCHED)]
    for what, node in wanted:
        yield fault("no-network", f"there is no network yet in stage {stage} for {what}", node.place,
                    "put it in the stage network")  # fmt: skip


def _inside(node: Node | None) -> tuple[Node, ...]:
    """The items of a list, the values of a map; what has another form is the business of another rule."""
    if node is None or node.kind not in ("list", "map"):
        return ()
    return tuple(node.value.values() if node.kind == "map" else node.value)


def _word(node: Node | None) -> str:
    return str(node.value).strip() if node is not None and node.kind == "text" else ""


def _order(configs: list[Config]) -> list[Fault]:
    """What `after` says, over all files, by the code that orders steps when they are run."""
    with tempfile.TemporaryDirectory(prefix="treebuild-lint-") as folder:
        machine = Rehearsal(Path(folder))
        for stage in sorted({stage for config in configs for stage in config.stages()}):
            try:
                order([list(config.steps(stage)) for config in configs if stage in config.stages()], machine)
            except TreebuildError as err:
                machine.errors.append(err)
        return machine.faults()
