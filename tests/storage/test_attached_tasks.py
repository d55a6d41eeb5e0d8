"""ClearML's own objects of tasks: who waits for what they send."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_taskgroup._clearml import failed_uploads, sdk
from clearml_taskgroup._storage.offline import OfflineBackend


def test_an_object_is_waited_for_until_it_was_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task without an object has nothing to wait for; an upload that takes too long is waited for again."""
    calls: list[tuple[object, ...]] = []

    def wait(task: object, timeout: float) -> None:
        calls.append(("wait", task, timeout))
        if timeout < 1.0:
            raise TimeoutError

    monkeypatch.setattr(sdk, "flush", lambda task, timeout: calls.append(("flush", task, timeout)))
    monkeypatch.setattr(sdk, "wait_for_uploads", wait)
    monkeypatch.setattr(failed_uploads, "unwatch", lambda task_id: calls.append(("unwatch", task_id)))
    backend = OfflineBackend(tmp_path)
    backend._attached["a"] = task = object()
    for task_id in ("a", "b"):
        backend.flush_clearml_task(task_id, 2.0)
    with pytest.raises(TimeoutError):
        backend.wait_for_uploads("a", 0.5)
    for task_id in ("a", "a", "b"):
        backend.wait_for_uploads(task_id, 3.0)
    backend.flush_clearml_task("a", 2.0)
    assert calls == [("flush", task, 2.0), ("wait", task, 0.5), ("wait", task, 3.0), ("unwatch", "a")]
