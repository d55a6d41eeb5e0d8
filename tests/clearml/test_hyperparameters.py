"""What is stored with a task: its identity in the section `TaskGroup`."""

from __future__ import annotations

from typing import Literal

import attrs
import pytest

from clearml_taskgroup._clearml.documents import past_task
from clearml_taskgroup._clearml.hyperparameters import SECTION, hyperparameters
from clearml_taskgroup._model.name_template import NameTemplate
from clearml_taskgroup._model.specs import RunInfo, TaskSpec

RUN = RunInfo(group_id="0" * 12, project="digits", name="sweep", template="{metric}")
SPEC = TaskSpec("a1", "C=1", "sweep C=1", 0, 1, {"C": 1})


@pytest.mark.parametrize("kind", ["task", "parent"])
def test_a_shared_run_is_told_by_its_tasks(kind: Literal["task", "parent"]) -> None:
    """The text of run=, the process and the session are stored with each task, and read back."""
    shared = attrs.evolve(RUN, shared="slurm-8812", process="host-1-2-3", session=4)
    sections = hyperparameters(shared, attrs.evolve(SPEC, kind=kind))
    stored = {name: entry["value"] for name, entry in sections[SECTION].items()}
    assert (stored["shared"], stored["process"], stored["session"]) == ("slurm-8812", "host-1-2-3", "4")
    task = past_task({"id": "1", "status": "completed", "hyperparams": sections}, NameTemplate("{metric}"))
    assert (task.process, task.session) == ("host-1-2-3", 4)


def test_a_run_of_one_process_stores_none_of_it() -> None:
    """A run that is not shared has no entries for it."""
    stored = hyperparameters(attrs.evolve(RUN, process="host-1-2-3"), SPEC)[SECTION]
    assert not {"shared", "process", "session"} & stored.keys()
