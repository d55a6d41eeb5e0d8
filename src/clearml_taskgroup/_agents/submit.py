"""Submits the configurations of a sweep to a ClearML queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._model.search_space import configurations
from .._task import GroupTask
from .queue import QueuedTask, Queueing, open_submission
from .submit_checks import check, is_idle_rank

if TYPE_CHECKING:
    from .._group import TaskGroup
    from .._model.search_space import Space
    from .._run.run import Run


def submit_sweep(group: TaskGroup, run: Run, space: Space, queue: str, limit: int | None) -> list[GroupTask]:
    """Submits the configurations of a sweep that no earlier attempt has completed; returns all tasks.

    On a rank of a distributed job that leaves submitting to rank 0 it does nothing.

    Raises:
        SubmitError: An agent could not run this script.
        UnknownQueueError: The server has no such queue.
        ServerError: The server refuses a request.
    """
    if is_idle_rank(run):
        return []
    check(group, run, queue)
    submission = open_submission(run, queue, limit)
    queueing = group._queueing = group._queueing or Queueing()
    specs = [
        attrs.evolve(spec, queue=queue)
        for spec in run.specs.make_all(configurations(space), sweep=str(run.sweeps))
    ]
    done = [spec for spec in specs if run.is_done(spec.key)]
    submitted = queueing.submit(run, [spec for spec in specs if not run.is_done(spec.key)], submission)
    tasks = [GroupTask(group, run, state) for state in run.create(done)]
    run.specs.add(state.spec for state in submitted)
    run.submitted.update((state.spec.key, state) for state in submitted)
    queueing.log_submission(len(done), submitted, len(specs))
    return [*tasks, *(QueuedTask(group, run, state) for state in submitted)]
