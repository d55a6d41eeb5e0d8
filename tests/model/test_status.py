"""Counts of statuses: in one order, whatever order they came in."""

from __future__ import annotations

import itertools

from clearml_taskgroup._model.status import tally, tally_text


def test_counts_have_one_order() -> None:
    """Completed, failed, stopped, running, queued, drafts; what nobody knows comes last."""
    statuses = ["queued", "stopped", "completed", "in_progress", "failed", "other"]
    told = {tally_text(tally(order)) for order in itertools.permutations(statuses)}
    assert told == {"1 completed, 1 failed, 1 stopped, 1 in progress, 1 queued, 1 other"}
    assert tally_text(tally(["completed"] * 1200)) == "1,200 completed"
    assert tally([]) == {}
