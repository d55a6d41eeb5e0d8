"""The best row in a loop over tasks: rows that were looked at before are not looked at again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._results import filtering, row_blocks
from clearml_taskgroup._results.row_blocks import BLOCK_SIZE
from clearml_taskgroup._results.rows import in_order
from clearml_taskgroup.errors import NonFiniteWarning
from clearml_taskgroup.testing import recording
from tests.support.rows import LOSS, made_results, made_row

TASKS = 3 * BLOCK_SIZE + 5


def test_each_call_looks_at_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """At those that came after the last whole block, however many there are before."""
    looked_at = list[int]()
    counting_stats = filtering.counting_stats

    def count(rows: Any, *asked: Any) -> Any:
        looked_at.append(len(rows))
        return counting_stats(rows, *asked)

    monkeypatch.setattr(row_blocks, "counting_stats", count)
    with recording(), TaskGroup("digits", "sweep") as group:
        for task in group.sweep({"index": range(TASKS)}):
            with task:
                task.report({"loss": float(abs(task.params["index"] - 70))}, 0)
            looked_at.clear()
            best = group.results().best("loss", mode="min")
            assert best.params == {"index": min(70, task.params["index"])}
            assert sum(looked_at) <= BLOCK_SIZE


def test_what_changes_later_counts() -> None:
    """A task that is opened again, and one that diverges or fails, however early it was."""
    with recording(), TaskGroup("digits", "sweep") as group:
        tasks = group.tasks({"index": range(TASKS)})
        for task in tasks:
            with task:
                task.report({"loss": 1.0 + task.params["index"]}, 0)
        before = group.results()
        assert before.best("loss").params == {"index": 0}
        with tasks[2].reopen():
            tasks[2].report({"loss": 0.5}, 1)
        assert group.results().best("loss").params == {"index": 2}
        with tasks[2].reopen(), pytest.warns(NonFiniteWarning):
            tasks[2].report({"loss": math.nan}, 2)
        best = group.results().best("loss")
        assert (best.params, best.excluded) == ({"index": 0}, (tasks[2].name,))
        assert group.results().best("loss", of="min").value == 0.5
        tasks[0].reopen().mark_failed("by hand")
        after = group.results()
        assert after.best("loss").params == {"index": 1}
        assert [after.best("loss", of=of).value for of in ("first", "mean", "max")] == [2.0, 1.75, 2.0]
        assert before.best("loss").params == {"index": 0}


def test_the_first_of_several_and_parts_of_the_rows() -> None:
    """In whichever block it is; selected and sorted rows have their own best."""
    with recording(), TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"index": range(TASKS)}):
            with task:
                task.report({"loss": float(task.params["index"] % 50 == 0)}, 0)
        results = group.results()
        assert results.best("loss", mode="max").params == {"index": 0}
        assert results[1:].best("loss", mode="max").params == {"index": 50}
        assert results.where(lambda row: row.index > 50).best("loss", mode="max").params == {"index": 100}
        assert results[::-1].best("loss", mode="max").params == {"index": 150}
        assert results.best("loss", mode="max").params == {"index": 0}


def test_rows_as_good_as_the_best_are_counted() -> None:
    """In all blocks; those with another value, and those of tasks that failed, do not count."""
    values = [1.0, 2.0, *[1.0] * BLOCK_SIZE, 3.0, *[4.0] * BLOCK_SIZE, 1.0]
    rows = [made_row(str(at), {}, {LOSS: value}) for at, value in enumerate(values)]
    rows.append(made_row("failed", {}, {LOSS: 1.0}, status="failed"))
    best = made_results(*rows).best("loss")
    assert (best.name, best.ties) == ("0", BLOCK_SIZE + 2)
    assert made_results(*rows).best("loss", mode="max").ties == BLOCK_SIZE
    assert made_results(*rows[1:2]).best("loss").ties == 1


def test_rows_that_come_later_go_to_their_place() -> None:
    """Wherever that is, also beside rows whose order was found out before."""
    with recording(), TaskGroup("digits", "sweep") as group:
        group.tasks({"index": range(6)})
        rows = group.results().rows
    known = in_order(rows[1:4])
    assert in_order([*known, *rows[4:]], known) == rows[1:]
    assert in_order([*known, rows[0]], known) == rows[:4]
    assert in_order([rows[0], *known], known) == rows[:4]
    assert in_order(known[:2], known) == known[:2]


def test_rows_of_a_closed_group_do_not_change_those_from_before() -> None:
    with recording(), TaskGroup("digits", "sweep") as group:
        (task,) = group.tasks({"index": [1]})
        task.report({"loss": 1.0}, 0)
        before = group.results()
        task.report({"loss": 2.0}, 1)
    after = group.results()
    assert [results.rows[0].value("loss") for results in (before, after)] == [1.0, 2.0]
    assert after.rows[0].stats["loss", ()].count == 2


def test_tasks_with_another_context_are_named() -> None:
    """What has the metric elsewhere only is named in one line; tasks without it and open ones are not."""
    with recording(), TaskGroup("digits", "sweep") as group:
        for task in group.sweep({"lr": [0.1, 1, 10], "seed": [0]}):
            with task:
                context = {} if task.params["lr"] == 1 else {"split": "val"}
                task.report({"accuracy": 0.9 - task.params["lr"] / 100}, 0, **context)
                task.report({"loss": 0.1}, 0, split="train")
        still_open = group.task({"lr": 100})
        still_open.report({"accuracy": 0.1, "loss": 1}, 0, split="train")
        results = group.results()
        best = results.best("accuracy", split="val")
        assert best.excluded == (results[1].name,)
        assert best.note == "1 of 4 tasks has no accuracy[split=val], but accuracy[split=value]"
        assert str(best).endswith(f"the greatest; {best.note}")
        in_order = results.sort("accuracy", split="val")
        assert str(in_order).endswith(best.note)
        assert "has no" not in str(in_order.where(seed=0))
        assert not results.best("loss", split="train").note
    results = group.results()
    assert results.best("accuracy", split="val").note == (
        "2 of 4 tasks have no accuracy[split=val], but accuracy[split=value], accuracy[split=train]"
    )
    mean = results.where(seed=0).aggregate(over="seed").best("accuracy", split="val")
    assert mean.note == "1 of 3 configurations has no accuracy[split=val], but accuracy[split=value]"
