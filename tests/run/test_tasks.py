"""Creating a run's tasks: new ones, further attempts, and those of the run that is resumed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup import Name, TaskGroup
from clearml_taskgroup._clearml.notes import REOPENED_ENTRY
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.past import PastTask, Prior
from clearml_taskgroup._model.specs import RunInfo, TaskSpec
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._run.run import Run
from clearml_taskgroup._run.tasks import (
    create_tasks,
    earlier_spec,
    earlier_states,
    log_progress,
    next_attempt,
    recall_tasks,
)
from clearml_taskgroup.errors import StoreError, TaskAbortedError
from tests.support.scripts import HookedStore, kept_in

LOSS = MetricKey("loss", ())


@attrs.define(slots=False)
class Store(HookedStore):
    """A store that notes what it is asked for."""

    asked: list[Any] = attrs.field(factory=list)

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        self.asked.append(("create", [(spec.name, spec.attempt, spec.index) for spec in specs]))
        return super().create(run, specs, parent)

    def check_parent(self, parent: str) -> None:
        self.asked.append(("check", parent))

    def reopen(self, ids: Sequence[str]) -> None:
        self.asked.append(("reopen", list(ids)))

    def annotate(self, task_id: str, section: Mapping[str, str], runtime: Mapping[str, str]) -> None:
        self.asked.append(("annotate", task_id, dict(runtime)))


class Log:
    """A run log that notes its lines; on a full disk, if it has to."""

    def __init__(self, full: bool = False) -> None:
        self.full = full
        self.lines: list[tuple[str, list[str]]] = []

    def check(self) -> None:
        self.lines.append(("check", []))

    def opening(self, specs: Sequence[Any]) -> None:
        self.lines.append(("opening", [spec.name for spec in specs]))

    def tasks_opened(self, states: Sequence[Any]) -> None:
        self.lines.append(("opened", [state.spec.name for state in states]))
        if self.full:
            raise StoreError("/data", "no space left")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def run(store: Store) -> Iterator[Run]:
    with kept_in(store), TaskGroup("the project", "the group") as group:
        assert group._run is not None
        store.asked.clear()
        yield group._run
        group._run.run_log = group._run.prior = group._run.agent_task = None
        group._run.states.clear()  # the store does not have those of the earlier run


def specs(run: Run, *seeds: int) -> list[TaskSpec]:
    return [run.specs.make({"seed": seed}) for seed in seeds]


def past(run: Run, seed: int, **fields: Any) -> PastTask:
    """A task of the run that is resumed."""
    (spec,) = specs(run, seed)
    task = PastTask(f"old-{seed}", spec.key, spec.name, 7 + seed, 3, {"seed": seed})
    return attrs.evolve(task, **{"status": "completed", "duration": 5.0, **fields})


def resumes(run: Run, *tasks: PastTask, retry: Any = "new", **fields: Any) -> None:
    run.prior = Prior("the run", 1, None, False, {task.key: task for task in tasks}, **fields)
    run.retry = retry


def shown(states: Sequence[Any]) -> list[tuple[str, str, int, bool]]:
    return [(state.id, state.status, state.spec.attempt, state.done) for state in states]


# --- new tasks -------------------------------------------------------------------------------------


def test_tasks_are_opened_in_their_order(run: Run, store: Store) -> None:
    states = create_tasks(run, specs(run, 1, 0), in_sweep=True)
    assert shown(states) == [("memory-2", "in_progress", 1, False), ("memory-3", "in_progress", 1, False)]
    assert list(run.states.values()) == states
    assert store.asked == [("check", run.parent), ("create", [("seed=1", 1, 0), ("seed=0", 1, 0)])]
    assert all(state.in_sweep for state in states)
    assert not create_tasks(run, specs(run, 2), in_sweep=False)[0].in_sweep
    assert run.specs.number_of_tasks == 3


def test_a_further_attempt_takes_the_place_of_the_first(run: Run, store: Store) -> None:
    (first,) = create_tasks(run, specs(run, 0), in_sweep=False)
    (again,) = create_tasks(run, [attrs.evolve(specs(run, 0)[0], index=9)], in_sweep=False)
    assert (again.spec.attempt, again.spec.index) == (2, first.spec.index)
    assert run.retried == [first]
    assert list(run.states.values()) == [again]


def test_a_task_that_exists_on_the_server_is_only_opened(run: Run, store: Store) -> None:
    (spec,) = specs(run, 0)
    (state,) = create_tasks(run, [attrs.evolve(spec, task_id="submitted")], in_sweep=False)
    assert state.id == "submitted"
    assert store.asked[-1] == ("create", [])


def test_an_agent_creates_nothing_without_need(run: Run, store: Store) -> None:
    """Not even the project."""
    run.agent_task = SimpleNamespace()  # type: ignore[assignment]
    create_tasks(run, [attrs.evolve(specs(run, 0)[0], task_id="submitted")], in_sweep=False)
    assert [what for what, *_ in store.asked] == ["check"]
    create_tasks(run, specs(run, 1), in_sweep=False)
    assert [what for what, *_ in store.asked] == ["check", "check", "create"]


def test_a_run_without_a_parent_has_none_to_check(run: Run, store: Store) -> None:
    parent, run.parent = run.parent, None
    create_tasks(run, specs(run, 0), in_sweep=False)
    run.parent = parent
    assert [what for what, *_ in store.asked] == ["create"]


def test_no_task_is_opened_once_the_run_was_aborted(run: Run, store: Store) -> None:
    from clearml_taskgroup._run.abort import abort_run

    abort_run(run, "by hand")
    with pytest.raises(TaskAbortedError):
        create_tasks(run, specs(run, 0), in_sweep=False)
    assert store.asked == []


@pytest.mark.parametrize(("mode", "announced"), [("online", [("opening", ["seed=0"])]), ("memory", [])])
def test_the_run_log_has_what_is_opened(run: Run, store: Store, mode: str, announced: list[Any]) -> None:
    """Tasks on a server are announced before, tasks that were completed already are not logged again."""
    log, store.mode = Log(), mode
    run.run_log = log  # type: ignore[assignment]
    resumes(run, past(run, 1))
    create_tasks(run, specs(run, 0, 1), in_sweep=False)
    store.mode = "memory"
    assert log.lines == [("check", []), *announced, ("opened", ["seed=0"])]


def test_tasks_that_no_later_process_would_know_are_ended(run: Run, store: Store) -> None:
    run.run_log = Log(full=True)  # type: ignore[assignment]
    resumes(run, past(run, 1))
    with pytest.raises(StoreError):
        create_tasks(run, specs(run, 0, 1), in_sweep=False)
    (task,) = store.members
    assert (task.status, task.reason) == ("failed", "it was not opened: no space left")
    assert run.states == {}


# --- tasks of the run that is resumed --------------------------------------------------------------


def test_a_completed_task_is_done(run: Run, store: Store) -> None:
    """The rest gets a further attempt, with the index that the first had."""
    failed = past(run, 1, status="failed", reason="no data")
    resumes(run, past(run, 0), failed)
    states = create_tasks(run, specs(run, 0, 1, 2), in_sweep=True)
    assert shown(states) == [
        ("old-0", "completed", 3, True),
        ("memory-2", "in_progress", 4, False),
        ("memory-3", "in_progress", 1, False),
    ]
    assert [state.spec.index for state in states[:2]] == [7, 8]
    assert ("reopen", []) in store.asked
    assert all(state.in_sweep for state in states)
    done = states[0]
    assert (done.finished, done.duration) == (True, 5.0)


@pytest.mark.parametrize("retry", ["new", "continue"])
def test_a_task_goes_on_in_the_same_clearml_task(run: Run, store: Store, retry: str) -> None:
    """By `retry="continue"`, if it does not wait for an agent; a draft in any case."""
    failed = past(run, 0, status="failed")
    queued, draft = past(run, 1, status=None), past(run, 2, status=None)
    resumes(
        run, failed, queued, draft, retry=retry, queued=frozenset([queued.key]), drafts=frozenset([draft.key])
    )
    states = create_tasks(run, specs(run, 0, 1, 2), in_sweep=False)
    goes_on = retry == "continue"
    assert [state.id for state in states] == (
        ["old-0", "memory-2", "old-2"] if goes_on else ["memory-2", "memory-3", "old-2"]
    )
    assert {state.status for state in states} == {"in_progress"}
    assert ("reopen", ["old-0", "old-2"] if goes_on else ["old-2"]) in store.asked


def test_a_task_that_has_been_attempted_again_is_not_continued(run: Run) -> None:
    resumes(run, past(run, 0))
    (first,) = create_tasks(run, specs(run, 0), in_sweep=False)
    (again,) = create_tasks(run, specs(run, 0), in_sweep=False)
    assert (first.id, again.id, again.spec.attempt) == ("old-0", "memory-2", 4)


@pytest.mark.parametrize("was_completed", [True, False])
def test_the_note_of_a_reopened_task_is_removed_as_it_goes_on(
    run: Run, store: Store, was_completed: bool
) -> None:
    task = past(run, 0, status="failed", was_completed=was_completed)
    resumes(run, task, retry="continue")
    create_tasks(run, specs(run, 0), in_sweep=False)
    notes = [asked for asked in store.asked if asked[0] == "annotate"]
    assert notes == ([("annotate", "old-0", {REOPENED_ENTRY: ""})] if was_completed else [])


def test_a_continued_task_adds_to_its_own_copy_of_the_values(run: Run) -> None:
    ambiguous = {Name("a", "b"): LOSS}
    task = past(run, 0, status="failed", ambiguous=ambiguous, params={"seed": 0, "late": 1})
    task.metrics = {LOSS: MetricData(Stats.of([(0, 1.0)]), (Name("loss", "value"),))}
    resumes(run, task, retry="continue")
    (state,) = create_tasks(run, specs(run, 0), in_sweep=False)
    assert state.metrics[LOSS] is not task.metrics[LOSS]
    assert (state.metrics[LOSS].stats.count, state.uncounted) == (1, False)
    assert (state.params, state.names.ambiguous) == ({"seed": 0, "late": 1}, ambiguous)


def test_a_curve_of_which_only_a_server_knows_has_to_be_read(run: Run) -> None:
    task = past(run, 0)
    task.metrics = {LOSS: MetricData(Stats(1.0, 0, 1.0, 0, 1.0, 0, 1.0, 0, math.nan, 1))}
    resumes(run, task)
    (state,) = create_tasks(run, specs(run, 0), in_sweep=False)
    assert state.uncounted


def test_tasks_are_recalled_as_they_ended(run: Run, store: Store) -> None:
    """Without another attempt, and none that is unknown or has not ended."""
    resumes(run, past(run, 0, status="failed", reason="no data"), past(run, 1, status=None))
    states = recall_tasks(run, specs(run, 2, 1, 0))
    assert shown(states) == [("old-0", "failed", 3, False)]
    assert (states[0].reason, list(run.states.values())) == ("no data", states)
    assert store.asked == []
    with pytest.raises(Exception, match="seed=0"):
        run.specs.refuse_duplicate(specs(run, 0)[0])


def test_the_other_tasks_of_the_run_are_made_once(run: Run) -> None:
    assert earlier_states(run) == {}
    tasks = [past(run, seed) for seed in range(4)]
    tasks[3].status = None
    resumes(run, *tasks)
    create_tasks(run, specs(run, 0), in_sweep=False)
    run.submitted[tasks[1].key] = run.states[tasks[0].key]
    found = earlier_states(run)
    assert list(found) == [tasks[2].key]
    assert shown(list(found.values())) == [("old-2", "completed", 3, True)]
    assert earlier_states(run)[tasks[2].key] is found[tasks[2].key]
    run.submitted.clear()


def test_the_spec_of_an_earlier_task(run: Run) -> None:
    spec = earlier_spec(run, past(run, 4))
    assert (spec.name, spec.task_name, spec.index, spec.attempt) == ("seed=4", "the group seed=4", 11, 3)
    assert spec.params == {"seed": 4}


def test_a_spec_gets_the_number_of_the_next_attempt(run: Run) -> None:
    (spec,) = specs(run, 0)
    assert next_attempt(run, spec) is spec
    resumes(run, past(run, 0, status="failed"))
    assert (next_attempt(run, spec).attempt, next_attempt(run, spec).index) == (4, 7)
    create_tasks(run, [spec], in_sweep=False)
    assert (next_attempt(run, spec).attempt, next_attempt(run, spec).index) == (5, 7)


@pytest.mark.parametrize(
    ("done", "queued", "line"),
    [
        (0, 0, None),
        (1, 0, "1 of 5 completed already; running 4"),
        (0, 2, "0 of 5 completed already, 2 queued for an agent; running 3"),
        (1, 2, "1 of 5 completed already, 2 queued for an agent; running 2"),
    ],
)
def test_one_line_says_how_much_is_completed(
    caplog: pytest.LogCaptureFixture, done: int, queued: int, line: str | None
) -> None:
    log_progress(done, queued, 5)
    assert caplog.messages == ([] if line is None else [line])
