"""RunStorage: where the data of an open run goes, and the run that it resumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from .._storage.run_log import RunLog

if TYPE_CHECKING:
    from pathlib import Path

    from .._model.past import Prior
    from .._storage.base import Backend
    from .sharing import Joined


class Resume(NamedTuple):
    """How to continue the latest run of a group."""

    retry: Literal["new", "continue"] = "new"
    takeover: bool = False


class RunStorage(NamedTuple):
    """Where a run's data goes, and the run that it resumes."""

    backend: Backend
    run_log: RunLog | None = None
    prior: Prior | None = None
    run_number: int = 1
    joined: Joined | None = None


def open_run_log(folder: Path, prior: Prior | None, resume: Resume | None) -> RunLog:
    if prior is not None and prior.path is not None:
        return RunLog.reopen(prior.path, resume is not None and resume.takeover)
    return RunLog.start(folder)
