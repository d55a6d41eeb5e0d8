"""TaskEnder: stores how tasks ended from a thread, so that the script goes on meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .closing import attempt_all, finish_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .run import Run
    from .state import TaskState

MAX_WAITING = 64
"""How many ended tasks may wait for the thread before the script waits for it, too."""


class TaskEnder:
    """Finishes tasks that have ended in a thread of its own, all that have ended meanwhile at once.

    What it does not manage is left to the group's end. The thread ends when no task is left.

    Args:
        run: The run.
        timeout: Seconds that one such step may take, and that `put` may wait.
    """

    def __init__(self, run: Run, timeout: float) -> None:
        self.run = run
        self.timeout = timeout
        self._waiting: dict[str, TaskState] = {}
        self._under_way: dict[str, TaskState] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __contains__(self, state: TaskState) -> bool:
        return state.id in self._waiting or state.id in self._under_way

    def put(self, state: TaskState) -> None:
        """Hands over a task that has ended; waits while too many others wait."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING, self.timeout):
                return
            self._waiting[state.id] = state
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._work, name="clearml-taskgroup-ends", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no thread can start while the interpreter ends
                self._work()

    def take_back(self, states: Iterable[TaskState], timeout: float) -> bool:
        """Gives tasks back to the caller, who finishes them or lets them go on.

        Returns:
            Whether the thread works on none of them any more, after at most `timeout` seconds.
        """
        if self._thread is None:  # offline it runs in `map` only
            return True
        ids = {state.id for state in states}
        with self._changed:
            for task_id in ids & self._waiting.keys():
                del self._waiting[task_id]
            self._changed.notify_all()
            if self._thread is threading.current_thread():  # in which a forgotten group was collected
                return True
            return self._changed.wait_for(lambda: not ids & self._under_way.keys(), timeout)

    def wait(self, timeout: float) -> bool:
        """Waits until the tasks that were put so far have been tried; returns whether they have."""
        with self._changed:
            ids = self._waiting.keys() | self._under_way.keys()
            return self._changed.wait_for(
                lambda: not ids & (self._waiting.keys() | self._under_way.keys()), timeout
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._under_way, self._waiting = self._waiting, {}
                self._changed.notify_all()
                if not self._under_way:
                    self._thread = None
                    return
            attempt_all([self._finish])  # what goes wrong does so again, and is reported, at the group's end

    def _finish(self) -> None:
        finish_tasks(self.run, self._under_way.values(), self.timeout, last=False)
