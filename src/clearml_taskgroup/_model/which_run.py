"""Which of a group's runs is meant: by the text of `run=`, an id, or a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AmbiguousRunError
from .identity import shared_run_id

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_ID_PREFIX = 6
"""The fewest first digits of a run's id that find it."""


def run_label(run: str, number: int, shared: str | None) -> str:
    """Names a run for people, in each way in which it can be asked for."""
    text = f", run={shared!r}" if shared else ""
    return f"run {number} ({run[:12]}{text})"


def which_run(wanted: int | str, group_id: str, runs: Sequence[tuple[str, int]]) -> str | None:
    """Finds a run: by its number, or by a text, which is tried as that of `run=`, as an id, as a number.

    Args:
        wanted: What was asked for; an integer is a number only.
        group_id: The id of the group.
        runs: Id and number of each of its runs, the latest first.

    Returns:
        The id of the run; None if there is none.

    Raises:
        AmbiguousRunError: Several runs have that number, or an id that begins with that text.
    """
    if isinstance(wanted, str):
        shared = shared_run_id(group_id, wanted)
        is_id = len(wanted) >= MIN_ID_PREFIX or not wanted.isdecimal()
        for run, _ in runs:
            if run == shared:
                return run
        found = _the_one(wanted, [run for run, _ in runs if is_id and wanted and run.startswith(wanted)])
        if found is not None:
            return found
        if not wanted.isdecimal() or not wanted.isascii() or len(wanted) > MIN_ID_PREFIX:
            return None
        wanted = int(wanted)
    return _the_one(wanted, [run for run, number in runs if number == wanted])


def _the_one(wanted: int | str, found: Sequence[str]) -> str | None:
    runs = list(dict.fromkeys(found))  # an online run that was resumed on this disk has several logs
    if len(runs) > 1:
        raise AmbiguousRunError(wanted, runs)
    return runs[0] if runs else None
