"""Joining a run that other processes share: what a disk and a server have in common."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from .._log import warn
from .._model.identity import shared_run_id
from .._model.specs import TaskSpec
from .._text import is_storable, shown
from ..errors import ArgumentError, NameWarning

if TYPE_CHECKING:
    from .._model.specs import RunInfo
    from .._storage.shared_run import SharedRun

VARIABLE = "CLEARML_TASKGROUP_RUN"
"""The environment variable that names a shared run, where a script gives no `run=`."""


def shared_text(run: str | None, retry: str, takeover: bool) -> str:
    """Gives the text by which processes share a run: the argument, else that of the environment.

    Returns:
        The text; empty if the run is not shared.

    Raises:
        ArgumentError: It is no text, or another argument contradicts it.
    """
    if run is not None and (not isinstance(run, str) or not run.strip() or not is_storable(run)):
        raise ArgumentError("run", run, "a text that is not blank, such as a job's id, or None")
    text = os.environ.get(VARIABLE, "").strip() if run is None else run.strip()
    if text and retry != "new":
        expected = f"'new' in a run that several processes share ({shown(text)}): another ClearML task"
        raise ArgumentError("retry", retry, expected)
    if text and takeover:
        expected = f"False in a run that several processes share ({shown(text)}): any of them may join it"
        raise ArgumentError("takeover", takeover, expected)
    return text


def shared_info(info: RunInfo, text: str) -> RunInfo:
    """Gives the run that a text names, with this process as one of those that share it."""
    from .._storage.processes import this_process

    run = shared_run_id(info.group_id, text)
    return attrs.evolve(info, run=run, shared=text, process=this_process())


def parent_spec(info: RunInfo) -> TaskSpec:
    """Returns the spec of a run's parent, whose name tells the runs of a group apart: `svm-sweep #2`."""
    task_name = info.name if info.number <= 1 else f"{info.name} #{info.number}"
    return TaskSpec(
        key="", name=info.name, task_name=task_name, index=-1, attempt=1, params={}, kind="parent"
    )


def check_template(info: RunInfo, stored: str | None) -> None:
    """Warns if this process names values in another way than the one that began the run."""
    if stored not in (None, info.template):
        warn(
            f"the run {shown(info.shared)} began with the template {shown(stored)}, and this process has "
            f"{shown(info.template)}: values of the same metric get other names, and cannot be "
            "compared. Use one template in all scripts of a run",
            NameWarning,
        )


def leave(shared: SharedRun) -> None:
    if shared.leave():
        shared.ended()
