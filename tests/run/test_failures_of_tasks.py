"""What an exception means for a task: status, reason, traceback, and what is kept of the exception."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._run.failures import (
    add_note,
    clear_frames,
    end_by_exception,
    ending_of,
    is_caught,
    keep_failure,
    mark_by_exception,
    reason_of,
)
from clearml_taskgroup._run.signals import SignalExit
from clearml_taskgroup._run.state import Abort
from clearml_taskgroup.errors import (
    CarriedError,
    MetricValueError,
    ReportError,
    TaskAbortedError,
    TaskGroupError,
)
from clearml_taskgroup.testing import MemoryStore, recording
from tests.support.scripts import notes_of


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with recording() as store:
        yield store


@pytest.fixture
def task(store: MemoryStore) -> Iterator[GroupTask]:
    with TaskGroup("the project", "the group") as group:
        yield group.task({"seed": 0})


def raised(error: BaseException) -> BaseException:
    """Gives the exception with a frame."""
    try:
        raise error
    except BaseException as caught:
        return caught


ABORT = TaskAbortedError("seed=1", "stopped", "by hand", "the id", False)


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (ValueError("no data"), ("failed", "ValueError: no data")),
        (KeyboardInterrupt(), ("stopped", "KeyboardInterrupt")),
        (SignalExit(143), ("stopped", "SIGTERM")),
        (ABORT, ("stopped", ABORT.problem)),
    ],
)
def test_an_exception_fails_a_task_and_an_interrupt_stops_it(
    error: BaseException, ending: tuple[str, str]
) -> None:
    assert ending_of(error) == ending


@pytest.mark.parametrize(("error", "finished"), [(ValueError("no data"), True), (KeyboardInterrupt(), False)])
def test_after_an_interrupt_nothing_is_waited_for(
    store: MemoryStore, task: GroupTask, error: BaseException, finished: bool
) -> None:
    text = end_by_exception(task._run, task._state, raised(error))
    assert text.startswith("Traceback")
    assert (task._state.is_open, task._state.finished) == (False, finished)
    assert (task.status, task.status_reason) == ending_of(error)
    assert (task._state.failure is not None) is finished
    task.flush()
    assert store.members[0].console == text


def test_a_task_that_has_ended_keeps_its_end_and_gets_the_traceback(
    store: MemoryStore, task: GroupTask
) -> None:
    task.mark_completed()
    text = mark_by_exception(task._run, task._state, raised(ValueError("no data")))
    task._run.reporter.flush(60.0)
    assert (task.status, task._state.failure, store.members[0].console) == ("completed", None, text)


def test_a_task_that_somebody_has_aborted_gets_no_traceback(store: MemoryStore, task: GroupTask) -> None:
    task._state.abort(Abort.of_run("the group", None, "by hand"))
    assert "by hand" in mark_by_exception(task._run, task._state, raised(ABORT))
    task._run.reporter.flush(60.0)
    assert store.members[0].console == ""


@pytest.mark.parametrize(
    ("error", "catch", "caught"),
    [
        (ValueError(), (ValueError,), True),
        (ValueError(), (OSError,), False),
        (MetricValueError("loss", None), (Exception,), True),
        (MetricValueError("loss", None), (TaskGroupError,), True),
        (MetricValueError("loss", None), (ReportError, OSError), False),
        (MetricValueError("loss", None), (ValueError, TypeError), False),
        (KeyboardInterrupt(), (Exception,), False),
    ],
)
def test_this_packages_errors_are_caught_by_their_own_classes(
    error: BaseException, catch: Any, caught: bool
) -> None:
    assert is_caught(error, catch) is caught


class NoText(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("two\nlines"), "ValueError: two"),
        (ValueError("\x1b[31m"), r"ValueError: \x1b[31m"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SyntaxError("bad", ("a.py", 1, 1, "x = (")), "SyntaxError: bad"),
        (SignalExit(129), "SIGHUP"),
    ],
)
def test_a_reason_is_one_line(error: BaseException, reason: str) -> None:
    assert reason_of(error) == reason
    assert "NoText" in reason_of(NoText())


class Own(Exception):
    """Copied as the test wants."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how

    def __copy__(self) -> Any:
        if self.how == "fails":
            raise OSError
        return self if self.how == "itself" else ValueError() if self.how == "another" else Own(self.how)


@pytest.mark.parametrize("how", ["copied", "fails", "itself", "another"])
def test_what_failed_a_task_is_kept_without_its_frames(task: GroupTask, how: str) -> None:
    error = raised(Own(how))
    keep_failure(task._state, error, "the traceback")
    assert task._state.failure is not None
    kept, text = task._state.failure
    assert (type(kept), text) == (Own if how == "copied" else CarriedError, "the traceback")
    assert kept.__traceback__ is None
    assert error.__traceback__ is not None
    assert how in str(kept)


class NoNotes(Exception):
    """Takes no notes."""

    def add_note(self, note: str) -> None:
        raise TypeError


def test_a_note_is_added_where_that_is_possible() -> None:
    error = ValueError("bad")
    add_note(error, "a\x1b\nb")
    add_note(NoNotes(), "a")
    assert notes_of(error) == ["a\\x1b\nb"]


class Held:
    """Something that a frame holds."""


def test_the_frames_of_all_exceptions_of_a_failure_are_cleared() -> None:
    """Of causes, contexts and members, also in a circle."""

    def failing() -> Exception:
        def inside() -> None:
            held = Held()
            raise ValueError(held)

        try:
            inside()
        except ValueError as error:
            return error
        raise AssertionError

    cause, member, context = failing(), failing(), failing()
    group = ExceptionGroup("group", [member])
    group.__cause__, group.__context__ = cause, context
    cause.__context__ = group
    clear_frames(group)
    for error in (cause, member, context):
        traceback = error.__traceback__
        assert traceback is not None
        assert traceback.tb_next is not None
        assert traceback.tb_next.tb_frame.f_locals == {}
