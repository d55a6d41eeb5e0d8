"""Reads a submitted task's document into its `TaskState`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._clearml.documents import duration_of, past_task
from .._clearml.queries import Document, identity_of
from .._model.parameter_json import plain
from .._model.status import Status, from_server
from .._run.state import MAX_REASON_CHARS, TaskState

if TYPE_CHECKING:
    from .._run.run import Run


def status_of(word: str) -> Status:
    """Translates a server's status; the empty one of a deleted task is `stopped`."""
    return from_server(word) if word else "stopped"


def update_state(run: Run, state: TaskState, doc: Document) -> None:
    """Updates a task from its document: status, statistics, and parameters that were edited."""
    state.status = status_of(str(doc["status"]))
    reason = str(doc.get("status_reason") or doc.get("status_message") or "")
    state.reason = reason[:MAX_REASON_CHARS] if state.status in ("failed", "stopped") else ""
    state.ended = duration_of(doc)
    identity = identity_of(doc)
    past = past_task(doc, run.template)
    if identity.get("key") != state.spec.key:  # edited in the web page before an agent took it
        state.spec = attrs.evolve(state.spec, key=past.key, name=past.name, index=past.index)
        state.params = {name: plain(value) for name, value in past.params.items()}
    state.metrics.clear()
    state.metrics.update(past.metrics)
