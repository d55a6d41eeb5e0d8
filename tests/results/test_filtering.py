"""Selecting rows, and which of their values count."""

from __future__ import annotations

import math
from typing import Any

import pytest

from clearml_taskgroup._model.status import ABANDONED
from clearml_taskgroup._results.filtering import (
    counting_stats,
    diverged_rows,
    filter_rows,
    has_parameters,
    has_value,
    in_other_contexts,
    parameter_names,
    require_parameter,
    typed_value,
)
from clearml_taskgroup.errors import ArgumentError, NoSuchParameterError
from tests.support.rows import LOSS, VAL_LOSS, made_row, metric_key

DIVERGED = made_row("diverged", values={LOSS: [1, math.nan]})
FINE = made_row("fine", values={LOSS: [1, 2]})
OPEN = made_row("open", values={LOSS: 3}, status="in_progress")
FAILED = made_row("failed", values={LOSS: [1, math.nan]}, status="failed")
WITHOUT = made_row("without", values={VAL_LOSS: [4, math.nan]})
ROWS = [DIVERGED, FINE, OPEN, FAILED, WITHOUT]


def test_which_values_count() -> None:
    """Those of completed and open tasks; of a metric that diverged all but the last value."""
    for of, expected in (("last", [FINE, OPEN]), ("min", [DIVERGED, FINE, OPEN])):
        asked: Any = (LOSS, of)
        assert [row for row in ROWS if has_value(row, *asked)] == expected
        rows, stats = counting_stats(ROWS, *asked)
        assert (rows, stats) == (expected, [row.stats[LOSS] for row in expected])
        assert diverged_rows(ROWS, *asked) == ([DIVERGED] if of == "last" else [])
    assert has_value(FINE, LOSS)
    assert diverged_rows(ROWS, LOSS) == [DIVERGED]


def test_metrics_in_other_contexts_only() -> None:
    """Of completed tasks; not where the metric diverged in the context that is asked for."""
    test_loss, accuracy = metric_key("loss", split="test"), metric_key("accuracy")
    both = made_row("both", values={VAL_LOSS: 1, test_loss: 1, accuracy: 1})
    lost = made_row("lost", values={LOSS: math.nan, VAL_LOSS: 1})
    not_yet = made_row("open", values={VAL_LOSS: 1}, status="in_progress")
    rows = [FINE, both, lost, not_yet, made_row("other", values={accuracy: 1})]
    known = [LOSS, VAL_LOSS, test_loss, accuracy]
    assert in_other_contexts(rows, LOSS, known) == {"both": [VAL_LOSS, test_loss]}
    assert in_other_contexts(rows, VAL_LOSS, known) == {"fine": [LOSS]}
    assert in_other_contexts(rows, accuracy, known) == {}


TASKS = [
    made_row("a", {"C": 1, "kernel": "rbf"}, index=0),
    made_row("b", {"C": 2.5, "sizes": [1, 2]}, index=10, status="failed", attempt=2),
    made_row("c", {"C": 1}, index=2, status="stopped", status_reason=ABANDONED),
    made_row("d", {"C": 1, "kernel": None}, index=3, status="stopped", status_reason="pruned"),
]


@pytest.mark.parametrize(
    ("given", "more", "names"),
    [
        (None, {}, "abcd"),
        ({"C": 1}, {}, "acd"),
        (None, {"C": 1.0}, "acd"),
        ({"C": 1}, {"kernel": "rbf"}, "a"),
        ({"C": 2.5}, {"C": 1}, "acd"),
        (None, {"kernel": None}, "d"),
        (None, {"sizes": [1, 2]}, "b"),
        (None, {"sizes": (1, 2)}, "b"),
        (None, {"C": 7}, ""),
        (None, {"status": "failed"}, "b"),
        (None, {"status": "stopped"}, "cd"),
        (None, {"status": "abandoned"}, "c"),
        (None, {"index": "10"}, "b"),
        (None, {"index": 0, "C": 1}, "a"),
        (None, {"attempt": 2}, "b"),
        (None, {"name": "c"}, "c"),
        (None, {"id": "id of c"}, "c"),
        (None, {"key": "key of c"}, "c"),
        (lambda row: row.index > 2, {}, "bd"),
        (lambda row: row.index > 2, {"C": 1}, "d"),
    ],
)
def test_rows_are_selected(given: Any, more: dict[str, Any], names: str) -> None:
    assert [row.name for row in filter_rows(TASKS, given, more)] == list(names)


@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        (3, {}, "where=3 was given; expected a dict"),
        (None, {"status": "fail"}, "one of created, queued, in_progress, completed, failed, stopped, aban"),
        (None, {"gamma": 1}, "no task has"),
        (None, {"C": "1"}, r"expected 1 \(int\), as the tasks have it"),
        (None, {"C": True}, r"expected 1 \(int\)"),
        (None, {"C": "2.50"}, r"expected 2.5 \(float\)"),
        (None, {"kernel": "None"}, r"expected None \(NoneType\)"),
        (None, {"C": [1, 7]}, r"where\(lambda row: row.params\['C'\] in \[1, 7\]\)"),
        (None, {"C": [7, 1]}, r"in \[7, 1\]\)"),
        (None, {"C": lambda: 1}, r"row.params\['C'\] …"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        filter_rows(TASKS, given, more)


def test_a_parameter_that_is_called_like_a_field() -> None:
    """It is the parameter that is compared, in each task that has it."""
    rows = [made_row("a", {"name": "x"}), made_row("x", {})]
    assert filter_rows(rows, None, {"name": "x"}) == [rows[0]]


def test_values_without_numbers_do_not_look_equal() -> None:
    """A number that is too large for a float, and text that is none, are values that no task has."""
    assert filter_rows(TASKS, None, {"C": 10**400}) == []
    assert filter_rows(TASKS, None, {"kernel": "linear"}) == []
    assert filter_rows(TASKS, None, {"C": [7, 8]}) == []


def test_parameters_are_compared_in_typed_form() -> None:
    assert has_parameters({"C": 1, "m": "a"}, {"C": typed_value("C", 1.0)})
    assert has_parameters({"C": 1}, {})
    assert not has_parameters({"C": 1}, {"C": typed_value("C", "1")})
    assert not has_parameters({"C": 1}, {"C": 1, "m": "a"})


def test_a_parameter_that_no_task_has() -> None:
    """The error names those that there are, and a metric of which it is context; without tasks all pass."""
    require_parameter(TASKS, "over", "sizes")
    require_parameter([], "over", "sizes")
    with pytest.raises(NoSuchParameterError, match="one of the parameters C, kernel, sizes"):
        require_parameter(TASKS, "over", "fold")
    with pytest.raises(NoSuchParameterError, match=r"one of the parameters \(none\)"):
        require_parameter([made_row()], "over", "fold")
    with pytest.raises(NoSuchParameterError, match="split is context of loss"):
        require_parameter([WITHOUT], "over", "split")
    for rows in ([], TASKS):
        with pytest.raises(NoSuchParameterError):
            require_parameter(rows, "over", 3)  # type: ignore[arg-type]


def test_one_name_or_several() -> None:
    assert parameter_names("seed") == ("seed",)
    assert parameter_names(["seed", "fold"]) == ("seed", "fold")
    assert parameter_names([]) == ()
    for wrong in (3, ["seed", 3]):
        with pytest.raises(ArgumentError, match="the name of a parameter, or a list of names"):
            parameter_names(wrong)  # type: ignore[arg-type]
