"""A group on a server, or behind a proxy, with odd answers: nothing is lost, deadlines are kept."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, cast

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import api
from clearml_taskgroup._model import limits
from clearml_taskgroup._storage import batch_sender, sender
from clearml_taskgroup._storage.batch_sender import Undecided
from clearml_taskgroup._storage.online import OnlineBackend
from clearml_taskgroup._storage.outbox import refused_path
from clearml_taskgroup._storage.sender import Sender
from clearml_taskgroup._storage.upload import upload
from clearml_taskgroup.errors import DeliveryError
from tests.loopback import LoopbackServer

ADD = batch_sender.ACTION
FOR_EVER = 1_000_000
BAD = b'"iter":7,'
PAGE = b"<html>Bad Request</html>"


def envelope(data: Any, **meta: Any) -> bytes:
    """An answer of a ClearML server, with any data."""
    return json.dumps({"meta": {"result_code": 200, **meta}, "data": data}).encode()


ODD: dict[str, dict[str, Any]] = {
    "400": {"status": 400, "body": PAGE},
    "403": {"status": 403, "body": PAGE},
    "413": {"status": 413, "body": PAGE},
    "302": {"status": 302, "body": PAGE},
    "500": {"status": 500, "body": PAGE},
    "200": {"body": PAGE},
    "empty": {"body": b""},
    "null": {"body": b'{"meta":{},"data":null}'},
    "only null": {"body": b"null"},
    "data null": {"body": envelope(None)},
    "trickle": {"kind": "trickle"},
    "endless": {"kind": "endless"},
    "deep": {"body": b"[" * 100_000 + b"]" * 100_000},
    "deep inside": {"body": envelope({"added": "?"}).replace(b'"?"', b"[" * 100_000 + b"]" * 100_000)},
    "text": {"body": envelope({"added": "many"})},
    "infinite": {"body": envelope({"added": "?"}).replace(b'"?"', b"1e999")},
    "huge": {"body": envelope({"added": "?"}).replace(b'"?"', b"9" * 5000)},
    "a list": {"body": envelope([1, 2])},
    "a list of errors": {"body": envelope({"added": 0, "errors_info": [1]})},
    "odd meta": {"status": 400, "body": envelope({}, result_subcode="many", result_msg=[1])},
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test does not notice."""
    for module in (api, sender):
        monkeypatch.setattr(module, "MIN_RETRY_DELAY_S", 0.002)
        monkeypatch.setattr(module, "MAX_RETRY_DELAY_S", 0.02)
    monkeypatch.setattr(batch_sender, "RETRY_DELAYS_S", (0.002, 0.02))


def a_group(name: str = "odd answers") -> TaskGroup:
    """A group on the loopback server."""
    return TaskGroup("odd", name, mode="online", provenance=False)


def clock_of(group: TaskGroup) -> list[float]:
    """Replaces the clock by which refusals are counted: half a minute passes with each look."""
    assert group._run is not None
    backend: Any = group._run.backend
    now = [0.0]

    def clock() -> float:
        now[0] += 30.0
        return now[0]

    backend.batch_sender.clock = clock
    return now


def log_of(group: TaskGroup) -> Path:
    """The group's run log."""
    assert group.record_path is not None
    return Path(group.record_path)


def steps_of(loopback: LoopbackServer, task: Any) -> list[int]:
    """The iterations that the server has."""
    return [step for step, _ in loopback.scalars(task.id).get(("loss", "value"), [])]


