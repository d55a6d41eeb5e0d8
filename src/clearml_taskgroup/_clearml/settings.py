"""ClearML's settings as far as the environment and its defaults tell them, without importing ClearML.

An offline script that needs nothing else of ClearML starts more than half a second earlier. Each function
returns None where ClearML itself has to be asked: for example, if there is a `clearml.conf`. That it returns
what ClearML does is tested on the lowest and the newest supported version.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

_YES, _NO = ("y", "yes", "t", "true", "on", "1"), ("", "n", "no", "f", "false", "off", "0")
_FILES = ("~/trains.conf", "~/clearml.conf")
_NAMES_OF_FILES = ("CONFIG_FILE", "CONFIG_PATH", "ENV")
"""Variables that name another configuration."""


def task_mode() -> Literal["online", "offline"] | None:
    """Gives the mode that ClearML will be in when it is imported."""
    if "clearml" in sys.modules:
        return None
    text = _variable("OFFLINE_MODE").lower()
    if text in _YES:
        return "offline"
    return "online" if text in _NO else None


def is_configured() -> bool | None:
    """Whether ClearML has credentials for a server."""
    return None if "clearml" in sys.modules or may_be_configured() else False


def cache_folder() -> Path | None:
    """Gives ClearML's cache folder, absolute or not."""
    if "clearml" in sys.modules:
        return None
    given = _variable("CACHE_DIR")
    if not given and may_be_configured():
        return None
    return Path(os.path.expandvars(os.path.expanduser(given or "~/.clearml/cache")))


def _variable(name: str) -> str:
    """Gives one of ClearML's variables, of which each has an old name."""
    return next(
        (text for text in map(os.environ.get, (f"CLEARML_{name}", f"TRAINS_{name}")) if text), ""
    ).strip()


def may_be_configured() -> bool:
    """Whether there may be a configuration beside ClearML's defaults."""
    files = any(os.path.exists(os.path.expanduser(file)) for file in _FILES)
    return files or any(map(_variable, (*_NAMES_OF_FILES, "API_ACCESS_KEY", "AUTH_TOKEN")))
