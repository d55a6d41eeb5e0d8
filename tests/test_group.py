"""A group's life: opening, nesting, threads, forks, groups that nobody closes."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import clearml_taskgroup
from clearml_taskgroup import TaskGroup
from clearml_taskgroup._agents.queue import Queueing
from clearml_taskgroup._clearml.agent_task import AgentTask
from clearml_taskgroup.errors import DuplicateTaskError, GroupStateError, WorkerStartError
from clearml_taskgroup.testing import MemoryStore, recording
from tests.support.scripts import Place, leaves, place_of, run_script, statuses

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(params=["memory", "offline"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place for the test's groups, in memory and then on disk."""
    with place_of(request.param, tmp_path) as found:
        yield found


# --- opening and closing -----------------------------------------------------------------------


def test_open_and_close_do_what_a_block_does(place: Place) -> None:
    """For notebooks: `open()` gives the group, `close()` completes what is open."""
    group = place.group()
    assert group.open() is group
    task = group.task({"seed": 0})
    task.report({"loss": 1.0}, 1)
    group.flush()
    group.close()
    assert task.status == "completed"
    assert place.statuses() == {"run": "completed", "seed=0": "completed"}


def test_a_group_is_opened_once(place: Place) -> None:
    """A second `open` or block is an error, before and after the close."""
    with place.group() as group:
        with pytest.raises(GroupStateError, match=r"has been opened before.*make a new TaskGroup"):
            group.open()
    with pytest.raises(GroupStateError, match="has been opened before"), group:
        pass
    assert TaskGroup.current() is None


def test_a_group_that_is_not_open_says_how_to_open_it() -> None:
    """Tasks, sweeps and facts of a group before its opening are errors; closing it is none."""
    group = TaskGroup("the project", "the group")
    for use in (
        lambda: group.task(name="early"),
        lambda: group.tasks({"C": [1]}),
        lambda: group.sweep({"C": [1]}),
        group.results,
        group.flush,
        lambda: group.run,
    ):
        with pytest.raises(GroupStateError, match=r"is not open yet.*group\.open\(\)"):
            use()
    group.close()


def test_a_closed_group_still_tells_what_it_held(place: Place) -> None:
    """Results, failures, length and facts are there after the end."""
    with place.group(catch=ValueError) as group:
        with group.task({"seed": 0}) as task:
            task.report({"loss": 0.5}, 1)
        with group.task({"seed": 1}) as task:
            task.report({"loss": 0.25}, 1)
            raise ValueError("bad")
    assert [row.status for row in group.results()] == ["completed", "failed"]
    assert group.results().best("loss", mode="min").value == 0.5
    assert (len(group), len(group.failures), group.run_number) == (2, 1, 1)
    assert not group.results().partial


# --- nesting -----------------------------------------------------------------------------------


def test_an_inner_groups_failure_is_one_like_any_other(tmp_path: Path) -> None:
    """Left by an exception, the inner group fails its tasks, then the outer one its own; same parent."""
    error = ValueError("bad")
    with place_of("memory", tmp_path) as place, leaves(error):
        with place.group("the outer") as outer:
            beside = outer.task(name="beside")
            with place.group("the inner") as inner, inner.task(name="within") as within:
                raise error
    assert place.backend is not None
    assert inner.parent_id == outer.parent_id
    assert {task.parent for task in place.backend.members} == {outer.parent_id}
    assert statuses(place.backend) == {"the outer": "failed", "beside": "failed", "within": "failed"}
    assert within.status_reason == "ValueError: bad"
    assert beside.status_reason == "group aborted by ValueError: bad"


