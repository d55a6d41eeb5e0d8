"""On an agent, which is played: the one turn of the point that its task stands for."""

from __future__ import annotations

import atexit
import contextlib
import enum
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._agents import on_agent
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.agent_task import HAS_RUN, RUNNING, AgentTask
from clearml_taskgroup._clearml.queries import identity_of, is_original
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._model.specs import RunInfo, TaskSpec
from clearml_taskgroup._storage.past_runs import all_runs, find_run
from clearml_taskgroup.errors import AgentParameterError, AgentTaskError, SubmitError
from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script
from tests.support.agents import (
    PROJECT,
    add_queues,
    agent,
    by_status,
    finish,
    group,
    points,
    script_detected,
)
from tests.support.server_view import View


class Kernel(enum.Enum):
    """A parameter that text alone does not bring back."""

    RBF = "rbf"
    POLY = "poly"


@attrs.frozen
class Schedule:
    """Another one."""

    start: float
    steps: tuple[int, ...]


SPACE: dict[str, list[Any]] = {"C": [0.5, 2.0], "seed": range(2)}  # type: ignore[dict-item]
NAMES = ["C=0.5,seed=0", "C=0.5,seed=1", "C=2,seed=0", "C=2,seed=1"]


@pytest.fixture
def view(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> View:
    """A server with a queue, and a script that could be submitted to it."""
    from clearml_taskgroup._clearml import login

    script_detected(monkeypatch)
    add_queues(loopback, "gpu")
    return View(login.connect(), PROJECT)


def script(space: Any = None, body: Callable[[GroupTask], Any] | None = None, **options: Any) -> TaskGroup:
    """A script that submits a sweep, or runs one point of it: the same in both places."""
    with group(**options) as one:
        for task in one.sweep(SPACE if space is None else space, queue="gpu"):
            with task:
                if body is not None:
                    body(task)
                task.report({"loss": 0.5}, 1, split="val")
    return one


def edit(view: View, task_id: str, **texts: str) -> None:
    """Edits parameters as the web page does, which keeps their types."""
    items = view.task(task_id)["hyperparams"]["General"]
    changed = [{**items[name], "value": text} for name, text in texts.items()]
    if changed:
        view.call("tasks.edit_hyper_params", task=task_id, hyperparams=changed)


def copy_of(view: View, task_id: str, name: str | None = None) -> str:
    """Makes a copy as the web page does."""
    name = name or f"Clone Of {view.task(task_id)['name']}"
    return str(view.call("tasks.clone", task=task_id, new_task_name=name)["id"])


def ran(view: View, task_id: str, space: Any = None, **options: Any) -> list[dict[str, Any]]:
    """Has an agent run a task by the script; gives the parameters of its turns."""
    seen: list[dict[str, Any]] = []
    with agent(view, task_id):
        script(space, lambda task: seen.append(task.params), **options)
    return seen


# --- an original ---------------------------------------------------------------------------------


def test_the_agents_task_gets_its_one_turn(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop has the turn of the agent's task, which takes what is reported; nothing else is made."""
    submitted = script()
    task_id = points(loopback)[NAMES[2]]["id"]
    before = {task_id: loopback.task(task_id) for task_id in loopback.tasks}
    seen: list[Any] = []

    def body(task: GroupTask) -> None:
        seen.append((task.id, task.key, task.index, task.attempt, task.params, str(task)))
        assert GroupTask.current() is task
        assert os.environ[RUNNING] == task_id

    with agent(view, task_id):
        one = script(None, body)
        assert RUNNING not in os.environ
        assert loopback.task(task_id)["status"] == "in_progress"
    key = identity_of(before[task_id])["key"]
    assert seen == [(task_id, key, 2, 1, {"C": 2.0, "seed": 0}, NAMES[2])]
    assert type(seen[0][4]["C"]) is float
    assert (one.run, one.run_number, one.parent_id) == (submitted.run, 1, submitted.parent_id)
    assert loopback.scalars(task_id) == {("loss", "val"): [(1, 0.5)]}
    assert set(loopback.tasks) == set(before)
    assert loopback.task(task_id)["hyperparams"] == before[task_id]["hyperparams"]
    assert [doc["status"] for name, doc in points(loopback).items() if name != NAMES[2]] == ["queued"] * 3
    assert loopback.task(str(one.parent_id)) == before[str(one.parent_id)]
    assert f"this agent's task is the configuration {NAMES[2]}\n" in caplog.text


def test_an_unedited_point_costs_few_calls(loopback: LoopbackServer, view: View) -> None:
    """On the agent there is a question who it is, and no call that creates, starts or ends a task."""
    script()
    task_id = points(loopback)[NAMES[0]]["id"]
    with agent(view, task_id):
        loopback.reset_counts()
        script()
        calls = [call.endpoint for call in loopback.calls if call.endpoint != "auth.login"]
    assert sorted(calls) == ["events.add_batch", "tasks.get_all"]


def test_results_there_are_of_the_one_point(loopback: LoopbackServer, view: View) -> None:
    """On the agent, results have the one row and say so; waiting and cancelling do nothing there."""
    script()
    with agent(view, points(loopback)[NAMES[1]]["id"]):
        with group() as one:
            for task in one.sweep(SPACE, queue="gpu"):
                task.report({"loss": 0.25})
            assert one.at_agent
            results = one.wait(timeout=60)
            assert str(one.cancel()) == "0 tasks dequeued, 0 asked to stop, 0 had ended"
        assert [(row.name, row.status, row.value("loss")) for row in results] == [
            (NAMES[1], "completed", 0.25)
        ]
        assert results.partial
        assert "partial: other agents run the other configurations" in repr(one.results())
    assert sorted(by_status(loopback).values()) == ["completed", "queued", "queued", "queued"]


def test_other_sweeps_have_no_turns(loopback: LoopbackServer, view: View) -> None:
    """Sweeps before and after, local ones and those of other groups, have no turns; nested ones do."""

    def whole_script() -> list[str]:
        turns = []
        with group(name="another group") as other:
            turns += [f"other {task}" for task in other.sweep({"x": [1]}, queue="gpu")]
            if not os.environ.get("CLEARML_TASK_ID"):
                return_to = other.sweep({"y": [1]}, queue="gpu")
                assert len(return_to) == 0
            else:
                turns += [f"other local {task}" for task in other.sweep({"y": [1]})]
        with group() as one:
            turns += [f"first {task}" for task in one.sweep({"a": [1]})]
            for task in one.sweep({"a": [2, 3]}, queue="gpu"):
                with task, group(name="within it") as inner:
                    turns += [f"{task} {fold}" for fold in inner.sweep({"fold": [0, 1]})]
            turns += [f"last {task}" for task in one.sweep({"a": [4]}, queue="gpu")]
        return turns

    assert whole_script() == ["first a=1"]
    task_id = points(loopback)["a=3"]["id"]
    before = set(loopback.tasks)
    with agent(view, task_id):
        assert whole_script() == ["a=3 fold=0", "a=3 fold=1"]
    made = [loopback.task(one) for one in set(loopback.tasks) - before]
    assert {(identity_of(doc)["name"], doc["parent"], doc["status"]) for doc in made} == {
        ("fold=0", task_id, "completed"),
        ("fold=1", task_id, "completed"),
    }


def test_a_point_that_no_sweep_has_fails_loudly(loopback: LoopbackServer, view: View) -> None:
    """Where the script no longer has the sweep, or passes it by, an error ends it."""
    with group() as one:
        one.sweep({"C": [1]}, queue="gpu")
        one.sweep({"C": [2]}, queue="gpu")
    task_id = points(loopback)["C=2"]["id"]
    with pytest.raises(
        AgentTaskError, match=r"'C=2' is a configuration of sweep 1 .* this script has only 1"
    ):
        ran(view, task_id, {"C": [1]})
    assert loopback.task(task_id)["status"] == "failed"
    with (
        pytest.raises(AgentTaskError, match="never looped over it"),
        agent(view, points(loopback)["C=1"]["id"]),
    ):
        with group() as one:
            one.sweep({"C": [1]}, queue="gpu")


def test_tasks_outside_of_the_sweep_are_refused_there(loopback: LoopbackServer, view: View) -> None:
    """`group.task()` in the script that an agent runs is an error there, too."""
    script()
    with pytest.raises(SubmitError, match=r"group.task\(\)"), agent(view, points(loopback)[NAMES[0]]["id"]):
        with group() as one:
            one.task({"C": 1})


def test_a_sweep_that_is_skipped_there_is_missed(loopback: LoopbackServer, view: View) -> None:
    """Where a condition leaves a sweep out on the agent, the next one does not run its point."""
    seen = []
    for here in (True, False):
        with contextlib.ExitStack() as stack:
            if not here:
                stack.enter_context(pytest.raises(AgentTaskError, match="never looped over it"))
                stack.enter_context(agent(view, points(loopback)["warm=1"]["id"]))
            with group() as one:
                if here:
                    one.sweep({"warm": [1]}, queue="gpu")
                seen += [task.params for task in one.sweep({"C": [1, 2]}, queue="gpu")]
    assert seen == []


def test_a_second_group_of_the_same_name_has_no_turn_there(loopback: LoopbackServer, view: View) -> None:
    """A point is run once, by the group that submitted it, and not by one that is opened after that."""
    script()
    seen = []
    with agent(view, points(loopback)[NAMES[0]]["id"]):
        script(None, lambda task: seen.append(str(task)))
        with group() as again:
            seen += [f"again {task}" for task in again.sweep(SPACE)]
            with pytest.raises(SubmitError, match=r"group.task\(\)"):
                again.task({"C": 1})
    assert seen == [NAMES[0]]


def test_other_groups_run_nothing_there(loopback: LoopbackServer, view: View) -> None:
    """Where the agent's task is another group's point, `map` has no points, and `task` is refused."""
    script()
    with agent(view, points(loopback)[NAMES[0]]["id"]):
        with group(name="another") as other:
            assert other.map(str, {"C": [1]}) == []
            for call in (lambda: other.task({"C": 1}), lambda: other.objective(float)):
                with pytest.raises(SubmitError, match=r"'gpu'.*beside it"):
                    call()
        script()
    assert len(points(loopback)) == 4


def test_an_agents_task_that_is_no_point_stays_the_parent(loopback: LoopbackServer, view: View) -> None:
    project = view.call("projects.create", name="elsewhere", description="")["id"]
    task_id = view.call("tasks.create", name="the controller", type="training", project=project)["id"]
    with agent(view, task_id):
        one = script()
    assert one.parent_id == task_id
    assert {doc["parent"] for doc in points(loopback).values()} == {task_id}
    assert set(by_status(loopback).values()) == {"queued"}


def test_resume_is_nothing_to_an_agent(loopback: LoopbackServer, view: View) -> None:
    """A script with `resume=True` runs its point on the agent, whatever became of the others."""
    script(resume=True)
    ids = {name: doc["id"] for name, doc in points(loopback).items()}
    finish(view, ids[NAMES[0]])
    assert ran(view, ids[NAMES[1]], resume=True) == [{"C": 0.5, "seed": 1}]
    assert by_status(loopback) == dict(
        zip(NAMES, ["completed", "completed", "queued", "queued"], strict=True)
    )


def test_names_are_filled_in_from_the_task(loopback: LoopbackServer, view: View) -> None:
    """A template's `{task}`, `{key}`, `{index}` and `{task_id}` are those of the agent's task."""
    template = "{metric}/{task} {key} {index} {task_id} {split}"
    script(template=template)
    doc = points(loopback)[NAMES[3]]
    ran(view, doc["id"], template=template)
    series = f"{NAMES[3]} {identity_of(doc)['key']} 3 {doc['id']} val"
    assert list(loopback.scalars(doc["id"])) == [("loss", series)]


def test_the_console_is_the_agents_to_send(
    loopback: LoopbackServer, view: View, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `capture="console"` nothing is sent twice: the agent sends all that the script prints."""
    script(capture="console")
    task_id = points(loopback)[NAMES[0]]["id"]
    with agent(view, task_id):
        script(None, lambda task: print("a line"), capture="console")
    assert "a line" in capsys.readouterr().out
    assert view.console(task_id) == ""


def test_other_ranks_have_the_same_turn(
    loopback: LoopbackServer, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an agent, each rank of a distributed job runs the point; only rank 0 reports."""
    script()
    task_id = points(loopback)[NAMES[1]]["id"]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen = []
    with agent(view, task_id), TaskGroup(PROJECT, "the group") as one:
        for task in one.sweep(SPACE, queue="gpu"):
            with task:
                seen.append(task.params)
                task.report({"loss": 0.5})
    assert (one.mode, seen) == ("disabled", [{"C": 0.5, "seed": 1}])
    assert loopback.scalars(task_id) == {}


def test_the_agents_own_record_is_not_the_runs(loopback: LoopbackServer, view: View) -> None:
    """On one machine, the run's record stays the one that is resumed and uploaded."""
    one = script()
    ran(view, points(loopback)[NAMES[0]]["id"])
    assert sorted(past.mode for past in all_runs(cache_folder() / "taskgroup")) == ["agent", "online"]
    assert not any(past.is_pending for past in all_runs(cache_folder() / "taskgroup"))
    assert find_run(cache_folder() / "taskgroup", one.run).mode == "online"
    assert script(resume=True).run == one.run


# --- how it ends ---------------------------------------------------------------------------------


def test_an_exception_leaves_the_script(loopback: LoopbackServer, view: View) -> None:
    """What the body raises ends the script, with the points delivered: the agent fails its task."""
    script()
    task_id = points(loopback)[NAMES[0]]["id"]

    def body(task: GroupTask) -> None:
        task.report({"loss": 9.0}, 0, split="val")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), agent(view, task_id):
        script(None, body)
    assert loopback.scalars(task_id) == {("loss", "val"): [(0, 9.0)]}
    ended = [call.body for call in loopback.calls if call.endpoint == "tasks.failed"]
    assert [(body["task"], body["status_reason"]) for body in ended] == [
        (task_id, "worker execution exit code 1")
    ]


def test_catch_does_not_act_there(loopback: LoopbackServer, view: View) -> None:
    """An exception of `catch` leaves the script as well, or the agent would take the task for completed."""
    script(catch=RuntimeError)
    task_id = points(loopback)[NAMES[0]]["id"]

    def body(task: GroupTask) -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError) as caught, agent(view, task_id):
        script(None, body, catch=RuntimeError)
    assert "catch=… lets a loop go on" in caught.value.__notes__[0]
    assert loopback.task(task_id)["status"] == "failed"


@pytest.mark.parametrize("mark", ["mark_failed", "mark_stopped"])
def test_a_mark_leaves_the_script_as_an_error(loopback: LoopbackServer, view: View, mark: str) -> None:
    """`task.mark_failed()` cannot tell the server before the agent does: it ends the script with an error."""
    script()
    task_id = points(loopback)[NAMES[0]]["id"]
    with pytest.raises(AgentTaskError, match=f"was marked as {mark[5:]}: diverged"), agent(view, task_id):
        with group() as one:
            for task in one.sweep(SPACE, queue="gpu"):
                getattr(task, mark)("diverged")
    assert loopback.task(task_id)["status"] == "failed"
    assert loopback.task(task_id)["status_reason"] == "worker execution exit code 1"


def test_a_loop_that_is_left_ends_its_turn(loopback: LoopbackServer, view: View) -> None:
    """After a `break` the group's end delivers, and nothing is marked."""
    script()
    task_id = points(loopback)[NAMES[0]]["id"]
    with agent(view, task_id):
        with group() as one:
            for task in one.sweep(SPACE, queue="gpu"):
                task.report({"loss": 1.0}, 0)
                break
        assert loopback.task(task_id)["status"] == "in_progress"
        assert RUNNING not in os.environ
    assert loopback.scalars(task_id) == {("loss", "value"): [(0, 1.0)]}


BESIDE = """
    import warnings
    from clearml import Task
    from clearml_taskgroup import TaskGroup, TaskGroupWarning

    warnings.simplefilter("error", TaskGroupWarning)
    main = Task.init("another", "name", auto_resource_monitoring=False)
    with TaskGroup("the project", "the group") as group:
        for task in group.sweep({"C": [0.5, 2.0], "seed": range(2)}, queue="gpu"):
            with task:
                assert task.clearml_task is main
                task.report({"loss": task.params["C"]}, 1, split="val")
                task.logger.report_single_value("by clearml", 3.0)
    main.connect({"depth": 2}, name="model")
    main.close()
"""


@pytest.mark.slow
def test_beside_task_init_it_is_the_agents_task_all_the_same(
    loopback: LoopbackServer, view: View, tmp_path: Path
) -> None:
    """`Task.init` gives the agent's task: the point reports into it, and its identity stays as it is set."""
    script(template="{metric}/{split}")  # as the script was when it submitted
    task_id = points(loopback)[NAMES[0]]["id"]
    view.call("tasks.dequeue", task=task_id)
    edit(view, task_id, C="7.5")
    before = set(loopback.tasks)
    env = {
        "CLEARML_TASK_ID": task_id,
        "CLEARML_LOG_TASK_TO_BACKEND": "0",
    }
    view.call("tasks.started", task=task_id)
    run_script(BESIDE, loopback, tmp_path / "home", extra=env)
    task = loopback.task(task_id)
    assert identity_of(task)["name"] == "C=7.5,seed=0"
    assert identity_of(task)["template"] == "{metric}/{split=value}"
    assert view.parameters(task_id) == {"C": "7.5", "seed": "0"}
    assert view.parameters(task_id, "model") == {"depth": "2"}
    assert loopback.scalars(task_id)["loss", "val"] == [(1, 7.5)]
    assert loopback.scalars(task_id)["Summary", "by clearml"]
    assert set(loopback.tasks) == before


@pytest.mark.slow
def test_a_script_without_the_point_ends_with_an_error(
    loopback: LoopbackServer, view: View, tmp_path: Path
) -> None:
    """By its exit code the agent knows that the script did not do what the task stands for."""
    script()
    source = """
        from clearml_taskgroup import TaskGroup
        with TaskGroup("the project", "the group") as group:
            pass
        print("not reached")
    """
    env = {"CLEARML_TASK_ID": points(loopback)[NAMES[0]]["id"]}
    done = run_script(source, loopback, tmp_path / "home", extra=env, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "AgentTaskError: the agent's task 'C=0.5,seed=0' is a configuration of sweep 0" in done.stderr


OTHER_GROUPS = """
    from clearml_taskgroup import TaskGroup
    for name in ("warm up", "renamed"):
        with TaskGroup("the project", name) as group:
            for task in group.sweep({"C": [0.5, 2.0], "seed": [0, 1]}, queue="gpu"):
                print("a body runs")
    print("the end")
"""


@pytest.mark.quick(1)
@pytest.mark.parametrize("init", [False, True], ids=["alone", "Task.init"])
def test_a_script_that_opens_other_groups_only_fails(
    loopback: LoopbackServer, view: View, tmp_path: Path, init: bool
) -> None:
    """A script whose group was renamed fails at its end, and names the group that was expected."""
    script()
    task_id = points(loopback)[NAMES[0]]["id"]
    view.call("tasks.dequeue", task=task_id)
    view.call("tasks.started", task=task_id)
    env = {"CLEARML_TASK_ID": task_id, "CLEARML_LOG_TASK_TO_BACKEND": "0"}
    names = ["warm up", "renamed"] if init else ["renamed"]
    source = OTHER_GROUPS.replace('("warm up", "renamed")', repr(names))
    if init:
        source = f"{source}    Task.current_task().get_logger().report_single_value('kept', 1.0)\n"
        source = source.replace(
            "import TaskGroup", "import TaskGroup\n    from clearml import Task; Task.init()", 1
        )
    done = run_script(source, loopback, tmp_path / "home", extra=env, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "the end")
    assert "a body runs" not in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if "the agent's task 'C=0.5,seed=0'" in line]
    assert "is a task of the group 'the group' (id " in line
    assert f"opened only the project/{names[0]} (id " in line
    assert all(f"the project/{name} (id " in line for name in names)
    if init:
        assert loopback.scalars(task_id)["Summary", "kept"]


@pytest.mark.slow
def test_a_script_that_opens_its_group_last_is_fine(
    loopback: LoopbackServer, view: View, tmp_path: Path
) -> None:
    """Other groups before the agent's own are nothing that fails."""
    script()
    task_id = points(loopback)[NAMES[0]]["id"]
    env = {"CLEARML_TASK_ID": task_id}
    done = run_script(OTHER_GROUPS.replace("renamed", "the group"), loopback, tmp_path / "home", extra=env)
    assert done.stdout.count("a body runs") == 1


# --- tasks that no queue had ---------------------------------------------------------------------


def local_script(
    seen: list[Any], before: Callable[[TaskGroup], Any] | None = None, **options: Any
) -> TaskGroup:
    """A script without queues: two sweeps with the same parameters, and a map."""
    with group(**options) as one:
        if before is not None:
            before(one)
        for task in one.sweep({"C": [1, 2], "stage": ["early"]}):
            with task:
                seen.append(("early", task.params["C"], task.params["stage"]))
                task.report({"loss": 1.0}, 0)
        for task in one.sweep({"C": [1, 2], "stage": ["late"]}):
            with task:
                seen.append(("late", task.params["C"], task.params["stage"]))
                task.report({"loss": 2.0}, 0)
        one.map(lambda task: seen.append(("map", task.params["depth"])), {"depth": [3, 4]})
    return one


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("name", "edits", "expected"),
    [
        ("C=1", {}, ("early", 1, "early")),  # of the first sweep, in which only C varies
        ("C=2,stage=late", {}, ("late", 2, "late")),
        ("C=2,stage=late", {"C": "7"}, ("late", 7, "late")),
        ("C=2,stage=late", {"stage": "later"}, ("late", 2, "later")),
        ("depth=4", {}, ("map", 4)),
        ("depth=4", {"depth": "9"}, ("map", 9)),
    ],
)
def test_a_copy_of_an_ordinary_task_is_run_alone(
    loopback: LoopbackServer, view: View, name: str, edits: dict[str, str], expected: tuple[Any, ...]
) -> None:
    """An agent that runs a copy of a sweep's or map's task runs that configuration, with its edits."""
    first = local_script([])
    before = loopback.tasks
    copy = copy_of(view, points(loopback)[name]["id"])
    edit(view, copy, **edits)
    seen: list[Any] = []
    with agent(view, copy):
        again = local_script(seen)
    assert seen == [expected]
    assert (again.run, again.at_agent) == (first.run, True)
    assert {task_id: doc for task_id, doc in loopback.tasks.items() if task_id != copy} == before
    doc = loopback.task(copy)
    assert doc["status"] == "completed"
    assert is_original(doc)
    assert identity_of(doc)["attempt"] == ("1" if edits else "2")
    loaded = TaskGroup.load(PROJECT, first.name)
    assert copy in [row.id for row in loaded]


