"""What the errors share: the base classes, and advice on errors of the disk."""

from __future__ import annotations

import errno
from typing import ClassVar

import attrs

from ._text import shortened, shown, storable

MAX_MESSAGE_CHARS = 500
"""The most characters of a message, whatever was given."""


class TaskGroupError(Exception):
    """The base of every error that this package raises."""

    def __init_subclass__(cls) -> None:
        """Makes the messages of each class short enough to be read, and printable everywhere."""
        super().__init_subclass__()
        message = cls.__str__
        if "__str__" in vars(cls):
            cls.__str__ = lambda self: shortened(storable(message(self)), MAX_MESSAGE_CHARS)  # type: ignore[method-assign]

    def __str__(self) -> str:
        return shortened(storable(super().__str__()), MAX_MESSAGE_CHARS)


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


_ANOTHER_FOLDER = "set the environment variable CLEARML_CACHE_DIR to another directory"
_DELETED = "it was deleted while a group used it: open the group again, and clean the cache only in between"
_OPEN_FILES = "close files that the script has open, or allow more of them: ulimit -n 4096"
_DISK_ADVICE = {
    "ENOSPC": f"free some space there, or {_ANOTHER_FOLDER}",
    "EDQUOT": f"your quota is used up: delete files of yours there, or {_ANOTHER_FOLDER}",
    "EFBIG": f"allow larger files (ulimit -f), or {_ANOTHER_FOLDER}",
    "EMFILE": _OPEN_FILES,
    "ENFILE": _OPEN_FILES,
    "ENOENT": _DELETED,
    "ESTALE": _DELETED,
    "ENOTDIR": f"a part of that path is a file: rename it, or {_ANOTHER_FOLDER}",
    "EEXIST": f"a file of that name is in the way: rename it, or {_ANOTHER_FOLDER}",
    "EISDIR": f"a directory of that name is in the way: rename it, or {_ANOTHER_FOLDER}",
    "EACCES": f"give your user the right to write there, or {_ANOTHER_FOLDER}",
    "EPERM": f"give your user the right to write there, or {_ANOTHER_FOLDER}",
    "EROFS": f"it can only be read: {_ANOTHER_FOLDER}",
    "ENAMETOOLONG": f"{_ANOTHER_FOLDER} with a shorter path",
    "ELOOP": f"its symbolic links lead in a circle: repair them, or {_ANOTHER_FOLDER}",
    "EIO": f"the disk does not work as it should: check it, or {_ANOTHER_FOLDER}",
}
"""What to do about an error of the disk, by the system's name of it."""


def disk_advice(number: int | None) -> str:
    """Returns what to do about an error of the disk, by the system's number of it."""
    return _DISK_ADVICE.get(errno.errorcode.get(number or 0, ""), f"check it, or {_ANOTHER_FOLDER}")
