"""What a storage does that says nothing else: no server, no outbox, nothing that others did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from clearml_taskgroup._clearml import queries
from clearml_taskgroup._clearml.events import Batch
from clearml_taskgroup._model.specs import Ending, RunInfo, TaskSpec
from clearml_taskgroup._storage.base import Backend
from clearml_taskgroup._storage.shared_run import SharedRun
from clearml_taskgroup.errors import GroupStateError, NoHistoryError

RUN = RunInfo("0" * 12, "project", "the group", "{metric}")


class Plain(Backend):
    """A storage that has only what each must have."""

    mode = "plain"
    where = "nowhere"
    transport: Any = None

    def __init__(self) -> None:
        self.reopened: list[Sequence[str]] = []

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        return []

    def write(self, batch: Batch) -> None: ...

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None: ...

    def finish(self, endings: Sequence[Ending], timeout: float) -> dict[str, Exception]:
        return {}

    def clearml_task(self, task_id: str) -> Any: ...

    def reopen(self, ids: Sequence[str]) -> None:
        self.reopened.append(ids)


def test_nothing_waits_and_nobody_else_did_anything() -> None:
    backend = Plain()
    assert backend.flush(0.0)
    assert backend.wait_for_disk(0.0)
    assert (backend.undelivered(), backend.delivery_remedy()) == ({}, ("", ""))
    assert (backend.delivery_problem(), backend.delivery_errors()) == (None, [])
    assert (backend.adopted, backend.archived) == ({}, ())
    assert (backend.url("a"), backend.compare_urls(["a"]), backend.table_url("run", None, is_own=True)) == (
        None,
        [],
        None,
    )
    assert (backend.share_outbox(), backend.read_scalars(["a"], 1.0)) == (None, {})


def test_what_it_does_not_have_is_named() -> None:
    with pytest.raises(NoHistoryError, match="plain"):
        Plain().read_curves({})
    with pytest.raises(GroupStateError, match="'plain', which has no queues"):
        Plain().draft(RUN, [], None, {})


def test_the_script_is_read_from_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Plain()
    monkeypatch.setattr(queries, "script_of", lambda transport, task_id: {"of": (transport, task_id)})
    assert backend.read_script("a") == {}
    backend.transport = "the server"
    assert backend.read_script("a") == {"of": ("the server", "a")}


def test_a_completed_task_is_opened_as_any_other() -> None:
    backend = Plain()
    assert backend.reopen_completed("a") == ""
    assert backend.reopened == [["a"]]


def test_a_shared_run_is_told_that_this_process_is_alive() -> None:
    beats: list[str] = []

    class Shared(SharedRun):
        def beat(self) -> None:
            beats.append(self.process)

    backend = Plain()
    backend.heartbeat()
    assert beats == []
    backend.shared = Shared("p1")
    backend.heartbeat()
    backend.keep_alive()
    assert beats == ["p1", "p1"]
