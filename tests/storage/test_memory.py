"""Tasks in memory: what tests of sweeps read, and what the mode `disabled` does not keep."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from clearml_taskgroup._clearml.events import SINGLE_VALUE_ITERATION, console_event
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.specs import Ending, RunInfo, TaskSpec
from clearml_taskgroup._storage.memory import MemoryBackend, Silent
from clearml_taskgroup.errors import NoHistoryError

RUN = RunInfo("0" * 12, "project", "group", "{metric}", tags=("all",))
SPECS = [TaskSpec(f"key {n}", f"C={n}", f"C={n}", n, 1, {"C": n}, tags=("one",)) for n in range(2)]


def scalar(iteration: int, value: float, title: str = "loss", series: str = "val") -> str:
    return (
        f'{{"type":"training_stats_scalar","task":"memory-1","metric":"{title}","variant":"{series}",'
        f'"value":{value},"iter":{iteration},"timestamp":1}}'
    )


def filled(**options: Any) -> tuple[MemoryBackend, list[str]]:
    """A storage with two tasks, the first of which has events of each kind."""
    backend = MemoryBackend(**options)
    ids = backend.create(RUN, SPECS, "the parent")
    single = scalar(SINGLE_VALUE_ITERATION, 3.0, "Summary", "best")
    batch = {
        ids[0]: [
            scalar(0, 2.0),
            scalar(1, 1.0),
            single,
            console_event("a", "hello"),
            console_event("a", "you"),
        ]
    }
    backend.write(batch)
    assert batch == {}
    return backend, ids


def test_the_objects_of_clearml_do_nothing_whatever_is_asked_of_them() -> None:
    with Silent() as silent:
        assert silent.logger.report_scalar("loss", "val", iteration=1, value=0.5) is not None
    assert not silent
    with pytest.raises(AttributeError, match="__len__"):
        silent.__len__  # noqa: B018 - else `copy` and others take it for what it is not
    assert isinstance(copy.copy(silent), Silent)
    assert isinstance(MemoryBackend().clearml_task("any"), Silent)


def test_tasks_are_kept_with_what_they_reported() -> None:
    backend, ids = filled()
    assert ids == ["memory-1", "memory-2"]
    first, second = backend.members
    assert (first.id, first.key, first.name, first.parent, first.tags) == (
        "memory-1",
        "key 0",
        "C=0",
        "the parent",
        ("all", "one"),
    )
    assert first.scalars == {("loss", "val"): [(0, 2.0), (1, 1.0)]}
    assert first.single_values == {"best": 3.0}
    assert first.console == "hello\nyou"
    assert [event["type"] for event in first.events] == ["training_stats_scalar"] * 3 + ["log"] * 2
    assert (second.scalars, second.single_values, second.console, second.events) == ({}, {}, "", [])
    curves = backend.read_curves({ids[0]: [Name("loss", "val")], ids[1]: [Name("loss", "val")]})
    assert curves == {ids[0]: {("loss", "val"): [(0, 2.0), (1, 1.0)]}, ids[1]: {("loss", "val"): []}}
    scalars = backend.read_scalars(ids, 1.0)
    assert {task_id: [(name, stats.last) for name, stats in found] for task_id, found in scalars.items()} == {
        ids[0]: [(("loss", "val"), 1.0), (("Summary", "best"), 3.0)],
        ids[1]: [],
    }


def test_parameters_belong_to_the_task() -> None:
    """Those that are added are shown as on a server; those of the specification stay."""
    backend, ids = filled()
    backend.set_parameters(ids[0], {"lr": 0.5})
    first, second = backend.members
    assert first.params == {"C": 0, "lr": 0.5}
    assert first.hyperparameters["General"] == {"C": "0", "lr": "0.5"}
    assert (second.params, SPECS[0].params) == ({"C": 1}, {"C": 0})
    identity = backend.identity(ids[0])
    assert (identity["key"], identity["group"], identity["name"]) == ("key 0", RUN.group_id, "C=0")


def test_statuses_are_those_of_a_server() -> None:
    backend, ids = filled()
    assert backend.finish([Ending(ids[0], "failed", "why")], 1.0) == {}
    assert [(task.status, task.reason) for task in backend.members] == [
        ("failed", "why"),
        ("in_progress", ""),
    ]
    backend.reopen(ids[:1])
    (drafted,) = backend.draft(RUN, SPECS[:1], None, {})
    assert [task.status for task in backend.members] == ["in_progress", "in_progress", "created"]
    backend.set_status(drafted, "queued")
    assert backend.tasks[drafted].status == "queued"


def test_a_parent_is_no_member() -> None:
    backend = MemoryBackend()
    (parent,) = backend.create(RUN, [TaskSpec("", "group", "group", -1, 1, {}, kind="parent")], None)
    assert ([*backend.tasks], backend.members) == ([parent], [])


def test_without_keeping_nothing_is_kept() -> None:
    """In the mode `disabled` every call works, and curves cannot be read."""
    backend, ids = filled(mode="disabled", keep=False)
    assert ids == ["disabled-1", "disabled-2"]
    backend.set_parameters(ids[0], {"lr": 0.5})
    backend.draft(RUN, SPECS, None, {})
    backend.reopen(ids)
    assert backend.finish([Ending(ids[0], "completed")], 1.0) == {}
    assert (backend.tasks, backend.read_scalars(ids, 1.0)) == ({}, {})
    with pytest.raises(NoHistoryError, match="disabled"):
        backend.read_curves({ids[0]: []})
