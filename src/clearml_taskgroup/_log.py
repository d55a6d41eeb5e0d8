"""The package's logger; its lines go to stderr unless logging is configured."""

from __future__ import annotations

import logging
import sys

from ._text import printable

logger = logging.getLogger("clearml_taskgroup")


class OwnHandler(logging.Handler):
    """A handler of this package: it does not mean that the user has configured logging."""


class StderrHandler(OwnHandler):
    """Writes to stderr as long as neither this logger nor the root logger has a handler of the user's."""

    @property
    def stream(self) -> object:
        """The current `sys.stderr`, which notebooks and tests replace; console capture reads this."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        handlers = [*logger.handlers, *logging.getLogger().handlers]
        if sys.stderr is not None and all(isinstance(handler, OwnHandler) for handler in handlers):
            print(f"ClearML TaskGroup: {record.getMessage()}", file=sys.stderr)


def escape_names(record: logging.LogRecord) -> bool:
    """Makes a record one line that does nothing to a terminal: names and reasons may have any character."""
    text = record.getMessage()
    if not text.isprintable():
        record.msg, record.args = printable(text), None
    return True


logger.addFilter(escape_names)
if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
    logger.addHandler(StderrHandler())
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)
