"""Which task the bindings log to, and from when to when they ask."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

import attrs

from .. import _fork
from .._clearml import bindings
from .._current import entered_tasks
from .._log import logger
from .._model.frameworks import NOT_ROUTED
from .task_target import TaskTarget

if TYPE_CHECKING:
    from .._model.frameworks import Frameworks
    from .._run.run import Run
    from .._task import GroupTask


@attrs.define
class _Users:
    """Who needs the stand-ins.

    Attributes:
        groups: The number of open groups that log automatically.
        targets: The tasks that have logged something, until they have ended.
    """

    groups: int = 0
    targets: weakref.WeakSet[TaskTarget] = attrs.field(factory=weakref.WeakSet)
    lock: threading.RLock = attrs.field(factory=threading.RLock)


_users = _Users()


@_fork.in_child
def _renew_lock() -> None:
    _users.lock = threading.RLock()


def install(run: Run) -> None:
    """Sends what bindings log to the active task, until the run is closed."""
    frameworks = run.options.auto_connect_frameworks
    for key in frameworks.not_routed if frameworks is not None else ():
        logger.info("auto-logging of %s does not go to the tasks of a group: %s", key, NOT_ROUTED[key])
    with _users.lock:
        bindings.install(active_target)
        _users.groups += 1
    run.after_close.append(_uninstall)


def _uninstall() -> None:
    with _users.lock:
        _users.groups -= 1
        if not _users.groups:
            bindings.uninstall()


def active_target(framework: str) -> TaskTarget | None:
    """Gives the innermost task in whose block this is and whose group logs a framework automatically."""
    for task in entered_tasks():
        frameworks = task._run.options.auto_connect_frameworks
        if frameworks is not None and framework in frameworks.on:
            return task._target or _new_target(task, frameworks)
    return None


def _new_target(task: GroupTask, frameworks: Frameworks) -> TaskTarget:
    with _users.lock:
        if task._target is None:
            for other in list(_users.targets):
                if not other.task._state.is_open:
                    other.free()
                    _users.targets.discard(other)
            task._target = TaskTarget(task, frameworks)
            _users.targets.add(task._target)
        return task._target
