"""Which mode a group works in: what was asked, the environment, what ClearML is set to."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._run.mode import distributed_rank, resolve
from clearml_taskgroup.errors import ArgumentError
from tests.support.scripts import Outcome, run_script

UNCHANGED = """
def main(**options):
    with TaskGroup("the project", "the group", provenance=False, **options) as group:
        for task in group.sweep({"seed": [0, 1]}):
            with task:
                task.report({"loss": 0.5}, 1)
                task.set_parameters({"extra": 1})
        print(group.mode, len(group.results()), group.results().best("loss", mode="min").value)
"""
LAUNCHERS = {
    "RANK": "WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_RANK": "MV2_COMM_WORLD_SIZE",
    "PMI_RANK": "PMI_SIZE",
    "HOROVOD_RANK": "HOROVOD_SIZE",
    "JSM_NAMESPACE_RANK": "JSM_NAMESPACE_SIZE",
    "FLUX_TASK_RANK": "FLUX_JOB_SIZE",
    "JAX_PROCESS_ID": "JAX_NUM_PROCESSES",
    "SLURM_PROCID": "SLURM_NTASKS",
}
OTHERS = ("PMIX_RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")


def kept(outcome: Outcome) -> bool:
    """Whether the script left anything on disk."""
    return bool(outcome.sessions or outcome.records)


@pytest.fixture(autouse=True)
def no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the variables of a launcher that may run these tests."""
    for name in (*LAUNCHERS, *LAUNCHERS.values(), *OTHERS):
        monkeypatch.delenv(name, raising=False)


def test_with_no_configuration_the_group_is_offline_and_says_so_in_one_line(tmp_path: Path) -> None:
    """Where ClearML knows no server, one line on stderr says where the data goes."""
    outcome = run_script(UNCHANGED + "main()", tmp_path)
    assert (outcome.code, outcome.out) == (0, "offline 2 0.5\n")
    (line,) = outcome.err.splitlines()
    assert "no ClearML server is configured" in line
    assert "the group is offline" in line
    assert str(outcome.cache) in line
    assert len(outcome.sessions) == 3


def test_the_environments_offline_mode_counts_in_silence(tmp_path: Path) -> None:
    """With CLEARML_OFFLINE_MODE set, mode=None is offline, and nothing has to be said."""
    outcome = run_script(UNCHANGED + "main()", tmp_path, env={"CLEARML_OFFLINE_MODE": "1"})
    assert (outcome.code, outcome.out, outcome.err) == (0, "offline 2 0.5\n", "")
    assert len(outcome.sessions) == 3


def test_mode_offline_needs_nothing_said(tmp_path: Path) -> None:
    """A mode that was asked for is taken in silence; ClearML's own switch is left as it was."""
    outcome = run_script(
        UNCHANGED
        + """
main(mode="offline")
from clearml import Task
print(bool(Task.is_offline()))
""",
        tmp_path,
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "offline 2 0.5\nFalse\n", "")


def test_mode_online_contradicts_an_offline_environment(tmp_path: Path) -> None:
    """ClearML's switch is one for the process: asking for the opposite is an error, never a switch."""
    outcome = run_script(UNCHANGED + 'main(mode="online")', tmp_path, env={"CLEARML_OFFLINE_MODE": "1"})
    assert outcome.code == 1
    assert "ModeError: mode='online' was given, but ClearML is set offline" in outcome.err
    assert not kept(outcome)