def test_an_ordinary_task_that_is_enqueued_again_is_run_alone(loopback: LoopbackServer, view: View) -> None:
    """Not only copies: a task that was reset, or failed, and enqueued in the web page."""
    local_script([])
    task_id = points(loopback)["C=1,stage=late"]["id"]
    view.call("tasks.reset", task=task_id, force=True)
    seen: list[Any] = []
    with agent(view, task_id):
        local_script(seen)
    assert seen == [("late", 1, "late")]
    assert loopback.scalars(task_id) == {("loss", "value"): [(0, 2.0)]}


def test_a_copy_of_an_older_version_is_found_by_its_key(loopback: LoopbackServer, view: View) -> None:
    """A task that does not say which sweep it comes from runs where the sweep has its key."""
    local_script([])
    copy = copy_of(view, points(loopback)["C=2,stage=late"]["id"])
    with loopback.state.lock:
        own = loopback.state.tasks[copy]["configuration"]["TaskGroup"]
        own["value"] = json.dumps({**json.loads(own["value"]), "sweep": ""})
    edit(view, copy, C="5")
    seen: list[Any] = []
    with agent(view, copy):
        local_script(seen)
    assert seen == [("late", 5, "late")]


def test_a_copy_that_no_sweep_has_fails_before_a_task_is_created(
    loopback: LoopbackServer, view: View
) -> None:
    """A copy of a task of `group.task()` or `group.tasks()`, or one that the script no longer has."""
    with group() as one:
        one.task({"baseline": True})
        one.tasks({"C": [1, 2]})
    before = set(loopback.tasks)
    for name in ("baseline=True", "C=1"):
        copy = copy_of(view, points(loopback)[name]["id"])
        before.add(copy)
        seen: list[Any] = []
        with (
            pytest.raises(AgentTaskError, match=rf"'{name}' is a task of the group .*no sweep and no map"),
            agent(view, copy),
        ):
            local_script(seen)
        calls: list[Callable[[TaskGroup], Any]] = [
            lambda one: one.task({"baseline": True}),
            lambda one: one.tasks({"C": [1, 2]}),
            lambda one: one.objective(float),
        ]
        for call in calls:
            with pytest.raises(AgentTaskError, match=r"calls group\.\w+\(\)"), agent(view, copy):
                local_script(seen, call)
        assert seen == []
    assert set(loopback.tasks) == before


