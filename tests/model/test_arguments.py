"""Checks of arguments: everything is refused where it is given, by an error that names the argument."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import ArgumentError, ContextValueError, TaskGroupError
from clearml_taskgroup.testing import recording

WRONG: list[tuple[str, Any]] = [
    *(("close_timeout", value) for value in (None, "60", math.nan, -1, True, -math.inf, [1])),
    *(("tags", value) for value in (None, "tag", 5, [1], [""], [None])),
    *(("catch", value) for value in (None, "ValueError", ValueError("x"), [1], BaseException)),
    *((flag, value) for flag in ("provenance", "resume", "takeover") for value in (None, "yes")),
    *((choice, "other") for choice in ("nonfinite", "retry", "capture", "mode")),
    *((choice, 1) for choice in ("nonfinite", "retry", "capture", "mode")),
]


@pytest.mark.parametrize(("argument", "value"), WRONG)
def test_a_group_is_not_made_with_wrong_arguments(argument: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"{argument}=") as refused:
        TaskGroup("the project", "the group", **{argument: value})
    assert len(str(refused.value)) <= 500


@pytest.mark.parametrize("catch", [ValueError, [ValueError], (KeyError, ValueError), iter([ValueError])])
def test_exceptions_that_a_loop_goes_on_after(catch: Any) -> None:
    with recording(), TaskGroup("the project", "the group", catch=catch) as group:
        for task in group.sweep({"C": [1, 2]}):
            with task:
                raise ValueError("one configuration has failed")
    assert [task.status for task in group] == ["failed", "failed"]


@pytest.mark.parametrize("argument", ["project", "name", "tags", "task_name", "template"])
def test_text_that_cannot_be_stored(argument: str) -> None:
    """A lone surrogate comes from a file name that is not UTF-8; no server and no file takes it."""
    text = "{metric}\ud800"
    arguments: dict[str, Any] = {"project": "the project", "name": "the group"}
    with pytest.raises(TaskGroupError, match=r"surrogate|not blank") as refused:
        TaskGroup(**{**arguments, argument: [text] if argument == "tags" else text})
    str(refused.value).encode()


def test_text_of_a_task_that_cannot_be_stored() -> None:
    """It is refused in names, keys, metrics and context; a reason and console text are for people."""
    with recording() as store, TaskGroup("the project", "the group", capture="console") as group:
        for arguments in ({"name": "\ud800"}, {"key": "\ud800"}, {"tags": ["\ud800"]}):
            with pytest.raises(ArgumentError):
                group.task({"C": 1}, **arguments)
        with group.task({"C": 1}) as task:
            for metric, context in (("\ud800", {}), ("loss", {"split": "\ud800"})):
                with pytest.raises(ContextValueError, match="lone surrogate"):
                    task.report({metric: 1.0}, 1, **context)
                with pytest.raises(ContextValueError, match="lone surrogate"):
                    task.metric(metric, **context)
            print("caf\udce9.csv")
            task.mark_failed("no file caf\udce9.csv")
    (member,) = store.members
    assert (member.console, member.reason) == ("caf\\udce9.csv", "no file caf\\udce9.csv")


@pytest.mark.parametrize("reason", [ValueError("x"), None, 3])
def test_reasons_are_text(reason: Any) -> None:
    with recording(), TaskGroup("the project", "the group") as group:
        task = group.task({"C": 1})
        for mark in (task.mark_failed, task.mark_stopped):
            with pytest.raises(ArgumentError, match="status_reason="):
                mark(reason)
        assert task.status == "in_progress"


@pytest.mark.parametrize("seconds", [5, 60.0, math.inf, 10**400], ids=["5", "60", "inf", "huge"])
def test_time_limits_that_are_accepted(seconds: float) -> None:
    with recording(), TaskGroup("the project", "the group", close_timeout=seconds) as group:
        group.task({"C": 1}).close()
    assert [task.status for task in group] == ["completed"]


@pytest.mark.parametrize("timeout", ["60", math.nan, -1, True])
def test_timeouts_of_calls(timeout: Any) -> None:
    with recording(), TaskGroup("the project", "the group") as group:
        task = group.task({"C": 1})
        for call in (group.flush, group.wait, group.close, task.flush, task.close):
            with pytest.raises(ArgumentError, match="timeout="):
                call(timeout)
        assert task.status == "in_progress"


def test_the_bodys_exception_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a step of closing raises, the other steps are taken, and the run can be resumed."""
    from clearml_taskgroup._run import closing

    def broken(*_: Any) -> None:
        raise RuntimeError("a step is broken")

    group = TaskGroup("the project", "the group", mode="offline", provenance=False)
    with pytest.raises(MemoryError, match="the real error") as failure, group:
        task = group.task({"C": 1})
        monkeypatch.setattr(closing, "recount", broken)
        raise MemoryError("the real error")
    assert "a step is broken" in "".join(failure.value.__notes__)
    assert task.status == "failed"
    monkeypatch.undo()
    TaskGroup("the project", "the group", mode="offline", provenance=False, resume=True).open().close()
