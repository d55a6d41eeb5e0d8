"""Deletes a run from this disk: its run log, the files beside it, its offline sessions, and nothing else."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from ..errors import RunLogError
from .append_file import disk_errors
from .past_runs import is_run_log_name
from .run_log import files_beside
from .upload_session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .._model.past import PastRun


def files_of(past: PastRun) -> tuple[list[Path], list[Path]]:
    """Lists the files and folders of a run, its run log last, and sessions that it names but are not its.

    Raises:
        RunLogError: The run log is not where a group writes it, so that nobody knows what is beside it.
    """
    path = past.path.absolute()
    group, root = path.parent, path.parent.parent
    if not is_run_log_name(path.name) or (root.name, group.name) != ("taskgroup", past.group):
        raise RunLogError(
            str(path),
            f"is not in its place, taskgroup/{past.group}/run-….jsonl in ClearML's cache folder",
            "nothing was deleted; delete the file by hand if nobody needs it",
        )
    ids = [*past.tasks, *([past.parent] if past.owns_parent and past.parent else [])]
    sessions = [root.parent / "offline" / task_id for task_id in ids] if past.mode == "offline" else []
    there = [session for session in sessions if session.is_dir()]
    own = [session for session in there if _belongs_to(session, past)]
    named = [name for name in [group / f"{past.run}.number"] if name.is_file()]
    return [*own, *named, *files_beside(path), path], [session for session in there if session not in own]


def last_write(past: PastRun) -> float:
    """Returns when something of a run was last written, in seconds since 1970."""
    with contextlib.suppress(RunLogError):
        paths = [path for path in files_of(past)[0] if not path.is_symlink()]
        inside = (file for path in paths if path.is_dir() for file in path.iterdir())
        return max((path.lstat().st_mtime for path in (*paths, *inside) if path.exists()), default=0.0)
    return past.path.stat().st_mtime


def _belongs_to(folder: Path, past: PastRun) -> bool:
    session = Session.read(folder)
    return session is not None and session.identity.get("run") == past.run


def delete(paths: Iterable[Path]) -> None:
    """Deletes files and folders; of a symbolic link, the link alone.

    Raises:
        StoreError: One cannot be deleted; those after it are left.
    """
    for path in paths:
        with disk_errors(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