def test_a_copy_that_fails_in_a_map_fails(loopback: LoopbackServer, view: View) -> None:
    """A map keeps its function's exception: on an agent the script ends with an error all the same."""

    def fn(task: GroupTask) -> None:
        if task.group.at_agent:
            raise RuntimeError("no luck")

    with group() as one:
        one.map(fn, {"C": [1, 2]})
    copy = copy_of(view, points(loopback)["C=1"]["id"])
    with (
        pytest.raises(AgentTaskError, match="was marked as failed: RuntimeError: no luck"),
        agent(view, copy),
    ):
        with group() as one:
            one.map(fn, {"C": [1, 2]})
    assert loopback.task(copy)["status"] == "failed"


def test_a_copy_is_called_once(loopback: LoopbackServer, view: View) -> None:
    """An agent's task is one attempt: neither retries nor devices have an effect there."""
    calls: list[tuple[int, str | None]] = []

    def fn(task: GroupTask) -> None:
        calls.append((task.attempt, task.device))
        if len(calls) <= 2:
            raise RuntimeError("no luck")

    with group() as one:
        one.map(fn, {"C": [1]}, retries=1)
    assert [attempt for attempt, _ in calls] == [1, 2]
    copy = copy_of(view, points(loopback)["C=1"]["id"])
    with agent(view, copy), group() as one:
        (mapped,) = one.map(fn, {"C": [1]}, retries=1)
    del calls[1:]
    copy = copy_of(view, copy)
    with pytest.raises(AgentTaskError, match="no luck"), agent(view, copy), group() as one:
        (mapped,) = one.map(fn, {"C": [1]}, retries=1)
    assert (len(calls), mapped.task.id, str(mapped.error)) == (2, copy, "no luck")


