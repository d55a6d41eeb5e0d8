"""ClearML's own objects of tasks, offline and online: waiting for what they send."""

from __future__ import annotations

from typing import Any

import attrs

from .._clearml import sdk
from .base import Backend


@attrs.define(eq=False)
class AttachingBackend(Backend):
    """A backend that opens ClearML's own objects of tasks."""

    _attached: dict[str, Any] = attrs.field(factory=dict, init=False, repr=False)
    """The objects that were opened and not waited for, by task id."""

    def flush_clearml_task(self, task_id: str, timeout: float) -> None:
        """Waits until what ClearML's own object of a task has logged is stored."""
        if (attached := self._attached.get(task_id)) is not None:
            sdk.flush(attached, timeout)

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        """Waits for what ClearML's own object of a task uploads or writes, and forgets the object."""
        attached = self._attached.get(task_id)
        if attached is not None:
            from .._clearml import failed_uploads  # seldom needed offline

            sdk.wait_for_uploads(attached, timeout)
            failed_uploads.unwatch(task_id)
            self._attached.pop(task_id, None)
