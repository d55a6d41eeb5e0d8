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
    """Replaces a session's `task.json`; nobody ever sees half a file."""
    fresh = f"{path}.new"
    create_session(fresh, text)
    os.replace(fresh, path)


def create_session(path: str, text: str) -> None:
    """Writes the `task.json` of a session that nobody knows of yet; it is its owner's only."""
    left = text.encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
    try:
        while left:  # without Python's text file, which asks the system four times more
            left = left[os.write(file, left) :]
    finally:
        os.close(file)
