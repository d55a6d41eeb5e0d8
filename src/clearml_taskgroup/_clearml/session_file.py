"""The file `task.json` of an offline session: read, and replaced in one step."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def read_session(path: Path) -> dict[str, Any]:
    """Reads a session's `task.json`; empty if it is missing or torn."""
    try:
        stored: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return stored


def write_session(path: Path, text: str) -> None:
    """Replaces a session's `task.json`, which is its owner's only; nobody ever sees half a file."""
    fresh = path.with_suffix(".json.new")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(fresh, path)
