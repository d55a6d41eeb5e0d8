"""GroupInfo: the read-only part of TaskGroup: its tasks, its run, and where its data is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._model.identity import flatten
from ._model.parameter_json import typed_json
from ._results.filtering import has_parameters
from ._text import shown
from .errors import ArgumentError, GroupStateError, UnknownTaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ._run.run import Run
    from ._task import GroupTask


class GroupInfo:
    """What a group holds and where its data is; the base class of `TaskGroup`."""

    name: str
    _run: Run | None
    _tasks: dict[str, GroupTask]

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[GroupTask]:
        return iter(list(self._tasks.values()))

    def __bool__(self) -> bool:
        return True  # a group without tasks is still a group

    def get(
        self,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        key: str | None = None,
        name: str | None = None,
        **parameters: Any,
    ) -> GroupTask:
        """Finds one task: `group.get(C=1, seed=0)`.

        Args:
            params: Parameters as a dict, for names that are not Python identifiers.
            key: The task's key.
            name: The task's readable name.
            **parameters: Parameters, as many as are needed to identify the task.

        Raises:
            UnknownTaskError: No task matches, or more than one does.
            ArgumentError, ParameterError: An argument is of another kind.
        """
        if params is not None and not isinstance(params, Mapping):
            raise ArgumentError("params", params, "a dict of parameter to value")
        for argument, value in (("key", key), ("name", name)):
            if value is not None and not isinstance(value, str):
                raise ArgumentError(argument, value, "text")
        return _find_task(list(self), {**(params or {}), **parameters}, key, name)

    @property
    def at_agent(self) -> bool:
        """Whether an agent runs this script for one configuration only."""
        return self._opened_once().agent_task is not None

    @property
    def mode(self) -> str:
        """`"online"`, `"offline"` or `"disabled"`, as decided when the group was opened."""
        return self._opened_once().backend.mode

    @property
    def run(self) -> str:
        """The run's id, 32 hexadecimal digits."""
        return self._opened_once().info.run

    @property
    def run_number(self) -> int:
        """The run's number for people, from 1."""
        return self._opened_once().info.number

    @property
    def parent_id(self) -> str | None:
        """The id of the ClearML task that represents the run."""
        return self._opened_once().parent

    @property
    def url(self) -> str | None:
        """The parent's page; offline, its session folder; None without a parent."""
        run = self._opened_once()
        return run.backend.url(run.parent) if run.parent else None

    @property
    def compare_urls(self) -> list[str]:
        """The pages that compare the tasks, one for each 100 tasks; none offline."""
        return self._opened_once().backend.compare_urls([task.id for task in self])

    @property
    def where(self) -> str:
        """The server's address; offline, the folder of ClearML's sessions."""
        return self._opened_once().backend.where

    @property
    def record_path(self) -> Path | None:
        """The path of the run log: what was opened and how it ended, one JSON object per line; else None."""
        run_log = self._opened_once().run_log
        return run_log.path if run_log else None

    def _opened(self) -> Run:
        if self._run is None:
            raise GroupStateError(
                self.name, "is not open yet", "use it as `with TaskGroup(…) as group:`, or call group.open()"
            )
        if self._run.closed:
            raise GroupStateError(self.name, "has been closed", "open its tasks before its block ends")
        return self._run

    def _opened_once(self) -> Run:
        return self._run if self._run is not None else self._opened()


def _find_task(
    tasks: Sequence[GroupTask], params: Mapping[str, Any], key: str | None, name: str | None
) -> GroupTask:
    wanted = {parameter: typed_json(value, parameter) for parameter, value in flatten(params).items()}
    found = [
        task
        for task in tasks
        if (key is None or task.key == key)
        and (name is None or str(task) == name)
        and has_parameters(task._state.params, wanted)
    ]
    if len(found) != 1:
        asked = {**wanted, **({"key": key} if key else {}), **({"name": name} if name else {})}
        text = ", ".join(f"{field}={shown(value)}" for field, value in asked.items()) or "no parameters"
        raise UnknownTaskError(text, [str(task) for task in found], [str(task) for task in tasks])
    return found[0]
