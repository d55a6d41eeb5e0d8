"""TaskInfo: what GroupTask tells of itself: who it is, where it runs and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._model.parameter_json import copied_parameters
from ._reporting import Reporting

if TYPE_CHECKING:
    from ._model.status import Status
    from ._run.run import Run
    from ._run.state import TaskState


class TaskInfo(Reporting):
    """Who a task is and how it stands; the base class of `GroupTask`."""

    __slots__ = ()
    _run: Run
    _state: TaskState

    def _repr_html_(self) -> str:
        from ._results.notebook import task_html

        return task_html(self._run, self._state)

    @property
    def name(self) -> str:
        """The readable name, `C=1,seed=0`."""
        return self._state.spec.name

    @property
    def key(self) -> str:
        """The task's stable identity in its group, the same in every run."""
        return self._state.spec.key

    @property
    def index(self) -> int:
        """The position in the space, from 0."""
        return self._state.spec.index

    @property
    def attempt(self) -> int:
        """The number of the attempt at this key, from 1."""
        return self._state.spec.attempt

    @property
    def id(self) -> str:
        """The ClearML task's id; offline, a temporary one."""
        return self._state.id

    @property
    def params(self) -> dict[str, Any]:
        """A copy of the parameters, with those that were set since.

        Changing the copy does not change the task; `set_parameters` adds parameters to it.
        """
        return copied_parameters(self._state.params)

    @property
    def tags(self) -> tuple[str, ...]:
        """The task's own tags, without those of the group."""
        return self._state.spec.tags

    @property
    def url(self) -> str | None:
        """The task's page; offline, its session folder; None in the other modes."""
        return self._run.backend.url(self.id)

    @property
    def status(self) -> Status:
        """`"in_progress"`, `"completed"`, `"failed"` or `"stopped"`.

        A task that was submitted to a queue can also be `"queued"`, or as a draft `"created"`.
        """
        return self._state.status

    @property
    def device(self) -> str | None:
        """The device of the worker process that runs the task, as `map(devices=…)` names it; else None.

        In the worker it is the only device that CUDA shows, `cuda:0`. In the script's own process it is that
        of the latest attempt.
        """
        return self._state.device

    @property
    def done(self) -> bool:
        """Whether an earlier attempt completed it, or another process of a shared run has it."""
        return self._state.done

    @property
    def status_reason(self) -> str:
        """Why the task failed or was stopped; else empty."""
        return self._state.reason
