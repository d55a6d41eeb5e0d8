"""What the error of an attribute says that ClearML or another tracker has."""

from __future__ import annotations

import copy
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup, TaskMetric
from clearml_taskgroup._model import clearml_names
from clearml_taskgroup.errors import ArgumentError, GroupStateError
from clearml_taskgroup.integrations.tensorboard import SummaryWriter
from clearml_taskgroup.testing import recording


def test_advice_names_what_exists() -> None:
    """Each attribute that a hint names is one of that class."""
    clearml = pytest.importorskip("clearml")
    owners: dict[str, Any] = {
        "task": GroupTask,
        "GroupTask": GroupTask,
        "group": TaskGroup,
        "TaskGroup": TaskGroup,
        "task.metric('name', split='val')": TaskMetric,
        "task.summary_writer()": SummaryWriter,
        "task.clearml_task": clearml.Task,
        "task.logger": clearml.Logger,
        "clearml.Task": clearml.Task,
    }
    texts = [*clearml_names._OF_TASK.values(), *clearml_names._OF_GROUP.values()]
    named = 0
    for owner, has in owners.items():
        for text in texts:
            for name in re.findall(rf"(?<![\w.]){re.escape(owner)}\.(\w+)", text):
                assert hasattr(has, name), text
                named += 1
    assert named > 100


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("report", "its tasks have it: task.report"),
        ("bind", "its tasks have it: task.bind"),
        ("report_scalar", "for one of its tasks: write task.report({'loss': 0.3}, iteration, split='val')"),
        ("get_logger", "for one of its tasks: its logger is task.logger"),
        ("best", "write group.results().best"),
        ("to_pandas", "write group.results().to_pandas"),
        ("create_task", "write group.task({'lr': 0.1}), or `for task in group.sweep({'lr': [0.1, 1]})`"),
        ("starmap", "write group.map(function, {'lr': [0.1, 1]}, workers=4)"),
        ("finish", "it ends with its block, or write group.close()"),
        ("mark_failed", "it ends with its block, or write group.close(); its tasks have it"),
        ("nonsense", ""),
        ("__dataframe__", ""),
    ],
)
def test_names_on_a_group(name: str, advice: str) -> None:
    """An open group and one that is not open yet say what to write; `hasattr` is false."""
    with recording(), TaskGroup("digits", "hints") as group:
        for one in (group, TaskGroup("digits", "other")):
            with pytest.raises(AttributeError) as raised:
                getattr(one, name)
            start = f"'TaskGroup' object has no attribute '{name}'"
            assert str(raised.value) == (f"{start}; {advice}" if advice else start)
            assert not hasattr(one, name)
            assert getattr(one, name, 3) == 3


def test_other_trackers_names_on_a_task() -> None:
    with recording(), TaskGroup("digits", "hints") as group, group.task({"C": 1}) as task:
        for name in clearml_names._OF_TASK:
            with pytest.raises(AttributeError, match=rf"has no attribute '{name}'; \w.*"):
                getattr(task, name)
        assert copy.deepcopy(task) is task
        with pytest.raises(GroupStateError, match="stays in the process"):
            pickle.dumps(group)


def test_names_in_place_of_parameters() -> None:
    with recording(), TaskGroup("digits", "hints") as group:
        with pytest.raises(ArgumentError, match=r"params='baseline'.*write task\(name='baseline'\)"):
            group.task("baseline")  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match=r"params=3.*task\(\{'lr': 0\.1\}\)"):
            group.task(3)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match=r"params='baseline'.*get\(name='baseline'\)"):
            group.get("baseline")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_misspelling_is_found_by_type_checkers(checker: str, tmp_path: Path) -> None:
    """The hints are made at run time only."""
    command = shutil.which(checker, path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip(f"{checker} is not installed")
    source = tmp_path / "misspelt.py"
    source.write_text(
        "from clearml_taskgroup import TaskGroup\n\n"
        "with TaskGroup('digits', 'types') as group:\n"
        "    task = group.task({'C': 1})\n"
        "    task.report({'loss': 0.3})\n"
        "    task.reprot\n"
        "    task.bind(split='val').get_logger\n"
        "    task.metric('loss').log\n"
        "    group.best\n"
    )
    package = Path(clearml_names.__file__).parents[2]
    environment = {**os.environ, "MYPYPATH": str(package), "PYTHONPATH": str(package)}
    done = subprocess.run(
        [command, str(source)], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    if "nodeenv failed" in done.stderr:
        pytest.skip("pyright has no node here")
    found = {int(line) for line in re.findall(r"misspelt\.py:(\d+).*error", done.stdout)}
    assert found == {6, 7, 8, 9}, done.stdout + done.stderr
