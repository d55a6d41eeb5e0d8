"""Which data points are still to be copied, and what keeps them from it."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._clearml.stored_points import StoredPoint
from clearml_taskgroup._drift.copying import Outcome, to_do
from clearml_taskgroup._drift.plan import Copy, TaskPlan
from clearml_taskgroup._model.name_template import Name

COPY = Copy(Name("acc", "val"), Name("accuracy", "val"))


def points(*values: float | None, time: int = 1) -> dict[int | None, StoredPoint]:
    """Data points of the iterations 0, 1, …; None for an iteration without one."""
    return {at: StoredPoint(value, time, None) for at, value in enumerate(values) if value is not None}


@pytest.mark.parametrize(
    ("source", "target", "begun", "missing"),
    [
        (points(1, 2), {}, False, points(1, 2)),
        (points(1, 2), {}, True, points(1, 2)),
        (points(1, 2), points(1), True, points(None, 2)),
        (points(1, 2), points(None, 2), True, points(1)),
        (points(1, 2), points(1, 2), True, None),
    ],
)
def test_what_is_missing_is_copied(source: Any, target: Any, begun: bool, missing: Any) -> None:
    """Under the new name there may be copies of an interrupted `apply`; who wrote them does not matter."""
    target = {at: point._replace(worker="other") for at, point in target.items()}
    found = to_do([COPY], {COPY.source: source, COPY.target: target}, [COPY.source], begun=begun)
    assert (found.allowed, found.problems) == ([COPY], [])
    assert found.missing == ({} if missing is None else {COPY: missing})


@pytest.mark.parametrize(
    ("source", "target", "begun", "names", "why"),
    [
        ({}, {}, True, [], "it has no data under the old name any more"),
        (points(1, 2), points(1), False, [], "it has data under both names"),
        (points(1), points(1, 2), True, [], "it has data under both names, which is not the same"),
        (points(1, 2), points(1, 3), True, [], "it has data under both names, which is not the same"),
        (points(1), points(1, time=2), True, [], "it has data under both names, which is not the same"),
        (points(1), {}, True, [Name("accuracy-val", "x"), Name("accuracy", "val-x")], None),
    ],
)
def test_what_is_left_alone(source: Any, target: Any, begun: bool, names: Any, why: str | None) -> None:
    """Data of both names that is not the same, and names to which ClearML gives one id."""
    found = to_do([COPY], {COPY.source: source, COPY.target: target}, names, begun=begun)
    if why is not None:
        assert found.problems == [f"acc/val -> accuracy/val: {why}"]
        assert (found.allowed, found.missing) == ([], {})
    else:
        assert (found.allowed, found.problems) == ([COPY], [])


def test_names_with_one_id() -> None:
    other = Copy(Name("Loss", "x"), Name("loss", "x-y"))
    curves: dict[Name, Any] = {
        COPY.source: points(1),
        COPY.target: {},
        other.source: points(1),
        other.target: {},
    }
    found = to_do([COPY, other], curves, [Name("loss-x", "y")], begun=False)
    assert found.allowed == [COPY]
    assert "under one id, 'loss-x-y'" in found.problems[0]


def test_nothing_was_done_by_default() -> None:
    outcome = Outcome(TaskPlan("id", "name", (COPY,)))
    assert (outcome.copied, outcome.points, outcome.problems) == ((), 0, ())
