"""The storage of a worker on the machine that has the run's outbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from clearml_taskgroup._model.specs import Ending
from clearml_taskgroup._storage.outbox import Outbox
from clearml_taskgroup._storage.worker import WorkerBackend
from clearml_taskgroup.errors import StoreError

EVENTS = [f'{{"type":"log","task":"a","n":{number}}}' for number in range(3)]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """The outbox of the process that opened the run."""
    return Outbox.open(tmp_path / "run-0001.outbox")


@pytest.fixture
def connect() -> Mock:
    """Logs in to a server."""
    return Mock(return_value=Mock())


@pytest.fixture
def worker(outbox: Outbox, connect: Mock) -> WorkerBackend:
    return WorkerBackend(outbox.path, connect)


def test_events_are_delivered_by_the_process_that_opened_the_run(
    worker: WorkerBackend, outbox: Outbox, connect: Mock
) -> None:
    """A line that another writer was killed in is ended first."""
    batch = {"a": EVENTS[:2]}
    worker.write(batch)
    assert batch == {}
    with outbox.path.open("a") as file:
        file.write('{"type":"log","task":"a","msg":"{}')
    worker.write({"a": EVENTS[2:], "b": ['{"type":"log","task":"b"}']})
    found, length = outbox.next()
    assert found == {"a": EVENTS, "b": ['{"type":"log","task":"b"}']}
    assert length == outbox.size
    assert (worker.where, worker.finish([Ending("a", "completed")], 1.0)) == (str(outbox.path), {})
    worker.close()
    worker.close()
    connect.assert_not_called()


def test_a_run_that_has_ended_takes_nothing(worker: WorkerBackend, outbox: Outbox) -> None:
    """Its file is gone, also for a worker that has it open; the events stay in the batch."""
    worker.write({"a": EVENTS[:1]})
    outbox.delivered(outbox.size)
    outbox.close()
    batch = {"a": EVENTS[1:]}
    with pytest.raises(StoreError, match="the group has been closed in the process that opened it"):
        worker.write(batch)
    with pytest.raises(StoreError, match="No such file"):
        WorkerBackend(outbox.path, Mock()).write(batch)
    assert batch == {"a": EVENTS[1:]}


def test_a_worker_logs_in_once_it_has_to(worker: WorkerBackend, connect: Mock, tmp_path: Path) -> None:
    """What it cannot upload is kept beside the run's log."""
    worker.set_parameters("a", {"lr": 1})
    worker.set_parameters("a", {"lr": 2})
    connect.assert_called_once_with()
    online = connect.return_value
    assert worker.online == online
    assert online.kept_files.folder == tmp_path / "run-0001.files"
    assert online.set_parameters.call_count == 2
    worker.close()
    online.close.assert_called_once_with()


def test_only_the_process_that_opened_the_run_creates_tasks(worker: WorkerBackend) -> None:
    run: Any = None
    with pytest.raises(NotImplementedError):
        worker.create(run, [], None)


def test_clearmls_own_objects_are_waited_for_once_one_was_opened(
    worker: WorkerBackend, connect: Mock
) -> None:
    """Before that there is nothing to wait for, and no reason to log in."""
    online: Any = connect.return_value
    worker.flush_clearml_task("a", 3.0)
    worker.wait_for_uploads("a", 3.0)
    connect.assert_not_called()
    assert worker.clearml_task("a") is online.clearml_task.return_value
    worker.flush_clearml_task("a", 3.0)
    worker.wait_for_uploads("a", 4.0)
    online.flush_clearml_task.assert_called_once_with("a", 3.0)
    online.wait_for_uploads.assert_called_once_with("a", 4.0)
    connect.assert_called_once_with()
