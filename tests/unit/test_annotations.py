"""Names for type checkers: what stands for them at run time can be written wherever typing's can."""

import subprocess
import sys

import pytest

from treebuilder.annotations import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, cast
from treebuilder.archive.entry import Entry

T = TypeVar("T")
Either = Literal["a", "b"] | None
Other = None | Literal["a"]


class Point(NamedTuple):
    """A point."""

    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        return self.x + self.y


class Has(Protocol):
    def name(self) -> str: ...


class Box(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value


def test_a_tuple_with_names_is_what_typing_makes() -> None:
    one = Point(1)
    assert (one, hash(one), len(one)) == ((1, 2), hash((1, 2)), 2)
    assert isinstance(one, tuple)
    assert (one.sum, one._replace(x=3).sum) == (3, 5)
    assert repr(one) == "Point(x=1, y=2)"
    assert (Point._fields, Point._field_defaults) == (("x", "y"), {"y": 2})
    assert (Point.__doc__, Point.__module__, Point.__qualname__) == ("A point.", __name__, "Point")
    assert not hasattr(one, "__dict__")
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]
    assert Entry._fields[0] == "path"


def test_a_field_without_a_default_behind_one_with_a_default() -> None:
    with pytest.raises(TypeError, match="without a default"):
        exec("class Wrong(NamedTuple):\n    x: int = 1\n    y: int\n", {"NamedTuple": NamedTuple})


def test_bases_leave_no_trace() -> None:
    class Named(Has):
        def name(self) -> str:
            return "n"

    assert Named.__mro__ == (Named, Has, object)
    assert Has.__mro__ == (Has, object)
    assert Box[int](3).value == Box(3).value == 3


def test_a_cast_is_the_value_and_any_takes_all() -> None:
    value: Any = object()
    assert cast("int", value) is value


@pytest.mark.parametrize(
    "verb", ["treebuilder.cli.verbs.build", "treebuilder.app.building", "treebuilder.engine.native"]
)
def test_nothing_that_starts_often_loads_typing(verb: str) -> None:
    code = f"import sys, {verb}; print('treebuilder.annotations' in sys.modules, 'typing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
