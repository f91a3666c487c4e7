"""sprig's map functions. `set`, `unset` and `merge` change their first argument, which real templates rely on.

Where Go's order is random (`keys`, `values`) ours is by key.
"""

from __future__ import annotations

from treebuilder.annotations import cast
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.functions.strings import strval
from treebuilder.template.values import AnyMap, NilMap, TextList, TextMap, sorted_items, type_of, weigh

Map = dict[object, object]


def _dict(*entries: object) -> Map:
    made: Map = {}
    for index in range(0, len(entries), 2):
        made[strval(entries[index])] = entries[index + 1] if index + 1 < len(entries) else ""
    return made


def _get(map_: Map, key: str) -> object:
    return map_.get(key, "")


def _set(map_: Map, key: str, value: object) -> Map:
    if isinstance(map_, NilMap):
        raise TemplateFault("assignment to entry in nil map")
    map_[key] = value
    return map_


def _unset(map_: Map, key: str) -> Map:
    map_.pop(key, None)
    return map_


def _pluck(key: str, *maps: Map) -> list[object]:
    return [map_[key] for map_ in maps if key in map_]


def _keys(*maps: Map) -> list[object]:
    return TextList(str(key) for map_ in maps for key in sorted(map_, key=str))


def _values(map_: Map) -> list[object]:
    return [value for _, value in sorted_items(map_)]


def _pick(map_: Map, *keys: str) -> Map:
    return {key: map_[key] for key in keys if key in map_}


def _omit(map_: Map, *keys: str) -> Map:
    return {key: value for key, value in map_.items() if key not in keys}


def _merge_into(target: Map, source: Map, overwrite: bool) -> None:
    """mergo's merge: empty values give way, with `overwrite` all but those that a map would replace."""
    for key, value in source.items():
        old = target.get(key)
        if value is None:
            if overwrite:
                target[key] = None
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            if isinstance(value, AnyMap) and not isinstance(old, AnyMap):
                raise TemplateFault(f"a {type_of(value)} is not merged into a {type_of(old)}")
            _merge_into(old, value, overwrite)
            if not old:  # nothing of the other was worth taking, and yet it takes the place
                target[key] = value
        elif key not in target or not old or (overwrite and not isinstance(value, dict)):
            target[key] = value


def _merge(target: Map, *sources: Map) -> Map:
    target = {} if isinstance(target, NilMap) else target
    for source in sources:
        weigh(source)
        _merge_into(target, source, False)
    return target


def _merge_overwrite(target: Map, *sources: Map) -> Map:
    target = {} if isinstance(target, NilMap) else target
    for source in sources:
        weigh(source)
        _merge_into(target, source, True)
    return target


def _dig(*words: object) -> object:
    """`dig "a" "b" default map`: the value at a path of keys, or the default."""
    if len(words) < 3:
        raise TemplateFault("dig needs at least three arguments")
    *path, default, value = words
    for key in path:
        if not isinstance(key, str):
            raise TemplateFault(f"a key must be a string, not {type_of(key)}")
    for key in path:
        if not isinstance(value, dict) or isinstance(value, AnyMap | TextMap):
            raise TemplateFault(f"can't look for a key in a value of type {type_of(value)}")
        if key not in value:
            return default
        value = value[key]
    return value


def deep_copy(value: object) -> object:
    weigh(value)
    return _copied(value)


def _copied(value: object) -> object:
    if isinstance(value, dict):
        copy = type(value)()
        copy.update((key, _copied(item)) for key, item in cast("Map", value).items())
        return cast("Map", copy)
    if isinstance(value, list):
        return type(value)(_copied(item) for item in value)
    return value


def _must_copy(value: object) -> object:
    if value is None:
        raise TemplateFault("nil cannot be copied")
    return deep_copy(value)


DICTS: dict[str, GoFunction] = table(
    ("dict", "any...", _dict),
    ("get", "map string", _get),
    ("set", "map string any", _set),
    ("unset", "map string", _unset),
    ("hasKey", "map string", lambda map_, key: key in map_),
    ("pluck", "string map...", _pluck),
    ("keys", "map...", _keys),
    ("values", "map", _values),
    ("pick", "map string...", _pick),
    ("omit", "map string...", _omit),
    ("merge mustMerge", "map map...", _merge),
    ("mergeOverwrite mustMergeOverwrite", "map map...", _merge_overwrite),
    ("dig", "any...", _dig),
    ("deepCopy mustDeepCopy", "any", _must_copy),
)
