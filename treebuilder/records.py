"""Records: frozen, slotted classes whose fields are their annotations, as `dataclasses` makes them.

`dataclasses` compiles six methods for each class when its module is imported, 0.7 ms a class, and loads `inspect`; that
was a third of the start of every verb (docs/adr/0014). Here `__init__` is compiled when some instances have been made
and the other methods are shared, so a class that a run does not use, or hardly, costs almost nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from treebuilder.annotations import Any, Final, TypeVar, dataclass_transform, overload

T = TypeVar("T")
_MISSING: Final = object()
_FEW = 32  # instances that are made in less time than compiling takes
_made: dict[type[Any], int] = {}
_set = object.__setattr__


class Field:
    """What is known of one field. `compare`: it takes part in equality, order and hash."""

    __slots__ = ("compare", "default", "factory", "name")

    def __init__(self, name: str, default: Any, factory: Callable[[], Any] | None, compare: bool) -> None:
        self.name, self.default, self.factory, self.compare = name, default, factory, compare


def field(*, default: Any = _MISSING, default_factory: Callable[[], Any] | None = None, compare: bool = True) -> Any:
    """A field that needs more than a default value."""
    return Field("", default, default_factory, compare)


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, order: bool = False, frozen: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[Any] | None = None, /, *, order: bool = False, frozen: bool = True) -> Any:
    """Makes a class a record. `order` adds `<` and its kin by the fields in turn; `frozen=False` lets fields change."""
    if cls is not None:
        return _make(cls, order, frozen)
    return lambda made: _make(made, order, frozen)


def fields(of: object) -> tuple[Field, ...]:
    """The fields of a record or its class, in order; raises TypeError for what is none."""
    found = getattr(of, "__record__", None)
    if found is None:
        raise TypeError(f"{of!r} is no record")
    return tuple(found)


def is_record(value: object) -> bool:
    """True for an instance, False for a class."""
    return not isinstance(value, type) and hasattr(value, "__record__")


def replace(value: T, /, **changes: Any) -> T:
    """A copy with some fields changed; raises TypeError for a field that is not there."""
    return type(value)(**{f.name: getattr(value, f.name) for f in fields(value)} | changes)


def asdict(value: Any) -> Any:
    """A record as plain dicts, lists and tuples, at any depth."""
    if is_record(value):
        return {f.name: asdict(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: asdict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(asdict(item) for item in value)
    return value


def _make(cls: type[Any], order: bool, frozen: bool) -> type[Any]:
    own = [_field(name, vars(cls).get(name, _MISSING)) for name in vars(cls).get("__annotations__", {})]
    inherited = [f for base in reversed(cls.__mro__[1:]) for f in base.__dict__.get("__own__", ())]
    names = {f.name: f for f in [*inherited, *own]}
    defaults = {f.name for f in own}
    members = {key: value for key, value in cls.__dict__.items() if key not in defaults}
    members.pop("__dict__", None)
    members.pop("__weakref__", None)
    all_fields = tuple(names.values())
    members |= {
        "__slots__": tuple(f.name for f in own), "__own__": tuple(own), "__record__": all_fields,
        "__match_args__": tuple(names), "__init__": _first_init, "__reduce__": _reduce,
    }  # fmt: skip
    members.setdefault("__repr__", _repr)
    key = _key(all_fields)
    members.setdefault("__eq__", _compared("__eq__", key))
    if frozen:
        members["__setattr__"] = members["__delattr__"] = _refuse
        members.setdefault("__hash__", lambda self: hash(key(self)))
    else:
        members.setdefault("__hash__", None)
    if order:
        members |= {name: _compared(name, key) for name in ("__lt__", "__le__", "__gt__", "__ge__")}
    metaclass: Any = type(cls)
    made: type[Any] = metaclass(cls.__name__, cls.__bases__, members)
    made.__qualname__ = cls.__qualname__
    return made


def _field(name: str, default: Any) -> Field:
    if isinstance(default, Field):
        return Field(name, default.default, default.factory, default.compare)
    return Field(name, default, None, True)


def _key(of: tuple[Field, ...]) -> Callable[[Any], Any]:
    names = [f.name for f in of if f.compare]
    return operator.attrgetter(*names) if names else lambda _: ()


def _compared(name: str, key: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    compare = getattr(operator, name)

    def method(self: Any, other: Any) -> Any:
        return compare(key(self), key(other)) if other.__class__ is self.__class__ else NotImplemented

    return method


def _first_init(self: Any, /, *args: Any, **kwargs: Any) -> None:
    """Fills the first few instances of a class; then, or for arguments that do not fit, compiles its own `__init__`."""
    cls = next(base for base in type(self).__mro__ if "__record__" in base.__dict__)
    of: tuple[Field, ...] = cls.__dict__["__record__"]
    counted = _made.get(cls, 0)
    _made[cls] = counted + 1
    if counted == _FEW or not _filled(self, of, args, kwargs):
        _made.pop(cls, None)
        init = _compiled(cls, of)
        type.__setattr__(cls, "__init__", init)
        init(self, *args, **kwargs)
    elif hasattr(cls, "__post_init__"):
        self.__post_init__()


def _filled(self: Any, of: tuple[Field, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Sets the fields; False where the arguments are not those of this class."""
    given = len(args)
    if given > len(of):
        return False
    used = 0
    for number, f in enumerate(of):
        if number < given:
            value = args[number]
        elif f.name in kwargs:
            value = kwargs[f.name]
            used += 1
        elif f.factory is not None:
            value = f.factory()
        elif f.default is not _MISSING:
            value = f.default
        else:
            return False
        _set(self, f.name, value)
    return used == len(kwargs)


def _compiled(cls: type[Any], of: tuple[Field, ...]) -> Any:
    """An `__init__` of these fields."""
    scope: dict[str, Any] = {"_missing": _MISSING}
    heads, lines = ["self"], []
    for number, f in enumerate(of):
        value = f.name
        if f.factory is not None:
            scope[f"_factory{number}"] = f.factory
            heads.append(f"{f.name}=_missing")
            value = f"_factory{number}() if {f.name} is _missing else {f.name}"
        elif f.default is not _MISSING:
            scope[f"_default{number}"] = f.default
            heads.append(f"{f.name}=_default{number}")
        else:
            heads.append(f.name)
        scope[f"_set{number}"] = getattr(cls, f.name).__set__  # of the slot: it need not be looked up
        lines.append(f" _set{number}(self, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(heads)}):\n" + ("\n".join(lines) or " pass"), scope)  # noqa: S102 - names of fields
    init = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _reduce(self: Any) -> Any:
    return type(self), tuple(getattr(self, f.name) for f in self.__record__)


def _repr(self: Any) -> str:
    inner = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in self.__record__)
    return f"{type(self).__qualname__}({inner})"


def _refuse(self: Any, name: str, *value: Any) -> None:
    raise AttributeError(f"{name!r} of {type(self).__qualname__} cannot be changed: it is frozen")
