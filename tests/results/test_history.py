"""Curves that are read back, also from copies of results and from pickled ones."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup._clearml.events import Curves
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._results import history
from clearml_taskgroup._results.history import Reader
from clearml_taskgroup._storage.memory import MemoryBackend
from clearml_taskgroup.errors import NoHistoryError
from clearml_taskgroup.testing import recording
from tests.support.rows import LOSS, VAL_LOSS, made_row
from tests.support.runs import NAME, PROJECT
from tests.support.server_view import View

COPIES = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
Copy = Callable[[Any], Any]


def run_group(**options: Any) -> TaskGroup:
    """Runs a group of two tasks."""
    metrics = [Metric("loss", mode="min")]
    with TaskGroup(PROJECT, NAME, provenance=False, metrics=metrics, **options) as group:
        for task in group.tasks({"seed": range(2)}):
            for step in range(3):
                task.report({"loss": step + task.params["seed"]}, step)
    return group


def check(results: Any, copied: Copy) -> None:
    """Checks copies of everything that results consist of, and that they read curves."""
    again = copied(copied(results))
    assert repr(again) == repr(results)
    assert again.to_records() == results.to_records()
    assert again.history("loss").to_records() == results.history("loss").to_records()
    row = copied(results[1])
    assert (row.name, row.params, row.value("loss")) == ("seed=1", {"seed": 1}, 3.0)
    assert row.history("loss").values == (1.0, 2.0, 3.0)
    means = copied(results.aggregate("seed"))
    assert means.to_records() == results.aggregate("seed").to_records()
    assert copied(results.best("loss")) == results.best("loss")
    history = copied(results.history("loss"))
    assert history.to_records() == results.history("loss").to_records()
    assert history[0].row.history("loss").values == (0.0, 1.0, 2.0)
    assert again.where(seed=1).with_means()[0].value("loss", of="mean") == 2.0


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("is_loaded", [False, True])
def test_copies_of_offline_results(copied: Copy, is_loaded: bool) -> None:
    group = run_group(mode="offline")
    check(TaskGroup.load(PROJECT, NAME, mode="offline") if is_loaded else group.results(), copied)


@pytest.mark.quick(3)
@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("is_loaded", [False, True])
def test_copies_of_online_results(server: View, copied: Copy, is_loaded: bool) -> None:
    with TaskGroup(server.project, NAME, provenance=False, metrics=[Metric("loss", mode="min")]) as group:
        for task in group.tasks({"seed": range(2)}):
            for step in range(3):
                task.report({"loss": step + task.params["seed"]}, step)
    check(TaskGroup.load(server.project, NAME) if is_loaded else group.results(), copied)


def test_copies_of_results_in_memory() -> None:
    """A pickled copy has all but the curves, which are in the memory of the process that pickled it."""
    with recording():
        results = run_group().results()
    for copied in COPIES[:2]:
        check(results, copied)
    again = pickle.loads(pickle.dumps(results))
    assert repr(again) == repr(results)
    assert again.best("loss") == results.best("loss")
    with pytest.raises(NoHistoryError, match=r"not kept with pickled results \(memory\); read them with"):
        again.history("loss")
    assert (
        pickle.loads(pickle.dumps(results.history("loss"))).to_records()
        == results.history("loss").to_records()
    )


def test_pickled_results_of_another_server(server: View) -> None:
    """They name the server that has the curves."""
    with TaskGroup(server.project, NAME, provenance=False) as group, group.task({"C": 1}) as task:
        task.report({"loss": 1.0}, 0)
    results = group.results()
    where = results.about.where
    other = pickle.dumps(results).replace(where.encode(), where.replace("127.0.0.1", "127.0.0.9").encode())
    with pytest.raises(NoHistoryError, match=f"on {where}, which this process uses; set ClearML up for"):
        pickle.loads(other).history("loss")


class Stored(MemoryBackend):
    """Has data points under the names that it is given, and counts what it is asked for."""

    def __init__(self, points: dict[Name, list[tuple[int | None, float]]]) -> None:
        super().__init__(mode="memory", where="memory", keep=False)
        self.points = points
        self.asked = list[dict[str, list[Name]]]()

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        self.asked.append({task: list(names) for task, names in wanted.items()})
        return {task: {name: self.points[name] for name in names} for task, names in wanted.items()}


LOSS_NAME, VAL_NAME = Name("loss", "x"), Name("loss[split=val]", "x")


@pytest.mark.parametrize(
    ("points", "curve"),
    [
        ([(1, 5.0), (0, 4.0)], [(0, 4.0), (1, 5.0)]),
        ([(0, 4.0), (0, 5.0)], [(0, 5.0)]),
        ([(0, 4.0), (None, 9.0), (-1, 3.0)], [(-1, 3.0), (0, 4.0)]),
        ([(None, 8.0), (None, 9.0)], [(None, 9.0)]),
        ([], []),
    ],
)
def test_a_curve_has_the_latest_value_of_each_iteration(points: Any, curve: Any) -> None:
    """In the order of the iterations; a single value only if there is no curve."""
    row = made_row("a", {"C": 1}, {LOSS: 1.0})
    found = Reader(Stored({LOSS_NAME: points})).curves([row, made_row("without")], LOSS)
    assert [list(zip(one.iterations, one.values, strict=True)) for one in found] == ([curve] if curve else [])
    assert (found.metric, [len(one) for one in found]) == ("loss", [len(curve)] if curve else [])


def test_the_table_of_curves() -> None:
    """Each task has the number of its data points, the first and the last value."""
    rows = [made_row("trial", {"C": 1}, {LOSS: 1.0})]
    found = Reader(Stored({LOSS_NAME: [(0, 0.123456), (1, 5.0), (2, 6.0)]})).curves(rows, LOSS)
    assert [re.split("  +", line) for line in str(found).splitlines()[2:]] == [
        ["trial (C=1)", "3", "0.1235", "6"],
        ["loss"],
    ]
    assert found.to_records()[1] == {
        "key": "key of trial",
        "name": "trial",
        "params.C": 1,
        "iteration": 1,
        "value": 5.0,
    }


def test_curves_are_read_in_parts(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Of several metrics of a task with one call; every five seconds a line says how far it is."""
    backend = Stored({LOSS_NAME: [(0, 1.0)], VAL_NAME: [(0, 2.0)]})
    rows = [made_row(name, {}, {LOSS: 1.0, VAL_LOSS: 1.0}) for name in "abc"]
    monkeypatch.setattr(history, "CURVES_AT_A_TIME", 2)
    times = iter([0.0, 4.9, 5.0, 5.0, 9.9])
    monkeypatch.setattr(history, "time", SimpleNamespace(monotonic=times.__next__))
    found = [
        (key, curve.row.name, curve.values)
        for key, curve in Reader(backend).curves_of(rows, [LOSS, VAL_LOSS])
    ]
    assert found == [(key, name, (value,)) for name in "abc" for key, value in ((LOSS, 1.0), (VAL_LOSS, 2.0))]
    assert backend.asked == [{f"id of {name}": [LOSS_NAME, VAL_NAME]} for name in "abc"]
    assert [record.getMessage() for record in caplog.records] == ["reading curves: 2 of 6"]


def test_statistics_that_are_not_known_are_counted() -> None:
    """Of one metric or all; those that are known are not read."""
    points: Any = {LOSS_NAME: [(3, 5.0), (1, 4.0), (None, 9.0)], VAL_NAME: [(None, 7.0)]}
    backend = Stored(points)
    unknown, known = (made_row(name, {}, {LOSS: [1.0], VAL_LOSS: [1.0]}) for name in "ab")
    for key in (LOSS, VAL_LOSS):
        unknown.stats[key].total = math.nan
    Reader(backend).complete_stats([unknown, known], VAL_LOSS)
    val = unknown.stats[VAL_LOSS]
    assert (val.total, val.count, val.single, val.last_iteration) == (7.0, 1, True, None)
    Reader(backend).complete_stats([unknown, known])
    loss = unknown.stats[LOSS]
    assert (loss.total, loss.count, loss.single, loss.last_iteration) == (9.0, 2, True, None)
    assert backend.asked == [{"id of a": [VAL_NAME]}, {"id of a": [LOSS_NAME]}]
    points[LOSS_NAME].pop()
    loss.total = math.nan
    Reader(backend).complete_stats([unknown])
    assert (loss.total, loss.count, loss.single, loss.last_iteration) == (9.0, 2, False, 3)
