"""Whether a script's sweep can be submitted, and what a submitted task takes from earlier ones."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._agents import submit_checks
from clearml_taskgroup._agents.submit_checks import adopted, check, is_idle_rank, like_main, refuse_beside
from clearml_taskgroup._clearml.agent_task import AgentTask
from clearml_taskgroup._model.specs import TaskSpec
from clearml_taskgroup.errors import AgentTaskError, SubmitError
from tests.support.agents import SCRIPT

MODULE = {"entry_point": "-m train --fast", "repository": "https://host/repository"}
NO_GROUP: Any = ()


def run(
    script: dict[str, Any] | None = SCRIPT,
    *,
    mode: str = "online",
    main_task: Any = None,
    sharing: Any = None,
    provenance: bool = True,
) -> Any:
    """A run of a script that could be submitted, as far as the checks look at it."""
    return SimpleNamespace(
        backend=SimpleNamespace(mode=mode),
        info=SimpleNamespace(script=script),
        main_task=main_task,
        options=SimpleNamespace(provenance=provenance),
        sharing=sharing,
    )


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' process was started like a script without arguments, not in a notebook."""
    monkeypatch.setattr("sys.argv", ["script.py"])
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


# --- check ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        SCRIPT,
        MODULE,
        {"entry_point": "a.py", "repository": "https://host/repository", "version_num": "0" * 40},
        {"entry_point": "a.py", "repository": "https://host/repository"},
    ],
)
def test_scripts_that_an_agent_can_start(script: dict[str, Any]) -> None:
    """All of the code is in the diff, or the rest is in a repository."""
    check(NO_GROUP, run(script), "gpu")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (None, "no script was detected"),
        ({}, "no script was detected"),
        ({"entry_point": "a.py"}, "no script was detected"),
        ({"repository": "https://host/repository"}, "no script was detected"),
        ({"diff": "print()"}, "no script was detected"),
        ({**SCRIPT, "version_num": "0" * 40}, "has no remote"),
    ],
)
def test_scripts_that_an_agent_cannot_start(script: dict[str, Any] | None, problem: str) -> None:
    with pytest.raises(SubmitError, match=problem):
        check(NO_GROUP, run(script), "gpu")


def test_a_notebook_needs_task_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """ClearML's own task has the notebook's code."""
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with pytest.raises(SubmitError, match="or a notebook"):
        check(NO_GROUP, run(), "gpu")
    check(NO_GROUP, run(main_task=object()), "gpu")


def test_arguments_need_task_init_or_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["script.py", "--fast"])
    with pytest.raises(SubmitError, match="the arguments '--fast'"):
        check(NO_GROUP, run(), "gpu")
    check(NO_GROUP, run(main_task=object()), "gpu")
    check(NO_GROUP, run(MODULE), "gpu")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mode": "offline"}, "the group is offline"),
        ({"mode": "disabled"}, "the group is disabled"),
        ({"provenance": False}, "provenance=False"),
        ({"sharing": object()}, "shared by several processes"),
        ({"sharing": object(), "mode": "memory"}, "shared by several processes"),
    ],
)
def test_runs_that_cannot_be_submitted(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SubmitError, match=problem):
        check(NO_GROUP, run(**options), "gpu")


def test_in_memory_no_script_is_needed() -> None:
    check(NO_GROUP, run(None, mode="memory", provenance=False), "gpu")


def test_earlier_tasks_of_the_group(group: TaskGroup) -> None:
    """Those of sweeps are skipped on an agent, and submitted ones are not run by it."""
    memory = run(mode="memory")
    for task in group.sweep({"C": [1]}):
        with pytest.raises(SubmitError, match="within the block of another task"):
            check(group, memory, "gpu")
        task.mark_completed()
    group.sweep({"D": [1]}, queue="gpu")
    check(group, memory, "gpu")


def test_a_task_outside_of_sweeps_is_run_by_each_agent(group: TaskGroup) -> None:
    """Unless an earlier run has completed it."""
    task = group.task({"C": 1})
    with pytest.raises(SubmitError, match="whose body each agent would run again"):
        check(group, run(mode="memory"), "gpu")
    task._state.done = True
    check(group, run(mode="memory"), "gpu")


# --- what else the script does ------------------------------------------------------------------


def agent_task(queue: str) -> AgentTask:
    entries = {"queue": queue, "name": "C=1", "group_name": "sweep"}
    section = {name: {"value": value} for name, value in entries.items()}
    return AgentTask({"id": "1", "hyperparams": {"TaskGroup": section}})


def with_queues(*queues: str) -> Any:
    """A group that has submitted sweeps to queues."""
    return SimpleNamespace(
        _queueing=SimpleNamespace(submissions=[SimpleNamespace(queue=one) for one in queues])
    )


def on_agent(task: AgentTask | None = None, foreign: AgentTask | None = None) -> Any:
    return SimpleNamespace(agent_task=task, foreign_agent_task=foreign)


@pytest.mark.parametrize("group", [SimpleNamespace(_queueing=None), with_queues()])
def test_other_tasks_without_a_queue(group: Any) -> None:
    refuse_beside(group, on_agent(), "group.task()")


