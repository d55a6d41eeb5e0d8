"""Storage in memory: for tests of sweeps, and for the mode `disabled`, which stores nothing."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml.documents import Scalars, scalars_of_events
from .._clearml.events import SINGLE_VALUE_ITERATION, Batch, Curves, curves_of
from .._clearml.hyperparameters import hyperparameters
from .._clearml.new_task import new_task_fields
from .._clearml.queries import identity_of
from .._model.parameter_json import copied_parameters
from .base import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._model.name_template import Name
    from .._model.specs import Ending, RunInfo, TaskSpec
    from .._model.status import Status


class Silent:
    """Replaces ClearML's objects in these modes: has every method, and each does nothing."""

    def __getattr__(self, name: str) -> Silent:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Silent:
        return self

    def __bool__(self) -> bool:
        return False

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None


@attrs.define
class MemoryTask:
    """One task in memory.

    Attributes:
        id: In place of the ClearML task's id.
        run: The run that it belongs to.
        spec: What it was created with: key, name, index, parameters, tags.
        parent: The id of the parent task.
        params: Its parameters, including those that were set later.
        status: ClearML's status.
        reason: Why it failed or stopped.
    """

    id: str
    run: RunInfo
    spec: TaskSpec
    parent: str | None
    params: dict[str, Any]
    status: Status = "in_progress"
    reason: str = ""
    _events: list[str] = attrs.field(factory=list, repr=False)

    @property
    def key(self) -> str:
        """The task's key."""
        return self.spec.key

    @property
    def name(self) -> str:
        """The task's name in its group."""
        return self.spec.name

    @property
    def tags(self) -> tuple[str, ...]:
        """The run's tags and the task's own."""
        return (*self.run.tags, *self.spec.tags)

    @property
    def hyperparameters(self) -> dict[str, dict[str, str]]:
        """The values of ClearML's hyperparameter sections, as text, by section and name."""
        sections = hyperparameters(self.run, attrs.evolve(self.spec, params=self.params))
        return {
            section: {name: item["value"] for name, item in items.items()}
            for section, items in sections.items()
        }

    @property
    def events(self) -> list[dict[str, Any]]:
        """The API events in the order of their arrival."""
        return [json.loads(event) for event in self._events]

    @property
    def scalars(self) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """For each title and series, (iteration, value) pairs in the order of their arrival."""
        found: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for event in self.events:
            if event["type"] == "training_stats_scalar" and event["iter"] != SINGLE_VALUE_ITERATION:
                name = (event["metric"], event["variant"])
                found.setdefault(name, []).append((event["iter"], event["value"]))
        return found

    @property
    def single_values(self) -> dict[str, float]:
        """The values that were reported without an iteration, by name."""
        return {
            event["variant"]: event["value"]
            for event in self.events
            if event["type"] == "training_stats_scalar" and event["iter"] == SINGLE_VALUE_ITERATION
        }

    @property
    def console(self) -> str:
        """The text of the task's console."""
        return "\n".join(event["msg"] for event in self.events if event["type"] == "log")


@attrs.define
class MemoryBackend(Backend):
    """Keeps tasks and events in memory, without disk or network.

    Attributes:
        tasks: The tasks by id, in the order of their creation, parents included.
    """

    mode: str = "memory"
    where: str = "memory"
    keep: bool = True
    tasks: dict[str, MemoryTask] = attrs.field(factory=dict, repr=False)
    _count: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1), repr=False)

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Adds the tasks."""
        ids = [f"{self.mode}-{next(self._count)}" for _ in specs]
        if self.keep:
            for task_id, spec in zip(ids, specs, strict=True):
                self.tasks[task_id] = MemoryTask(task_id, run, spec, parent, copied_parameters(spec.params))
        return ids

    def draft(
        self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None, like: Mapping[str, Any]
    ) -> list[str]:
        """Adds the tasks with the status `created`."""
        ids = self.create(run, specs, parent)
        for task_id in ids:
            self.set_status(task_id, "created")
        return ids

    def set_status(self, task_id: str, status: Status) -> None:
        """Sets the status of a task, as a server's queue would."""
        if self.keep:
            self.tasks[task_id].status = status

    def write(self, batch: Batch) -> None:
        """Keeps the events."""
        if self.keep:
            for task_id, events in batch.items():
                self.tasks[task_id]._events.extend(events)
        batch.clear()

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters to a task."""
        if self.keep:
            self.tasks[task_id].params.update(copied_parameters(params))

    def finish(self, endings: Sequence[Ending], timeout: float = math.inf) -> dict[str, Exception]:
        """Sets the status of tasks."""
        if self.keep:
            for ending in endings:
                task = self.tasks[ending.task_id]
                task.status, task.reason = ending.status, ending.reason
        return {}

    def reopen(self, ids: Sequence[str]) -> None:
        """Sets the status of tasks back to `in_progress`."""
        for task_id in ids:
            self.set_status(task_id, "in_progress")

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Gives the tasks' data points; raises in the mode `disabled`."""
        if not self.keep:
            return super().read_curves(wanted)
        return {task_id: curves_of(self.tasks[task_id].events, names) for task_id, names in wanted.items()}

    def clearml_task(self, task_id: str) -> Any:
        """Gives an object whose methods do nothing, so that scripts run unchanged."""
        return Silent()

    @property
    def members(self) -> list[MemoryTask]:
        """The tasks, without parents."""
        return [task for task in self.tasks.values() if task.spec.kind == "task"]

    def identity(self, task_id: str) -> dict[str, str]:
        """What identifies a task: group, run, key, name and the like."""
        task = self.tasks[task_id]
        return identity_of(new_task_fields(task.run, attrs.evolve(task.spec, params=task.params)))

    def read_scalars(self, ids: Sequence[str], timeout: float) -> dict[str, Scalars]:
        """Returns the statistics of the tasks that are kept."""
        return {task_id: scalars_of_events(self.tasks[task_id].events) for task_id in ids if self.keep}