# --- parameters as they stand --------------------------------------------------------------------


def test_unedited_parameters_are_what_they_were(loopback: LoopbackServer, view: View) -> None:
    """Values come back as they were in the script: an enum, an object, a tuple, None, nested names."""
    space: dict[str, Any] = {
        "kernel": [Kernel.RBF, Kernel.POLY],
        "schedule": [Schedule(0.1, (1, 2))],
        "model": [{"depth": 2, "dropout": 0.0}],
        "layers": [(16, 8)],
        "early": [None],
        "flag": [True],
        "name": ["1"],
    }
    items = [dict(zip(space, values, strict=True)) for values in [[column[0] for column in space.values()]]]
    script(items)
    (doc,) = points(loopback).values()
    (params,) = ran(view, doc["id"], items)
    assert params == {
        "kernel": Kernel.RBF,
        "schedule": Schedule(0.1, (1, 2)),
        "model/depth": 2,
        "model/dropout": 0.0,
        "layers": (16, 8),
        "early": None,
        "flag": True,
        "name": "1",
    }
    assert (params["flag"] is True, type(params["model/dropout"])) == (True, float)


def test_parameters_come_from_the_task_not_the_space(loopback: LoopbackServer, view: View) -> None:
    """A space that is drawn anew at each start changes nothing: the task's parameters are run."""
    script([{"C": 0.123, "kernel": Kernel.RBF, "layers": (1, 2)}])
    (doc,) = points(loopback).values()
    assert ran(view, doc["id"], [{"C": 0.9, "kernel": Kernel.POLY, "layers": (3,)}]) == [
        {"C": 0.123, "kernel": Kernel.RBF, "layers": (1, 2)}
    ]


