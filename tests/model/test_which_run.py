"""Which run is meant: by the text of `run=`, an id or its first digits, a number."""

from __future__ import annotations

import pytest

from clearml_taskgroup._model.identity import shared_run_id
from clearml_taskgroup._model.which_run import run_label, which_run
from clearml_taskgroup.errors import AmbiguousRunError

GROUP = "0" * 12
SHARED = shared_run_id(GROUP, "7")
RUNS = [("abc123" + "0" * 26, 3), ("123456" + "7" * 26, 2), ("abc124" + "0" * 26, 1), (SHARED, 4)]
LATEST, DIGITS, FIRST = (run for run, _ in RUNS[:3])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        *((3, LATEST), (1, FIRST), (5, None)),
        *(("3", LATEST), ("1", FIRST), ("5", None)),
        *((LATEST, LATEST), ("abc123", LATEST), ("abc123ff", None), ("", None)),
        *(("123456", DIGITS), ("12345", None)),  # few digits are a number
        *(("7", SHARED), (" 7 ", SHARED), (7, None)),  # the text of run= goes before a number
        *(("\u0663", None), ("3000000", None), ("nightly", None)),
    ],
)
def test_runs_that_are_found(wanted: int | str, expected: str | None) -> None:
    assert which_run(wanted, GROUP, RUNS) == expected


@pytest.mark.parametrize("wanted", ["abc12", 3, "3"])
def test_what_several_runs_have_is_refused(wanted: int | str) -> None:
    """A run that has several logs on this disk is one run."""
    runs = [*RUNS, RUNS[0]]
    assert which_run("abc123", GROUP, runs) == LATEST
    with pytest.raises(AmbiguousRunError):
        which_run(wanted, GROUP, [*runs, ("f" * 32, 3)])


def test_a_run_is_named_in_each_way_in_which_it_can_be_asked_for() -> None:
    assert run_label(LATEST, 3, None) == "run 3 (abc123000000)"
    assert run_label(LATEST, 3, "night") == "run 3 (abc123000000, run='night')"
