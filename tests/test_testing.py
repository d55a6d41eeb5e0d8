"""The public testing module, and the pytest fixture `recorded_groups`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup, testing
from clearml_taskgroup.testing import MemoryStore, recording
from tests.support.scripts import leaves

pytest_plugins = ["pytester"]


def sweep(**options: int) -> TaskGroup:
    """Stands for a script under test, which makes its group by itself."""
    with TaskGroup("the project", "the group", tags=["all"]) as group:
        for task in group.sweep({"C": [1, 10]}):
            with task:
                task.report({"loss": 0.5}, 1, split="val")
                task.report({"total": 2.0 * task.params["C"]})
                task.set_parameters({"more": options})
    return group


def test_recording_gives_all_that_a_script_did() -> None:
    """The store's members have parameters, statuses, scalars, single values, tags and keys."""
    with recording() as backend:
        group = sweep(extra=1)
    first, second = backend.members
    assert [task.name for task in backend.members] == ["C=1", "C=10"]
    assert first.params == {"C": 1, "more/extra": 1}
    assert first.scalars == {("loss", "val"): [(1, 0.5)]}
    assert (first.single_values, second.single_values) == ({"total/value": 2.0}, {"total/value": 20.0})
    assert (first.status, first.reason, first.tags, first.console) == ("completed", "", ("all",), "")
    assert first.key == group.get(C=1).key
    assert backend.identity(first.id)["key"] == first.key
    assert first.hyperparameters["General"] == {"C": "1", "more/extra": "1"}
    assert len(backend.tasks) == 3  # with the parent


def test_recording_touches_no_disk_and_leaves_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written to ClearML's cache folder, and no variable of the environment is set."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "taskgroup cache"))
    before = dict(os.environ)
    with recording():
        group = sweep()
        assert (group.mode, group.record_path, group.url) == ("memory", None, None)
    assert dict(os.environ) == before
    assert not (tmp_path / "taskgroup cache").exists()


@pytest.mark.parametrize("mode", [None, "offline", "online", "disabled"])
def test_recording_goes_before_any_mode(mode: str | None) -> None:
    """A script that chooses its mode is recorded all the same."""
    with recording() as backend, TaskGroup("the project", "the group", mode=mode) as group:  # type: ignore[arg-type]
        group.task(name="the task")
    assert [task.status for task in backend.members] == ["completed"]


def test_recordings_are_apart_from_each_other() -> None:
    """Each recording has its own store; an inner one takes its groups from the outer one."""
    with recording() as outer:
        with recording() as inner:
            sweep()
        assert (len(inner.members), len(outer.members)) == (2, 0)
        sweep()
    assert (len(inner.members), len(outer.members)) == (2, 2)


def test_a_recording_ends_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it, also after an exception, groups go where they went before."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path))
    error = ValueError("bad")
    with leaves(error), recording() as backend:
        raise error
    with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
        group.task(name="the task")
    assert group.mode == "offline"
    assert backend.tasks == {}


def test_a_recording_is_of_its_own_thread() -> None:
    """Groups that another thread opens are not recorded by this one's recording."""
    seen: list[str] = []

    def train() -> None:
        with TaskGroup("the project", "the group", mode="disabled") as group:
            seen.append(group.mode)

    with recording() as backend:
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert (seen, backend.tasks) == (["disabled"], {})


def test_clearmls_own_calls_are_taken_in_silence() -> None:
    """`task.logger` and `task.clearml_task` take any call, as attribute, block or chain."""
    with recording(), TaskGroup("the project", "the group") as group, group.task(name="the task") as task:
        task.metric("roc", split="val").report_plotly(iteration=3, figure=object())
        task.clearml_task.connect({"a": 1}).get("a")
        with task.clearml_task.anything() as anything:  # type: ignore[attr-defined]
            assert not anything
        with pytest.raises(AttributeError):
            task.logger.__iter__  # type: ignore[attr-defined]  # noqa: B018


def test_the_module_offers_what_it_documents() -> None:
    """The public names of the testing module are there, and are those of the store."""
    assert testing.__all__ == ["MemoryStore", "MemoryTask", "recording"]
    assert isinstance(MemoryStore().members, list)


def test_the_fixture_records_the_groups_of_a_test(pytester: pytest.Pytester) -> None:
    """Pytest finds `recorded_groups` by itself; each test has its own store."""
    pytester.makepyfile(
        """
        from clearml_taskgroup import TaskGroup

        def train():
            with TaskGroup("the project", "the group", mode="offline") as group:
                for task in group.sweep({"C": [1, 10]}):
                    with task:
                        task.report({"loss": 0.5}, 1)

        def test_a_sweep(recorded_groups):
            train()
            assert [task.status for task in recorded_groups.members] == ["completed"] * 2
            assert recorded_groups.members[0].scalars == {("loss", "value"): [(1, 0.5)]}

        def test_another(recorded_groups):
            assert recorded_groups.members == []

        def test_a_failure(recorded_groups):
            train()
            assert len(recorded_groups.members) == 3
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)


def test_the_fixture_is_listed_with_its_purpose(pytester: pytest.Pytester) -> None:
    """`pytest --fixtures` shows the fixture and what it is for."""
    result = pytester.runpytest_inprocess("--fixtures", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["recorded_groups*", "*tasks of every group that the test opens*"])


def test_the_plugin_costs_a_test_run_nothing(pytester: pytest.Pytester) -> None:
    """Tests that don't use the fixture import neither ClearML nor the library's machinery."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            assert "clearml" not in sys.modules
            assert "clearml_taskgroup._group" not in sys.modules
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_until_it_is_used() -> None:
    """Pytest loads the plugin in every environment that has the package."""
    code = (
        "import sys, pytest; before = set(sys.modules); import clearml_taskgroup.pytest_plugin; "
        "print(*sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["clearml_taskgroup", "clearml_taskgroup.pytest_plugin"]
