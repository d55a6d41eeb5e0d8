"""What the entries of a shared run's queue say."""

from __future__ import annotations

from clearml_taskgroup._clearml.run_queue import Entries
from clearml_taskgroup._storage.run_entries import claim_entry, latest_claim, view_of


def entries(*texts: str) -> Entries:
    """Entries that were added one second after the other, read a second later."""
    return Entries({text: 100.0 + at for at, text in enumerate(texts)}, 100.0 + len(texts), 99.0)


def test_processes_are_read_in_the_order_of_their_entries() -> None:
    """Each process has its first and its latest sign of life; texts of others, and tasks, do not count."""
    view = view_of(entries("p:b.1", "p:a.1", "task id", "p:b.2", "p:a.x", "end:c.7", "end:a.2", "dead:d.1"))
    assert list(view.present) == ["b", "a"]
    assert (view.present["b"].first, view.present["b"].last, view.present["b"].number) == (100.0, 103.0, 2)
    assert list(view.ending) == ["c", "a"]
    assert list(view.dead) == ["d"]
    assert view.entries_of("a") == ["p:a.1", "end:a.2"]
    assert view.entries_of("nobody") == []


def test_a_session_begins_with_the_queue_or_when_all_have_died() -> None:
    """It is a moment of the server's clock, in milliseconds."""
    assert view_of(entries("p:a.1")).session == 99_000
    assert view_of(entries("p:a.1", "session:a", "p:b.1")).session == 101_000


def test_the_latest_claim_of_an_attempt() -> None:
    """Claims of other keys and attempts, also of those that begin alike, are others."""
    claims = [claim_entry(*claim) for claim in (("a", 1, 1), ("a", 1, 2), ("a", 11, 3), ("a.1", 1, 4))]
    assert len(set(claims)) == 4
    found = entries(*claims)
    assert latest_claim(found, "a", 1) == (2, 3.0)
    assert latest_claim(found, "a", 11) == (3, 2.0)
    assert latest_claim(found, "a", 2) == (0, 0.0)


def test_a_claim_without_a_number_is_none() -> None:
    """As somebody may write it on the web page."""
    torn = claim_entry("a", 1, 0)[:-1]
    assert latest_claim(entries(claim_entry("a", 1, 1), f"{torn}x", torn, "7"), "a", 1) == (1, 4.0)
