"""Retries of `map`: which calls are made again, and what group, results and progress show of them."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml.queries import identity_of
from clearml_taskgroup._progress import displays
from clearml_taskgroup._progress.tracker import Progress
from clearml_taskgroup.errors import CarriedError, TaskAbortedError, ValuePickleError, WorkerDiedError
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.support import worker_functions
from tests.support.runs import stop
from tests.support.scripts import Disk
from tests.support.server_view import View


def offline(**options: Any) -> TaskGroup:
    """A group whose tasks are offline sessions of the test's own."""
    return TaskGroup("the project", "the group", mode="offline", provenance=False, **options)


def attempts() -> list[tuple[str, int, str, str]]:
    """Name, attempt, status and reason of each task in the latest run log, in the order of opening."""
    lines = Disk(Path(os.environ["CLEARML_CACHE_DIR"])).records[-1]
    ends = {line["id"]: (line["status"], line["reason"]) for line in lines if line["event"] == "end"}
    opened = [line for line in lines if line["event"] == "task"]
    return [(line["name"], line["attempt"], *ends[line["id"]]) for line in opened]


class Lucky:
    """A function that raises in the first calls of each configuration."""

    def __init__(self, failures: int, error: BaseException | None = None) -> None:
        self.failures = failures
        self.error = error or ValueError("no luck")
        self.calls: dict[int, int] = {}

    def __call__(self, task: GroupTask) -> int:
        """Reports the number of the call, and returns it."""
        seed = task.params["seed"]
        self.calls[seed] = self.calls.get(seed, 0) + 1
        task.report({"calls": self.calls[seed]}, self.calls[seed])
        if self.calls[seed] <= self.failures:
            raise self.error
        return self.calls[seed]


def test_a_failed_configuration_is_tried_again() -> None:
    """Each retry is a task of its own; the failed ones keep status and values; the latest one counts."""
    with offline() as group:
        mapped = group.map(Lucky(2), {"seed": [0, 1]}, retries=2)
        live = group.results()
    assert [(one.value, one.error, one.task.attempt, one.task.status) for one in mapped] == [
        (3, None, 3, "completed")
    ] * 2
    assert [(task.attempt, task.index) for task in group] == [(3, 0), (3, 1)]
    assert (len(group), group.failures) == (2, ())
    assert attempts() == [
        (f"seed={seed}", attempt, *(("completed", "") if attempt == 3 else ("failed", "ValueError: no luck")))
        for seed in (0, 1)
        for attempt in (1, 2, 3)
    ]
    for results in (live, group.results(), TaskGroup.load("the project", "the group", mode="offline")):
        assert [(row.attempt, row.value("calls"), row.status) for row in results] == [(3, 3, "completed")] * 2
    sessions = Path(os.environ["CLEARML_CACHE_DIR"], "offline").glob("offline-*/metrics.jsonl")
    assert sum('"iter":1' in file.read_text() for file in sessions) == 2


def test_the_last_attempt_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    """Then its error is the outcome, and the one failure of the group."""
    with offline() as group:
        (one,) = group.map(Lucky(9), {"seed": [0]}, retries=2)
    assert (str(one.error), one.value, one.task.attempt, one.task.status) == ("no luck", None, 3, "failed")
    assert [(failure.task, str(failure.exception)) for failure in group.failures] == [(one.task, "no luck")]
    assert [record.getMessage() for record in caplog.records] == [
        "seed=0 failed, retry 1 of 2 follows: ValueError: no luck",
        "seed=0 failed, retry 2 of 2 follows: ValueError: no luck",
        "seed=0 failed, the others go on: ValueError: no luck",
    ]


@pytest.mark.parametrize("catch", [(), ValueError])
def test_catch_makes_no_difference(catch: Any) -> None:
    """Also an exception that the task's own block catches is tried again."""
    calls: list[int] = []

    def fn(task: GroupTask) -> None:
        with task:
            calls.append(task.attempt)
            if task.attempt == 1:
                raise ValueError("no luck")

    with offline(catch=catch) as group:
        (one,) = group.map(fn, {"seed": [0]}, retries=1)
    assert calls == [1, 2]
    assert (one.error, one.task.status, group.failures) == (None, "completed", ())


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("workers", [None, 1])
def test_a_failed_call_holds_no_memory_during_the_next_one(workers: int | None, retries: int) -> None:
    """What its frames referred to is gone, such as the tensors of a training that had no room."""
    worker_functions.models.clear()
    with offline() as group:
        try:
            space = {"seed": range(2 - retries)}
            mapped = group.map(worker_functions.run_out_of_memory, space, retries=retries, workers=workers)
        finally:
            gc.enable()
    assert mapped[-1].value is True