@pytest.mark.quick(4)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_answer_for_a_while_costs_nothing(
    loopback: LoopbackServer, odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of that time are delivered afterwards, by the same thread, and none is set aside."""
    monkeypatch.setattr(limits, "API_ANSWER_TIMEOUT_S", 0.1)
    with a_group() as group:
        task = group.task({"a": 1})
        task.report({"loss": 0.0}, 0)
        group.flush()
        loopback.faults.fail_next(ADD, times=2, **odd)
        for step in range(1, 20):
            task.report({"loss": float(step)}, step)
        group.flush()
    assert steps_of(loopback, task) == list(range(20))
    assert not refused_path(log_of(group)).exists()
    assert not log_of(group).with_suffix(".outbox").exists()


LASTING = ("400", "413", "null", "trickle", "endless", "deep inside", "text", "odd meta")


@pytest.mark.quick(3)
@pytest.mark.parametrize("odd", [ODD[name] for name in LASTING], ids=LASTING)
def test_an_odd_answer_until_the_end_keeps_everything(
    loopback: LoopbackServer, odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing takes not much longer than it may, tells what waits and where; an upload delivers it."""
    with pytest.raises(ExceptionGroup) as raised, a_group() as group:
        task = group.task({"a": 1})
        task.report({"loss": 0.0}, 0)
        group.flush()
        loopback.faults.fail_next(ADD, times=FOR_EVER, **odd)
        for step in range(1, 20):
            task.report({"loss": float(step)}, step)
        before = time.monotonic()
        group.close(timeout=0.5)
    assert time.monotonic() - before < limits.API_ANSWER_TIMEOUT_S / 2
    errors = raised.value.exceptions
    assert all(len(str(error)) <= 500 for error in errors)
    (error,) = [error for error in errors if isinstance(error, DeliveryError)]
    assert error.points == 19
    assert "clearml-taskgroup upload" in str(error)
    loopback.faults.clear()
    assert upload(log_of(group)).problems == ()
    assert steps_of(loopback, task) == list(range(20))
    assert {path.suffix for path in log_of(group).parent.iterdir()} == {".jsonl"}


@pytest.mark.quick(2)
@pytest.mark.parametrize("odd", ["400", "413", "403", "null", "odd meta"])
def test_one_event_that_is_always_refused(loopback: LoopbackServer, odd: str) -> None:
    """All others are delivered; it is kept in a file, reported at close and by each upload."""
    loopback.faults.fail_next(ADD, times=FOR_EVER, containing=BAD, **ODD[odd])
    with pytest.raises(ExceptionGroup) as raised, a_group() as group:
        clock_of(group)
        task, other = group.tasks({"a": [1, 2]})
        for step in range(20):
            task.report({"loss": float(step)}, step)
            other.report({"loss": float(step)}, step + 100)
        group.flush()
        task.report({"loss": 20.0}, 20)
    (error,) = raised.value.exceptions
    assert isinstance(error, DeliveryError)
    assert (error.points, list(error.tasks)) == (1, ["a=1"])
    kept = refused_path(log_of(group))
    assert str(kept) in str(error)
    assert len(str(error)) <= 500
    (line,) = kept.read_text().splitlines()
    assert json.loads(line)["iter"] == 7
    assert steps_of(loopback, task) == [step for step in range(21) if step != 7]
    assert steps_of(loopback, other) == list(range(100, 120))
    assert loopback.task(task.id)["status"] == "completed"
    (problem,) = upload(log_of(group)).problems
    assert isinstance(problem, DeliveryError)
    assert problem.points == 1
    assert kept.read_text().splitlines() == [line]
    loopback.faults.clear()
    assert upload(log_of(group)).problems == ()
    assert steps_of(loopback, task) == list(range(21))
    assert not kept.exists()


def test_a_console_line_that_is_always_refused(loopback: LoopbackServer) -> None:
    """Where a proxy dislikes a text, that line alone is set aside."""
    loopback.faults.fail_next(ADD, times=FOR_EVER, containing=b"<script>", **ODD["403"])
    with pytest.raises(ExceptionGroup, match="closed cleanly"), a_group() as group:
        clock_of(group)
        task = group.task({"a": 1})
        assert group._run is not None
        for text in ("first", "<script>", "last"):
            group._run.reporter.put_text(task.id, text)
            group.flush()
        task.report({"loss": 1.0}, 1)
    assert loopback.logs(task.id) == ["first", "last"]
    assert "<script>" in refused_path(log_of(group)).read_text()


def test_a_group_that_is_closed_before_an_event_is_decided(loopback: LoopbackServer) -> None:
    """It waits in the outbox alone, and an upload delivers it or sets it aside."""
    loopback.faults.fail_next(ADD, times=FOR_EVER, containing=BAD, **ODD["400"])
    with pytest.raises(ExceptionGroup) as raised, a_group() as group:
        assert group._run is not None
        task, backend = group.task({"a": 1}), cast(OnlineBackend, group._run.backend)
        with loopback.faults.holding(ADD):  # until the others are in the outbox, as one batch
            task.report({"loss": 0.0}, 0)
            assert loopback.wait_until(lambda: loopback.peak_in_flight(ADD) == 1)
            for step in range(1, 20):
                task.report({"loss": float(step)}, step)
            assert group._run.reporter.flush(60.0)
        assert loopback.wait_until(lambda: isinstance(cast(Sender, backend.sender).error, Undecided))
        group.close(timeout=0.1)
    (error,) = raised.value.exceptions
    assert isinstance(error, DeliveryError)
    assert error.points == 1
    waits = log_of(group).with_suffix(".outbox").read_text()
    assert BAD.decode() in waits.splitlines()[-1]
    loopback.faults.clear()
    assert upload(log_of(group)).problems == ()
    assert steps_of(loopback, task) == list(range(20))


def test_an_offline_run_with_an_event_that_is_always_refused(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its upload delivers the others and keeps that one; the next upload delivers it."""
    monkeypatch.setattr(batch_sender, "MIN_REFUSAL_S", 0.0)
    with TaskGroup("odd", "offline", mode="offline", provenance=False) as group:
        task = group.task({"a": 1})
        for step in range(20):
            task.report({"loss": float(step)}, step)
    loopback.faults.fail_next(ADD, times=FOR_EVER, containing=BAD, **ODD["400"])
    uploaded = upload(log_of(group))
    (problem,) = uploaded.problems
    assert isinstance(problem, DeliveryError)
    assert problem.points == 1
    (line,) = refused_path(log_of(group)).read_text().splitlines()
    new_id = uploaded.ids[task.id]
    assert json.loads(line)["task"] == new_id
    assert [step for step, _ in loopback.scalars(new_id)["loss", "value"]] == [*range(7), *range(8, 20)]
    loopback.faults.clear()
    assert upload(log_of(group)).problems == ()
    assert [step for step, _ in loopback.scalars(new_id)["loss", "value"]] == list(range(20))
    assert not refused_path(log_of(group)).exists()
