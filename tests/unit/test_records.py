"""Records behave as frozen, slotted dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from treebuilder.records import asdict, field, fields, is_record, record, replace


@record(order=True)
class Point:
    x: int
    y: int = 2
    note: str = field(default="", compare=False)


@record
class Named(Point):
    name: str = "n"
    tags: list[str] = field(default_factory=list)


@record(frozen=False)
class Counter:
    count: int = 0


@record
class Checked:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(self.value)


@record
class Nothing:
    pass


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Peer:
    x: int
    y: int = 2
    note: str = dataclasses.field(default="", compare=False)


@pytest.mark.parametrize("args", [(1,), (1, 3), (1, 2, "a")])
def test_a_record_says_and_compares_as_a_dataclass_does(args: tuple[Any, ...]) -> None:
    ours, theirs = Point(*args), Peer(*args)
    assert repr(ours) == repr(theirs).replace("Peer", "Point")
    assert (ours == Point(1), ours < Point(1, 3), ours >= Point(1)) == (
        theirs == Peer(1), theirs < Peer(1, 3), theirs >= Peer(1),
    )  # fmt: skip
    assert (hash(ours) == hash(Point(1))) == (hash(theirs) == hash(Peer(1)))
    assert Point.__match_args__ == Peer.__match_args__
    assert asdict(ours) == dataclasses.asdict(theirs)


def test_fields_stay_what_they_were() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        object.__setattr__(point, "other", 1)
    assert replace(point, y=5) == Point(1, 5)
    assert point == Point(1, 2)


@pytest.mark.parametrize("bad", [{}, {"x": 1, "z": 2}])
def test_what_is_missing_or_unknown_is_an_error(bad: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"x|z"):
        Point(**bad)  # type: ignore[arg-type]


def test_a_record_of_another_class_is_another() -> None:
    assert Named(1) != Point(1)
    with pytest.raises(TypeError):
        assert Named(1) < Peer(1)  # type: ignore[operator]


def test_inherited_fields_come_first_and_factories_are_called_each_time() -> None:
    assert [f.name for f in fields(Named)] == ["x", "y", "note", "name", "tags"]
    assert Named(1, 2, "", "m").name == "m"
    assert Named(1).tags is not Named(1).tags
    assert Named(1, tags=["a"]).tags == ["a"]


def test_an_open_record_changes_and_has_no_hash() -> None:
    counter = Counter()
    counter.count += 1
    assert counter == Counter(1)
    with pytest.raises(TypeError):
        hash(counter)


def test_copies_are_equal() -> None:
    named = Named(1, tags=["a"])
    for other in (copy.copy(named), copy.deepcopy(named), pickle.loads(pickle.dumps(named))):
        assert other == named
    assert Nothing() == Nothing()


def test_what_is_a_record() -> None:
    assert is_record(Point(1))
    assert not is_record(Point)
    assert not is_record(3)
    with pytest.raises(TypeError):
        fields(3)
    assert asdict({"a": [Point(1)], "b": (Counter(),)}) == {
        "a": [{"x": 1, "y": 2, "note": ""}], "b": ({"count": 0},),
    }  # fmt: skip


def test_a_check_runs_on_every_instance() -> None:
    assert replace(Checked(1), value=2) == Checked(2)
    for _ in range(2):
        with pytest.raises(ValueError, match="-1"):
            Checked(-1)
