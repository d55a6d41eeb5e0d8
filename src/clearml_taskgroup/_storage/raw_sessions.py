"""Offline sessions that ClearML itself has written: folders, and zip files of closed tasks."""

from __future__ import annotations

import contextlib
import json
import zipfile
from typing import IO, TYPE_CHECKING, Any

import attrs

from .._clearml.events import events_in, is_point
from .._clearml.queries import identity_of
from .._log import logger
from .._model.name_template import Name
from .run_log import files_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile)


@attrs.frozen
class RawSession:
    """A session without a run log.

    Attributes:
        id, name, project: Of its task.
        path: Its folder or zip file.
    """

    id: str
    name: str
    project: str
    path: Path

    def read_names(self) -> tuple[list[Name], float]:
        """Reads titles and series of its scalars, and when the first was reported, in seconds since 1970.

        Without a scalar that is when its file was written.
        """
        names: dict[Name, None] = {}
        first: float | None = None
        try:
            with _open(self.path, "metrics.jsonl") as lines:
                for line in lines:
                    for event in events_in(line):
                        if is_point(event) and event.get("task") == self.id:
                            names[Name(event["metric"], event["variant"])] = None
                            at = event.get("timestamp")
                            first = at / 1000 if first is None and isinstance(at, (int, float)) else first
        except (FileNotFoundError, KeyError):  # it has no scalars
            pass
        except _UNREADABLE as error:
            _log_skipped(self.path, error)
        return list(names), self.path.stat().st_mtime if first is None else first


def raw_sessions(root: Path, known: Collection[str]) -> Iterator[RawSession]:
    """Finds the sessions in a folder; what cannot be read is skipped, with a log line.

    The parent of a group is left out: its values repeat those of its tasks.

    Args:
        root: ClearML's folder of offline sessions.
        known: The ids of sessions that run logs name, which are left out.
    """
    seen = set(known)
    for path in files_in(root):  # a folder comes before the zip file of the same session
        task_id = path.name.removesuffix(".zip")
        if task_id in seen or not task_id.startswith("offline-"):
            continue
        try:
            with _open(path, "task.json") as file:
                data: dict[str, Any] = json.loads(file.read())
            is_parent = identity_of(data).get("kind") == "parent"
            session = RawSession(task_id, str(data.get("name")), str(data.get("project_name")), path)
        except _UNREADABLE as error:
            _log_skipped(path, error)
            continue
        seen.add(task_id)
        if not is_parent:
            yield session


@contextlib.contextmanager
def _open(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Opens a file of a session; raises `FileNotFoundError` or `KeyError` if there is none."""
    if path.is_dir():
        with (path / name).open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        yield file


def _log_skipped(path: Path, error: Exception) -> None:
    logger.warning("skipped: the offline session %s cannot be read: %s", path, error)
