"""`toYaml`: YAML as go-yaml v2 writes it: keys sorted, lists not indented, blocks for texts of several lines."""

from __future__ import annotations

import re
from functools import cmp_to_key

import yaml

from treebuilder.annotations import Any, cast
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.durations import Duration
from treebuilder.template.functions.times import RFC3339_NANO, Time
from treebuilder.template.values import GoObject, key_of, kind_of, print_float, text_of, type_of

_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_OTHER_BREAKS = re.compile("[\x85\u2028\u2029]")  # line breaks to YAML, and lost in other styles
_STR = "tag:yaml.org,2002:str"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_TIMES = (  # what go-yaml takes for a time
    "2006-1-2T15:4:5.999999999Z07:00", "2006-1-2t15:4:5.999999999Z07:00", "2006-1-2 15:4:5.999999999", "2006-1-2",
)  # fmt: skip
_WORDS = frozenset(("y", "Y", "n", "N"))
_MARKS = frozenset(("<<", "="))  # go-yaml quotes them as little as other words
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_KINDS = {"bool": 1, "int": 2, "int64": 6, "uint64": 11, "float64": 14}  # the numbers of Go's kinds
_OCTAL = re.compile(r"[-+]?0o[0-7]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_MAX_KEY = 128


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 - PyYAML's signature
        return True

    def check_simple_key(self) -> bool:
        """What go-yaml writes on one line with its value: an empty key too, and one of up to 128 bytes."""
        if not isinstance(self.event, yaml.ScalarEvent):
            return bool(super().check_simple_key())
        key: str = self.event.value
        if self.analysis is None:
            self.analysis = self.analyze_scalar(key)
        return not self.analysis.multiline and len(key.encode("utf-8", "surrogatepass")) <= _MAX_KEY


def to_yaml(value: object) -> str:
    """One value without the final newline. Raises TemplateFault for what YAML cannot hold."""
    text = yaml.dump(
        _node_ready(value), Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False, width=80
    )
    return text.removesuffix("...\n").removesuffix("\n")


class _Text(str):
    """A text that our representer writes."""


class _Map(list[tuple[object, object]]):
    """Entries as they are to be written: 1 and true are two keys."""


class _Plain(str):
    """A number as it is to be written."""


def _node_ready(value: object) -> object:
    match value:
        case None | bool():
            return value
        case Duration():
            return _Text(value.go_text())
        case int():
            return int(value)
        case Time():
            return _Plain(value.format(RFC3339_NANO))
        case GoObject():
            plain = value.go_marshal()
            if isinstance(plain, dict):
                plain = {str(key).lower(): item for key, item in plain.items()}
            return _node_ready(plain)
        case float():
            return _Plain(
                {"NaN": ".nan", "+Inf": ".inf", "-Inf": "-.inf"}.get(print_float(value)) or print_float(value)
            )
        case str():
            return _Text(value)
        case bytes():
            return list(value)
        case list() | tuple():
            return [_node_ready(item) for item in value]
        case dict():
            entries = [(key_of(key), item) for key, item in cast("dict[object, object]", value).items()]
            entries.sort(key=lambda entry: _rank(entry[0]))
            return _Map((_node_ready(key), _node_ready(item)) for key, item in entries)
        case _:
            raise TemplateFault(f"yaml: cannot write a value of type {type_of(value)}")


def _rank(key: object) -> tuple[int, float, int, object]:
    """Numbers, nothing, texts; numbers and truths together, by their size."""
    if isinstance(key, int | float):
        kind = kind_of(key)
        return 0, float(key), _KINDS.get(kind, 2), _order("")
    return (1, 0.0, 0, _order("")) if key is None else (2, 0.0, 0, _order(text_of(key)))


@cmp_to_key
def _order(left: str, right: str) -> int:
    """go-yaml's order of keys: as people sort, `a2` before `a10`, letters after everything else."""
    at = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    if at >= min(len(left), len(right)):
        return len(left) - len(right)
    a, b = left[at], right[at]
    if a.isalpha() or b.isalpha():
        return ord(a) - ord(b) if a.isalpha() and b.isalpha() else 1 if a.isalpha() else -1
    # a zero behind digits that are not zero belongs to their number
    inside = "0" in (a, b) and left[len(left[:at].rstrip("0123456789")) : at].strip("0") != ""
    run_a, run_b = _digits(left, at), _digits(right, at)
    number_a, number_b = (int(f"{int(inside)}{run}") for run in (run_a, run_b))
    return (number_a - number_b) or (len(run_a) - len(run_b)) or ord(a) - ord(b)


def _digits(text: str, start: int) -> str:
    end = start
    while end < len(text) and text[end].isdecimal():
        end += 1
    return text[start:end]


def _represent(dumper: _Dumper, text: _Text) -> yaml.Node:
    value = str(text)
    if _OTHER_BREAKS.search(value):
        return dumper.represent_scalar(_STR, value, style='"')
    if "\n" in value:
        return dumper.represent_scalar(_STR, value, style="|")
    resolved = dumper.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    if _ASTRAL.search(value):
        return dumper.represent_scalar(_STR, value, style='"')
    if value in _MARKS:
        resolved = dumper.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
        return yaml.ScalarNode(resolved, value)
    is_time = _is_time(value)
    if resolved == _TIMESTAMP and not is_time:  # to PyYAML, which does not look whether there is such a day
        return yaml.ScalarNode(resolved, value)
    is_odd = is_time or value in _WORDS or _BASE60.match(value) or _FLOAT.match(value) or _OCTAL.match(value)
    special = resolved != _STR or is_odd
    return dumper.represent_scalar(_STR, value, style='"' if special else None)


def _is_time(text: str) -> bool:
    if not text[:4].isdigit() or text[4:5] != "-":
        return False
    from treebuilder.template.functions.timetexts import parse_time

    for layout in _TIMES:
        try:
            parse_time(layout, text)
        except TemplateFault:
            continue
        return True
    return False


def _represent_plain(dumper: _Dumper, text: _Plain) -> yaml.Node:
    tag = dumper.resolve(yaml.ScalarNode, str(text), (True, False))  # type: ignore[no-untyped-call]
    return yaml.ScalarNode(tag, str(text))


def _represent_map(dumper: _Dumper, entries: _Map) -> yaml.Node:
    pairs = [(dumper.represent_data(key), dumper.represent_data(item)) for key, item in entries]
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=not entries)


_Dumper.add_representer(_Map, _represent_map)
_Dumper.add_representer(_Text, _represent)
_Dumper.add_representer(_Plain, _represent_plain)