def test_disabled_keeps_nothing_and_the_script_runs_unchanged(tmp_path: Path) -> None:
    """In the mode `disabled` a script gives the same, and nothing is on disk, nor ClearML's switch set."""
    outcome = run_script(
        UNCHANGED
        + """
main(mode="disabled")
with TaskGroup("the project", "the group", mode="disabled") as group:
    with group.task({"seed": 0}) as task:
        title, series = task.metric("roc", split="val")
        task.logger.report_plotly(title, series, iteration=3, figure=object())
        task.metric("roc", split="val").report_plotly(object(), 3)
        task.clearml_task.upload_artifact("model", object())
        with task.bind(split="val").task.activate():
            pass
    print(group.url, task.url, group.record_path, group.parent_id, task.status)
""",
        tmp_path,
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "disabled 2 0.5\nNone None None None completed\n"
    assert not outcome.cache.exists()


@pytest.mark.quick(1)
@pytest.mark.parametrize(("rank", "mode"), [("1", "disabled"), ("3", "disabled"), ("0", "offline")])
def test_ranks_other_than_0_choose_disabled(tmp_path: Path, rank: str, mode: str) -> None:
    """In a distributed job only rank 0 keeps anything."""
    env = {"CLEARML_OFFLINE_MODE": "1", "RANK": rank, "WORLD_SIZE": "4"}
    outcome = run_script(UNCHANGED + "main()", tmp_path, env=env)
    assert (outcome.code, outcome.out) == (0, f"{mode} 2 0.5\n")
    assert outcome.err.count(f"RANK={rank}: this is not the first process") == (mode == "disabled")
    assert len(outcome.err.splitlines()) == (mode == "disabled")
    assert kept(outcome) == (mode == "offline")


def test_a_mode_that_was_asked_for_goes_before_the_rank(tmp_path: Path) -> None:
    env = {"RANK": "1", "WORLD_SIZE": "4"}
    outcome = run_script(UNCHANGED + 'main(mode="offline")', tmp_path, env=env)
    assert (outcome.out, kept(outcome)) == ("offline 2 0.5\n", True)


def test_a_live_offline_main_task_is_gone_along_with(tmp_path: Path) -> None:
    """With an offline `Task.init` task, None is offline, `online` an error, `disabled` allowed."""
    outcome = run_script(
        UNCHANGED
        + """
import warnings
warnings.simplefilter("ignore")
from clearml import Task
Task.set_offline(True)
Task.init("the project", "the script", auto_connect_frameworks=False)
main()
main(mode="disabled")
try:
    main(mode="online")
except RuntimeError as error:
    print(error)
""",
        tmp_path,
    )
    assert outcome.code == 0, outcome.err
    ours = [line for line in outcome.out.splitlines() if line.startswith(("offline", "disabled", "mode="))]
    assert ours[:2] == ["offline 2 0.5", "disabled 2 0.5"]
    assert "mode='online' was given, but the script's Task.init task is offline" in ours[2]
    assert "before Task.init" in ours[2]


@pytest.mark.parametrize(("rank", "size"), LAUNCHERS.items())
def test_launchers_number_their_processes(monkeypatch: pytest.MonkeyPatch, rank: str, size: str) -> None:
    """A job of one process is none, and text that is no number is no rank."""
    assert not distributed_rank()
    monkeypatch.setenv(rank, "2")
    assert not distributed_rank()
    for number, expected in (("1", ""), ("4", f"{rank}=2"), ("many", "")):
        monkeypatch.setenv(size, number)
        assert distributed_rank() == expected
    monkeypatch.setenv(size, "4")
    monkeypatch.setenv(rank, "0")
    assert not distributed_rank()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PMIX_RANK": "3"}, "PMIX_RANK=3"),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK=1"),  # Lightning's launcher
        ({"LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "4"}, "NODE_RANK=1"),
        ({"LOCAL_RANK": "1", "GROUP_RANK": "2"}, "LOCAL_RANK=1, GROUP_RANK=2"),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0", "WORLD_SIZE": "4"}, ""),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "1"}, ""),
        ({"LOCAL_RANK": "1"}, ""),  # a script's own variable
    ],
)
def test_launchers_without_a_rank(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert distributed_rank() == expected


def test_a_rank_alone_decides_for_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing asked, another rank than 0 is disabled whatever ClearML is set to."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert resolve(None) == "disabled"
    assert resolve("offline") == "offline"


@pytest.mark.parametrize("mode", ["Offline", "", True, 0])
def test_an_unknown_mode_is_refused_as_the_group_is_made(mode: Any) -> None:
    """A mode that does not exist is an error that lists those that do."""
    with pytest.raises(ArgumentError, match="expected 'online', 'offline', 'disabled' or None"):
        TaskGroup("the project", "the group", mode=mode)
    with pytest.raises(ArgumentError, match="expected 'online', 'offline', 'disabled' or None"):
        resolve(mode)


def test_to_load_starts_nothing(tmp_path: Path) -> None:
    """Without a server, results are loaded from this disk with nothing said: no group is offline now."""
    script = """
        with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
            group.task({"C": 1}).report({"loss": 0.5}, 1)
        print(len(TaskGroup.load("the project", "the group")))
    """
    outcome = run_script(textwrap.dedent(script), tmp_path)
    assert (outcome.code, outcome.out, outcome.err) == (0, "1\n", "")