@pytest.mark.parametrize(
    ("group", "agents", "queue"),
    [
        (with_queues("cpu", "gpu"), on_agent(), "cpu"),
        (SimpleNamespace(_queueing=None), on_agent(agent_task("gpu")), "gpu"),
        (SimpleNamespace(_queueing=None), on_agent(foreign=agent_task("gpu")), "gpu"),
        (with_queues("cpu"), on_agent(agent_task("gpu")), "gpu"),
    ],
)
def test_other_tasks_beside_a_queue(group: Any, agents: Any, queue: str) -> None:
    """Here after a sweep was submitted, and on its agents."""
    with pytest.raises(SubmitError, match=rf"'{queue}'.*group.task\(\) was called beside it"):
        refuse_beside(group, agents, "group.task()")


@pytest.mark.parametrize("agents", [on_agent(agent_task("")), on_agent(foreign=agent_task(""))])
def test_other_tasks_beside_a_task_that_a_person_enqueued(agents: Any) -> None:
    with pytest.raises(AgentTaskError, match=r"'C=1' is a task of the group 'sweep'.*calls group.task\(\)"):
        refuse_beside(with_queues("cpu"), agents, "group.task()")


@pytest.mark.parametrize(
    ("mode", "rank", "is_idle"),
    [("disabled", "1", True), ("disabled", "0", False), ("online", "1", False), ("disabled", None, False)],
)
def test_idle_ranks(mode: str, rank: str | None, is_idle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_idle_rank(run(mode=mode)) is is_idle


# --- earlier attempts ----------------------------------------------------------------------------

SPEC = TaskSpec("k", "C=1", "sweep C=1", 0, 1, {"C": 1}, queue="gpu", sweep="0")


class Changes(list[tuple[Any, ...]]):
    """What was changed on the server."""


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> Changes:
    found = Changes()
    for name in ("edit_identity", "edit_script"):
        monkeypatch.setattr(
            submit_checks, name, lambda _, *arguments, name=name: found.append((name, *arguments))
        )
    return found


def resumed(*, submitted: str = "0", retry: str = "new", queued: Any = (), drafts: Any = ()) -> Any:
    """A run that goes on with an earlier one, which had the third attempt at the task."""
    known = SimpleNamespace(id="old", attempt=3, index=5, submitted=submitted)
    prior = SimpleNamespace(attempts={"k": known}, queued=queued, drafts=drafts)
    return SimpleNamespace(prior=prior, retry=retry, info=SimpleNamespace(script=SCRIPT))


TRANSPORT: Any = object()
ENQUEUED_AGAIN = [("edit_identity", "old", {"sweep": "0", "queue": "gpu"}), ("edit_script", "old", SCRIPT)]


def test_a_task_that_still_waits_is_left_alone(changes: Changes) -> None:
    spec, task_id, status = adopted(resumed(queued={"k"}), SPEC, TRANSPORT) or pytest.fail("not adopted")
    assert (spec.attempt, spec.index, spec.key, task_id, status) == (3, 5, "k", "old", "queued")
    assert changes == []


@pytest.mark.parametrize(
    "options", [{"drafts": {"k"}}, {"drafts": {"k"}, "submitted": ""}, {"retry": "continue"}]
)
def test_a_task_that_is_enqueued_again(options: dict[str, Any], changes: Changes) -> None:
    """It gets the script as it is now: a draft, or with retry="continue" what was submitted before."""
    spec, task_id, status = adopted(resumed(**options), SPEC, TRANSPORT) or pytest.fail("not adopted")
    assert (spec.attempt, spec.index, task_id, status) == (3, 5, "old", "created")
    assert changes == ENQUEUED_AGAIN


def test_tasks_that_are_created_anew(changes: Changes) -> None:
    """The first attempt, one that has ended, one that another script ran here, and all of them in memory."""
    first: Any = SimpleNamespace(prior=None)
    other = resumed(drafts={"k"})
    other.prior.attempts = {}
    ended = resumed()
    here = resumed(retry="continue", submitted="")
    for one in (first, other, ended, here):
        assert adopted(one, SPEC, TRANSPORT) is None
    assert adopted(resumed(drafts={"k"}), SPEC, None) is None
    assert changes == []


def test_what_an_agent_needs_of_the_scripts_own_task() -> None:
    """Its arguments, connected objects and container, but no parameters or identity of a task."""
    queries: list[Any] = []
    sections = {"Args": {"a": 1}, "General": {"b": 1}, "TaskGroup": {"c": 1}}
    documents: list[Any] = [{"hyperparams": sections, "container": {"image": "x"}, "configuration": {}}]

    def call(action: str, query: Any) -> Any:
        queries.append(query)
        return {"tasks": documents}

    transport: Any = SimpleNamespace(call=call)
    main = run(main_task=SimpleNamespace(id="m"))
    assert like_main(main, transport) == {"hyperparams": {"Args": {"a": 1}}, "container": {"image": "x"}}
    assert queries == [{"id": ["m"], "only_fields": ["hyperparams", "configuration", "container"]}]
    documents[0] = {"hyperparams": None}
    assert like_main(main, transport) == {}
    documents.clear()
    assert like_main(main, transport) == {}
    assert like_main(run(), transport) == like_main(main, None) == {}
    assert len(queries) == 3
