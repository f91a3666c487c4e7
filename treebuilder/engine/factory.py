"""Engines by name. `auto` takes the first that says it can work here."""

from __future__ import annotations

from treebuilder.engine.api import Engine, Probe
from treebuilder.errors import ConfigError, EngineUnavailable

NAMES = ("native", "docker")


def make(name: str) -> Engine:
    """An engine that works here. Raises EngineUnavailable with what each probe said, ConfigError for a wrong name."""
    if name not in (*NAMES, "auto"):
        raise ConfigError(f"there is no engine {name!r}", hint=f"known: {', '.join(NAMES)}")
    said = []
    for candidate in NAMES if name == "auto" else (name,):
        engine = _construct(candidate)
        probe = engine.probe()
        if probe.usable:
            return engine
        said.append(f"{candidate}: {probe.said}")
        engine.close()
    raise EngineUnavailable(f"no container engine can be used here ({'; '.join(said)})", hint="treebuild doctor")


def _construct(name: str) -> Engine:
    if name == "docker":
        from treebuilder.engine.docker import DockerEngine

        return DockerEngine()
    from treebuilder.engine.native import NativeEngine

    return NativeEngine()


def probes() -> tuple[Probe, ...]:
    """What every engine says about this machine."""
    found = []
    for name in NAMES:
        engine = _construct(name)
        found.append(engine.probe())
        engine.close()
    return tuple(found)
