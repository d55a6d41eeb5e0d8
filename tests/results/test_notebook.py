"""What a notebook shows of a group and of a task."""

from __future__ import annotations

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import NonFiniteWarning
from clearml_taskgroup.testing import recording


def test_a_group() -> None:
    """Its run and its results so far; names are no markup."""
    group = TaskGroup("digits", "a<b>group", mode="offline", provenance=False)
    assert group._repr_html_() == "<div>digits/a&lt;b&gt;group: not open yet</div>"
    with group:
        group.task({"C": "<script>"}).report({"loss": 0.5}, 1)
        text = group._repr_html_()
        assert text.startswith("<div>digits/a&lt;b&gt;group, run 1, offline, open</div><table>")
        assert "<td>0.5</td>" in text
        assert "<script>" not in text
    assert "run 1, offline, closed" in group._repr_html_()


def test_a_task() -> None:
    """Its status, its parameters and last values, also after it has ended."""
    with recording(), TaskGroup("digits", "html") as group:
        with group.task({"C": 1, "layers": [8, 8], "name": "<i>"}) as task:
            with pytest.warns(NonFiniteWarning):
                task.report({"loss": 0.25, "acc": float("nan")}, 1, split="val")
            assert "in_progress" in task._repr_html_()
        text = task._repr_html_()
        assert "completed</div>" in text
        for row in (
            "C</td><td>1",
            "layers</td><td>[8, 8]",
            "name</td><td>&lt;i&gt;",
            "loss[split=val]</td><td>0.25",
        ):
            assert f"<tr><td>{row}</td></tr>" in text
        assert "acc[split=val]</td><td>diverged" in text
        assert "<i>" not in text


def test_a_task_without_anything() -> None:
    with recording(), TaskGroup("digits", "html") as group:
        assert group.task(name="baseline")._repr_html_() == "<div>baseline: in_progress</div>"
