"""Rows, means and the best: their values as text, and the order of rows and metrics."""

from __future__ import annotations

import io
import math
import sys
from typing import Any, get_args

import attrs
import pytest

from clearml_taskgroup import Best
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._results.rows import (
    Mean,
    Of,
    best_of,
    diverged_note,
    in_order,
    metric_keys_of,
    not_compared,
    partial_text,
    value_cell,
    with_parameters,
    with_statistic,
)
from clearml_taskgroup.errors import NoSuchResultError
from tests.support.rows import ABOUT, LOSS, VAL_LOSS, made_row, metric_key

TIES = "2 other tasks have the same value, see the means: aggregate(over='seed'); x"
BEST = Best("C=1", {"C": 1}, 0.1234567, "loss", "last", "min", key="key")


def test_a_mean_has_a_spread_from_two_tasks_on() -> None:
    assert str(Mean(0.123456, math.nan, math.nan, 1)) == "0.1235"
    assert str(Mean(0.5, 0.0, 0.0, 2)) == "0.5 ± 0"


def test_the_value_of_the_best() -> None:
    """That of a configuration has its spread, or the number of its tasks if that is one."""
    assert BEST.value_text() == "0.123457"
    assert attrs.evolve(BEST, std=0.25, sem=0.125, n=4).value_text() == "0.123457 ± 0.25 (mean ± std, n=4)"
    assert attrs.evolve(BEST, std=0.25, sem=0.125, n=2).value_text().endswith("n=2)")
    assert attrs.evolve(BEST, std=math.nan, sem=math.nan, n=1).value_text() == "0.123457 (n=1)"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "C=1: loss = 0.123457, the least"),
        ({"mode": "max", "of": "max"}, "C=1: max of loss = 0.123457, the greatest"),
        ({"diverged": True}, "C=1: loss = 0.123457, the least (diverged later)"),
        ({"note": "without 1 task"}, "C=1: loss = 0.123457, the least; without 1 task"),
        ({"name": "trial"}, "trial (C=1): loss = 0.123457, the least"),
        ({"ties": 2}, "C=1: loss = 0.123457, the least; 1 other task has the same value"),
        (
            {"ties": 3, "key": None, "params": {"C": 1, "fold": 0}},
            "C=1: loss = 0.123457, the least; 2 other configurations have the same value",
        ),
        (
            {"ties": 3, "params": {"seed": 0}, "note": "x", "name": "seed=0"},
            "seed=0: loss = 0.123457, the least; " + TIES,
        ),
    ],
)
def test_the_best_in_one_line(changes: dict[str, Any], text: str) -> None:
    assert str(attrs.evolve(BEST, **changes)) == text