def test_a_draft_that_was_edited(
    loopback: LoopbackServer, view: View, caplog: pytest.LogCaptureFixture
) -> None:
    """A point edited before its agent takes it is another one: key, name and identity follow."""
    submitted = script()
    doc = points(loopback)[NAMES[3]]
    view.call("tasks.dequeue", task=doc["id"])
    edit(view, doc["id"], C="7.5")
    assert ran(view, doc["id"]) == [{"C": 7.5, "seed": 1}]
    identity = identity_of(loopback.task(doc["id"]))
    assert (identity["name"], identity["index"], identity["attempt"]) == ("C=7.5,seed=1", "3", "1")
    assert json.loads(identity["params"]) == {"C": 7.5, "seed": 1}
    assert identity["key"] != identity_of(doc)["key"]
    assert loopback.task(doc["id"])["name"] == "the group C=7.5,seed=1"
    assert is_original(loopback.task(doc["id"]))
    assert "the configuration C=7.5,seed=1, edited from C=2,seed=1" in caplog.text
    for name in NAMES[:3]:
        finish(view, points(loopback)[name]["id"])
    results = submitted.wait(timeout=20)
    assert [(row.name, row.params) for row in results][3] == ("C=7.5,seed=1", {"C": 7.5, "seed": 1})


def test_a_copy_that_was_edited(loopback: LoopbackServer, view: View) -> None:
    """A copy made and edited in the web page is a new point of its run, once an agent runs it."""
    script()
    doc = points(loopback)[NAMES[0]]
    ran(view, doc["id"])
    copy = copy_of(view, doc["id"])
    edit(view, copy, seed="11")
    assert not is_original(loopback.task(copy))
    assert ran(view, copy) == [{"C": 0.5, "seed": 11}]
    after = loopback.task(copy)
    identity = identity_of(after)
    assert is_original(after)
    assert (identity["name"], identity["index"], identity["attempt"]) == ("C=0.5,seed=11", "4", "1")
    assert (identity["run"], after["parent"]) == (identity_of(doc)["run"], doc["parent"])
    assert after["name"] == "the group C=0.5,seed=11"
    assert loopback.scalars(copy) == {("loss", "val"): [(1, 0.5)]}
    assert identity_of(loopback.task(doc["id"])) == identity_of(doc)


