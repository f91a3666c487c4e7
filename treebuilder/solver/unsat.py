"""Why there is no solution: a minimal set of reasons, as sentences.

The core comes from assumptions and is minimised by leaving out one reason after the other. The effort is bounded in
questions and in conflicts: when it is spent, what is left is told as it is, so then some of it may be beside the point.
"""

from __future__ import annotations

from collections.abc import Iterable

from treebuilder.errors import Place, Unsatisfiable
from treebuilder.model.novalue import novalue_hint
from treebuilder.model.package import Package, PackageRef
from treebuilder.model.solution import Request
from treebuilder.model.version import Version, fault
from treebuilder.solver.encode import Encoding, Reason
from treebuilder.solver.oracle import Oracle, Undecided
from treebuilder.solver.world import World

_CALLS = 1000  # questions while minimising
_CONFLICTS = 1000  # for one such question
_TELLING = 20_000  # for finding the reasons at all; each costs more than one of the search, for all are assumed
_TIDYING = 20_000  # for all questions of minimising
_SENTENCES = 60  # nobody reads more
_LISTED = 8  # versions and places that one sentence names


def blamed(encoding: Encoding, engine: str) -> Request:
    """As few of the wanted references as a refusal names: so what explains it is a world of their size."""
    request = encoding.request
    if len(request.wanted) < 2:
        return request
    oracle = Oracle(engine, encoding.clauses, _TELLING)
    try:
        if oracle.ask(list(encoding.demands)):
            return request
        core = set(oracle.core)
        wanted = tuple(ref for demand, ref in encoding.demands.items() if demand in core)
    except Undecided:
        return request
    finally:
        oracle.close()
    return Request(wanted, request.held, request.unwanted)


def core(world: World, request: Request, engine: str) -> tuple[Reason, ...]:
    """A minimal set of reasons that cannot hold together; empty if the request can be answered. Raises Undecided."""
    encoding = Encoding(world, request, tagged=True)
    oracle = Oracle(engine, encoding.clauses, _TELLING)
    try:
        kept = list(encoding.selectors)
        if oracle.ask(kept):
            return ()
        oracle.left = _TIDYING
        kept = _minimise(oracle, sorted(oracle.core))
    finally:
        oracle.close()
    return tuple(encoding.selectors[selector] for selector in kept)


def _minimise(oracle: Oracle, kept: list[int]) -> list[int]:
    needed: set[int] = set()
    for _ in range(_CALLS):
        trial = next((x for x in reversed(kept) if x not in needed), None)
        if trial is None:
            break
        try:
            if oracle.ask([x for x in kept if x != trial], _CONFLICTS):
                needed.add(trial)
            else:
                kept = sorted(oracle.core)
        except Undecided:
            if oracle.left <= 0:
                break
            needed.add(trial)
    return kept


def too_hard(request: Request, effort: int) -> Unsatisfiable:
    """The error for a request whose answer was not found within the effort."""
    asked = _listed([str(ref) for ref in request.wanted])
    return Unsatisfiable(
        f"no answer for {asked} was found within {effort} conflicts, nor that there is none",
        hint="ask for less at once, or name the versions of packages that conflict with each other",
        chain=tuple(f"{ref} is wanted{said_at(ref)}" for ref in request.wanted[:_LISTED]),
        reason="too-hard",
    )


def unsatisfiable(world: World, request: Request, engine: str) -> Unsatisfiable:
    """The error for a request without solution."""
    try:
        reasons = core(world, request, engine)
        chain = sentences(world, reasons)
    except Undecided:
        reasons = tuple(Reason("wanted", None, ref) for ref in request.wanted)
        chain = (*sentences(world, reasons), "why that cannot be takes too many steps to be told")
    if len(chain) > _SENTENCES:
        chain = (*chain[: _SENTENCES - 1], f"and {len(chain) - _SENTENCES + 1} reasons more")
    dead = [r for r in reasons if r.kind in ("wanted", "requires") and not world.matches(r.ref)]
    if dead and not any(r.kind in ("conflicts", "single", "unwanted") for r in reasons):
        first = dead[0]
        unknown = not world.known(first.ref.pkgname)
        blank = novalue_hint(first.ref.category, first.ref.name, first.ref.version)
        return Unsatisfiable(
            _dead_sentence(world, first),
            chain=chain,
            hint=blank or (_similar(world, first.ref.pkgname) if unknown else None),
            where=_place(first),
            reason="unknown-package" if unknown else "no-version",
        )
    asked = list(dict.fromkeys(str(r.ref) for r in reasons if r.kind == "wanted"))
    held = [str(r.ref) for r in reasons if r.kind == "held"]
    together = " together" if len(asked) > 1 else ""
    message = f"{_listed(asked)} cannot be had{together}" if asked else "the request contradicts itself"
    if held:
        message += f" while {_listed(held)} is held"
    where = next((p for r in reversed(reasons) if (p := _place(r)) is not None), None)
    return Unsatisfiable(message, chain=chain, where=where)


