"""The package's logger; without any logging set-up its lines go to stderr."""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("clearml_taskgroup")


class OwnHandler(logging.Handler):
    """A handler of this package, which does not count as a set-up of the user's."""


class StderrHandler(OwnHandler):
    """Writes to the current stderr while neither this logger nor the root logger has a handler."""

    @property
    def stream(self) -> object:
        """The stream of this moment: notebooks and tests replace `sys.stderr`."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        handlers = [*logger.handlers, *logging.getLogger().handlers]
        if sys.stderr is not None and all(isinstance(handler, OwnHandler) for handler in handlers):
            print(f"ClearML TaskGroup: {record.getMessage()}", file=sys.stderr)


if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
    logger.addHandler(StderrHandler())
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)