def test_a_task_that_is_queued_still(
    loopback: LoopbackServer, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its status is, the agent's task gets the identity of what it runs; the rest of it stays."""
    script()
    copy = copy_of(view, points(loopback)[NAMES[0]]["id"])
    edit(view, copy, seed="11")
    view.call("tasks.edit_runtime", task=copy, add_or_update={"by": "hand"})
    view.call("tasks.enqueue", task=copy)
    monkeypatch.setenv("CLEARML_TASK_ID", copy)
    script()
    after = loopback.task(copy)
    assert (identity_of(after)["name"], after["status"]) == ("C=0.5,seed=11", "queued")
    assert view.parameters(copy) == {"C": "0.5", "seed": "11"}
    assert is_original(after)
    assert after["runtime"]["by"] == "hand"


@pytest.mark.parametrize("edited", [False, True], ids=["as it was", "into another point"])
def test_a_copy_is_an_attempt_of_its_own(loopback: LoopbackServer, view: View, edited: bool) -> None:
    """A copy with the parameters of a point that there is becomes its next attempt, by its own id."""
    script()
    copy = copy_of(view, points(loopback)[NAMES[0]]["id"], "a name given by hand")
    if edited:
        edit(view, copy, C="2.0", seed="1")
    ran(view, copy)
    identity = identity_of(loopback.task(copy))
    name, index = (NAMES[3], "3") if edited else (NAMES[0], "0")
    assert (identity["name"], identity["index"], identity["attempt"]) == (name, index, "2")
    assert loopback.task(copy)["name"] == "a name given by hand"


def test_resume_knows_a_copy_by_what_it_ran(loopback: LoopbackServer, view: View) -> None:
    """A copy that completed stands for its own parameters, never for those that it was copied from."""
    script()
    original = points(loopback)[NAMES[0]]["id"]
    copy = copy_of(view, original)
    edit(view, copy, seed="5")
    ran(view, copy)
    finish(view, original, "failed", "bad")
    before = set(loopback.tasks)
    again = script({"C": [0.5], "seed": [0, 5]}, resume=True)
    (new,) = set(loopback.tasks) - before
    assert (identity_of(loopback.task(new))["name"], identity_of(loopback.task(new))["attempt"]) == (
        NAMES[0],
        "2",
    )
    done = again.get(seed=5)
    assert (done.done, done.id) == (True, copy)


def test_a_task_that_was_reset_is_itself_again(loopback: LoopbackServer, view: View) -> None:
    """Reset in the web page and enqueued, a point is the attempt that it was, an original again."""
    script()
    doc = points(loopback)[NAMES[0]]
    ran(view, doc["id"])
    view.call("tasks.reset", task=doc["id"])
    assert not is_original(loopback.task(doc["id"]))
    ran(view, doc["id"])
    assert is_original(loopback.task(doc["id"]))
    assert identity_of(loopback.task(doc["id"])) == identity_of(doc)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("C", "fast", "'C' of the agent's task is 'fast', which cannot be read as a float"),
        ("seed", "1.5", "'seed' of the agent's task is '1.5', which cannot be read as an int"),
        ("C", "nan", "'C' of the agent's task is 'nan'"),
    ],
)
def test_an_edit_that_says_nothing_fails_loudly(
    loopback: LoopbackServer, view: View, name: str, text: str, problem: str
) -> None:
    """Text that is nothing of the parameter's type is an error with name, text and type."""
    script()
    task_id = points(loopback)[NAMES[0]]["id"]
    view.call("tasks.dequeue", task=task_id)
    edit(view, task_id, **{name: text})
    with pytest.raises(AgentParameterError, match=problem):
        ran(view, task_id)
    assert loopback.scalars(task_id) == {}


