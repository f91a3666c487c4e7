"""How a template function is declared: its name, Go's parameter types, and the Python that does it.

A signature is a text such as `"string int any..."`; the last parameter with `...` takes any number. Types: any, string,
int, int64, float, bool, list, map, and Go's names for all others (`time.Time`). Arguments are checked as Go checks
them, so that a template that works here works with luet: an int64 (what `add` gives) is no int, a map inside a YAML
file is no `map[string]interface {}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from treebuilder.records import record
from treebuilder.template.faults import TemplateFault
from treebuilder.template.values import MAX_PARTS, MAX_TEXT, AnyMap, Int64, TextMap, is_unsigned, type_of

_GO_TYPES = {
    "string": "string", "int": "int", "int64": "int64", "float": "float64", "bool": "bool", "list": "[]interface {}",
    "map": "map[string]interface {}",
}  # fmt: skip
_INT64 = 1 << 63


@record
class GoFunction:
    """`run` takes the arguments after they have been checked against `parameters`; `rest` types the further ones."""

    name: str
    parameters: tuple[str, ...]
    rest: str
    run: Callable[..., object]

    def wanted(self, index: int) -> str:
        """The type of a parameter, empty for one too many."""
        return self.parameters[index] if index < len(self.parameters) else self.rest

    def constant(self, index: int, value: object) -> object:
        """A number that is written as an argument takes the type of its parameter, where that can hold it."""
        wanted = self.wanted(index)
        if isinstance(value, complex) and wanted != "any" and not value.imag:
            value = value.real
        if wanted == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, float) and value.is_integer() and -_INT64 <= value < _INT64:
            value = int(value) if wanted in ("int", "int64", "time.Duration") else value
        if type(value) is not int:
            return value
        if wanted == "time.Duration":
            from treebuilder.template.functions.durations import Duration

            return Duration(value)
        return Int64(value) if wanted == "int64" else value

    def __call__(self, *arguments: object) -> object:
        count = len(self.parameters)
        if len(arguments) < count or (len(arguments) > count and not self.rest):
            least = "at least " if self.rest else ""
            raise TemplateFault(
                f"{self.name} takes {least}{count} argument{'' if count == 1 else 's'}, not {len(arguments)}"
            )
        for index, argument in enumerate(arguments):
            wanted = self.parameters[index] if index < count else self.rest
            if wanted != "any" and not _fits(argument, wanted):
                known = _GO_TYPES.get(wanted, wanted)
                raise TemplateFault(f"{self.name}: argument {index + 1} must be {known}, not {type_of(argument)}")
        try:
            result = self.run(*arguments)
        except TemplateFault as fault:
            if str(fault).startswith(f"{self.name}:"):
                raise
            raise TemplateFault(f"{self.name}: {fault}") from fault
        except (ArithmeticError, ValueError) as err:
            raise TemplateFault(f"{self.name}: a value it cannot take: {err}") from err
        if isinstance(result, str | bytes):
            if len(result) > MAX_TEXT:
                raise TemplateFault(f"{self.name}: the result is larger than {MAX_TEXT >> 20} MiB")
        elif isinstance(result, list) and len(result) > MAX_PARTS:
            raise TemplateFault(f"{self.name}: the result has more than {MAX_PARTS} items")
        return result


def _fits(value: object, wanted: str) -> bool:
    match wanted:
        case "string":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return type(value) is int and not is_unsigned(value)
        case "int64":
            return isinstance(value, Int64)
        case "float":
            return isinstance(value, float)
        case "list":
            return isinstance(value, list | tuple)
        case "map":
            return isinstance(value, dict) and not isinstance(value, AnyMap | TextMap)
        case _:
            return type_of(value) == wanted


def table(*rows: tuple[str, str, Callable[..., object]]) -> dict[str, GoFunction]:
    """Functions by name. A row is (names separated by spaces, signature, callable)."""
    found: dict[str, GoFunction] = {}
    for names, signature, run in rows:
        words = signature.split()
        rest = words.pop().removesuffix("...") if words and words[-1].endswith("...") else ""
        for name in names.split():
            found[name] = GoFunction(name, tuple(words), rest, run)
    return found


def method(owner: object, methods: dict[str, GoFunction], name: str) -> GoFunction:
    """A method of a value, whose `run` takes the value first. Raises KeyError."""
    known = methods[name]
    return GoFunction(name, known.parameters, known.rest, partial(known.run, owner))


def join(tables: Iterable[dict[str, GoFunction]]) -> dict[str, GoFunction]:
    """Several tables as one; a name may stand in one only."""
    found: dict[str, GoFunction] = {}
    for part in tables:
        assert not found.keys() & part.keys(), found.keys() & part.keys()
        found.update(part)
    return found
