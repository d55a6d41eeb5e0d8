"""Arguments that a call does not accept, and packages that it needs."""

from __future__ import annotations

from typing import Any

from .._text import shown
from ._base import TaskGroupError, facts


@facts
class ArgumentError(TaskGroupError, ValueError):
    """Raised when an argument has a value that the call does not accept."""

    argument: str
    given: Any
    expected: str

    @property
    def problem(self) -> str:
        """What is wrong and what was expected, without the argument's name and value."""
        found = "was not given, or is None" if self.given is None else "was given"
        return f"{found}; expected {self.expected}"

    def __str__(self) -> str:
        return f"{self.argument}={'' if self.given is None else shown(self.given)} {self.problem}"


@facts
class MissingExtraError(TaskGroupError, ImportError):
    """Raised when something needs a package that is not installed."""

    package: str
    extra: str
    used: str

    def __str__(self) -> str:
        return f"{self.used} needs {self.package}: pip install 'clearml-taskgroup[{self.extra}]'"
