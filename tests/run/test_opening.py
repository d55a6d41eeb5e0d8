"""Opening a run: its backend, number and parent, in each mode, on an agent and beside a main task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._model.specs import RunInfo
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup._run import opening
from clearml_taskgroup._run.closing import close_run
from clearml_taskgroup._run.opening import is_unguarded, open_run
from clearml_taskgroup._run.run import Run, RunOptions
from clearml_taskgroup._run.run_storage import Resume
from clearml_taskgroup._run.signals import Interrupts
from clearml_taskgroup._storage import script_detection
from clearml_taskgroup._storage.run_log import RunLog, iterate
from clearml_taskgroup._storage.script_detection import Detected
from clearml_taskgroup.errors import AutoLoggingWarning, RunInUseError
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.support.runs import originals

TEMPLATE = NameTemplate("{metric}/{split=value}")
OPTIONS = RunOptions(
    task_name="{group} {task}",
    catch=(),
    close_timeout=60.0,
    nonfinite="skip",
    capture_console=True,
    provenance=False,
    auto_connect_frameworks=None,
)
GROUP_ID = "0123456789ab"
Opens = Callable[..., Run]


@pytest.fixture
def opens(request: pytest.FixtureRequest) -> Iterator[Opens]:
    """Opens runs of one group, which end with the test, and before its server."""
    if "loopback" in request.fixturenames:
        request.getfixturevalue("loopback")
    opened: list[Run] = []

    def opens(mode: Any = "offline", **given: Any) -> Run:
        fields = {name: given.pop(name) for name in ("script",) if name in given}
        options = OPTIONS._replace(**{name: given.pop(name) for name in OPTIONS._fields if name in given})
        info = RunInfo(GROUP_ID, "the project", "the group", TEMPLATE.text, **fields)
        arguments: dict[str, Any] = {"outer": None, "vocabulary": None, **given}
        vocabulary = arguments.pop("vocabulary")
        opened.append(open_run(info, TEMPLATE, vocabulary, options, mode=mode, **arguments))
        return opened[-1]

    yield opens
    for run in reversed(opened):
        close(run)


def close(run: Run, status: Any = "completed") -> None:
    if not run.closed:
        assert close_run(run, status, "", 60.0, Interrupts()) == []


def first_line(run: Run) -> dict[str, Any]:
    assert run.run_log is not None
    return next(iter(iterate(run.run_log.path)))


@attrs.define
class PlayedAgentTask:
    """The task that an agent runs this process as: of this group, or of another one."""

    own: bool
    parent: str | None = "the parent"
    id: str = "the agent's task"

    def is_of(self, group_id: str) -> bool:
        assert group_id == GROUP_ID
        return self.own

    def joined(self, info: RunInfo) -> RunInfo:
        return attrs.evolve(info, run="its run", number=5)


# --- modes -----------------------------------------------------------------------------------------


def test_a_run_in_memory_has_a_parent_and_no_log(opens: Opens) -> None:
    with recording() as store:
        run = opens(None)
        close(run)
    assert (run.run_log, run.owns_parent, run.info.number) == (None, True, 1)
    assert [task.name for task in store.tasks.values()] == ["the group"]


@pytest.mark.parametrize("metrics", [None, ["loss"]])
def test_the_vocabulary_is_stored_with_the_run(opens: Opens, metrics: list[str] | None) -> None:
    vocabulary = None if metrics is None else Vocabulary.of(metrics, TEMPLATE)
    run = opens(vocabulary=vocabulary)
    assert run.info.metrics == (None if vocabulary is None else vocabulary.stored())


def test_a_disabled_run_keeps_nothing(opens: Opens) -> None:
    run = opens("disabled")
    assert (run.backend.mode, run.run_log, run.parent, run.owns_parent) == ("disabled", None, None, False)
    assert run.info.number == 1


def test_an_offline_run_has_the_number_of_its_log(opens: Opens) -> None:
    first, second = opens(), opens()
    assert [run.info.number for run in (first, second)] == [1, 2]
    assert first.run_log is not None
    assert first.run_log.path == sdk.cache_folder() / "taskgroup" / GROUP_ID / "run-0001.jsonl"
    assert first_line(second)["run"] == second.info.run != first.info.run
    assert (second.prior, second.sharing, second.owns_parent) == (None, None, True)


def test_an_online_run_has_the_number_that_the_server_gives(opens: Opens, loopback: LoopbackServer) -> None:
    first, second = opens("online"), opens("online")
    assert [run.info.number for run in (first, second)] == [1, 2]
    assert [doc["name"] for doc in originals(loopback, "parent")] == ["the group", "the group #2"]


# --- resuming --------------------------------------------------------------------------------------


def test_a_resumed_run_keeps_number_id_and_parent(opens: Opens) -> None:
    close(opens())
    first = opens()
    close(first)
    again = opens(resume=Resume("continue"))
    assert (again.info.run, again.info.number, again.parent) == (first.info.run, 2, first.parent)
    assert (again.owns_parent, again.retry) == (True, "continue")
    assert again.prior is not None


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_there_may_be_nothing_to_resume(opens: Opens, loopback: LoopbackServer, mode: str) -> None:
    run = opens(mode, resume=Resume())
    assert (run.prior, run.info.number, run.retry) == (None, 1, "new")


def test_without_resume_nothing_is_resumed(opens: Opens) -> None:
    close(opens())
    run = opens()
    assert (run.prior, run.info.number) == (None, 2)


# --- shared runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_shared_run_has_a_parent_of_its_own(opens: Opens, loopback: LoopbackServer, mode: str) -> None:
    """Also within another group and beside a main task, which the other processes do not have."""
    outer = opens(mode)
    one, two = (opens(mode, shared="job 7", outer=outer) for _ in range(2))
    assert one.parent == two.parent != outer.parent
    assert (one.info.run, one.info.number) == (two.info.run, two.info.number)
    assert one.owns_parent
    assert one.sharing is not None
    assert one.info.shared == "job 7"
    assert not outer.nested
    close(two)
    close(one)
    again = opens(mode, resume=Resume())
    assert (again.info.run, again.info.shared) == (one.info.run, "job 7")
    assert again.sharing is not None
    assert again.sharing.resume


def test_a_process_that_is_taken_for_dead_gives_its_tasks_up(opens: Opens) -> None:
    run = opens(shared="job 7")
    assert run.sharing is not None
    withdraw: Any = run.sharing.shared.on_withdrawn
    withdraw()
    assert run.aborted is not None
    assert "taken for dead" in run.aborted.cause


# --- agents ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False])
def test_on_an_agent_the_run_is_that_of_its_task(
    opens: Opens, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Nothing is resumed there: other agents run the other configurations."""
    task: Any = PlayedAgentTask(own)
    monkeypatch.setattr(opening, "_agent_task", lambda mode: task)
    run = opens("disabled", resume=Resume("continue"))
    assert (run.agent_task is task, run.foreign_agent_task is task) == (own, not own)
    assert (run.info.run == "its run", run.info.number) == (own, 5 if own else 1)
    assert run.options.capture_console is not own  # the agent captures it
    assert (run.retry, run.parent) == ("new", "the parent" if own else None)


