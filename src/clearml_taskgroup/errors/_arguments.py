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

    def __str__(self) -> str:
        if self.given is None:
            return f"{self.argument}= was not given, or is None; expected {self.expected}"
        return f"{self.argument}={shown(self.given)} was given; expected {self.expected}"


@facts
class MissingExtraError(TaskGroupError, ImportError):
    """Raised when something needs a package that is not installed."""

    package: str
    extra: str
    used: str

    def __str__(self) -> str:
        return f"{self.used} needs {self.package}: pip install 'clearml-taskgroup[{self.extra}]'"
