"""Failures: the exception of a failed task, its traceback, and what they do not keep alive."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._failure import failure_of
from clearml_taskgroup.errors import CarriedError
from clearml_taskgroup.testing import recording
from tests.support.scripts import Place, place_of


@pytest.fixture(params=["memory", "offline"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place for the test's groups, in memory and then on disk."""
    with place_of(request.param, tmp_path) as found:
        yield found


def test_what_catch_includes_is_the_very_exception() -> None:
    """With the traceback as text, not in the repr."""
    error = ValueError("bad")
    with (
        recording(),
        TaskGroup("the project", "the group", catch=ValueError) as group,
        group.task(name="one") as task,
    ):
        raise error
    failure = failure_of(task)
    assert (failure.exception, failure.task) == (error, task)
    assert failure.traceback.endswith("ValueError: bad\n")
    assert "raise error" not in repr(failure)


@pytest.mark.parametrize(("reason", "text"), [("too large", "too large"), ("", "it was marked as failed")])
def test_a_task_that_was_marked_as_failed(reason: str, text: str) -> None:
    with recording(), TaskGroup("the project", "the group") as group:
        task = group.task(name="one")
        task.mark_failed(reason)
    failure = failure_of(task)
    assert (type(failure.exception), str(failure.exception), failure.traceback) == (CarriedError, text, "")


def test_every_failed_task_is_a_failure(place: Place) -> None:
    """Marked by hand, ended with the group, or by an exception that nothing catches: all are told."""
    with pytest.raises(ValueError, match="bad"), place.group() as group:
        by_hand, unsaid, beside, own = group.tasks({"seed": range(4)})
        by_hand.mark_failed("out of memory")
        unsaid.mark_failed()
        with own:
            raise ValueError("bad")
    told = {str(failure.task): str(failure.exception) for failure in group.failures}
    assert list(told) == ["seed=0", "seed=1", "seed=3", "seed=2"]
    assert list(told.values()) == [
        "out of memory",
        "it was marked as failed",
        "bad",
        "group aborted by ValueError: bad",
    ]
    assert beside.status == "failed"


def test_a_failure_holds_no_frames() -> None:
    """What failed a task that nothing caught is told by an exception like it, which keeps nothing alive."""

    class Data:
        """Is large."""

    gone: list[weakref.ref[Data]] = []

    def work() -> None:
        data = Data()
        gone.append(weakref.ref(data))
        raise ValueError("bad")

    with recording():
        group = TaskGroup("the project", "the group").open()
        with contextlib.suppress(ValueError), group.task(name="one"):
            work()
    gc.collect()
    assert gone[0]() is None
    (failure,) = group.failures
    assert (repr(failure.exception), failure.exception.__traceback__) == ("ValueError('bad')", None)
    assert "in work" in failure.traceback
    group.close()
