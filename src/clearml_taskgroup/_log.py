"""The package's logger; its lines go to stderr unless logging is configured."""

from __future__ import annotations

import logging
import sys

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


if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
    logger.addHandler(StderrHandler())
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)
