"""Names of calls, and the functions that answer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from .state import State

Doc = dict[str, Any]


@attrs.frozen
class Request:
    """One API call, read and checked.

    Attributes:
        endpoint: ``service.action``.
        version: The API version that the path names.
        body: The JSON object, without the fields sent as null.
        items: The lines of a batch call, or None.
        worker: The name that the client gave itself.
    """

    endpoint: str
    version: str
    body: Doc
    items: list[Doc] | None = None
    worker: str = "<unknown>"

    def text(self, field: str, default: str = "") -> str:
        """A field as text, empty when absent."""
        value = self.body.get(field)
        return default if value is None else str(value)

    @property
    def force(self) -> bool:
        """Whether the caller asked to skip the status checks."""
        return bool(self.body.get("force"))


Handler = Callable[[State, Request], Doc]

HANDLERS: dict[str, Handler] = {}

REQUIRED: dict[str, tuple[str, ...]] = {}
"""What a call cannot do without, for those of which clearml ships no schema."""


def endpoint(*names: str, required: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Register a function as the answer to one or more calls."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
            REQUIRED[name] = required
        return handler

    return register
