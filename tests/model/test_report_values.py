"""Reading what `report` is given: numbers, iterations, nested dicts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup.errors import (
    ArgumentError,
    MetricValueError,
    NonFiniteError,
    NonFiniteWarning,
    ReportError,
    TaskGroupError,
    UnknownFieldError,
)
from clearml_taskgroup.testing import MemoryStore


class Broken:
    """Raises what nobody expects."""

    def __float__(self) -> float:
        raise RuntimeError("no number")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Tensor:
    """Stands for torch's: `item()` gives the number if there is just one."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def item(self) -> Any:
        """The one element."""
        if len(self.values) != 1:
            raise RuntimeError(f"a Tensor with {len(self.values)} elements cannot be converted to Scalar")
        return self.values[0]


@pytest.fixture
def task(backend: MemoryStore) -> Iterator[GroupTask]:
    """An open task."""
    with TaskGroup("digits", "sweep", template="{metric}/{split=value}") as group:
        yield group.task({"C": 1})


def scalars(task: GroupTask, backend: MemoryStore) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """What a task has logged so far."""
    task.flush()
    return backend.members[0].scalars


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0.5),
        (3, 3.0),
        (True, 1.0),
        (np.bool_(False), 0.0),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int8(-3), -3.0),
        (np.array(0.5), 0.5),
        (np.array([[0.5]]), 0.5),
        (Tensor(0.5), 0.5),
        (Tensor(2), 2.0),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 2), 0.5),
        (3.4e38, 3.4e38),
    ],
)
def test_numbers(task: GroupTask, backend: MemoryStore, value: Any, expected: float) -> None:
    """Python's numbers and bools, numpy's, and tensors of one element are numbers."""
    task.report({"loss": value}, 1)
    assert scalars(task, backend) == {("loss", "value"): [(1, expected)]}


@pytest.mark.parametrize(
    "value",
    [
        *("0.5", "", b"1", bytearray(b"1"), np.str_("1"), np.array("0.5"), Tensor("0.5")),
        *([0.5], (0.5,), np.array([1, 2]), np.array([]), Tensor(1.0, 2.0), Tensor()),
        *(None, 1j, object(), lambda: 0.5, Broken(), Decimal("sNaN")),
        *(np.timedelta64(3, "ns"), np.timedelta64(3, "D"), np.datetime64("2026-01-01", "ns")),
    ],
)
def test_what_is_no_number(task: GroupTask, backend: MemoryStore, value: Any) -> None:
    """Text, None, lists and tensors of many elements are refused by the metric's name."""
    with pytest.raises(MetricValueError, match=r"'loss' is .*float\(…\)") as caught:
        task.report({"accuracy": 1.0, "loss": value}, 1)
    assert caught.value.value is value
    assert scalars(task, backend) == {}, "a report that is refused leaves nothing behind"


def test_a_nested_dict_without_levels(task: GroupTask) -> None:
    """A dict where a number should be is told what levels= is for."""
    with pytest.raises(MetricValueError, match=r'levels=\("split", "metric"\)'):
        task.report({"val": {"loss": 0.5}}, 1)  # type: ignore[dict-item]


@pytest.mark.parametrize("values", [0.5, "loss", [("loss", 0.5)], None])
def test_values_that_are_no_dict(task: GroupTask, values: Any) -> None:
    """Anything but a dict is refused with the form of the call."""
    with pytest.raises(ReportError, match=r"report\(\{'loss': 0\.3\}, iteration"):
        task.report(values, 1)


@pytest.mark.parametrize("metric", [1, None, ("a",)])
def test_metrics_that_are_no_text(task: GroupTask, metric: Any) -> None:
    with pytest.raises(MetricValueError, match="a metric's name is text"):
        task.report({metric: 0.5}, 1)


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (0, 0),
        (3, 3),
        (3.0, 3),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(3), 3),
        (np.array(3), 3),
        (-1, -1),
    ],
)
def test_iterations(task: GroupTask, backend: MemoryStore, iteration: Any, expected: int) -> None:
    """Whole numbers of every make are iterations, 3.0 among them."""
    task.report({"loss": 0.5}, iteration)
    assert scalars(task, backend) == {("loss", "value"): [(expected, 0.5)]}


