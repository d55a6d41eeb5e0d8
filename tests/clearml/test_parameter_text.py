"""Parameters as they stand on a task are read as what they were, or as what they were edited to."""

from __future__ import annotations

import decimal
import enum
import fractions
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from clearml_taskgroup._clearml.hyperparameters import general
from clearml_taskgroup._clearml.parameter_text import read
from clearml_taskgroup._model.parameter_json import is_same_json, typed_json
from clearml_taskgroup.errors import AgentParameterError


class Color(enum.Enum):
    """An enum."""

    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    """An enum whose text is a number."""

    LOW = 1


@attrs.frozen
class Schedule:
    """A class with fields."""

    start: float
    _steps: tuple[int, ...] = (1,)


def a_function() -> None:
    """A function."""


PLAIN: list[Any] = [
    *(0, 1, -7, 10**30, 1.0, 0.1, 1e20, -0.5, float("inf"), True, False, None, 2 + 3j),
    *("x", "", "1", "None", "True", " padded ", "[1]", "a\nb", b"ab", Path("a/b")),
    *([], [1, 2.5, "a", None], (1, (2, 3)), {1, 2}, {0: 1.0, 1: 2.0}, {}),
    *(np.float32(0.1), np.float64(0.1), np.int64(3), np.bool_(True)),
]
OBJECTS: list[Any] = [
    *(Color.RED, Level.LOW, [Color.RED], Schedule(0.5), a_function, Schedule),
    *(decimal.Decimal("0.1"), fractions.Fraction(1, 3), frozenset({"a"}), np.array([1, 2])),
]


def label(value: Any) -> str:
    """Names a value the same in each process that collects these tests."""
    return str(getattr(value, "__name__", repr(value)))


def item_of(value: Any) -> dict[str, str]:
    """Writes a value as a task holds it."""
    return general({"p": value})["p"]


def edited_to(text: str, value: Any) -> dict[str, str]:
    """Edits it as the web page does, which keeps the type."""
    return {**item_of(value), "value": text}


@pytest.mark.parametrize("value", [*PLAIN, *OBJECTS], ids=label)
def test_what_the_script_knows_comes_back_as_it_is(value: Any) -> None:
    """A value that the script's own space holds is given back, the very object, unedited."""
    params, edited = read({"p": item_of(value)}, {"p": typed_json(value)}, {"p": ["another", value]})
    assert params["p"] is value
    assert edited == []


def test_an_address_is_no_edit() -> None:
    """The text of a function has its address, which is another one in the agent's process."""
    item = edited_to("<function a_function at 0x7f00c0ffee>", a_function)
    assert read({"p": item}, {"p": typed_json(a_function)}, {"p": [a_function]}) == ({"p": a_function}, [])


@pytest.mark.parametrize("value", PLAIN, ids=label)
def test_what_it_does_not_know_means_the_same(value: Any) -> None:
    """A plain value that the space no longer holds is made again of its text, unedited."""
    params, edited = read({"p": item_of(value)}, {"p": typed_json(value)}, {})
    assert is_same_json(typed_json(params["p"]), typed_json(value))
    assert type(value).__module__ == "numpy" or type(params["p"]) is type(value)
    assert edited == []


def test_members_of_an_enum_need_one_that_the_script_has() -> None:
    """The space was drawn anew, and has another member of the enum."""
    params, edited = read({"p": item_of(Color.RED)}, {"p": typed_json(Color.RED)}, {"p": [Color.BLUE]})
    assert (params, edited) == ({"p": Color.RED}, [])


