"""The base classes of errors and warnings."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, ClassVar, TypeVar, dataclass_transform

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


_Error = TypeVar("_Error", bound=BaseException)
_REQUIRED = object()


@dataclass_transform(eq_default=False)
def facts(cls: type[_Error]) -> type[_Error]:
    """Makes the annotations of a class of errors its facts: arguments, some with a default, and attributes.

    Like `attrs.define`, but without code that is compiled for each class whenever the package is imported.
    """
    own = [name for name, kind in inspect.get_annotations(cls).items() if not kind.startswith("ClassVar")]
    inherited = getattr(cls, "_facts", {})
    cls._facts = {**inherited, **{name: vars(cls).get(name, _REQUIRED) for name in own}}  # type: ignore[attr-defined]
    cls.__init__ = _take_facts  # type: ignore[method-assign]
    return cls


def _take_facts(self: Any, *args: Any, **named: Any) -> None:
    defaults: dict[str, Any] = self._facts
    values = {**defaults, **dict(zip(defaults, args, strict=False)), **named}
    missing = [name for name, value in values.items() if value is _REQUIRED]
    if missing or len(args) > len(defaults) or len(values) > len(defaults):
        raise TypeError(f"{type(self).__name__}() takes {', '.join(defaults)}")
    for name, value in values.items():
        setattr(self, name, value)
    BaseException.__init__(self, *values.values())


def private_kind(cls: type[_Error]) -> type[_Error]:
    """Gives a private kind of a public error that one's name, as the name is what tracebacks show."""
    place, public = (cls.__module__, cls.__name__), cls.__mro__[1]
    cls.__module__, cls.__name__, cls.__qualname__ = public.__module__, public.__name__, public.__qualname__

    def reduce(self: Any) -> tuple[Any, ...]:
        return _restored, (*place, self.args), vars(self)

    cls.__reduce__ = reduce  # type: ignore[method-assign]
    return cls


def _restored(module: str, name: str, args: tuple[Any, ...]) -> Any:
    """Unpickles or copies such an error, which is not found by the name that it shows."""
    return getattr(importlib.import_module(module), name)(*args)


def limited(text: str) -> str:
    """Makes a message short enough to be read, and harmless to terminals."""
    return shortened(printable_lines(text), MAX_MESSAGE_CHARS)


@facts
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
