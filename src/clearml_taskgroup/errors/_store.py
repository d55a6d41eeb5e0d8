"""StoreError, and what to do about each error of the disk."""

from __future__ import annotations

import errno

from ._base import TaskGroupError, facts

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


@facts
class StoreError(TaskGroupError, OSError):
    """Raised when a group's data cannot be written to its place on disk.

    Attributes:
        where: The file or directory.
        cause: What the system says.
        errno: The system's number of the error; None if it gave none.
        what: What is not stored there; empty if the call's own data is meant.
    """

    where: str
    cause: str
    errno: int | None = None
    what: str = ""

    def __str__(self) -> str:
        what = self.what and f"{self.what} "
        return f"cannot write {what}to {self.where}: {self.cause}; {disk_advice(self.errno)}"
