"""Gives forked children connections and upload threads of their own for ClearML's objects.

A child inherits both from its parent: threads that do not run there, and open connections on which the
requests of two processes would mix.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .. import _fork

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

_pools_of_parent: list[Any] = []


@_fork.in_child
def _forget_upload_threads() -> None:
    module = sys.modules.get("clearml.backend_interface.metrics.interface")
    if module is not None:
        metrics = module.Metrics
        _pools_of_parent.extend((metrics._upload_pool, metrics._file_upload_pool))  # their `__del__` warns
        metrics._upload_pool = metrics._file_upload_pool = None


@_fork.in_child
def _forget_connections() -> None:
    for session in (*_api_sessions(), *_storage_sessions()):
        adapter: Any  # an HTTPAdapter, whose own type does not have these
        for adapter in session.adapters.values():
            adapter.proxy_manager.clear()
            adapter.init_poolmanager(adapter._pool_connections, adapter._pool_maxsize, adapter._pool_block)


def _api_sessions() -> Iterator[requests.Session]:
    module = sys.modules.get("clearml.backend_api.session.session")
    for reference in module.Session._sessions_weakrefs if module is not None else ():
        http_session = getattr(reference(), "_Session__http_session", None)
        if http_session is not None:
            yield http_session


def _storage_sessions() -> Iterator[requests.Session]:
    module = sys.modules.get("clearml.storage.helper")
    if module is None:
        return
    helper_class = getattr(module, "_StorageHelper", None) or module.StorageHelper  # before clearml 1.17
    for helper in list(helper_class._helpers.values()):
        driver = helper._driver
        if isinstance(driver, module._HttpDriver):
            for container in list(driver._containers.values()):
                yield container.session