class Abort(BaseException):
    """Stands for what is no failure."""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), Abort()])
def test_an_interrupt_is_no_failure(error: BaseException) -> None:
    """What is no `Exception` leaves `map` at once."""
    with pytest.raises(type(error)), offline() as group:
        group.map(Lucky(1, error), {"seed": [0, 1]}, retries=2)
    assert [(name, attempt, status) for name, attempt, status, _ in attempts()] == [("seed=0", 1, "stopped")]


def test_what_somebody_has_aborted_is_not_tried_again() -> None:
    """Whatever its function raises after that."""

    def fn(task: GroupTask) -> None:
        stop(task)
        raise ValueError("no luck")

    with offline() as group:
        (one,) = group.map(fn, {"seed": [0]}, retries=2)
    assert isinstance(one.error, TaskAbortedError)
    assert (one.task.status, one.task.attempt) == ("stopped", 1)


def test_what_ended_otherwise_is_not_tried_again() -> None:
    """Neither a task that the function has marked itself, nor one that is completed or stopped already."""

    def fn(task: GroupTask) -> None:
        how = task.params["how"]
        if how == "fails":
            task.mark_failed("by hand")
            return
        task.mark_stopped() if how == "stops" else task.mark_completed()
        raise ValueError(how)

    with offline() as group:
        mapped = group.map(fn, {"how": ["fails", "stops", "completes"]}, retries=2)
    assert [(one.task.attempt, one.task.status) for one in mapped] == [
        (1, "failed"),
        (1, "stopped"),
        (1, "completed"),
    ]


@pytest.mark.parametrize("retry", ["new", "continue"])
def test_a_resumed_run_goes_on_after_the_latest_attempt(retry: Any) -> None:
    """Each run has its own number of retries; each of them is a new task, also with `retry="continue"`."""
    with offline() as group:
        group.map(Lucky(9), {"seed": [0]}, retries=1)
    first = [task.attempt for task in group]
    with offline(resume=True, retry=retry) as group:
        (one,) = group.map(Lucky(1), {"seed": [0]}, retries=1)
    assert first == [2]
    assert (one.task.attempt, one.value) == (4 if retry == "new" else 3, 2)
    with offline(resume=True) as group:
        (again,) = group.map(Lucky(9), {"seed": [0]}, retries=1)
    assert (again.task.done, again.task.attempt) == (True, one.task.attempt)


def test_progress_counts_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed attempt that is followed by another one has neither failed nor is it done."""
    shown: list[str] = []

    class Display(displays.NoDisplay):
        """Keeps what it is shown."""

        def show(self, progress: Progress) -> None:
            """Keeps it."""
            shown.append(progress.counts)

    monkeypatch.setattr(displays, "choose_display", lambda: Display())
    with offline() as group:
        group.map(Lucky(1), {"seed": [0, 1]}, retries=1, progress=True)
    assert list(dict.fromkeys(shown)) == [
        "0 done, 0 failed, 2 left",
        "1 done, 0 failed, 1 left",
        "2 done, 0 failed, 0 left",
    ]


def test_a_recording_and_disabled_mode_have_retries() -> None:
    with recording() as recorded, TaskGroup("the project", "the group") as group:
        (one,) = group.map(Lucky(1), {"seed": [0]}, retries=1, workers=2, timeout=5.0, devices=["0", "1"])
    assert (one.value, one.task.attempt, one.task.device) == (2, 2, None)
    assert [task.status for task in recorded.members] == ["failed", "completed"]
    with TaskGroup("the project", "the group", mode="disabled") as group:
        (one,) = group.map(Lucky(1), {"seed": [0]}, retries=1)
    assert (one.value, one.task.attempt) == (2, 2)


def test_an_attempt_that_could_not_end_ends_with_the_group(server: View, loopback: LoopbackServer) -> None:
    """The status of an earlier attempt that a server did not take at once is stored at the group's end."""
    with TaskGroup(server.project, "online", mode="online", provenance=False) as group:
        loopback.faults.fail_next("tasks.failed", status=400, body=refusal(400))
        (one,) = group.map(Lucky(1), {"seed": [0]}, retries=1)
    docs = sorted(server.tasks("task"), key=lambda doc: identity_of(doc)["attempt"])
    assert [(doc["id"] == one.task.id, doc["status"]) for doc in docs] == [
        (False, "failed"),
        (True, "completed"),
    ]
    assert docs[0]["status_reason"] == "ValueError: no luck"
    assert server.tasks("parent")[0]["status"] == "completed"


# --- in a run that several processes share -------------------------------------------------------


