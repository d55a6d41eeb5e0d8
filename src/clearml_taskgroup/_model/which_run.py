"""Which of a group's runs is meant: by the text of `run=`, an id, or a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .identity import shared_run_id

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_ID_PREFIX = 6
"""The fewest first digits of a run's id that find it."""


def which_run(wanted: int | str, group_id: str, runs: Sequence[tuple[str, int]]) -> str | None:
    """Finds a run: by its number, or by a text, which is tried as that of `run=`, as an id, as a number.

    Args:
        wanted: What was asked for; an integer is a number only.
        group_id: The id of the group.
        runs: Id and number of each of its runs, the latest first.

    Returns:
        The id of the run; None if there is none.
    """
    if isinstance(wanted, str):
        shared = shared_run_id(group_id, wanted)
        is_id = len(wanted) >= MIN_ID_PREFIX or not wanted.isdecimal()
        for run, _ in runs:
            if run == shared:
                return run
        for run, _ in runs:
            if is_id and wanted and run.startswith(wanted):
                return run
        if not wanted.isdecimal() or not wanted.isascii() or len(wanted) > MIN_ID_PREFIX:
            return None
        wanted = int(wanted)
    return next((run for run, number in runs if number == wanted), None)
