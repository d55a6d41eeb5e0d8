"""What a group tells of its tasks, its run and where its data is."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._group_info import log_pages, parent_summary
from clearml_taskgroup.errors import ArgumentError, UnknownTaskError
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer


def test_get_finds_a_task_by_parameters_key_or_name(group: TaskGroup) -> None:
    """As many parameters as tell the task from the others are enough; equal values match."""
    space = {"C": [1, 10], "model": [{"depth": 3}, {"depth": 4}]}
    tasks = group.tasks(space)
    extra = group.task(name="baseline")
    assert group.get(C=1.0, model={"depth": np.int64(4)}) is tasks[1]
    assert group.get({"C": 10, "model/depth": 3}) is tasks[2]
    assert group.get(name="baseline") is group.get(key="baseline") is extra
    assert group.get(key=tasks[3].key) is tasks[3]
    assert (len(group), list(group)) == (5, [*tasks, extra])
    tasks[0].set_parameters({"found": 7})
    assert group.get(found=7) is tasks[0]


def test_get_finds_none_or_many(group: TaskGroup) -> None:
    """None and several are errors that name what there is, or what matches."""
    with pytest.raises(UnknownTaskError, match="no tasks yet"):
        group.get(C=1)
    group.tasks({"C": [1, 10], "seed": [0, 1]})
    with pytest.raises(UnknownTaskError, match="2 tasks match C=1: C=1,seed=0, C=1,seed=1"):
        group.get(C=1)
    with pytest.raises(UnknownTaskError, match="no task matches C=3; the group has: C=1,seed=0"):
        group.get(C=3)
    with pytest.raises(UnknownTaskError, match="no task matches C='1'"):
        group.get(C="1")
    with pytest.raises(UnknownTaskError, match="no task matches c=1"):
        group.get(c=1)
    with pytest.raises(UnknownTaskError, match="4 tasks match no parameters"):
        group.get()


def test_get_by_several_at_once(group: TaskGroup) -> None:
    """All of them must match, and the message has them all."""
    one, other = group.tasks({"C": [1, 2]})
    assert group.get(C=1, key=one.key, name="C=1") is one
    for given in ({"key": other.key}, {"name": "C=2"}):
        with pytest.raises(UnknownTaskError, match=f"no task matches C=1, {next(iter(given))}='"):
            group.get({"C": 1}, **given)


def test_a_group_without_tasks_is_still_a_group() -> None:
    with recording(), TaskGroup("digits", "sweep") as group:
        assert bool(group)
        assert (len(group), list(group), group.failures) == (0, [], ())
        for task in group.tasks({"C": [1, 2]}):
            assert task in list(group)
        for _ in group:  # the tasks that there were
            group.task(name=f"task {len(group)}")
        assert len(group) == 4


def test_facts_in_memory() -> None:
    """There is no page, no run log, no agent."""
    with recording() as store, TaskGroup("digits", "sweep") as group:
        parent = group.parent_id
        assert group.parent_id in store.tasks
        assert (group.mode, group.at_agent, group.run_number) == ("memory", False, 1)
        assert (group.url, group.record_path, group.table_url, group.compare_urls) == (None, None, None, [])
        assert len(group.run) == 32
        run = group.run
    assert (group.parent_id, group.run, group.mode) == (parent, run, "memory")


def test_facts_offline() -> None:
    with TaskGroup("digits", "sweep", mode="offline", provenance=False) as group:
        group.task({"C": 1})
    sessions = sdk.cache_folder() / "offline"
    assert (group.mode, group.where) == ("offline", str(sessions))
    assert group.url == (sessions / str(group.parent_id)).as_uri()
    assert group.record_path == sdk.cache_folder() / "taskgroup" / group.id / "run-0001.jsonl"
    assert (group.table_url, group.compare_urls) == (None, [])


def test_facts_and_log_lines_online(loopback: LoopbackServer, caplog: pytest.LogCaptureFixture) -> None:
    """The pages are logged with the first task and at the end, if there is a server; not offline."""
    with TaskGroup("digits", "sweep", mode="online", provenance=False) as group:
        assert caplog.text == ""
        first, second = group.tasks({"C": [1, 2]})
        assert str(group.url) in caplog.text
        assert f"/tasks/{group.parent_id}" in str(group.url)
        assert str(group.url).startswith(group.where)
        (compare,) = group.compare_urls
        assert first.id in compare
        assert second.id in compare
        assert str(group.table_url).startswith("http")
        caplog.clear()
        assert parent_summary(group._opened()) is not None
    assert "2 completed" in caplog.text
    caplog.clear()
    with TaskGroup("digits", "sweep", mode="offline", provenance=False) as group:
        group.task({"C": 1})
    assert caplog.text == ""


def test_failures_in_the_order_of_their_ends() -> None:
    """A task that is still open, with an exception that catch includes, comes last."""
    with recording(), TaskGroup("digits", "sweep", catch=ValueError) as group:
        first, second, third, _ = group.tasks({"C": range(4)})
        second.mark_failed("second")
        first.mark_failed("first")
        third._keep_caught(ValueError("third"), "")
        assert [str(failure.exception) for failure in group.failures] == ["second", "first", "third"]


@pytest.mark.parametrize(
    ("project", "advice"),
    [
        ("digits/sweep", "TaskGroup.load('digits', 'sweep')"),
        ("a/b/sweep", "TaskGroup.load('a/b', 'sweep')"),
        ("digits", "TaskGroup.load('digits', …)"),
    ],
)
def test_load_without_a_name(project: str, advice: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(f"beside its project: {advice}")):
        TaskGroup.load(project)


def test_other_names_of_a_group() -> None:
    """The error of an attribute that ClearML's objects have says what to write."""
    group = TaskGroup("digits", "sweep")
    with pytest.raises(AttributeError, match="no attribute 'report'; "):
        group.report  # type: ignore[attr-defined]  # noqa: B018


def test_a_group_in_a_notebook() -> None:
    group = TaskGroup("digits", "sweep")
    assert "digits/sweep" in group._repr_html_()


def test_failures_of_workers_are_read_while_the_group_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[float] = []
    with recording(), TaskGroup("digits", "sweep") as group:
        log = group._opened().worker_log
        monkeypatch.setattr(type(log), "merge", lambda log, run, timeout: merged.append(timeout))
        assert (group.failures, merged) == ((), [0.0])
    merged.clear()
    assert (group.failures, merged) == ((), [])


def test_a_forked_child_logs_no_pages() -> None:
    child: Any = SimpleNamespace(backend=SimpleNamespace(transport=object()), in_child=True)
    log_pages(child, "end")  # it would ask the run for more


def test_upload_finds_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with TaskGroup("digits", "sweep", mode="offline", provenance=False) as group:
        group.task({"C": 1})
    monkeypatch.setattr("clearml_taskgroup._storage.upload.upload", lambda *given: given)
    uploaded: Any = TaskGroup.upload(group.run[:8])
    assert uploaded == (group.record_path, None)
