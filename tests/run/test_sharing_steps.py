"""A shared run, step by step: what may be claimed, whose a task is, and what the last one does."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.past import PastTask
from clearml_taskgroup._model.status import ABANDONED
from clearml_taskgroup._run import sharing as _sharing
from clearml_taskgroup._run.run import Run
from clearml_taskgroup._run.sharing import (
    LEAVING,
    Sharing,
    Unclaimed,
    find_or_create_parent,
    leave,
    log_passed,
    look,
    take_over,
    unclaimed,
)
from clearml_taskgroup._run.tasks import create_tasks
from clearml_taskgroup._storage.shared_run import PARENT
from clearml_taskgroup.errors import GroupStateError, ServerError
from clearml_taskgroup.testing import recording


class Shared:
    """What processes agree on, as the test has it."""

    process = "0123abcd-1-2-1"
    session = 2
    withdrawn = False

    def __init__(self) -> None:
        self.past: list[PastTask] = []
        self.dead: list[str] = []
        self.parents: list[str | None] = []
        self.claims: list[tuple[str, int]] = []
        self.taken: list[Any] = []
        self.calls: list[Any] = []
        self.last = True

    def beat(self) -> None:
        self.calls.append("beat")

    def members(self) -> list[PastTask]:
        return self.past

    def parent(self) -> str | None:
        return self.parents.pop(0)

    def claim(self, key: str, attempt: int) -> bool:
        self.claims.append((key, attempt))
        return (key, attempt) not in self.taken

    def release(self, key: str, attempt: int, task_id: str | None) -> bool:
        self.calls.append(("release", key, attempt, task_id))
        return True

    def claim_dead(self) -> list[str]:
        dead, self.dead = self.dead, []
        return dead

    def remove_dead(self, process: str) -> None:
        self.calls.append(("removed", process))

    def leave(self) -> bool:
        self.calls.append("leave")
        return self.last


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No pause takes time; too many of them end a wait."""
    pauses: list[float] = []
    monkeypatch.setattr(_sharing, "sleep", pauses.append)
    monkeypatch.setattr(_sharing, "monotonic", lambda: 100.0 * len(pauses))
    return pauses


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
def run(shared: Shared) -> Iterator[Run]:
    with recording(), TaskGroup("the project", "the group") as group:
        assert group._run is not None
        agreed: Any = shared
        group._run.sharing = Sharing(agreed)
        yield group._run
        group._run.sharing = None


def past(run: Run, seed: int, **fields: Any) -> PastTask:
    spec = run.specs.make({"seed": seed})
    values: dict[str, Any] = {"status": "completed", "process": "0123abcd-9-2-1", **fields}
    attempt = values.pop("attempt", 1)
    return PastTask(f"{seed}-{attempt}", spec.key, spec.name, seed, attempt, {"seed": seed}, **values)


def sharing_of(run: Run) -> Sharing:
    assert run.sharing is not None
    return run.sharing


# --- which attempt ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resume", "fields", "expected"),
    [
        (True, None, 1),
        (False, {"status": "failed", "session": 1}, None),
        (True, {"status": "failed", "session": 1}, 2),
        (True, {"status": "failed", "session": 2}, None),  # since the run was last empty
        (True, {"status": "stopped", "reason": ABANDONED, "session": 2}, 2),
        (True, {"status": "completed", "session": 1}, None),
        (True, {"status": None, "session": 1}, None),
    ],
)
def test_which_attempt_may_be_claimed(
    run: Run, shared: Shared, resume: bool, fields: dict[str, Any] | None, expected: int | None
) -> None:
    agreed: Any = shared
    attempts = {} if fields is None else {"key": past(run, 0, **fields)}
    assert Sharing(agreed, resume, attempts=attempts).next_attempt("key") == expected


@pytest.mark.parametrize(("other", "expected"), [(None, 3), (1, 3), (2, 3), (3, None)])
def test_only_this_process_tries_again_what_has_failed_in_it(
    run: Run, other: int | None, expected: int | None
) -> None:
    sharing_of(run).attempts = {"key": past(run, 0, attempt=other or 1)}
    run.states["key"] = SimpleNamespace(spec=SimpleNamespace(attempt=2))  # type: ignore[assignment]
    if other is not None:
        elsewhere: Any = SimpleNamespace(spec=SimpleNamespace(attempt=other))
        sharing_of(run).others["key"] = elsewhere
    assert _sharing._next_attempt(run, "key") == expected
    run.states.clear()
    sharing_of(run).others.clear()


# --- whose it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("process", "finished", "is_own"),
    [("", True, True), ("", False, True), ("another", False, True), ("another", True, False)],
)
def test_a_task_that_another_process_has_reopened_is_its(
    run: Run, shared: Shared, process: str, finished: bool, is_own: bool
) -> None:
    (state,) = create_tasks(run, [run.specs.make({"seed": 0})], in_sweep=False)
    state.finished = finished
    one = past(run, 0, process=process)
    one.id = state.id
    shared.past = [one, past(run, 1)]
    look(run)
    assert [other.id for other in sharing_of(run).others.values()] == ([] if is_own else [state.id]) + ["1-1"]
    state.finished = False


def test_a_task_of_another_process_is_done_here(run: Run, shared: Shared) -> None:
    shared.past = [past(run, 0, status=None, duration=5.0), past(run, 1, status="failed", duration=5.0)]
    look(run)
    running, ended = sharing_of(run).others.values()
    assert (running.status, running.ended, running.uncounted) == ("in_progress", None, True)
    assert (ended.status, ended.duration, ended.uncounted) == ("failed", 5.0, False)
    for state in (running, ended):
        assert (state.done, state.finished, state.is_open) == (True, True, False)
        assert "pid 9" in state.elsewhere


