"""Rows and results of an earlier run."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup import Metric
from clearml_taskgroup._model.name_template import DEFAULT_TEMPLATE
from clearml_taskgroup._model.past import PastTask
from clearml_taskgroup._results.from_past import lookup_of, past_results, past_row
from tests.support.rows import ABOUT, made_row


def test_what_finds_metrics() -> None:
    """The vocabulary that is given goes before the stored one; an edited template is the default one."""
    stored = [["loss", {"mode": "min"}]]
    for metrics, expected in ((None, ["loss"]), ([Metric("accuracy")], ["accuracy"]), ([], [])):
        found = lookup_of("{metric} of {layer}", metrics, stored)  # type: ignore[arg-type]
        assert found.vocabulary is not None
        assert list(found.vocabulary.metrics) == expected
        assert found.template.fields == ("metric", "layer")
    for edited in (None, "edited", [["loss"]]):
        assert lookup_of("{metric}", None, edited).vocabulary is None
    assert lookup_of("{", None, None).template.text == DEFAULT_TEMPLATE


@pytest.mark.parametrize(("status", "expected"), [("failed", "failed"), (None, "stopped")])
def test_the_row_of_a_task(status: Any, expected: str) -> None:
    """With the parameters in plain form; a task without a status was stopped."""
    reader = made_row()._reader
    task = PastTask("id", "key", "name", 3, 2, {"C": 1}, duration=5.0, status=status, reason="why")
    row = past_row(task, lookup_of("{metric}", None, None), reader)
    assert (row.id, row.key, row.name, row.index, row.attempt) == ("id", "key", "name", 3, 2)
    assert (row.params, row.duration, row.status, row.status_reason) == ({"C": 1}, 5.0, expected, "why")
    assert row._reader is reader


@pytest.mark.parametrize(
    ("statuses", "more", "partial"),
    [
        (["completed", "failed", "stopped"], "", False),
        (["completed", "in_progress"], "", True),
        (["queued"], "", True),
        (["created"], "", True),
        (["completed"], "a living process works on it", True),
        ([], "", False),
    ],
)
def test_results_are_partial_while_tasks_are_open(statuses: list[str], more: str, partial: bool) -> None:
    """Or if somebody else is at work; rows are in the order of their positions."""
    rows = [made_row(str(at), index=-at, status=status) for at, status in enumerate(statuses)]
    found = past_results(rows, ABOUT, lookup_of("{metric}", None, None), made_row()._reader, more)
    assert (found.rows, found.partial) == (tuple(rows[::-1]), partial)
    assert ("partial: a living" in str(found)) == bool(more)