def test_text_is_what_standard_output_can_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command prints it: other characters are question marks."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert str(attrs.evolve(BEST, std=0.25, sem=0.125, n=2)).startswith("C=1: loss = 0.123457 ? 0.25 (mean ?")
    row = made_row("é", {}, {LOSS: 1})
    assert str(row) == "?  completed  loss=1"
    assert repr(row) == "<Row '?' key=key of ? completed loss=1>"
    assert str(attrs.evolve(ABOUT, name="é")) == "digits/é, run 1"  # which reports have, too


@pytest.mark.parametrize(
    ("name", "params", "shown"),
    [
        ("trial", {}, "trial"),
        ("all", {"C": 1}, "all"),
        ("C=1", {"C": 1, "seed": 0}, "C=1"),
        ('"a b"=1', {"a b": 1}, '"a b"=1'),
        ("trial", {"C": 0.123456, "n": 2}, "trial (C=0.1235, n=2)"),
        ("trial", {"m": "x" * 31}, f"trial (m={'x' * 19}…{'x' * 10})"),
        ("trial", {"m": ["x" * 40]}, f"trial (m=['{'x' * 17}…{'x' * 8}'])"),
        ("trial", dict.fromkeys("abcdef", 1), "trial (a=1, b=1, c=1, d=1, e=1, f=1)"),
        ("trial", dict.fromkeys("abcdefg", 1), "trial (a=1, b=1, c=1, d=1, e=1, f=1 and 1 more)"),
    ],
)
def test_parameters_after_a_name_that_has_none(name: str, params: dict[str, Any], shown: str) -> None:
    assert with_parameters(name, params) == shown


def test_cells_of_values() -> None:
    """A metric that diverged has no last value; its others are marked."""
    values: dict[MetricKey, Any] = {
        LOSS: [0.123456, 3.0],
        VAL_LOSS: [1.0, math.nan],
        metric_key("x"): math.nan,
    }
    row = made_row(values=values)
    keys, statistics = (*values, metric_key("y")), get_args(Of)[1::-1]
    cells = [[value_cell(row, key, of) for key in keys] for of in statistics]
    assert cells == [["3", "diverged", "diverged", "–"], ["0.1235", "1 (diverged)", "diverged", "–"]]


def test_names_of_statistics() -> None:
    assert (with_statistic("loss", "last"), with_statistic("loss", "max")) == ("loss", "max of loss")


def test_what_was_not_compared() -> None:
    assert not_compared([], "") == ""
    assert not_compared([], "elsewhere") == "elsewhere"
    assert not_compared(["a"], "") == "without 1 task that diverged (a)"
    assert not_compared(["a", "b"], "elsewhere") == "without 2 tasks that diverged (a, b); elsewhere"
    assert diverged_note(["a"]).startswith("it diverged in 1 task (a): ")


@pytest.mark.parametrize(
    ("statuses", "reason", "text"),
    [
        (["completed", "queued"], "", "not finished: group.wait() follows those that agents run"),
        (["created", "in_progress"], "x", "not finished: group.wait() follows those that agents run"),
        (["completed", "in_progress"], "x", "partial: tasks are still open"),
        (["completed"], "", "partial: other tasks are still open"),
        (["completed"], "the sweep goes on", "partial: the sweep goes on"),
    ],
)
def test_why_results_are_partial(statuses: list[str], reason: str, text: str) -> None:
    assert partial_text([made_row(status=status) for status in statuses], reason) == text


def test_rows_are_sorted_by_their_positions() -> None:
    """From any place; equal positions by the names, in natural order."""
    rows = [made_row(f"t{index}", index=index) for index in range(6)]
    for known in range(7):
        before = tuple(rows[:known])
        assert in_order(rows, before) == in_order(rows) == tuple(rows)
        for place in range(known, 6):
            moved = [*rows[:place], *rows[place + 1 :], rows[place]]
            assert in_order(moved, before) == tuple(rows)
    assert in_order([rows[5], *rows[:5]]) == in_order(rows[::-1], tuple(rows)) == tuple(rows)
    assert in_order([]) == ()
    same = [made_row(name, index=1) for name in ("step 10", "step 2")]
    assert in_order([*same, rows[0]]) == (rows[0], same[1], same[0])
    assert in_order(same) == (same[1], same[0])


def test_metrics_are_in_the_order_in_which_they_appear() -> None:
    rows = [made_row(values={VAL_LOSS: 1}), made_row(values={LOSS: 1, VAL_LOSS: 1})]
    assert metric_keys_of(rows) == [VAL_LOSS, LOSS]
    assert metric_keys_of([]) == []


def test_the_first_of_equally_good_ones() -> None:
    assert best_of("bBaA", lambda one: ord(one.lower()), "max") == "b"
    assert best_of("bBAa", lambda one: ord(one.lower()), "min") == "A"


def test_a_row_and_its_metrics() -> None:
    """It has its values as text, finds a metric by its name, and gives copies of its parameters."""
    row = made_row("C=1", {"C": [1]}, {LOSS: [0.5, 0.1234567], metric_key("x"): [math.nan]}, status="failed")
    assert str(row) == "C=1  failed  loss=0.123457"
    assert repr(row) == "<Row 'C=1' key=key of C=1 failed loss=0.1235>"
    assert repr(made_row("C=1")) == "<Row 'C=1' key=key of C=1 completed>"
    assert str(made_row("C=1")) == "C=1  completed"
    assert (row["loss"], row.value("loss", of="first")) == (0.1234567, 0.5)
    assert row.value("loss", of="mean") == pytest.approx(0.31172835)
    row.params["C"].append(2)
    assert (row.params, row.parameter_names) == ({"C": [1]}, ("C",))
    assert [(name.title, name.series) for name in row.names(LOSS)] == [("loss", "x")]
    assert row.names(metric_key("other")) == ()
    assert math.isnan(made_row(values={LOSS: [1, math.nan]}).value("loss"))
    with pytest.raises(NoSuchResultError, match=r"the task C=1 \(failed\).*all of its values were NaN"):
        row.value("x")
    failed = attrs.evolve(row, status="in_progress", status_reason="why")
    with pytest.raises(NoSuchResultError, match=r"the task C=1 \(in progress: why\)"):
        failed.value("y")
    assert len(made_row(values={metric_key("x"): math.nan}).history("x")) == 0
