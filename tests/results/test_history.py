"""Curves that are read back, also from copies of results and from pickled ones."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup.errors import NoHistoryError
from clearml_taskgroup.testing import recording
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
