"""The parent's page while a run is open: description, counts, and now and then tables and figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model import limits
from clearml_taskgroup._model.metric_data import copy_metrics
from clearml_taskgroup._reports import summary
from clearml_taskgroup._reports.live_parent import LiveParent
from clearml_taskgroup._results import from_run
from clearml_taskgroup._run.run import Run
from clearml_taskgroup._storage.memory import MemoryTask
from clearml_taskgroup.errors import ServerError
from clearml_taskgroup.testing import MemoryStore, recording
from tests.loopback import LoopbackServer
from tests.support.server_view import View

SPACE = {"C": range(4)}


class Clock:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def run_of(group: TaskGroup) -> Run:
    assert group._run is not None
    return group._run


def live_of(group: TaskGroup, clock: Clock) -> LiveParent:
    live = LiveParent(run_of(group), clock)
    run_of(group).summarize = live
    return live


def parent_of(backend: MemoryStore) -> MemoryTask:
    return next(task for task in backend.tasks.values() if task.spec.kind == "parent")


def counts_in(parent: MemoryTask, status: str) -> list[tuple[int, float]]:
    return parent.scalars["Tasks", status]


def tables_in(parent: MemoryTask) -> int:
    return sum(event.get("variant") == "tasks" for event in parent.events)


def test_counts_while_it_runs() -> None:
    """Each look sends the counts that have changed, over the number of tasks that have ended."""
    with recording() as backend, TaskGroup("digits", "sweep") as group:
        live = live_of(group, Clock())
        live.update()
        assert parent_of(backend).events == []  # there are no tasks yet
        for task in group.sweep(SPACE):
            live.update()
            live.update()
            if task.params["C"] == 1:
                task.mark_failed("bad node")
        run_of(group).flush(60.0)
        parent = parent_of(backend)
        assert counts_in(parent, "completed") == [(0, 0), (1, 1), (2, 1), (3, 2)]
        assert counts_in(parent, "failed") == [(0, 0), (1, 0), (2, 1), (3, 1)]
        assert parent.console == "digits/sweep, run 1: 4 tasks"
        assert tables_in(parent) == 0
    assert parent_of(backend).console.count("run 1: 4 tasks") == 1
    assert counts_in(parent_of(backend), "completed")[-1] == (4, 3)


def test_tables_and_figures_every_few_minutes() -> None:
    """They are sent at most every three minutes, and once more at the end; the text only at the end."""
    clock = Clock()
    with recording() as backend, TaskGroup("digits", "sweep") as group:
        live = live_of(group, clock)
        for task in group.sweep(SPACE):
            for step in range(5):
                task.report({"loss": step}, step)
            clock.now += 100.0
            live.update()
        run_of(group).flush(60.0)
        parent = parent_of(backend)
        assert tables_in(parent) == 2  # after 200 s and 400 s
        drawn = [json.loads(one["plot_str"]) for one in parent.events if one.get("metric") == "Curves"]
        assert [len(figure["data"]) for figure in drawn] == [2, 4]
        assert "completed" not in parent.console
        assert parent.single_values["loss, best"] == 4.0
    assert tables_in(parent_of(backend)) == 3
    assert parent_of(backend).console.count("4 completed") == 1


def test_a_large_summary_is_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and figures that take long to make take at most a fiftieth of the time."""
    clock, made = Clock(), []

    def slow(run: Run, final: bool = True) -> list[str]:
        clock.now += 10.0
        made.append(clock.now)
        return []

    monkeypatch.setattr(summary, "summary_events", slow)
    with recording(), TaskGroup("digits", "sweep") as group:
        live = live_of(group, clock)
        group.task({"C": 1})
        for _ in range(10):
            clock.now += 200.0
            live.update()
        assert len(made) == 4  # 500 s after each other


def test_nothing_follows_the_end() -> None:
    """What the thread is just making when the run ends is not sent after the final summary."""
    clock = Clock()
    with recording() as backend, TaskGroup("digits", "sweep") as group:
        live = live_of(group, clock)
        group.task({"C": 1})
    clock.now += 1000.0
    before = len(parent_of(backend).events)
    live.update()
    group._run.reporter.stop()  # type: ignore[union-attr]
    assert len(parent_of(backend).events) == before


def test_nothing_is_sent_to_a_parent_that_somebody_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("adopted", {"memory-1": object()}),
        ("delivery_problem", lambda self: OSError("away")),
    ):
        with monkeypatch.context() as patched, recording() as backend, TaskGroup("digits", "sweep") as group:
            live = live_of(group, Clock())
            group.task({"C": 1})
            patched.setattr(MemoryStore, name, value, raising=False)
            live.update()
            run_of(group).reporter.flush(60.0)
            assert parent_of(backend).events == []