@pytest.mark.parametrize(
    "iteration",
    [
        *(
            3.5,
            np.float64(3.5),
            "3",
            b"3",
            float("nan"),
            float("inf"),
            [3],
            object(),
            3j,
            True,
            np.bool_(True),
        ),
        *(
            Broken(),
            Decimal("1E+1000000"),
            np.array([1, 2]),
            np.datetime64("2026", "ns"),
            np.timedelta64(3, "D"),
        ),
    ],
)
def test_what_is_no_iteration(task: GroupTask, backend: MemoryStore, iteration: Any) -> None:
    """Fractions, text and anything else are refused, not rounded or read."""
    with pytest.raises(ArgumentError, match="expected a whole number, or None for single values"):
        task.report({"loss": 0.5}, iteration)
    assert scalars(task, backend) == {}


def test_single_values(task: GroupTask, backend: MemoryStore) -> None:
    """Without an iteration, values are single values, named by the whole template."""
    task.report({"loss": 0.5, "top/1": 0.75}, split="val")
    task.report({"loss": 0.25})
    assert scalars(task, backend) == {}
    assert backend.members[0].single_values == {"loss/val": 0.5, "top/1/val": 0.75, "loss/value": 0.25}


def test_single_values_without_a_slash(backend: MemoryStore) -> None:
    """A template without '/' names a single value by the series alone."""
    with TaskGroup("digits", "sweep", template="final_{metric}") as group:
        group.task({"C": 1}).report({"loss": 0.5})
    assert backend.members[0].single_values == {"final_loss": 0.5}


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ({"val": {"loss": 0.5, "acc": 1.0}, "train": {"loss": 0.25}}, ("split", "metric")),
        ({"loss": {"val": 0.5, "train": 0.25}, "acc": {"val": 1.0}}, ["metric", "split"]),
    ],
)
def test_nested_dicts_in_both_orders(
    task: GroupTask, backend: MemoryStore, values: Any, levels: tuple[str, ...]
) -> None:
    """`levels` says what each level of keys stands for, so both natural orders work."""
    task.report(values, 1, levels=levels)
    assert scalars(task, backend) == {
        ("loss", "val"): [(1, 0.5)],
        ("acc", "val"): [(1, 1.0)],
        ("loss", "train"): [(1, 0.25)],
    }


def test_three_levels_and_one(backend: MemoryStore) -> None:
    """Keys may be numbers where the level is a context; one level is the plain form."""
    with TaskGroup("digits", "sweep", template="{metric}/{split}{fold}") as group:
        task = group.task({"C": 1})
        task.report({"val": {0: {"loss": 0.5}, 1: {"loss": 0.75}}}, 1, levels=("split", "fold", "metric"))
        task.bind(split="a", fold=2).report({"loss": 1.0}, levels="metric")
    assert backend.members[0].scalars == {("loss", "val0"): [(1, 0.5)], ("loss", "val1"): [(1, 0.75)]}
    assert backend.members[0].single_values == {"loss/a2": 1.0}


def test_keys_that_are_equal_and_read_otherwise(task: GroupTask, backend: MemoryStore) -> None:
    """1 and True are one key of a dict, and two contexts."""
    values: Any = {"acc": {1: 0.5, 0: 0.25}, "loss": {True: 1.0}}
    task.report(values, 1, levels=("metric", "split"))
    found = {(title, series) for title, series in scalars(task, backend)}
    assert found == {("acc", "1"), ("acc", "0"), ("loss", "True")}


def test_a_dict_that_is_too_shallow_somewhere(task: GroupTask, backend: MemoryStore) -> None:
    """Ragged depth is told by the place where it is, and nothing of the report is logged."""
    with pytest.raises(ReportError, match=r"2 levels, but at 'loss' there is 0\.25"):
        task.report({"val": {"loss": 0.5}, "loss": 0.25}, 1, levels=("split", "metric"))
    with pytest.raises(ReportError, match="at the outermost level there is 3"):
        task.report(3, 1, levels=("split", "metric"))  # type: ignore[call-overload]
    assert scalars(task, backend) == {}


def test_a_dict_that_is_too_deep_somewhere(task: GroupTask, backend: MemoryStore) -> None:
    """A dict below the last level is no number."""
    with pytest.raises(MetricValueError, match=r"'loss' is \{'a': 1\}"):
        task.report({"val": {"acc": 1.0, "loss": {"a": 1}}}, 1, levels=("split", "metric"))
    assert scalars(task, backend) == {}