# --- the parent ------------------------------------------------------------------------------------


def test_the_parent_is_found_or_created_by_one(shared: Shared, pauses: list[float]) -> None:
    agreed: Any = shared
    shared.parents = ["the parent"]
    assert find_or_create_parent(agreed, lambda: pytest.fail("created")) == ("the parent", False)
    shared.parents, shared.taken = [None, None, "the parent"], [(PARENT, 1)]
    assert find_or_create_parent(agreed, lambda: pytest.fail("created")) == ("the parent", False)
    assert len(pauses) == 2
    shared.parents, shared.taken = [None], []
    assert find_or_create_parent(agreed, lambda: "new") == ("new", True)
    assert shared.calls == [("release", PARENT, 1, "new")]


def test_a_parent_that_cannot_be_created_is_left_to_others(shared: Shared) -> None:
    agreed: Any = shared

    def fail() -> str:
        raise OSError("no")

    shared.parents = [None]
    with pytest.raises(OSError, match="no"):
        find_or_create_parent(agreed, fail)
    assert shared.calls == [("release", PARENT, 1, None)]


def test_a_wait_for_another_process_ends(shared: Shared) -> None:
    agreed: Any = shared
    shared.parents, shared.taken = [None] * 100, [(PARENT, 1)]
    with pytest.raises(GroupStateError, match="waits for its parent task that another process has claimed"):
        find_or_create_parent(agreed, lambda: "new")


# --- spaces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "passed", "again", "more"),
    [(1, 0, False, True), (0, 1, False, False), (0, 1, True, True), (0, 0, True, False)],
)
def test_there_may_be_more_configurations(left: int, passed: int, again: bool, more: bool) -> None:
    spec: Any = None
    space = Unclaimed(dict.fromkeys("a" * left, spec), dict.fromkeys("b" * passed, spec), again)
    assert space.has_more is more


def test_each_process_begins_at_another_configuration(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [run.specs.make({"seed": seed}) for seed in range(3)]
    sharing_of(run).attempts = {specs[0].key: past(run, 0)}
    monkeypatch.setattr(_sharing, "hash", lambda process: 5, raising=False)
    space = unclaimed(run, specs)
    assert list(space.left) == [specs[2].key, specs[1].key]
    assert list(space.passed) == [specs[0].key]
    assert not space.looks_again
    assert not unclaimed(run, []).has_more


@pytest.mark.parametrize(
    ("ends", "hint"),
    [
        ([], None),
        ([{"status": "completed"}], "1 completed"),
        ([{"status": None}], "1 in progress"),
        (
            [{"status": None}, {"status": "stopped", "reason": ABANDONED}],
            "1 abandoned, 1 in progress; a process with resume=True runs what was abandoned again",
        ),
        (
            [{"status": "stopped", "reason": "SIGTERM"}],
            "1 stopped; to run again what a signal has stopped, start the script again with resume=True",
        ),
        ([{"status": "stopped", "reason": "pruned"}], "1 stopped"),
        ([{"status": "failed", "reason": "SIGTERM"}], "1 failed"),
    ],
)
def test_one_line_says_what_was_not_run_here(
    run: Run, shared: Shared, ends: list[dict[str, Any]], hint: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    specs = [run.specs.make({"seed": seed}) for seed in range(4)]
    shared.past = [past(run, seed, **fields) for seed, fields in enumerate(ends)]
    log_passed(run, specs, [specs[3].key])
    line = f"{len(ends)} of 4 configurations were not run here: {hint}"
    assert caplog.messages == ([] if hint is None else [line])
    caplog.clear()
    log_passed(run, specs, [spec.key for spec in specs])
    assert caplog.messages == []


# --- leaving ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "told"), [(True, True), (False, False), (False, True)])
def test_a_process_leaves_and_may_be_the_last(
    run: Run, shared: Shared, last: bool, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    shared.last = last
    if told:
        run.warned.add(LEAVING)
    assert leave(run) is last
    assert sharing_of(run).left_last is last
    assert (caplog.messages != []) is (not last and not told)


def test_a_process_that_was_taken_for_dead_has_left(run: Run, shared: Shared) -> None:
    shared.withdrawn = True
    assert not leave(run)
    assert shared.calls == []


@pytest.mark.parametrize("error", [None, ServerError("no")])
def test_the_tasks_of_the_dead_are_ended(
    run: Run,
    shared: Shared,
    error: Exception | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that were completed before are completed; what cannot be ended is left to the next look."""
    finished: list[Any] = []

    def finish(backend: Any, endings: list[Any], timeout: float) -> dict[str, Exception]:
        finished.extend(endings)
        return {} if error is None else {"0-1": error}

    dead = "0123abcd-7-2-1"
    shared.dead = [dead]
    shared.past = [
        past(run, 0, status=None, process=dead),
        past(run, 1, status=None, process=dead, was_completed=True),
        past(run, 2, process=dead),
        past(run, 3, status=None),
    ]
    delivered: list[str] = []
    sharing_of(run).deliver_left = lambda: delivered.append("delivered")
    with monkeypatch.context() as patch:
        patch.setattr(type(run.backend), "finish", finish)
        take_over(run)
        take_over(run)
    assert [(ending.task_id, ending.status) for ending in finished] == [
        ("0-1", "stopped"),
        ("1-1", "completed"),
    ]
    assert delivered == ["delivered"]
    assert shared.calls == ([("removed", dead)] if error is None else [])
    (line,) = caplog.messages
    assert line.endswith("; what it had begun was abandoned, and resume=True runs it again: seed=0")
