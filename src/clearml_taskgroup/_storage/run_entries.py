"""What the entries of a shared run's queue say, as the processes that share the run write them.

- `p:<process>.<n>`: the process is in the run. It adds a new one as a sign of life, and keeps its first one.
- `end:<process>.<n>`: it ends the run, if its entry is the first of the living ones.
- `dead:<process>.<n>`: somebody ends the tasks of this process, which has died.
- `session:<process>`: the run had become empty because this process, the last one in it, died.
- `claim:<hash of the key>.<attempt>.<n>`: the task is being created. Claims with a lower `n` are of processes
  that died before they had created it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .._clearml.run_queue import Entries

IN_RUN, ENDING, DEAD, SESSION, CLAIM = "p:", "end:", "dead:", "session:", "claim:"
"""How an entry begins."""


@attrs.define
class Sign:
    """The entries of one kind that belong to one process; all times are the server's.

    Attributes:
        entries: Their texts.
        first: When the first of them was added.
        last: When the latest was.
        number: The highest of their numbers.
    """

    entries: list[str] = attrs.field(factory=list)
    first: float = 0.0
    last: float = 0.0
    number: int = 0


@attrs.frozen
class View:
    """What a run's queue said at one moment.

    Attributes:
        now: The time then.
        present: The processes in the run, dead or alive.
        ending: The processes that want to end it, in the order in which they said so.
        dead: The processes whose tasks are being ended, or have been, because they died.
        session: When the run was last empty, in milliseconds since 1970.
    """

    now: float
    present: dict[str, Sign]
    ending: dict[str, Sign]
    dead: dict[str, Sign]
    session: int

    def entries_of(self, process: str) -> list[str]:
        """The entries by which a process is in the run, or ends it."""
        signs = (self.present.get(process), self.ending.get(process))
        return [entry for sign in signs if sign is not None for entry in sign.entries]


def view_of(entries: Entries) -> View:
    """Reads the entries of a run's queue, which is created anew whenever the run has become empty."""
    emptied = [at for text, at in entries.added.items() if text.startswith(SESSION)]
    session = int(1000 * max(entries.created, *emptied, 0.0))
    present, ending, dead = (_signs(entries, kind) for kind in (IN_RUN, ENDING, DEAD))
    return View(entries.now, present, ending, dead, session)


def _signs(entries: Entries, kind: str) -> dict[str, Sign]:
    found: dict[str, Sign] = {}
    for text, added in entries.added.items():
        process, _, number = text.removeprefix(kind).rpartition(".")
        if text.startswith(kind) and number.isdecimal():
            sign = found.setdefault(process, Sign(first=added, last=added))
            sign.entries.append(text)
            sign.first, sign.last = min(sign.first, added), max(sign.last, added)
            sign.number = max(sign.number, int(number))
    return found


def claim_entry(key: str, attempt: int, number: int) -> str:
    """Makes the entry of a claim; a key that the user gave may hold any character."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{CLAIM}{digest}.{attempt}.{number}"


def latest_claim(entries: Entries, key: str, attempt: int) -> tuple[int, float]:
    """Finds the latest claim of an attempt: its number, 0 if there is none, and its age in seconds."""
    prefix = claim_entry(key, attempt, 0)[:-1]
    numbers = {
        int(text.removeprefix(prefix)): entries.now - added
        for text, added in entries.added.items()
        if text.startswith(prefix) and text.removeprefix(prefix).isdecimal()
    }
    number = max(numbers, default=0)
    return number, numbers.get(number, 0.0)
