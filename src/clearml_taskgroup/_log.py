"""The package's logger, whose lines go to stderr unless logging is configured, and its warnings."""

from __future__ import annotations

import functools
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ._text import printable

if TYPE_CHECKING:
    import logging
    from types import FrameType

_SITE_PACKAGES = {"site-packages", "dist-packages"}


class _Logger:
    """The logger, which exists from its first line on: most groups log none, and `logging` takes a while."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_logger(), name)


logger = cast("logging.Logger", _Logger())


@functools.cache
def _logger() -> logging.Logger:
    import logging

    class StderrHandler(logging.Handler):
        """Writes to stderr as long as neither this logger nor the root logger has a handler of the user's."""

        is_of_package = True

        @property
        def stream(self) -> object:
            """The current `sys.stderr`, which notebooks and tests replace; console capture reads this."""
            return sys.stderr

        def emit(self, record: logging.LogRecord) -> None:
            handlers = [*logger.handlers, *logging.getLogger().handlers]
            if sys.stderr is not None and all(map(is_of_package, handlers)):
                print(f"ClearML TaskGroup: {record.getMessage()}", file=sys.stderr)

    logger = logging.getLogger("clearml_taskgroup")
    logger.addFilter(_escape_names)
    handler = StderrHandler()
    first = vars(logger).setdefault("taskgroup_handler", handler)  # in one step: two threads may get here
    if first is handler:
        logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    return logger


def is_of_package(handler: logging.Handler) -> bool:
    """Whether a handler is of this package: it does not mean that the user has configured logging."""
    return getattr(handler, "is_of_package", False)


def _escape_names(record: logging.LogRecord) -> bool:
    """Makes a record one line that does nothing to a terminal: names and reasons may have any character."""
    text = record.getMessage()
    if not text.isprintable():
        record.msg, record.args = printable(text), None
    return True


if "logging" in sys.modules:
    _logger()  # before somebody sets its level for a while


def warn(message: str, category: type[Warning]) -> None:
    """Warns of what a line of the user's has caused, and names that line, however deep this call is.

    It is the innermost frame that is neither of this package, nor of the standard library, nor of an
    installed package, such as a framework that calls back. Without such a frame, it is that of the package.
    """
    frame = _users_frame()
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    module = frame.f_globals.get("__name__") or "<string>"
    warnings.warn_explicit(message, category, frame.f_code.co_filename, frame.f_lineno, module, registry)


def _users_frame() -> FrameType:
    here: FrameType | None = sys._getframe()
    foreign = []
    while here is not None:
        package = here.f_globals.get("__name__", "").partition(".")[0]  # methods that attrs makes have none
        if package not in ("", "clearml_taskgroup"):
            foreign.append(here)
        here = here.f_back
    installed = [frame for frame in foreign if not _is_of_python(frame)]
    users = [frame for frame in installed if not _SITE_PACKAGES & {*Path(frame.f_code.co_filename).parts}]
    return (users or installed or foreign or [sys._getframe()])[0]


def _is_of_python(frame: FrameType) -> bool:
    return frame.f_globals["__name__"].partition(".")[0] in sys.stdlib_module_names
