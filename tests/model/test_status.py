"""Statuses: the server's words, how something ended, and counts in one order."""

from __future__ import annotations

import itertools

import pytest

from clearml_taskgroup._model.status import (
    ABANDONED,
    Status,
    final_status,
    from_server,
    shown_status,
    tally,
    tally_text,
)


def test_counts_have_one_order() -> None:
    """Completed, failed, stopped, running, queued, drafts; what nobody knows comes last."""
    statuses = ["queued", "stopped", "completed", "in_progress", "failed", "other"]
    told = {tally_text(tally(order)) for order in itertools.permutations(statuses)}
    assert told == {"1 completed, 1 failed, 1 stopped, 1 in progress, 1 queued, 1 other"}
    assert tally_text(tally(["completed"] * 1200)) == "1,200 completed"
    assert tally([]) == {}


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((word, word) for word in ("created", "queued", "in_progress", "completed", "failed", "stopped")),
        *((word, "completed") for word in ("published", "publishing", "closed")),
        *((word, "in_progress") for word in ("unknown", "")),
    ],
)
def test_the_servers_words(word: str, status: Status) -> None:
    """A task that accepts no data any more has completed; a word that nobody knows is no end."""
    assert from_server(word) == status


def test_without_a_status_the_process_died() -> None:
    assert final_status(None, "") == ("stopped", ABANDONED)
    assert final_status("stopped", "by hand") == ("stopped", "by hand")
    assert shown_status("stopped", ABANDONED) == "abandoned"
    assert (shown_status("stopped", "by hand"), shown_status("failed", ABANDONED)) == ("stopped", "failed")
