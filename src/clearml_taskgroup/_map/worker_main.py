"""What a worker process of `map(workers=…)` does: calls the function with tasks, until it is told to end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from .. import _fork
from .._run.failures import reason_of
from .._run.signals import SignalExit
from .call import open_and_call
from .devices import VARIABLE
from .thread_limits import limit
from .worker_group import leave_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    from .._task import GroupTask

READY, UNFIT, BEGUN = b"ready", b"unfit", b"begun"
"""A worker's messages that are not results: it takes calls; it cannot load the function; a call begins."""


def work(
    pipe: Connection, fn: bytes, environ: Mapping[str, str], threads: int | None, others: list[Connection]
) -> None:
    """Makes calls until an empty message, SIGTERM or the end of the pipe."""
    for other in others:  # inherited by a fork: while they are open here, nobody sees them end
        other.close()
    os.environ.pop(VARIABLE, None)  # a fork server may be older than what was set, or removed, since
    os.environ.update(environ)
    terminated = _set_signal_handlers()
    try:
        function: Callable[[GroupTask], Any] = pickle.loads(fn)
    except Exception as error:
        pipe.send_bytes(UNFIT + reason_of(error).encode())
        return
    if threads is not None:
        limit(threads)
    with contextlib.suppress(EOFError, OSError):  # the map's process has gone
        pipe.send_bytes(READY)
        while data := pipe.recv_bytes():
            pipe.send_bytes(BEGUN)
            result = open_and_call(function, pickle.loads(data))
            assert isinstance(result, bytes)
            pipe.send_bytes(result)
            if terminated.is_set():
                break
    leave_all()


def _set_signal_handlers() -> threading.Event:
    """SIGTERM ends the call; Ctrl-C is left to the process that started this one."""
    terminated = threading.Event()

    def terminate(signum: int, frame: Any) -> None:
        if not terminated.is_set():
            terminated.set()
            raise SignalExit.of(signum)

    def ignore(signum: int, frame: Any) -> None:
        return None

    def restore_in_child() -> None:  # a pool that the call forks ends its workers by SIGTERM
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, terminate)
    _fork.in_child(restore_in_child)
    signal.signal(signal.SIGINT, ignore)  # not SIG_IGN, which programs started here would inherit
    parent = multiprocessing.parent_process()
    if parent is not None:
        watch = threading.Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True)
        watch.start()
    return terminated


def _exit_with_parent(sentinel: int) -> None:
    """Ends this process when the one that started it has died: nobody receives its results any more."""
    wait([sentinel])
    leave_all()
    os._exit(1)
