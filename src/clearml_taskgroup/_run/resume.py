"""The run on this disk that `resume=True` continues, and how its tasks ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.name_template import NameTemplate
from .._model.past import Prior
from ..errors import RunLogError
from .recount import recount_past

if TYPE_CHECKING:
    from .._model.past import PastRun
    from .._storage.offline import OfflineBackend


def prior_on_disk(past: PastRun, backend: OfflineBackend) -> Prior:
    """Makes the run to continue of the latest offline run of a group on this disk.

    Args:
        past: That run.
        backend: The sessions, which hold the values of tasks whose process died.

    Raises:
        RunLogError: Sessions of the run have been deleted.
    """
    require_sessions(past, backend, "leave resume=True out to begin a new run")
    if past.status is None:  # its process died, and what it detected may be in the log alone
        for task_id in [*past.tasks, *([past.parent] if past.owns_parent and past.parent else [])]:
            if script := past.script_of(task_id):
                backend.set_script(task_id, script)
    recount_past(past, backend, NameTemplate(past.template))  # the names were rendered with that template
    for task in past.tasks.values():
        task.status, task.reason = task.final_status()
    return Prior(
        past.run, past.number, past.parent, past.owns_parent, past.latest(), past.path, template=past.template
    )


def require_sessions(past: PastRun, backend: OfflineBackend, instead: str) -> None:
    """Refuses a run of which data is gone: its tasks would count as completed without it.

    Args:
        past: The run.
        backend: The sessions.
        instead: What to do if they cannot be put back, for the error.

    Raises:
        RunLogError: Sessions of the latest attempts, or that of the run's own parent, have been deleted.
    """
    ids = [task.id for task in past.latest().values()]
    ids += [past.parent] if past.owns_parent and past.parent is not None else []
    gone = [task_id for task_id in ids if not backend.has_session(task_id)]
    if gone:
        raise RunLogError(
            str(past.path),
            f"names sessions that are no longer in {backend.where}: {len(gone)} of {len(ids)}",
            f"put them back, or {instead}",
        )
