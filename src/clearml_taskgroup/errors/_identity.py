"""Identity: parameters, keys, search spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._text import some
from ._base import AdviceError, TaskGroupError, facts

if TYPE_CHECKING:
    from collections.abc import Sequence


class ParameterError(AdviceError, ValueError):
    """Raised when a parameter cannot be part of a task's stable identity."""

    kind = "the parameter"


@facts
class DuplicateTaskError(TaskGroupError, ValueError):
    """Raised when a run would have two tasks with the same key.

    Attributes:
        places: The two positions in one search space, from 1; None if they are not of one space.
    """

    key: str
    first: str
    second: str
    places: tuple[int, int] | None = None

    def __str__(self) -> str:
        same = f"{self.second} has the same identity (key {self.key!r}) as {self.first}"
        if self.places is None and self.first == self.second:
            same = f"this group already has {self.first}"
        if self.places is not None:
            same += f": the space has it twice, as its configurations {self.places[0]} and {self.places[1]}"
            return (
                f"{same}; leave one of them out, or add a parameter that distinguishes them, such as a seed"
            )
        return (
            f"{same}; to repeat it, add for example {{'repeat': 2}}, or give key=. To go on with the "
            "existing task, write group.task(…, if_exists='return') or group.get(…); to run again what has "
            "failed, stopped or not finished, as after an error in a notebook, write "
            "group.sweep(…, if_exists='retry')"
        )


@facts
class UnknownTaskError(TaskGroupError, LookupError):
    """Raised when `group.get` finds no task, or more than one."""

    asked: str
    found: Sequence[str]
    names: Sequence[str]

    def __str__(self) -> str:
        if not self.found:
            return f"no task matches {self.asked}; the group has: {some(self.names) or 'no tasks yet'}"
        return (
            f"{len(self.found)} tasks match {self.asked}: {some(self.found)}; give more parameters, or key="
        )


class ServerNameError(AdviceError, ValueError):
    """Raised when a ClearML server would refuse the name of a project or a task.

    Offline sessions are checked in the same way, since they could never be imported.
    """


class SpaceError(AdviceError, ValueError):
    """Raised when a search space cannot be turned into configurations."""