@pytest.mark.parametrize("task_id", [None, "the agent's task"])
def test_only_an_agent_has_a_task_to_look_for(monkeypatch: pytest.MonkeyPatch, task_id: str | None) -> None:
    monkeypatch.setattr(sdk, "agent_task_id", lambda: task_id)
    monkeypatch.setattr(
        "clearml_taskgroup._clearml.agent_task.agent_task_of_this_process", lambda mode: f"found {mode}"
    )
    found: Any = opening._agent_task("online")
    assert found == (None if task_id is None else "found online")


# --- beside a main task ----------------------------------------------------------------------------


@pytest.fixture
def main_task(monkeypatch: pytest.MonkeyPatch) -> Any:
    task = SimpleNamespace(id="the main task", name="main", flush=lambda **options: True)
    monkeypatch.setattr(sdk, "main_task", lambda: task)
    monkeypatch.setattr(sdk, "task_mode", lambda: "offline")
    monkeypatch.setattr(sdk, "flush", lambda task, timeout: None)
    return task


def test_a_main_task_is_the_parent(opens: Opens, main_task: Any) -> None:
    with pytest.warns(AutoLoggingWarning, match="'main', not to the tasks of the group 'the group'"):
        run = opens()
    assert (run.parent, run.main_task, run.owns_parent) == ("the main task", main_task, False)


def test_a_group_that_routes_auto_logging_does_not_warn(opens: Opens, main_task: Any) -> None:
    assert opens(auto_connect_frameworks={}).main_task is main_task


