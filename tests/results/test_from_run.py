"""Results of a group while it is open: asked for again and again in a loop over its tasks."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._results import from_run, rows
from clearml_taskgroup._run.reporter import Reporter
from clearml_taskgroup._run.worker_counts import WorkerCounts, merge
from clearml_taskgroup.testing import recording


def test_the_row_of_a_task_that_has_ended_is_made_once() -> None:
    """So a loop that asks for the best so far after each task does not make all rows each time."""
    with recording(), TaskGroup("digits", "sweep") as group:
        for task in group.sweep({"C": [1, 2, 3]}):
            with task:
                task.report({"loss": 1 / task.params["C"]}, 0)
            assert group.results().best("loss", mode="min").params == task.params
        assert all(row is again for row, again in zip(group.results(), group.results(), strict=True))


def test_the_row_of_a_task_whose_end_is_stored_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while other tasks' reports wait; the row of a task whose reports may wait is made again."""
    with recording(), TaskGroup("digits", "sweep") as group:
        with group.task({"C": 1}) as task:
            task.report({"loss": 1.0}, 0)
        group.results()
        for finished, empty in ((True, False), (False, True), (False, False)):
            monkeypatch.setattr(Reporter, "is_queue_empty", empty)
            task._state.finished, task._state.row = finished, None
            assert (group.results()[0] is group.results()[0]) == (finished or empty)


def test_what_changes_after_the_end_is_in_the_results() -> None:
    """A task that is open gets another row each time; so does one that was opened again meanwhile."""
    with recording(), TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        task.report({"loss": 1.0}, 0)
        before = group.results()
        task.report({"loss": 0.5}, 1)
        assert [results[0].value("loss") for results in (before, group.results())] == [1.0, 0.5]
        task.mark_completed()
        ended = group.results()
        with task.reopen():
            task.report({"loss": 0.25}, 2)
            task.set_parameters({"note": "later"})
        again = group.results()
        assert [results[0].value("loss") for results in (ended, again)] == [0.5, 0.25]
        assert [results[0].stats["loss", ()].count for results in (ended, again)] == [2, 3]
        assert again[0].params == {"C": 1, "note": "later"}
        with task.reopen():
            task.set_parameters({"more": 2})
        assert group.results()[0].params == {"C": 1, "note": "later", "more": 2}
        with group.task({"C": 2}) as failed:
            failed.mark_failed("by hand")
        assert [row.status for row in group.results()] == ["completed", "failed"]


def test_a_row_made_while_another_thread_ends_its_task_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the values from before, so the next results have another one."""
    with recording(), TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        task.report({"loss": 1.0}, 0)
        task.flush()

        def row_of(*args: Any) -> rows.Row:
            if task._state.is_open:
                task.report({"loss": 0.5}, 1)
                task.mark_completed()
            return original(*args)

        original = from_run.row_of
        monkeypatch.setattr(from_run, "row_of", row_of)
        assert [group.results()[0].value("loss") for _ in range(2)] == [1.0, 0.5]


def test_values_that_a_worker_counted_are_in_the_results() -> None:
    """Whenever its counts arrive."""
    with recording(), TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        task.report({"loss": 1.0}, 0)
        task.mark_completed()
        before = group.results()
        (key,) = task._state.metrics
        counts = WorkerCounts(None, metrics={key: MetricData(Stats.of([(1, 0.5)]), (Name("loss", "value"),))})
        merge(group._opened_once(), task._state, counts)
        assert [results[0].value("loss") for results in (before, group.results())] == [1.0, 0.5]


def test_rows_of_an_earlier_process_are_made_once() -> None:
    """Those of a resumed run that are not opened again."""
    with TaskGroup("digits", "resumed", mode="offline", provenance=False) as group:
        for task in group.sweep({"C": [1, 2]}):
            task.report({"loss": 0.5})
    with TaskGroup("digits", "resumed", mode="offline", provenance=False, resume=True) as again:
        known = [*again.results()]
        for task in again.sweep({"C": [3, 4]}):
            with task:
                task.report({"loss": 0.25})
            known += [again.results()[-1]]
            assert all(row is same for row, same in zip(again.results(), known, strict=True))


def test_rows_are_in_the_order_of_the_space() -> None:
    """Of equal positions, as tasks of several processes have them, in the order of their names."""
    with recording(), TaskGroup("digits", "order") as group:
        for name in ("step 10", "step 2", "step 1"):
            group.task(name=name)
        assert [row.name for row in group.results()] == ["step 10", "step 2", "step 1"]
        for task in group:
            task._state.spec = attrs.evolve(task._state.spec, index=0)
        assert [row.name for row in group.results()] == ["step 1", "step 2", "step 10"]


def test_where_copies_no_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """It only looks at them: in a loop over tasks, copies would cost more than the tasks."""
    copied = list[object]()
    with recording(), TaskGroup("digits", "where") as group:
        group.tasks({"seed": [0, 1], "layers": [[64, 32]]})
        results = group.results()
    monkeypatch.setattr(rows, "copied_parameters", copied.append)
    assert [row.index for row in results.where(seed=1, layers=[64, 32])] == [1]
    assert copied == []