def sentences(world: World, reasons: Iterable[Reason]) -> tuple[str, ...]:
    """One sentence per reason, the request first; versions of one package that say the same share one."""
    reasons = tuple(reasons)
    named = {r.ref.pkgname for r in reasons} | {r.package.id.pkgname for r in reasons if r.package is not None}
    groups: dict[tuple[str, str, str], list[Reason]] = {}
    for reason in reasons:
        name = reason.package.id.pkgname if reason.package is not None else ""
        groups.setdefault((reason.kind, name, str(reason.ref)), []).append(reason)
    return tuple(_sentence(world, group, named) for group in groups.values())


def _sentence(world: World, group: list[Reason], named: set[str]) -> str:
    first = group[0]
    ref, places = first.ref, _places(group)
    if first.kind == "single":
        return f"only one version of {ref.pkgname} can be there"
    if first.kind == "held":
        return f"{ref} is held{_versions_note(world.installed_of(ref.pkgname), 'at', 'but is not installed')}{places}"
    if first.kind == "unwanted":
        return f"{ref} is not wanted{places}"
    if first.kind == "wanted":
        return f"{ref} is wanted{_lack(world, ref)}{places}"
    packages = [reason.package for reason in group if reason.package is not None]
    who = _listed([str(p.id) for p in packages])
    one = len(packages) == 1
    if first.kind == "requires":
        return f"{who} {'requires' if one else 'require'} {ref}{_lack(world, ref)}{places}"
    met = [p for p in world.matches(ref) if all(world.bites(q, p) for q in packages)]
    met = [p for p in met if p.id.pkgname in named] or met
    note = "" if all(p.id.pkgname == ref.pkgname for p in met) else f" (that is {_listed([str(p.id) for p in met])})"
    return f"{who} {'conflicts' if one else 'conflict'} with {ref}{note}{places}"


def _dead_sentence(world: World, reason: Reason) -> str:
    if reason.package is None:
        lack = _lack(world, reason.ref).removeprefix(", and ").removeprefix(", but ")
        return f"{reason.ref}: {lack}"
    return f"{reason.package.id} requires {reason.ref}{_lack(world, reason.ref)}"


def _lack(world: World, ref: PackageRef) -> str:
    """What follows a reference: nothing, that its name is unknown, or which versions there are instead."""
    if world.matches(ref):
        return ""
    if not world.known(ref.pkgname):
        return ", and there is no package of that name"
    wrong = fault(ref.version)
    if wrong is not None:
        return f", but {wrong}"
    there = world.versions(ref.pkgname)
    if not there:
        return ", but there is no provider for that version"
    unreadable = [p for p in there if not Version.parse(p.id.version).valid]
    if unreadable == list(there):  # no selector takes those
        said = _listed([f"{p.id.version!r}{f' ({p.where})' if p.where.file else ''}" for p in unreadable])
        return f", but the version {said} cannot be read"
    return _versions_note(there, ", but there is only", "")


def _versions_note(packages: tuple[Package, ...], before: str, otherwise: str) -> str:
    if not packages:
        return f", {otherwise}" if otherwise else ""
    space = "" if before.startswith(",") else " "
    return f"{space}{before} {_listed([p.id.version for p in packages])}"


def _similar(world: World, pkgname: str) -> str | None:
    close = world.similar(pkgname)
    return f"did you mean {_listed(close, 'or')}?" if close else None


def said_at(ref: PackageRef) -> str:
    """Where a reference is written, in brackets; empty if that is not known."""
    return f" ({ref.where})" if ref.where.file else ""


def _place(reason: Reason) -> Place | None:
    return reason.ref.where if reason.ref.where.file else None


def _places(group: list[Reason]) -> str:
    places = list(dict.fromkeys(str(place) for reason in group if (place := _place(reason)) is not None))
    if len(places) > _LISTED:
        places = [*places[:_LISTED], f"{len(places) - _LISTED} more"]
    return f" ({', '.join(places)})" if places else ""


def _listed(words: list[str], joint: str = "and") -> str:
    if len(words) > _LISTED:
        words = [*words[: _LISTED - 1], f"{len(words) - _LISTED + 1} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}" if words else "nothing"
