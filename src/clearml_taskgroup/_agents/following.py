"""What a server knows of a task that agents run → what the script shows of it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs

from .._documents import names_of, past_task, stats_of
from .._run import REASON_LENGTH, Run, TaskState
from .._stores import ENDED, Status
from .._stores.lookup import Document, identity_of
from .recorded import decoded

_WORDS: dict[str, Status] = {
    "published": "completed",
    "publishing": "completed",
    "closed": "completed",
    "": "stopped",
}


def status_of(word: str) -> Status:
    """Reads a server's word for how far a task is; none for one that is gone."""
    status: Any = _WORDS.get(word, word)
    return status if status in ("created", "queued", "in_progress", *ENDED) else "in_progress"


def take_over(run: Run, state: TaskState, doc: Document) -> None:
    """Takes over what the server knows of a task: status, values, and what it was edited to."""
    state.status = status_of(str(doc["status"]))
    reason = str(doc.get("status_reason") or doc.get("status_message") or "")
    state.reason = reason[:REASON_LENGTH] if state.status in ("failed", "stopped") else ""
    state.ended = _seconds(doc.get("started"), doc.get("completed") or doc.get("last_update"))
    identity = identity_of(doc)
    past = past_task(doc, run.template)
    if identity.get("key") != state.spec.key:  # edited in the web page before an agent took it
        state.spec = attrs.evolve(state.spec, key=past.key, name=past.name, index=past.index)
        state.params = _edited(doc)
    state.names.stats.clear()
    state.names.stats.update(stats_of(past))
    state.names.earlier.update(names_of(past))


def _edited(doc: Document) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, stored in json.loads(identity_of(doc).get("params") or "{}").items():
        try:
            params[name] = decoded(stored)
        except Exception:  # a class that this script does not have: told as it is written there
            params[name] = stored
    return params


def _seconds(start: Any, end: Any) -> float:
    try:
        first, last = (datetime.fromisoformat(str(moment)) for moment in (start, end))
        return max(0.0, (last - first).total_seconds())
    except (TypeError, ValueError):
        return 0.0
