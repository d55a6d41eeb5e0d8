"""The dates of a server in seconds."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup._clearml.dates import seconds_between, seconds_since_1970

FIVE, SEVEN = "1970-01-01T00:00:05+00:00", "1970-01-01T01:00:07.500+01:00"


@pytest.mark.parametrize(
    ("date", "seconds"), [(FIVE, 5.0), (SEVEN, 7.5), (None, None), ("", None), ("soon", None), (5, None)]
)
def test_a_date_in_seconds(date: Any, seconds: float | None) -> None:
    assert seconds_since_1970(date) == seconds


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [(FIVE, SEVEN, 2.5), (SEVEN, FIVE, 0.0), (FIVE, FIVE, 0.0), (None, SEVEN, 0.0), (FIVE, None, 0.0)],
)
def test_the_time_between_two_dates(start: Any, end: Any, seconds: float) -> None:
    """None if one is missing, or the clocks of two machines have it the other way round."""
    assert seconds_between(start, end) == seconds