@pytest.mark.parametrize(
    "levels",
    [
        *((), ("split",), ("metric", "metric"), ("split", "split", "metric"), "split", 5),
        *((1, "metric"), ([], "metric"), np.array(1)),
    ],
)
def test_levels_that_cannot_be(task: GroupTask, levels: Any) -> None:
    """`levels` holds one of them 'metric' and no word twice."""
    with pytest.raises(ArgumentError, match="one of them 'metric'"):
        task.report({"val": {"loss": 0.5}}, 1, levels=levels)


def test_levels_of_unknown_and_reserved_fields(task: GroupTask) -> None:
    """A level is a field of the template, and none that the group fills in."""
    with pytest.raises(UnknownFieldError, match="'fold'"):
        task.report({"val": {"loss": 0.5}}, 1, levels=("fold", "metric"))
    with pytest.raises(UnknownFieldError, match="'task'"):
        task.report({"val": {"loss": 0.5}}, 1, levels=("task", "metric"))
    with pytest.raises(ReportError, match="both as a level of the dict and as split="):
        task.report({"val": {"loss": 0.5}}, 1, levels=("split", "metric"), split="val")


NONFINITE = [float("nan"), float("inf"), -float("inf"), 3.5e38, -1e39, np.float32("nan"), 10**400, -(10**400)]


@pytest.mark.parametrize("value", NONFINITE)
def test_nonfinite_numbers_are_left_out(task: GroupTask, backend: MemoryStore, value: Any) -> None:
    """What no server stores is left out, the rest of the report is not, and the line is named."""
    with pytest.warns(NonFiniteWarning, match=r"loss is .*in the task 'C=1'") as caught:
        task.report({"loss": value, "acc": 1.0}, 1)
    assert [warning.filename for warning in caught] == [__file__]
    assert scalars(task, backend) == {("acc", "value"): [(1, 1.0)]}


def test_nonfinite_numbers_are_told_once_per_series(backend: MemoryStore) -> None:
    """Each series of each task is told of once, what came after is counted at the end."""
    nan = float("nan")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with TaskGroup("digits", "sweep") as group:
            for task in group.tasks({"C": [1, 2]}):
                for step in range(3):
                    task.report({"loss": nan}, step)
                    task.report({"loss": nan}, step, split="val")
    assert {warning.category for warning in caught} == {NonFiniteWarning}
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 5
    assert texts[:2] == [text.replace("C=2", "C=1") for text in texts[2:4]]
    assert "loss[split=val] is nan" in texts[1]
    assert texts[4] == "8 more points that ClearML cannot store were skipped"


def test_one_point_is_no_plural(backend: MemoryStore) -> None:
    """A single point that was left out besides is told in proper words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with TaskGroup("digits", "sweep") as group:
            for step in range(2):
                group.task({"C": 1}, if_exists="return").report({"loss": float("nan")}, step)
    assert str(caught[-1].message) == "1 more point that ClearML cannot store was skipped"


@pytest.mark.parametrize("value", NONFINITE)
def test_nonfinite_raise(backend: MemoryStore, value: Any) -> None:
    """Under `nonfinite="raise"` such a number is an error, and the report leaves nothing behind."""
    with TaskGroup("digits", "sweep", nonfinite="raise") as group:
        with pytest.raises(NonFiniteError, match=r"'loss\[split=val\]' is .* in the task 'C=1'"):
            group.task({"C": 1}).report({"acc": 1.0, "loss": value}, 1, split="val")
    assert backend.members[0].scalars == {}


def test_a_report_that_is_refused_skips_nothing(task: GroupTask, backend: MemoryStore) -> None:
    """Neither its NaN counts nor its numbers, which would end an earlier divergence."""
    reports: list[dict[str, Any]] = [{"loss": float("nan"), "bad": "x"}, {"loss": 1.0, "bad": "x"}]
    for values in reports:
        if values["loss"] == 1.0:
            with pytest.warns(NonFiniteWarning):
                task.report({"loss": float("nan")})
        for iteration in (None, 3):
            with pytest.raises(MetricValueError):
                task.report(values, iteration)
        (row,) = task.group.results()
        assert bool(row.diverged) == (values["loss"] == 1.0)


def test_errors_are_of_one_family(task: GroupTask) -> None:
    """All that a report refuses is a `TaskGroupError`."""
    refused: list[Any] = [({"a": "x"}, 1), ({"a": 1.0}, 1.5), ({"": 1.0}, 1), (3, 1), ({"a": {}}, 1)]
    for arguments in refused:
        with pytest.raises(TaskGroupError):
            task.report(*arguments)