def test_what_a_body_has_set_is_no_part_of_the_point(loopback: LoopbackServer, view: View) -> None:
    """Parameters that a body added are no parameters of the point when it is run again."""
    script()
    doc = points(loopback)[NAMES[0]]
    with agent(view, doc["id"]):
        script(None, lambda task: task.set_parameters({"weights": 100}))
    view.call("tasks.reset", task=doc["id"])
    assert view.parameters(doc["id"]) == {"C": "0.5", "seed": "0", "weights": "100"}
    assert ran(view, doc["id"]) == [{"C": 0.5, "seed": 0}]


# --- step by step ------------------------------------------------------------------------------


def test_a_template_that_has_changed_is_stored(loopback: LoopbackServer, view: View) -> None:
    script(template="{metric}/{split}")
    task_id = points(loopback)[NAMES[0]]["id"]
    ran(view, task_id, template="{metric}/{split=value}")
    assert identity_of(loopback.task(task_id))["template"] == "{metric}/{split=value}"


def test_clearmls_own_object_is_read_again(
    loopback: LoopbackServer, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its task was changed on the server; another main task is left alone."""
    script()
    read: list[str] = []
    first, second = (points(loopback)[name]["id"] for name in NAMES[:2])
    for task_id in (first, second):
        main = SimpleNamespace(id=first, reload=lambda: read.append(first))
        monkeypatch.setattr(sdk, "main_task", lambda main=main: main)
        info = RunInfo(*("", "", "", "{metric}"), (), run="r")
        document = view.task(task_id)
        spec = TaskSpec("key", "C=7", "C=7", 0, 1, {"C": 7})
        specs: Any = SimpleNamespace(task_name_of=lambda *_: "")
        on_agent.claim(AgentTask(document), spec, info, specs, view.transport)
    assert read == [first]


class Exited(BaseException):
    """Stands for the end of the interpreter."""


@pytest.mark.parametrize(
    ("case", "exits"),
    [
        ("", True),
        ("other process", False),
        ("other task", False),
        ("failed", False),
        ("has run", False),
        ("no streams", True),
    ],
)
def test_the_end_of_a_script_that_did_not_run_its_task(
    case: str, exits: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It exits with 1, unless it fails anyway, or has run the task, or is a forked child."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Exited

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: None)
    monkeypatch.setattr(on_agent, "_other_groups", {"1": ["a/b", "a/c", "a/b"]})
    monkeypatch.setenv("CLEARML_TASK_ID", "2" if case == "other task" else "1")
    monkeypatch.setattr(sdk, "agent_task_id", lambda: os.environ["CLEARML_TASK_ID"])
    if case == "failed":
        monkeypatch.setattr(sys, "last_value", ValueError("bad"), raising=False)
    if case == "has run":
        monkeypatch.setenv(HAS_RUN, "1")
    if case == "no streams":
        monkeypatch.setattr(sys, "stdout", None)
        monkeypatch.setattr(sys, "stderr", None)
    document = {"id": "1", "hyperparams": {"TaskGroup": {"name": {"value": "C=1"}, "group": {"value": "g"}}}}
    pid = os.getpid() + (case == "other process")
    with contextlib.suppress(Exited):
        on_agent._fail_if_not_run(AgentTask(document), pid)
    assert codes == ([1] if exits else [])
    assert ("opened only a/b, a/c" in caplog.text) is exits


def test_the_script_is_asked_once_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *arguments: registered.append(arguments))
    monkeypatch.setattr(on_agent, "_other_groups", {})
    task = AgentTask({"id": "1"})
    for opened in ("a/b", "a/c"):
        on_agent.expect(task, opened)
    assert registered == [(on_agent._fail_if_not_run, task, os.getpid())]
    assert on_agent._other_groups == {"1": ["a/b", "a/c"]}
