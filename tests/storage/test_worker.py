"""The storage of a worker on the machine that has the run's outbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

from clearml_taskgroup._storage.worker import WorkerBackend


def test_clearmls_own_objects_are_waited_for_once_one_was_opened(tmp_path: Path) -> None:
    """Before that there is nothing to wait for, and no reason to log in."""
    online: Any = Mock()
    connect = Mock(return_value=online)
    backend = WorkerBackend(tmp_path / "run-0001.outbox", connect)
    backend.flush_clearml_task("a", 3.0)
    backend.wait_for_uploads("a", 3.0)
    connect.assert_not_called()
    assert backend.clearml_task("a") is online.clearml_task.return_value
    backend.flush_clearml_task("a", 3.0)
    backend.wait_for_uploads("a", 4.0)
    online.flush_clearml_task.assert_called_once_with("a", 3.0)
    online.wait_for_uploads.assert_called_once_with("a", 4.0)
    connect.assert_called_once_with()