def test_an_inner_groups_failure_can_be_handled_in_the_outer_block(tmp_path: Path) -> None:
    """Handled between the two, it fails the inner group alone; its parent is the outer's, which goes on."""
    error = ValueError("bad")
    with place_of("offline", tmp_path) as place:
        with place.group("the outer") as outer:
            with leaves(error), place.group("the inner") as inner:
                inner.task(name="within")
                raise error
            assert inner.parent_id == outer.parent_id
            outer.task(name="later")
    assert inner.record_path is not None
    assert outer.record_path is not None
    texts = [path.read_text() for path in (inner.record_path, outer.record_path)]
    assert [text.count('"status": "failed"') for text in texts] == [2, 0]
    assert [text.count('"status": "completed"') for text in texts] == [0, 2]
    assert len(list((tmp_path / "offline").iterdir())) == 3  # no parent of the inner group's own


def test_an_inner_group_may_be_caught_by_the_outer_tasks_block(tmp_path: Path) -> None:
    """`catch` of the outer group takes what the inner group lets through."""
    with place_of("memory", tmp_path) as place, place.group("the outer", catch=ValueError) as outer:
        with outer.task(name="around"), place.group("the inner") as inner:
            inner.task(name="within")
            raise ValueError("bad")
        outer.task(name="later")
    assert place.backend is not None
    assert statuses(place.backend) == {
        "the outer": "completed",
        "around": "failed",
        "within": "failed",
        "later": "completed",
    }


# --- threads -----------------------------------------------------------------------------------


def test_blocks_of_one_task_in_several_threads_report_together() -> None:
    """Threads may share a task: all they report arrives."""
    with recording() as backend, TaskGroup("the project", "the group", template="{metric}/{part}") as group:
        task = group.task(name="the task")

        def work(part: int) -> None:
            for iteration in range(100):
                task.report({"loss": float(iteration)}, iteration, part=part)

        threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert backend.members[0].scalars == {
        ("loss", str(part)): [(i, float(i)) for i in range(100)] for part in range(4)
    }


# --- never closed ------------------------------------------------------------------------------


@pytest.mark.quick(1)
def test_a_group_that_is_collected_stops_its_tasks(place: Place) -> None:
    """A group that nobody holds any more ends as stopped, with its data and a ResourceWarning."""

    def forget() -> None:
        group = place.group().open()
        done, task = group.tasks({"seed": [0, 1]})
        done.close()
        task.report({"loss": 1.0}, 1)

    forget()
    told = r"'the group' was never closed, 1 open task stopped; use .*group.close\(\)"
    with pytest.warns(ResourceWarning, match=told):
        gc.collect()
    assert place.ends() == {
        "run": ("stopped", "the group was never closed"),
        "seed=0": ("completed", ""),
        "seed=1": ("stopped", "the group was never closed"),
    }


def test_a_group_without_open_tasks_that_is_collected_says_so(place: Place) -> None:
    """Its tasks stay as they are; only the parent is stopped."""

    def forget() -> None:
        group = place.group().open()
        for task in group.tasks({"seed": [0, 1]}):
            task.close()

    forget()
    with pytest.warns(ResourceWarning, match="was never closed, none of its tasks was open; use"):
        gc.collect()
    assert place.ends() == {
        "run": ("stopped", "the group was never closed"),
        "seed=0": ("completed", ""),
        "seed=1": ("completed", ""),
    }


def test_a_group_that_was_closed_is_collected_in_silence(place: Place) -> None:
    def use() -> None:
        with place.group() as group:
            group.task(name="the task")

    use()
    gc.collect()  # a warning would be an error here


def test_a_group_that_is_open_at_the_interpreters_exit_stops_its_tasks(tmp_path: Path) -> None:
    """A script that ends without closing: tasks stopped, data on disk, a ResourceWarning."""
    outcome = run_script(
        """
        group = offline().open()
        task = group.task({"seed": 0})
        task.report({"loss": 1.5}, 1)
        """,
        tmp_path,
        options=["-W", "ignore::DeprecationWarning", "-W", "always::ResourceWarning"],
    )
    assert outcome.code == 0
    assert "ResourceWarning: the group 'the group' was never closed" in outcome.err
    assert "ClearML TaskGroup: the group 'the group' was never closed" in outcome.err
    assert outcome.ends() == {
        "seed=0": ("stopped", "the group was never closed"),
        "run": ("stopped", "the group was never closed"),
    }
    assert outcome.sessions["the group seed=0"].scalars == [("loss", "value", 1, 1.5)]


