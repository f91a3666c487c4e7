"""`toYaml`: YAML as go-yaml v2 writes it: keys sorted, lists not indented, blocks for texts of several lines."""

from __future__ import annotations

import re
from typing import Any, cast

import yaml

from treebuilder.template.faults import TemplateFault
from treebuilder.template.values import print_float, text_of, type_of

_NUMBER_PARTS = re.compile(r"(\d+)")
_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_STR = "tag:yaml.org,2002:str"
_WORDS = frozenset(("y", "Y", "n", "N"))
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 - PyYAML's signature
        return True


def to_yaml(value: object) -> str:
    """One value without the final newline. Raises TemplateFault for what YAML cannot hold."""
    text = yaml.dump(
        _node_ready(value), Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False, width=1 << 20
    )
    return text.removesuffix("...\n").removesuffix("\n")


class _Text(str):
    """A text that our representer writes."""


class _Plain(str):
    """A number as it is to be written."""


def _node_ready(value: object) -> object:
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
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
            entries = sorted(cast("dict[object, object]", value).items(), key=lambda entry: _natural(text_of(entry[0])))
            return {_node_ready(key): _node_ready(item) for key, item in entries}
        case _:
            raise TemplateFault(f"yaml: cannot write a value of type {type_of(value)}")


def _natural(key: str) -> list[tuple[int, int, str]]:
    """go-yaml sorts keys as people do: `a2` before `a10`, and letters after other characters."""
    return [(1, int(part), part) if part.isdigit() else (2, 0, part) for part in _NUMBER_PARTS.split(key) if part]


def _represent(dumper: _Dumper, text: _Text) -> yaml.Node:
    value = str(text)
    if "\n" in value:
        return dumper.represent_scalar(_STR, value, style="|")
    resolved = dumper.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    special = resolved != _STR or value in _WORDS or _BASE60.match(value) or _FLOAT.match(value)
    return dumper.represent_scalar(_STR, value, style='"' if special else None)


def _represent_plain(dumper: _Dumper, text: _Plain) -> yaml.Node:
    return yaml.ScalarNode("tag:yaml.org,2002:float" if "." in text else "tag:yaml.org,2002:int", str(text))


_Dumper.add_representer(_Text, _represent)
_Dumper.add_representer(_Plain, _represent_plain)
