"""ClearML's objects in forked children of a process that has used them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import after_fork
from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script

SCRIPT = """
import os
from clearml_taskgroup import TaskGroup

def use(task):
    task.logger.report_text("hello")
    task.logger.report_media("media", "text", 1, local_path="sample.txt")
    task.clearml_task.upload_artifact("answer", {"x": task.params["n"]})
    return os.getpid()

open("sample.txt", "w").write("a sample")
with TaskGroup("the project", "the group", mode=os.environ["MODE"], provenance=False) as group:
    use(group.task({"n": -1}))
    children = group.map(use, {"n": range(6)}, workers=2)
    assert [child.error for child in children] == [None] * 6
    assert os.getpid() not in [child.value for child in children]
"""


@pytest.mark.parametrize("mode", ["offline", "online"])
@pytest.mark.quick(1)
def test_workers_upload_after_their_parent_has(loopback: LoopbackServer, tmp_path: Path, mode: str) -> None:
    """They neither wait for threads of their parent's nor send on its connections."""
    run_script(SCRIPT, loopback, tmp_path, extra={"MODE": mode})
    if mode == "online":
        members = [doc for doc in loopback.tasks.values() if doc["name"].startswith("the group n=")]
        assert [len(doc["execution"]["artifacts"]) for doc in members] == [1] * 7
        assert [len(loopback.images(doc["id"])) for doc in members] == [1] * 7
        assert ["".join(loopback.logs(doc["id"])) for doc in members] == ["hello"] * 7


# --- with modules in place of ClearML's ----------------------------------------------------------


def adapter(made: list[tuple[int, int, bool]]) -> Any:
    """An adapter of `requests` with open connections; `made` gets what makes its new ones."""
    return SimpleNamespace(
        proxy_manager={"proxy": "a connection"},
        init_poolmanager=lambda *pool: made.append(pool),
        _pool_connections=3,
        _pool_maxsize=5,
        _pool_block=False,
    )


def test_without_clearml_there_is_nothing_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is not imported for that."""
    for name in ("backend_interface.metrics.interface", "backend_api.session.session", "storage.helper"):
        monkeypatch.delitem(sys.modules, f"clearml.{name}", raising=False)
    after_fork._forget_upload_threads()
    after_fork._forget_connections()
    assert "clearml.storage.helper" not in sys.modules


def test_upload_threads_are_forgotten_and_not_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeing a pool of threads that do not run would warn."""
    metrics = SimpleNamespace(_upload_pool="pool", _file_upload_pool="files")
    module = SimpleNamespace(Metrics=metrics)
    monkeypatch.setitem(sys.modules, "clearml.backend_interface.metrics.interface", module)
    monkeypatch.setattr(after_fork, "_pools_of_parent", [])
    after_fork._forget_upload_threads()
    assert (metrics._upload_pool, metrics._file_upload_pool) == (None, None)
    assert after_fork._pools_of_parent == ["pool", "files"]


def without_other_modules(monkeypatch: pytest.MonkeyPatch, name: str, module: Any) -> None:
    """Puts one module in ClearML's place, and none for the other one that has connections."""
    for each in ("clearml.backend_api.session.session", "clearml.storage.helper"):
        monkeypatch.delitem(sys.modules, each, raising=False)
    monkeypatch.setitem(sys.modules, name, module)


def test_sessions_of_the_api_get_new_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that live and have connected."""
    made: list[tuple[int, int, bool]] = []
    adapters = [adapter(made), adapter(made)]
    http = SimpleNamespace(adapters=dict(enumerate(adapters)))
    sessions: list[Callable[[], Any]] = [
        lambda: None,
        lambda: SimpleNamespace(_Session__http_session=None),
        lambda: SimpleNamespace(_Session__http_session=http),
    ]
    module = SimpleNamespace(Session=SimpleNamespace(_sessions_weakrefs=sessions))
    without_other_modules(monkeypatch, "clearml.backend_api.session.session", module)
    after_fork._forget_connections()
    assert made == [(3, 5, False)] * 2
    assert [each.proxy_manager for each in adapters] == [{}, {}]


@pytest.mark.parametrize("name", ["_StorageHelper", "StorageHelper"])
def test_storages_get_new_connections(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Those of HTTP servers, by either name of ClearML's class."""
    made: list[tuple[int, int, bool]] = []

    class Driver:
        def __init__(self) -> None:
            session = SimpleNamespace(adapters={"http://": adapter(made)})
            self._containers = {"files": SimpleNamespace(session=session)}

    helpers = {"http": SimpleNamespace(_driver=Driver()), "s3": SimpleNamespace(_driver=object())}
    module = SimpleNamespace(_HttpDriver=Driver, **{name: SimpleNamespace(_helpers=helpers)})
    without_other_modules(monkeypatch, "clearml.storage.helper", module)
    after_fork._forget_connections()
    assert made == [(3, 5, False)]