@pytest.fixture(params=["offline", "online"])
def mode(request: pytest.FixtureRequest) -> Any:
    """Where the processes of a run meet: on this disk, or on a server."""
    if request.param == "online":
        request.getfixturevalue("loopback")
    return request.param


def shared(mode: Any, **options: Any) -> TaskGroup:
    """A group in a run that others can join."""
    return TaskGroup("the project", "the group", mode=mode, provenance=False, run="job 7", **options)


@pytest.mark.parametrize("threads", [0, 1])
def test_each_configuration_is_called_in_one_process(threads: int, mode: Any) -> None:
    """Each takes one configuration after another; the list has its own; one process can take what is left."""
    space = {"seed": range(5)}
    with shared(mode) as one, shared(mode) as two, ThreadPoolExecutor(1) as executor:
        others: list[Any] = []

        def fn(task: GroupTask) -> int:
            if not others:
                others.extend(two.map(Lucky(0), space))
            return len(others)

        mine = one.map(fn, space, executor=executor if threads else None)
        assert (len(mine), len(others)) == (1, 4)
        assert len({one.task.key for one in (*mine, *others)}) == 5
        assert shared_rows(one) == shared_rows(two) == [(seed, 1, "completed") for seed in range(5)]
    with shared(mode) as late:
        assert late.map(fn, space) == []


def shared_rows(group: TaskGroup) -> list[tuple[int, int, str]]:
    """Seed, attempt and status of each task of a run."""
    return [(row.params["seed"], row.attempt, row.status) for row in group.results()]


def test_only_the_process_in_which_it_failed_tries_a_configuration_again(mode: Any) -> None:
    """The others leave it to that one, and see its latest attempt."""
    with shared(mode) as one, shared(mode, resume=True) as two:
        seen: list[Any] = []

        def fn(task: GroupTask) -> int:
            seen.append(two.map(Lucky(0), {"seed": [0]}))
            if task.attempt < 3:
                raise ValueError("no luck")
            return task.attempt

        (mapped,) = one.map(fn, {"seed": [0]}, retries=2)
        assert (mapped.value, mapped.task.attempt, seen) == (3, 3, [[], [], []])
        assert shared_rows(one) == shared_rows(two) == [(0, 3, "completed")]
    assert [row.attempt for row in TaskGroup.load("the project", "the group", mode=mode)] == [3]


def test_workers_of_two_processes() -> None:
    """Worker processes, retries and a shared run together."""
    space = {"how": ["exit", "raise", "fine", "kill"], "seed": [1]}
    with shared("offline") as one, shared("offline") as two:
        mapped = one.map(worker_functions.trouble, space, workers=2, retries=1)
        assert [(item.task.status, item.task.attempt) for item in mapped] == [
            ("completed", attempt) for attempt in (2, 2, 1, 2)
        ]
        assert two.map(worker_functions.trouble, space, workers=2, retries=1) == []
        assert [row.attempt for row in two.results()] == [2, 2, 1, 2]


# --- in worker processes ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raise", "exit", "kill"])
def test_workers_try_again(how: str) -> None:
    """What raised, and what a dying worker left, is called again, with the other attempt's number."""
    with offline() as group:
        mapped = group.map(
            worker_functions.trouble, {"how": [how, "fine"], "seed": [1]}, workers=1, retries=1
        )
    assert [(one.value, one.task.attempt) for one in mapped] == [((2, None), 2), ((1, None), 1)]
    assert [status for _, _, status, _ in attempts()].count("failed") == 1
    assert group.failures == ()


def test_the_last_death_is_the_outcome() -> None:
    with offline() as group:
        (one,) = group.map(
            worker_functions.trouble, {"how": ["exit"], "times": [9], "seed": [1]}, workers=1, retries=1
        )
    assert isinstance(one.error, WorkerDiedError)
    assert [(attempt, status, reason) for _, attempt, status, reason in attempts()] == [
        (attempt, "failed", "its worker process ended with exit code 7") for attempt in (1, 2)
    ]
    (row,) = group.results()
    assert (row.attempt, row.value("loss", split="val", of="max")) == (2, 1.375)


def test_what_cannot_travel_is_tried_again_only_if_it_was_raised() -> None:
    """An exception that cannot be pickled was; a value that cannot be sent back would be the same again."""
    with offline() as group:
        mapped = group.map(worker_functions.raise_odd_kinds, {"seed": [1, 2, 3]}, workers=1, retries=1)
    assert [(type(one.error), one.task.attempt) for one in mapped] == [
        (CarriedError, 2),
        (ValuePickleError, 1),
        (SystemExit, 1),
    ]
