"""Make calls in short-lived threads: several at the same time, or one with a time limit."""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING, TypeVar

from .._model import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def call_concurrently(call: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """Calls a function for each item, in this thread and a few others; the results are in order.

    At the interpreter's end no thread can start; then this thread makes all calls.

    Raises:
        BaseException: The error of the first item that failed, after all calls were made.
    """
    listed = list(items)
    results: dict[int, _Out] = {}
    errors: dict[int, BaseException] = {}
    todo = iter(range(len(listed)))  # `next` on it is atomic, so no two threads get the same item

    def work() -> None:
        for at in todo:
            try:
                results[at] = call(listed[at])
            except BaseException as error:  # raised again in the calling thread
                errors[at] = error
                if not isinstance(error, Exception):
                    collections.deque(todo, maxlen=0)  # Ctrl-C: no thread begins another call
                    return

    threads: list[threading.Thread] = []
    for _ in range(min(limits.MAX_CONCURRENT_CALLS, len(listed)) - 1):
        thread = threading.Thread(target=work, name="clearml-taskgroup-calls", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        threads.append(thread)
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return [results[at] for at in range(len(listed))]


def call_in_time(function: Callable[[], object], timeout: float, what: str) -> None:
    """Calls a function that has no time limit of its own; it goes on in its thread after the limit.

    Args:
        function: What to call.
        timeout: Time limit in seconds.
        what: What takes the time, for the error.

    Raises:
        TimeoutError: The time is over.
    """
    errors: list[Exception] = []

    def call() -> None:
        try:
            function()
        except Exception as error:  # raised again in the calling thread
            errors.append(error)

    waiting = threading.Thread(target=call, daemon=True)
    try:
        waiting.start()
    except RuntimeError:  # no thread can start while the interpreter ends
        function()
        return
    waiting.join(timeout)
    if waiting.is_alive():
        raise TimeoutError(f"{what} took over {timeout:.0f} s")
    if errors:
        raise errors[0]