def test_a_disabled_group_knows_no_main_task(opens: Opens, main_task: Any) -> None:
    assert opens("disabled").main_task is None


def test_a_shared_run_does_not_use_the_main_task(opens: Opens, main_task: Any) -> None:
    with pytest.warns(AutoLoggingWarning):
        run = opens(shared="job 7")
    assert (run.main_task, run.owns_parent) == (None, True)


# --- parents ---------------------------------------------------------------------------------------


def test_within_another_group_the_parent_is_its(opens: Opens) -> None:
    outer = opens()
    inner = opens(outer=outer)
    assert (inner.parent, inner.owns_parent) == (outer.parent, False)
    assert inner in outer.nested
    disabled = opens("disabled", outer=outer)
    assert disabled.parent is None


def test_a_resumed_run_whose_parent_was_another_groups_gets_its_own(opens: Opens) -> None:
    outer = opens()
    inner = opens(outer=outer)
    close(inner)
    close(outer)
    again = opens(resume=Resume())
    assert again.info.number == 2
    assert again.parent not in (None, outer.parent)
    assert again.owns_parent


@pytest.mark.parametrize(("mode", "is_parent"), [("online", True), ("offline", False)])
def test_on_an_agent_its_task_is_the_parent_of_an_inner_group(
    opens: Opens, monkeypatch: pytest.MonkeyPatch, mode: str, is_parent: bool
) -> None:
    monkeypatch.setattr(sdk, "agent_task_id", lambda: "the agent's task")
    run: Any = SimpleNamespace(
        agent_task=None,
        main_task=None,
        prior=None,
        info=RunInfo("id", "the project", "the group", ""),
        backend=SimpleNamespace(mode=mode),
    )
    parent, spec = opening._parent(run, None)
    assert (parent, spec is None) == (("the agent's task", True) if is_parent else (None, False))


# --- provenance ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "detects"),
    [
        ({"provenance": True}, True),
        ({"provenance": False}, False),
        ({"provenance": True, "script": {}}, False),
    ],
)
@pytest.mark.parametrize("mode", ["offline", "online", "disabled"])
def test_the_script_is_detected_once_where_it_is_stored(
    opens: Opens,
    loopback: LoopbackServer,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    given: dict[str, Any],
    detects: bool,
) -> None:
    """Online before the first task is created; offline while the first ones run."""
    found = Detected({"entry_point": "train.py"})
    calls: list[str] = []

    def detect_here() -> Detected:
        calls.append("online")
        return found

    monkeypatch.setattr(script_detection, "detect_here", detect_here)
    monkeypatch.setattr(opening, "detect", lambda run: calls.append("offline"))
    run = opens(mode, **given)
    assert calls == ([mode] if detects and mode != "disabled" else [])
    if calls == ["online"]:
        assert run.info.script == found.script


# --- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_what_was_opened_is_closed_if_a_later_step_fails(
    opens: Opens, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    logs: list[RunLog] = []
    given_up: list[Run] = []

    def fail(run: Run, *args: Any) -> None:
        assert run.run_log is not None
        logs.append(run.run_log)
        raise OSError("no")

    monkeypatch.setattr(opening, "detect", lambda run: None)
    monkeypatch.setattr(opening, "give_up", given_up.append)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "start", fail)
        with pytest.raises(OSError, match="no"):
            opens(mode, provenance=mode == "offline")
    assert logs[0].size == 0
    assert len(given_up) == (mode == "offline")
    assert opens(mode).info.number == (2 if mode == "offline" else 1)


def test_a_living_run_is_resumed_by_a_takeover_only(opens: Opens) -> None:
    opens()
    with pytest.raises(RunInUseError):
        opens(resume=Resume())
    assert opens(resume=Resume(takeover=True)).info.number == 1


def test_a_worker_that_imports_the_script_is_recognized() -> None:
    """By the name that `multiprocessing` gives the main module there."""
    found: dict[str, Any] = {"is_unguarded": is_unguarded}
    for name in ("__mp_main__", "__main__"):
        exec(compile("result = is_unguarded()", "script.py", "exec"), found | {"__name__": name}, found)
        assert found["result"] is (name == "__mp_main__")
    inside: dict[str, Any] = {"is_unguarded": is_unguarded, "__name__": "__mp_main__"}
    exec("def f(): return is_unguarded()", inside)
    assert not inside["f"]()  # a function of it that is called later
