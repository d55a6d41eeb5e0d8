"""Which task gets what TensorBoard and matplotlib are given."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.bindings import _TaskWriter
from clearml_taskgroup.errors import AutoLoggingWarning
from clearml_taskgroup.testing import MemoryStore, recording

tensorboardX = pytest.importorskip("tensorboardX")  # noqa: N816


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Any]:
    """A writer that was made before any group, and outlives them."""
    with tensorboardX.SummaryWriter(str(tmp_path / "run")) as made:
        yield made


def group(**options: Any) -> TaskGroup:
    return TaskGroup("digits", "sweep", **{"auto_connect_frameworks": True, **options})


def curves(backend: MemoryStore) -> dict[str, dict[tuple[str, str], list[tuple[int, float]]]]:
    return {task.name: task.scalars for task in backend.members}


def test_numbers_go_through_the_template_and_count(backend: MemoryStore, writer: Any) -> None:
    """The training code is unchanged; the values are results of the task."""
    with group() as opened:
        for task in opened.sweep({"C": [1, 2]}):
            with task:
                for step in range(3):
                    writer.add_scalar("loss/val", task.params["C"] / (1 + step), step)
                writer.add_scalars("accuracy", {"train": 0.75, "val": 0.5}, 2)
        best = opened.results().best("loss", split="val", mode="min")
    assert best.params == {"C": 1}
    assert curves(backend)["C=2"] == {
        ("loss", "val"): [(0, 2.0), (1, 1.0), (2, pytest.approx(2 / 3))],
        ("accuracy", "train"): [(2, 0.75)],
        ("accuracy", "val"): [(2, 0.5)],
    }


def test_interleaved_tasks_share_a_writer(backend: MemoryStore, writer: Any) -> None:
    """Neither the names nor the steps of one task depend on the other; outside of the blocks nothing goes."""
    with group() as opened:
        first, second = opened.tasks({"C": [1, 2]})
        for step in (100, 0):
            for task in (first, second):
                with task.activate():
                    writer.add_scalar("loss", task.params["C"], step)
            writer.add_scalar("loss", 7, step)
    writer.add_scalar("loss", 7, 9)
    again = [(100, 1.0), (101, 1.0)]  # a step that restarts goes on, as ClearML does it
    assert curves(backend) == {
        "C=1": {("loss", "value"): again},
        "C=2": {("loss", "value"): [(x, 2.0) for x, _ in again]},
    }


def test_threads_do_not_mix(backend: MemoryStore, tmp_path: Path) -> None:
    """A thread logs to the task that it has entered; without one, to none."""

    def train(task: Any) -> None:
        with tensorboardX.SummaryWriter(str(tmp_path / task.name)) as own:
            own.add_scalar("lost", 1, 1)
            with task.activate():
                for step in range(50):
                    own.add_scalar("loss", task.params["C"], step)

    with group() as opened, opened.task({"C": 0}):
        threads = [threading.Thread(target=train, args=(task,)) for task in opened.tasks({"C": [1, 2]})]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert curves(backend) == {
        "C=0": {},
        **{f"C={C}": {("loss", "value"): [(step, C) for step in range(50)]} for C in (1, 2)},
    }


def test_a_group_that_has_it_off_leaves_things_where_they_were(backend: MemoryStore, writer: Any) -> None:
    """In its blocks they go to the task of the block around it, key by key of its dict."""
    with group() as outer, outer.task({"outer": 1}):
        values: list[Any] = [False, {"tensorboard": False}]
        for number, value in enumerate(values):
            with (
                TaskGroup("digits", "inner", auto_connect_frameworks=value) as inner,
                inner.task({"inner": 1}),
            ):
                writer.add_scalar(f"off/{number}", 1, 1)
        with TaskGroup("digits", "inner", auto_connect_frameworks={"matplotlib": False}) as inner:
            writer.add_scalar("between", 1, 1)
            with inner.task({"inner": 1}):
                writer.add_scalar("inner", 1, 1)
        writer.add_scalar("after", 1, 1)
    found = [(task.name, [title for title, _ in task.scalars]) for task in backend.members]
    assert found == [
        ("outer=1", ["off/0", "off/1", "between", "after"]),
        ("inner=1", []),
        ("inner=1", []),
        ("inner=1", ["inner"]),
    ]


def test_ended_tasks_keep_no_histograms(backend: MemoryStore, writer: Any) -> None:
    """Those that ClearML keeps of each writer are freed, so that a long sweep needs no more memory."""
    with group() as opened:
        for task in opened.sweep({"C": range(4)}):
            with task:
                writer.add_histogram("weights", [1.0, 2.0], 1)
        kept = [_TaskWriter in task._target.state for task in opened if task._target is not None]
    assert kept == [False, False, False, True]


def test_clearmls_own_classes_are_back_after_the_last_group() -> None:
    """Two groups at once, of which the first one closes first."""
    from clearml.binding import matplotlib_bind

    before = matplotlib_bind.PatchedMatplotlib
    with recording():
        first, second = group().open(), group().open()
        first.close()
        assert matplotlib_bind.PatchedMatplotlib is not before
        second.close()
    assert matplotlib_bind.PatchedMatplotlib is before


@pytest.mark.slow  # the import of matplotlib
def test_plots_are_dropped_quietly_where_nothing_is_stored(
    backend: MemoryStore, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `recording()` only the numbers are kept."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    with group() as opened, opened.task({"C": 1}):
        plt.plot([0, 1])
        plt.show()
        plt.close()
        writer.add_image("image", [[[0.0]], [[0.0]], [[0.0]]], 1)
        writer.add_histogram("weights", [1.0, 2.0], 1)
        writer.add_text("note", "text", 1)
        writer.add_scalar("loss", 1.0, 1)
    assert curves(backend) == {"C=1": {("loss", "value"): [(1, 1.0)]}}


def test_what_cannot_go_to_a_task_is_named_in_the_log(
    backend: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    with group(auto_connect_frameworks={"hydra": True, "fastai": False}) as opened:
        opened.task({"C": 1})
    (line,) = [record.getMessage() for record in caplog.records if "auto-logging" in record.getMessage()]
    assert "hydra does not go to the tasks of a group: " in line


def test_a_sweep_whose_training_is_in_no_block_is_warned_of(backend: MemoryStore, writer: Any) -> None:
    opened = group().open()
    for _ in opened.sweep({"C": [1, 2]}):
        writer.add_scalar("loss", 1.0, 0)
    with pytest.warns(AutoLoggingWarning, match=r"nothing was logged to 2 tasks \(C=1, C=2\).*`with task:`"):
        opened.close()
    assert curves(backend) == {"C=1": {}, "C=2": {}}
