"""The arguments of `map`, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._model.arguments import checked_seconds
from .._text import counted
from ..errors import ArgumentError
from .devices import checked_devices

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .._run.run import Run

_NOT_ON_EXECUTOR = "none beside executor=, which makes calls in its own way; write workers=N instead"


@attrs.frozen
class MapOptions:
    """How a `map` makes its calls.

    Attributes:
        workers: How many worker processes; None for none.
        executor: The user's executor; None for none.
        retries: How often a configuration that failed is tried again.
        timeout: The most seconds that a call may take; None for no limit.
        devices: The names of the devices, one for each worker; empty if workers get none.
    """

    workers: int | None = None
    executor: Executor | None = None
    retries: int = 0
    timeout: float | None = None
    devices: tuple[str, ...] = ()

    def in_run(self, run: Run) -> MapOptions:
        """Gives the options that have an effect in a run.

        An agent has given this process its device and its one task; in a recording, all calls are made here.
        """
        if run.agent_task is not None:
            return attrs.evolve(self, retries=0, devices=())
        if run.backend.mode == "memory":
            return attrs.evolve(self, workers=None, timeout=None, devices=())
        return self


def checked_options(
    fn: Any, workers: Any, executor: Any, retries: Any, timeout: Any, devices: Any
) -> MapOptions:
    """Checks the arguments of `map`; see there.

    Raises:
        ArgumentError: One is of the wrong kind, or two of them contradict each other.
    """
    if not callable(fn):
        raise ArgumentError("fn", fn, "a function that takes a task")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ArgumentError("workers", workers, "a number of processes from 1 on, or None to run here")
    if type(retries) is not int or retries < 0:
        raise ArgumentError("retries", retries, "how often a failed configuration is tried again, from 0 on")
    if timeout is not None:
        timeout = checked_seconds("timeout", timeout)
        if timeout == 0:
            raise ArgumentError("timeout", timeout, "seconds: a number above 0, or None for no limit")
    names = () if devices is None else checked_devices(devices)
    if executor is not None:
        if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
            raise ArgumentError("executor", executor, "a concurrent.futures.Executor")
        if workers is not None:
            raise ArgumentError("executor", executor, "workers= or executor=, not both")
        for argument, value in {"retries": retries, "timeout": timeout, "devices": names}.items():
            if value:
                raise ArgumentError(argument, value, _NOT_ON_EXECUTOR)
        return MapOptions(executor=executor)
    if names and workers is None:
        workers = len(names)
    if names and workers > len(names):
        listed = counted(len(names), "device")
        expected = f"at most one for each of the {listed}; list a device twice to give it two workers"
        raise ArgumentError("workers", workers, expected)
    if timeout is not None and workers is None:
        expected = "workers=1 or more beside it: a worker process can be ended, a call in this one cannot"
        raise ArgumentError("timeout", timeout, expected)
    return MapOptions(workers, None, retries, timeout, names)
