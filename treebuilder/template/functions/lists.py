"""sprig's list functions. None of them changes its argument; nil is no list, as in Go."""

from __future__ import annotations

from collections.abc import Sized

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import MAX_PARTS, IntList, ListList, NilList, TextList, Uint8, type_of, weigh

_MAX_COMPARED = 1_000_000


class _Effort:
    """Comparisons that were made so far: what a list function costs is not seen in what it takes and gives."""

    compared = 0


effort = _Effort()


def _items(value: object, what: str) -> list[object]:
    if isinstance(value, bytes):
        return [Uint8(byte) for byte in value]
    if isinstance(value, list | tuple):
        return list(value)
    raise TemplateFault(f"cannot {what} on type {type_of(value)}")


def same(left: object, right: object) -> bool:
    """reflect.DeepEqual: equal types and equal values; 1 and 1.0 and true differ."""
    match left, right:
        case ((list() | tuple()), (list() | tuple())):
            if type_of(left) != type_of(right) or isinstance(left, NilList) != isinstance(right, NilList):
                return False
            return len(left) == len(right) and all(map(same, left, right))
        case dict(), dict():
            return (
                type_of(left) == type_of(right)
                and left.keys() == right.keys()
                and all(same(left[key], right[key]) for key in left)
            )
        case _:
            return type_of(left) == type_of(right) and left == right


def deep_equal(left: object, right: object) -> bool:
    effort.compared += 1 + (len(left) if isinstance(left, list | tuple | dict) else 0)
    if isinstance(left, str | int | float | None):
        return same(left, right) if type(left) is type(right) else False
    weigh(left)
    weigh(right)
    return same(left, right)


def _has(needle: object, haystack: object) -> bool:
    if haystack is None:
        return False
    return any(deep_equal(needle, item) for item in _items(haystack, "find an item"))


def _limit(left: Sized, right: Sized) -> None:
    if len(left) * len(right) > _MAX_COMPARED:
        raise TemplateFault(f"{len(left)} times {len(right)} comparisons")


def _uniq(value: object) -> list[object]:
    found: list[object] = []
    items = _items(value, "find unique items")
    _limit(items, items)
    for item in items:
        if not any(deep_equal(item, known) for known in found):
            found.append(item)
    return found


def _without(value: object, *omitted: object) -> list[object]:
    items = _items(value, "leave out items")
    _limit(items, omitted)
    return [item for item in items if not any(deep_equal(item, bad) for bad in omitted)]


def _slice(value: object, *bounds: object) -> object:
    items = _items(value, "slice")
    if not items:
        return None
    numbers = [_whole(bound) for bound in bounds]
    start = numbers[0] if numbers else 0
    end = numbers[1] if len(numbers) > 1 else len(items)
    if not 0 <= start <= end <= len(items):
        raise TemplateFault(f"the range {start} to {end} lies outside of a list of {len(items)}")
    part = items[start:end]
    return type(value)(part) if isinstance(value, TextList | IntList | ListList) else part


def _whole(value: object) -> int:
    from treebuilder.template.functions.math import to_int

    return to_int(value)


def _concat(*lists: object) -> list[object]:
    return [item for part in lists for item in _items(part, "concat")] or NilList()


def _chunk(size: int, value: object) -> list[object]:
    items = _items(value, "chunk")
    if size < 0 and items and (len(items) - 1) // size in (0, -1) and (size < -1 or len(items) > 1):
        return ListList([items]) if len(items) == 1 else ListList()  # what sprig's arithmetic makes of it
    if size < 1:
        raise TemplateFault("a chunk needs at least one item")
    return ListList(items[start : start + size] for start in range(0, len(items), size))


def _first(value: object) -> object:
    items = _items(value, "find the first item")
    return items[0] if items else None


def _last(value: object) -> object:
    items = _items(value, "find the last item")
    return items[-1] if items else None


def _until(count: int) -> IntList:
    return _until_step(0, count, -1 if count < 0 else 1)


def _until_step(start: int, stop: int, step: int) -> IntList:
    if step == 0 or (stop < start) != (step < 0):
        return IntList()
    numbers = range(start, stop, step)
    if len(numbers) > MAX_PARTS:
        raise TemplateFault(f"a list of {len(numbers)} numbers")
    return IntList(numbers)


def _seq(*bounds: int) -> str:
    """`seq [first [step]] last` of the shell: numbers separated by spaces, the last one included."""
    match bounds:
        case (last,):
            first, step = 1, -1 if last < 1 else 1
        case (first, last):
            step = -1 if last < first else 1
        case (first, step, last):
            pass
        case _:
            return ""
    return " ".join(str(number) for number in _until_step(first, last + (1 if step > 0 else -1), step))


def _nothing(value: object, what: str) -> list[object]:
    _items(value, f"find {what}")
    return NilList()


def _compact(value: object) -> list[object]:
    return [item for item in _items(value, "compact") if item]


def _append(value: object, item: object) -> list[object]:
    return [*_items(value, "append"), item]


def _prepend(value: object, item: object) -> list[object]:
    return [item, *_items(value, "prepend")]


def _pairs(names: str) -> str:
    """A function and its `must` twin."""
    return f"{names} must{names[0].upper()}{names[1:]}"


LISTS: dict[str, GoFunction] = table(
    ("list tuple", "any...", lambda *items: list(items)),
    (f"{_pairs('append')} {_pairs('push')}", "any any", _append),
    (_pairs("prepend"), "any any", _prepend),
    (_pairs("first"), "any", _first),
    (_pairs("rest"), "any", lambda value: _items(value, "find the rest")[1:] if value else _nothing(value, "rest")),
    (_pairs("last"), "any", _last),
    (_pairs("initial"), "any", lambda value: _items(value, "")[:-1] if value else _nothing(value, "initial")),
    (_pairs("reverse"), "any", lambda value: _items(value, "reverse")[::-1]),
    (_pairs("uniq"), "any", _uniq),
    (_pairs("without"), "any any...", _without),
    (_pairs("has"), "any any", _has),
    (_pairs("slice"), "any any...", _slice),
    ("concat", "any...", _concat),
    (_pairs("chunk"), "int any", _chunk),
    (_pairs("compact"), "any", _compact),
    ("until", "int", _until),
    ("untilStep", "int int int", _until_step),
    ("seq", "int...", _seq),
    ("deepEqual", "any any", deep_equal),
)