def test_an_error_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread goes on after an error; the run is not disturbed."""
    clock = Clock()
    with recording() as backend, TaskGroup("digits", "sweep") as group:
        live = live_of(group, clock)
        group.task({"C": 1})
        with monkeypatch.context() as patched:
            patched.setattr(Run, "all_states", lambda run: 1 / 0)
            live.update()
        live.update()
        run_of(group).flush(60.0)
        assert counts_in(parent_of(backend), "completed") == [(0, 0)]


def test_a_task_that_ends_meanwhile_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a task reports while tables are made is in the results later."""
    clock = Clock()
    with recording(), TaskGroup("digits", "sweep") as group:
        live = live_of(group, clock)
        task = group.task({"C": 1})
        task.report({"loss": 1.0}, 1)

        def copy_slowly(metrics: Any) -> Any:
            copied = copy_metrics(metrics)
            if task.status == "in_progress":
                task.report({"loss": 2.0}, 2)
                run_of(group).reporter.flush(60.0)
                task.mark_completed()
            return copied

        clock.now += 1000.0
        with monkeypatch.context() as patched:
            patched.setattr(from_run, "copy_metrics", copy_slowly)
            live.update()
        assert task.status == "completed"
        assert group.results()[0].value("loss") == 2.0


class SharedWith:
    """A run that is shared with other processes, of which this one leads, or not, or cannot know it."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers

    def leads(self) -> bool:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)


def test_one_process_of_a_shared_run_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that leads reads the others' tasks, and asks every half a minute whether it still leads."""
    clock = Clock()
    looks: list[Run] = []
    monkeypatch.setattr("clearml_taskgroup._run.sharing.look_if_possible", looks.append)
    with recording() as backend, TaskGroup("digits", "sweep") as group:
        live = live_of(group, clock)
        group.task({"C": 1})
        sharing: Any = type(
            "Sharing", (), {"shared": SharedWith([False, ServerError("away"), True]), "others": {}}
        )()
        run_of(group).sharing = sharing
        for expected in (0, 0, 0, 0, 1, 1):
            live.update()
            assert len(looks) == expected
            clock.now += 16.0
        run_of(group).sharing = None
        run_of(group).flush(60.0)
        assert counts_in(parent_of(backend), "completed") == [(0, 0)]


def test_on_a_server(server: View) -> None:
    """A parent has its description from the beginning; number of tasks and links follow."""
    with TaskGroup(server.project, "the sweep", provenance=False) as group:
        assert group.parent_id is not None
        first = server.task(group.parent_id)["comment"]
        assert first.startswith("Run 1 of the group the sweep: ")
        live = live_of(group, Clock())
        for task in group.sweep(SPACE):
            live.update()
            task.report({"accuracy": 1.0}, 1)
        group.flush()
        comment = server.task(group.parent_id)["comment"]
        assert comment.startswith(f"{first} 4 tasks.\nall tasks as a table: http")
        assert "the sweep, run 1: 4 tasks\nall tasks as a table: http" in server.console(group.parent_id)
        (plot,) = server.plots(group.parent_id, 1)
        assert plot["variant"] == "web pages"
        assert ".value.accuracy.value" in plot["plot_str"]  # what was reported since the first look
        assert "compare tasks 1 to 2" in plot["plot_str"]
    assert server.task(group.parent_id)["status"] == "completed"


def test_a_parent_of_the_users_own_keeps_its_description(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clearml_taskgroup._clearml import login, sdk
    from clearml_taskgroup._clearml.api import Transport

    transport = Transport(login.connect())
    body = {"name": "the agent's", "type": "training", "comment": "mine"}
    agents = transport.call("tasks.create", body, timeout=5)["id"]
    monkeypatch.setattr(sdk, "agent_task_id", lambda: agents)
    with TaskGroup("digits", "the sweep", mode="online", provenance=False) as group:
        live = live_of(group, Clock())
        group.task({"C": 1})
        live.update()
        group.flush()
    assert loopback.task(agents)["comment"] == "mine"
    assert loopback.scalars(agents)["the sweep: Tasks", "completed"] == [(0, 0.0), (1, 1.0)]


def test_the_thread(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group on a server keeps its parent's page up to date by itself, until it ends."""
    monkeypatch.setattr(limits, "LIVE_FIRST_LOOK_S", 0.001)
    monkeypatch.setattr(limits, "LIVE_LOOK_S", 0.001)
    with TaskGroup("digits", "the sweep", mode="online", provenance=False) as group:
        live: Any = run_of(group).summarize
        group.task({"C": 1})
        parent = str(group.parent_id)
        assert loopback.wait_until(lambda: ("Tasks", "completed") in loopback.scalars(parent))
        assert "1 task." in loopback.task(parent)["comment"]
    assert live._ended.is_set()
    assert run_of(group).after_close.count(live.end) == 1
    assert loopback.scalars(parent)["Tasks", "completed"] == [(0, 0.0), (1, 1.0)]
