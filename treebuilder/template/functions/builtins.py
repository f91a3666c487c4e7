"""text/template's own functions, but for and, or, not (compiled) and slice (sprig has another)."""

from __future__ import annotations

import html
import re
from urllib.parse import quote_plus

from treebuilder.annotations import cast
from treebuilder.model.novalue import NO_VALUE
from treebuilder.nodes import Key
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.printf import sprint, sprintf, sprintln
from treebuilder.template.values import AnyMap, GoObject, TextMap, Uint8, equal, key_of, less, type_of

_JS = {
    "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D",
}  # fmt: skip
_JS_SPECIAL = re.compile(r"""[\\'"<>&=\x00-\x1f]""")


def _eq(first: object, *others: object) -> bool:
    if not others:
        raise TemplateFault("missing argument for comparison")
    return any(equal(first, other) for other in others)


def _le(left: object, right: object) -> bool:
    return less(left, right) or equal(left, right)


def _index(value: object, *keys: object) -> object:
    if value is None:
        raise TemplateFault("index of untyped nil")
    for key in keys:
        value = _index_one(value, key)
    return value


def _index_one(value: object, key: object) -> object:
    match value:
        case None:
            raise TemplateFault("index of untyped nil")
        case AnyMap():
            return _index_any(value, key)
        case dict():
            if isinstance(key, str):
                return value.get(key, "" if isinstance(value, TextMap) else None)
            if any(isinstance(known, Key) for known in value):
                return _index_any(value, key)
            raise TemplateFault(f"value has type {type_of(key)}; should be string")
        case list() | tuple() | bytes() | str():
            if not isinstance(key, int) or isinstance(key, bool):
                raise TemplateFault(f"cannot index slice/array with type {type_of(key)}")
            items = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            if not 0 <= key < len(items):
                raise TemplateFault(f"index out of range: {key}")
            item: object = items[key]
            return Uint8(cast("int", item)) if isinstance(items, bytes) else item
        case _:
            raise TemplateFault(f"can't index item of type {type_of(value)}")


def _index_any(value: dict[object, object], key: object) -> object:
    """Keys of any type: 1, 1.0 and true are three. All of them are looked at, which counts."""
    if isinstance(key, dict | list | tuple | bytes):
        raise TemplateFault(f"hash of unhashable type {type_of(key)}")
    effort.compared += len(value)
    for known, item in value.items():
        said = key_of(known)
        if said == key and type_of(said) == type_of(key):
            return item
    return None


def _len(value: object) -> int:
    match value:
        case None:
            raise TemplateFault("len of nil pointer")
        case str():
            return len(value.encode("utf-8", "surrogatepass"))
        case dict() | list() | tuple() | bytes():
            return len(value)
        case _:
            raise TemplateFault(f"len of type {type_of(value)}")


def _shown(values: tuple[object, ...]) -> str:
    """The operands as the escaping functions print them: nil is `<no value>`."""
    return sprint([NO_VALUE if value is None else value for value in values])


def _html(*values: object) -> str:
    return html.escape(_shown(values)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;").replace("\0", "\ufffd")


def _js(*values: object) -> str:
    text = _JS_SPECIAL.sub(lambda found: _JS.get(found.group()) or f"\\u{ord(found.group()):04X}", _shown(values))
    if text.isascii():
        return text
    return "".join(char if char < "\x80" or char.isprintable() else f"\\u{ord(char):04X}" for char in text)


def _urlquery(*values: object) -> str:
    return quote_plus(_shown(values), safe="~").replace("%7E", "~")


def _call(function: object, *arguments: object) -> object:
    if not callable(function) or isinstance(function, GoObject):
        raise TemplateFault(f"a value of type {type_of(function)} is no function")
    return function(*arguments)


BUILTINS: dict[str, GoFunction] = table(
    ("eq", "any any...", _eq),
    ("ne", "any any", lambda left, right: not equal(left, right)),
    ("lt", "any any", less),
    ("le", "any any", _le),
    ("gt", "any any", lambda left, right: not _le(left, right)),
    ("ge", "any any", lambda left, right: not less(left, right)),
    ("index", "any any...", _index),
    ("len", "any", _len),
    ("print", "any...", lambda *values: sprint(values)),
    ("println", "any...", lambda *values: sprintln(values)),
    ("printf", "string any...", lambda template, *values: sprintf(template, values)),
    ("html", "any...", _html),
    ("js", "any...", _js),
    ("urlquery", "any...", _urlquery),
    ("call", "any any...", _call),
)