def test_an_open_group_with_clearmls_logger_ends_at_the_interpreters_exit(tmp_path: Path) -> None:
    """A logger of ClearML's own is flushed too, inline, where no thread can start any more."""
    outcome = run_script(
        """
        group = offline().open()
        task = group.task({"seed": 0})
        task.logger.report_scalar("title", "series", iteration=1, value=2.5)
        """,
        tmp_path,
    )
    assert outcome.code == 0
    assert [line.partition(",")[0] for line in outcome.err.splitlines()] == [
        "ClearML TaskGroup: the group 'the group' was never closed"
    ]
    assert outcome.ends()["seed=0"][0] == "stopped"
    assert outcome.sessions["the group seed=0"].scalars == [("title", "series", 1, 2.5)]


# --- forks -------------------------------------------------------------------------------------

FORKING = """
def report(task, start):
    for iteration in range(start, start + 50):
        task.report({"loss": float(iteration)}, iteration)
"""


@pytest.mark.quick(1)
@FORKS
@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "raise KeyboardInterrupt"])
def test_a_forked_child_closes_nothing_of_its_parents(tmp_path: Path, end: str) -> None:
    """However the child ends, the parent's tasks go on; no point is lost or there twice."""
    outcome = run_script(
        FORKING
        + f"""
with offline() as group:
    task, other = group.tasks({{"seed": [0, 1]}})
    report(task, 0)
    report(other, 0)
    child = os.fork()
    if not child:
        report(task, 50)
        with other:
            report(other, 50)
        {end}
    assert os.waitpid(child, 0)[0] == child
    assert task.status == other.status == "in_progress"
    report(task, 100)
    report(other, 100)
""",
        tmp_path,
        options=["-W", "ignore::DeprecationWarning"],
    )
    assert outcome.code == 0, outcome.err
    assert outcome.ends() == {
        "seed=0": ("completed", ""),
        "seed=1": ("completed", ""),
        "run": ("completed", ""),
    }
    for seed in (0, 1):
        found = [point[2:] for point in outcome.sessions[f"the group seed={seed}"].scalars]
        assert sorted(found) == [(iteration, float(iteration)) for iteration in range(150)]


