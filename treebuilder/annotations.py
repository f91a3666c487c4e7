"""typing's names, for type checkers alone: nothing here loads `typing`, which takes 4 ms at every start.

A checker reads the first branch. At run time a name is a stand-in that annotations, bases and aliases can be written
with and that says nothing, except `cast`, `NamedTuple` and the decorators, which do what they should.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import IO as IO
    from typing import Any as Any
    from typing import BinaryIO as BinaryIO
    from typing import ClassVar as ClassVar
    from typing import Concatenate as Concatenate
    from typing import Final as Final
    from typing import Generic as Generic
    from typing import Literal as Literal
    from typing import NamedTuple as NamedTuple
    from typing import NoReturn as NoReturn
    from typing import ParamSpec as ParamSpec
    from typing import Protocol as Protocol
    from typing import TextIO as TextIO
    from typing import TypeAlias as TypeAlias
    from typing import TypeVar as TypeVar
    from typing import cast as cast
    from typing import dataclass_transform as dataclass_transform
    from typing import overload as overload
else:
    from collections import namedtuple

    class _StandIn:
        """Is called, subscripted, joined by `|` or inherited from, and adds nothing."""

        def __call__(self, *_, **__):
            return self

        def __getitem__(self, _):
            return self

        def __or__(self, _):
            return self

        __ror__ = __or__

        def __mro_entries__(self, _):
            return ()

    class Generic:
        """The base of classes that are written with types in brackets, which change nothing."""

        def __class_getitem__(cls, _):
            return cls

    class _Named(type):
        """Makes a class with annotations a tuple with names."""

        def __new__(mcs, name, bases, body):
            if not bases:
                return super().__new__(mcs, name, bases, body)
            names = body.pop("__annotations__")
            known = [field in body for field in names]
            if known != sorted(known):
                raise TypeError(f"{name}: a field without a default stands behind one with a default")
            defaults = [body.pop(field) for field in names if field in body]
            made = namedtuple(name, names, defaults=defaults, module=body.pop("__module__"))
            body.pop("__orig_bases__", None)
            for key, value in body.items():
                setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Named):
        """The base of tuples with names."""

    def cast(_, value):
        return value

    def overload(function):
        return function

    def dataclass_transform(**_):
        return lambda made: made

    Any = ClassVar = Concatenate = Final = Literal = NoReturn = ParamSpec = Protocol = TypeAlias = TypeVar = _StandIn()
    IO = BinaryIO = TextIO = Any