@pytest.mark.parametrize("value", OBJECTS, ids=label)
def test_objects_are_not_made_of_texts(value: Any) -> None:
    """Nothing is looked up in modules, and nothing is called, because a stored text says so."""
    with pytest.raises(AgentParameterError, match=r"cannot be read as an? \w+; fix it"):
        read({"p": item_of(value)}, {"p": typed_json(value)}, {})


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (1, "7", 7),
        (1, " 7 ", 7),
        (1, "10.0", 10),
        (1.0, "1" + "0" * 400, float("inf")),
        (1.0, "7", 7.0),
        (0.1, "1e-3", 0.001),
        (True, "false", False),
        (False, "1", True),
        ("rbf", "poly", "poly"),
        ("rbf", "3", "3"),
        ("rbf", "", ""),
        (None, "5", 5),
        (None, "fast", "fast"),
        ([1, 2], "[3, 4.5]", [3, 4.5]),
        ((1, 2), "[3, 4]", (3, 4)),
        ((1, 2), "(3,)", (3,)),
        ({1, 2}, "{3}", {3}),
        ({0: 1.0}, "{0: 2.0}", {0: 2.0}),
        (Color.RED, "Color.BLUE", Color.BLUE),
        (Color.RED, "BLUE", Color.BLUE),
        (Path("a"), "b/c", Path("b/c")),
        (np.float32(0.1), "0.2", 0.2),
        (np.int64(3), "4", 4),
    ],
)
def test_what_was_edited_is_read_as_its_type(value: Any, text: str, expected: Any) -> None:
    item = edited_to(text, value)
    params, edited = read({"p": item}, {"p": typed_json(value)}, {"p": [value]})
    assert params["p"] == expected
    assert type(params["p"]) is type(expected)
    assert edited == ["p"]


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (1, "fast", "an int"),
        (1, "0.5", "an int"),
        (1, "inf", "an int"),
        (0.1, "fast", "a float"),
        (0.1, "None", "a float"),
        (0.1, "nan", "a float"),
        (True, "2", "a bool"),
        ([1], "3", r"a list \(this script has '\[1\]'\)"),
        (Color.RED, "GREEN", r"a Color \(this script has 'Color.RED'\)"),
        (Schedule(0.5), "Schedule(start=1)", r"a Schedule \(this script has .*\)"),
    ],
)
def test_what_cannot_be_read_is_told(value: Any, text: str, expected: str) -> None:
    """Text that is nothing of the type is an error that says parameter, text and type."""
    item = edited_to(text, value)
    with pytest.raises(AgentParameterError, match=f"'p' .* cannot be read as {expected}; fix it"):
        read({"p": item}, {"p": typed_json(value)}, {"p": [value]})


@pytest.mark.parametrize(
    ("known", "text", "expected"),
    [
        ([0.5, 1], "0.25", 0.25),
        ([1, None], "None", None),
        ([1, "auto"], "fast", "fast"),
        (["7", 1], "7", 7),
    ],
)
def test_a_parameter_may_be_what_others_of_it_are(known: list[Any], text: str, expected: Any) -> None:
    """Where the space has values of several types for a parameter, an edit may be of any of them."""
    params, _ = read({"p": edited_to(text, 1)}, {"p": 1}, {"p": known})
    assert params == {"p": expected}


def test_an_object_is_chosen_by_how_it_is_written() -> None:
    """An object that text cannot make is found among those that the script has."""
    one, other = Schedule(0.5), Schedule(0.7)
    item = edited_to(str(other), one)
    params, edited = read({"p": item}, {"p": typed_json(one)}, {"p": [one, other]})
    assert (params, edited) == ({"p": other}, ["p"])


def test_an_edit_to_another_value_of_the_script_gives_that_value() -> None:
    known = [np.float32(0.1), np.float32(0.2)]
    params, edited = read({"p": edited_to("0.2", known[0])}, {"p": typed_json(known[0])}, {"p": known})
    assert params["p"] is known[1]
    assert edited == ["p"]


def test_of_values_with_one_text_it_is_the_one_that_was_stored() -> None:
    """The text of a long array has its ends alone."""
    known = [np.array([0] * 1000 + [number] + [0] * 1000) for number in (1, 2)]
    params, edited = read({"p": item_of(known[0])}, {"p": typed_json(known[1])}, {"p": known})
    assert params["p"] is known[1]
    assert edited == []


def test_parameters_that_were_taken_out_or_added() -> None:
    """One that was taken out is left out, and edited; one that is new is no parameter of the point."""
    params, edited = read({"a": item_of(1), "new": item_of(2)}, {"a": 1, "b": 2}, {})
    assert (params, edited) == ({"a": 1}, ["b"])


@pytest.mark.parametrize("lost", ["", "str"])
def test_text_without_a_type(lost: str) -> None:
    """Where an edit has lost the type, or made it text's, what was recorded says it."""
    texts = {"a": "3", "b": "3", "c": "0.5", "d": "False", "e": "[2]", "f": ""}
    stored = {"a": 1, "b": "x", "c": 1, "d": True, "e": [1], "f": None}
    expected = {"a": 3, "b": "3", "c": 0.5, "d": False, "e": [2], "f": None}
    items = {name: {"value": text, "type": lost} for name, text in texts.items()}
    assert read(items, stored, {})[0] == expected
    with pytest.raises(AgentParameterError, match="cannot be read as a number"):
        read({"a": {"value": "fast", "type": lost}}, {"a": 1}, {})
