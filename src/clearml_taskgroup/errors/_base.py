"""The base classes of errors and warnings."""

from __future__ import annotations

from typing import ClassVar

import attrs

from .._text import printable_lines, shortened, shown

MAX_MESSAGE_CHARS = 500
"""The most characters of a message, whatever was given."""


class TaskGroupError(Exception):
    """The base of every error that this package raises."""

    def __init_subclass__(cls) -> None:
        """Makes the messages of each class short enough to be read, and harmless to terminals."""
        super().__init_subclass__()
        message = cls.__str__
        if "__str__" in vars(cls):
            cls.__str__ = lambda self: limited(message(self))  # type: ignore[method-assign]

    def __str__(self) -> str:
        return limited(super().__str__())


class TaskGroupWarning(UserWarning):
    """The base of every warning that this package gives."""

    def __str__(self) -> str:
        return printable_lines(super().__str__())


def limited(text: str) -> str:
    """Makes a message short enough to be read, and harmless to terminals."""
    return shortened(printable_lines(text), MAX_MESSAGE_CHARS)


@attrs.define(slots=False, repr=False)
class AdviceError(TaskGroupError):
    """The base of the errors that read `{subject} {problem}; {advice}`.

    Attributes:
        subject: What the error is about, such as a template or the name of a task.
        problem: What is wrong with it.
        advice: What to do.
    """

    subject: str
    problem: str
    advice: str
    kind: ClassVar[str] = ""

    def __str__(self) -> str:
        subject = f"{self.kind} {shown(self.subject)}" if self.kind else self.subject
        return f"{subject} {self.problem}; {self.advice}"