@FORKS
def test_a_forked_child_of_an_open_group_says_nothing_at_its_exit(tmp_path: Path) -> None:
    """A child that ends while its parent's group is open is no group that was never closed."""
    outcome = run_script(
        """
        group = offline().open()
        task = group.task({"seed": 0})
        child = os.fork()
        if not child:
            sys.exit(0)
        os.waitpid(child, 0)
        group.close()
        """,
        tmp_path,
        options=["-W", "ignore::DeprecationWarning", "-W", "always::ResourceWarning"],
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.ends() == dict.fromkeys(("seed=0", "run"), ("completed", ""))


@FORKS
def test_processes_of_multiprocessing_report_to_their_parents_tasks(tmp_path: Path) -> None:
    """Under the start method fork, children report to the tasks that they inherit."""
    outcome = run_script(
        FORKING
        + """
import multiprocessing
with offline() as group:
    tasks = group.tasks({"seed": range(3)})
    for task in tasks:
        report(task, 0)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=report, args=(task, 50)) for task in tasks]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print([child.exitcode for child in children])
""",
        tmp_path,
        options=["-W", "ignore::DeprecationWarning"],
    )
    assert (outcome.code, outcome.out) == (0, "[0, 0, 0]\n"), outcome.err
    assert {status for status, _ in outcome.ends().values()} == {"completed"}
    for seed in range(3):
        found = [point[2] for point in outcome.sessions[f"the group seed={seed}"].scalars]
        assert sorted(found) == list(range(100))


@FORKS
def test_a_fork_in_a_busy_moment_neither_hangs_nor_doubles(tmp_path: Path) -> None:
    """Children forked while other threads report end; each point is there once."""
    outcome = run_script(
        FORKING
        + """
with offline() as group:
    tasks = group.tasks({"seed": range(4)})
    threads = [threading.Thread(target=report, args=(task, 0)) for task in tasks[:3]]
    for thread in threads:
        thread.start()
    for number in range(5):
        child = os.fork()
        if not child:
            report(tasks[3], 50 * number)
            os._exit(0)
        os.waitpid(child, 0)
    for thread in threads:
        thread.join()
""",
        tmp_path,
        options=["-W", "ignore::DeprecationWarning"],
    )
    assert outcome.code == 0, outcome.err
    for seed, count in enumerate([50, 50, 50, 250]):
        found = [point[2] for point in outcome.sessions[f"the group seed={seed}"].scalars]
        assert sorted(found) == list(range(count))


def test_the_import_leaves_out_what_a_server_needs() -> None:
    """ClearML, HTTP libraries, and the code for what most scripts do not use, are imported when needed."""
    code = "import sys; from clearml_taskgroup import TaskGroup; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"clearml", "requests", "urllib3", "ssl", "http.client", "multiprocessing", "numpy"}
    heavy |= {"concurrent.futures", "asyncio", "tempfile", "zipfile", "importlib.metadata"}
    heavy |= {"dataclasses", "decimal", "fractions", "numbers", "difflib", "html", "pickle"}
    heavy |= {"random", "shlex", "shutil", "socket", "datetime", "hashlib", "logging", "traceback"}
    own = {"_agents", "_auto_logging", "_drift", "_map", "_plots", "_reports", "_results", "integrations"}
    own |= {f"_storage.{name}" for name in ("memory", "offline", "online", "past_runs", "shared_run")}
    own |= {f"_clearml.{name}" for name in ("api", "api_errors", "documents", "failed_uploads", "queries")}
    own |= {f"_model.{name}" for name in ("past", "backoff", "value_json", "vocabulary")}
    own |= {f"_run.{name}" for name in ("sharing", "console", "recount", "resume", "worker_counts")}
    imported = set(done.stdout.split())
    assert imported & (heavy | {f"clearml_taskgroup.{name}" for name in own}) == set()


def test_an_offline_run_leaves_out_what_a_server_needs(tmp_path: Path) -> None:
    """Nor does it need ClearML, or the code for what it does not do, until its first report."""
    lines = (
        "import sys",
        "from clearml_taskgroup import TaskGroup",
        "with TaskGroup('digits', 'sweep', mode='offline', provenance=False) as group:",
        "    with group.task({'C': 1}) as task:",
        "        task.report({'loss': 0.5}, 1)",
        "        print(*sys.modules)",
    )
    environment = {**os.environ, "CLEARML_OFFLINE_MODE": "1", "CLEARML_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    heavy = {"clearml", "requests", "ssl", "socket", "shutil", "datetime", "decimal", "random", "hashlib"}
    own = {"_agents", "_drift", "_plots", "_results", "_storage.online", "_storage.past_runs", "_run.sharing"}
    imported = set(done.stdout.split())
    assert imported & (heavy | {f"clearml_taskgroup.{name}" for name in own}) == set()


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("capture", "text"), [("console", "a line"), (None, "")])
def test_the_console_of_a_task(capture: Any, text: str) -> None:
    with recording() as backend, TaskGroup("digits", "sweep", capture=capture) as group, group.task({"C": 1}):
        print("a line")
    assert backend.members[0].console.strip() == text


@pytest.mark.parametrize("mode", ["memory", "disabled", "rank", "agent", "foreign agent"])
def test_on_end_is_called_where_the_whole_run_is(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on an agent, and not on a rank other than 0."""
    ends: list[tuple[TaskGroup, int]] = []
    options: dict[str, Any] = {"on_end": lambda group, results: ends.append((group, len(results)))}
    if mode == "rank":
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
    with contextlib.ExitStack() as stack:
        if mode not in ("disabled", "rank"):
            stack.enter_context(recording())
        group = TaskGroup(
            "digits", "sweep", mode="disabled" if mode == "disabled" else None, **options
        ).open()
        group.task({"C": 1})
        run = group._opened()
        agent_task = AgentTask({"id": "1"}, begun=True)
        if mode == "agent":
            run.agent_task = agent_task
        elif mode == "foreign agent":
            run.foreign_agent_task = agent_task
        group.close()
    assert ends == ([(group, 1)] if mode in ("memory", "disabled") else [])


def test_a_group_without_on_end_ends() -> None:
    with recording() as backend, TaskGroup("digits", "sweep") as group:
        group.task({"C": 1})
    assert set(statuses(backend).values()) == {"completed"}


def test_a_task_that_exists_can_be_returned(group: TaskGroup) -> None:
    task = group.task({"C": 1})
    assert group.task({"C": 1}, if_exists="return") is task
    assert group.task({"C": 2}, if_exists="return") is not task
    with pytest.raises(DuplicateTaskError):
        group.task({"C": 1})


def test_objectives_and_waits_need_no_queue(group: TaskGroup) -> None:
    optuna = pytest.importorskip("clearml_taskgroup.integrations.optuna", exc_type=ImportError)
    for one in (group, TaskGroup("digits", "not open")):
        assert type(one.objective(float)) is optuna.Objective
    group.task({"C": 1}).mark_completed()
    assert [row.status for row in group.wait()] == ["completed"]
    assert str(group.cancel()) == "0 tasks dequeued, 0 asked to stop, 0 had ended"


def test_a_wait_is_for_submitted_tasks(backend: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []
    monkeypatch.setattr(Queueing, "wait", lambda queueing, run, timeout: waited.append(timeout))
    with TaskGroup("digits", "sweep") as group:
        assert (len(group.wait(3.0)), waited) == (0, [])
        group.sweep({"C": [1]}, queue="gpu")
        assert (len(group.wait(3.0)), waited) == (1, [3.0])
        assert group.cancel().dequeued == ("C=1",)


def test_the_public_names() -> None:
    assert dir(clearml_taskgroup) == sorted(clearml_taskgroup.__all__)
    for name in clearml_taskgroup.__all__:
        assert getattr(clearml_taskgroup, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Taskgroup'"):
        clearml_taskgroup.Taskgroup  # noqa: B018


def test_an_exception_in_a_loop_without_blocks(caplog: pytest.LogCaptureFixture) -> None:
    """It fails the iteration's task; what catch= includes has a note that says why it was not caught."""
    for catch, notes in ((ValueError, 1), (KeyError, 0)):
        error = ValueError("bad")
        with recording() as backend, contextlib.suppress(ValueError):
            with TaskGroup("digits", "sweep", catch=catch) as group:
                for _ in group.sweep({"C": [1, 2]}):
                    raise error
        (task,) = backend.members
        assert (task.status, task.reason, group.failures[0].traceback != "") == (
            "failed",
            "ValueError: bad",
            True,
        )
        assert len(getattr(error, "__notes__", [])) == notes


def test_an_interrupt_stops_what_is_open() -> None:
    with recording() as backend, contextlib.suppress(KeyboardInterrupt):
        with TaskGroup("digits", "sweep") as group:
            group.task({"C": 1})
            raise KeyboardInterrupt
    assert set(statuses(backend).values()) == {"stopped"}


def test_a_group_in_a_worker_process_that_imports_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearml_taskgroup._group.is_unguarded", lambda: True)
    with pytest.raises(WorkerStartError, match="the group 'sweep' would be opened again by a worker process"):
        TaskGroup("digits", "sweep").open()


@pytest.mark.parametrize(("in_block", "status"), [(False, "stopped"), (True, "completed")])
def test_a_close_after_a_loop_was_left(in_block: bool, status: str) -> None:
    """Without a block it is unknown whether an exception has left the loop."""
    with recording(), contextlib.ExitStack() as stack:
        group = TaskGroup("digits", "sweep")
        stack.enter_context(group) if in_block else group.open()
        task = next(iter(group.sweep({"C": [1, 2]})))
        group.close()
        group.close()
    assert task.status == status
