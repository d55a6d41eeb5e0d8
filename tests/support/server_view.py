"""What a ClearML API server holds, asked through its API: the same for loopback and for a real one.

Nothing here uses `events.get_task_events`: version 2.3.0 answers it with 500 if a task has console lines,
and with the same page for ever if the last event's iteration is 0.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import Refused
from clearml_taskgroup._clearml.hyperparameters import INDEX_MARKER
from clearml_taskgroup._clearml.login import Connection

Doc = dict[str, Any]
Found = TypeVar("Found")
MAX_POINTS = 10_000
"""The most points of one title that a test reads."""
SINGLE_VALUE_ITERATION = -(2**31)


@attrs.define
class View:
    """A server, and a project of the test's own on it.

    Attributes:
        project: A project that no other test uses; deleted at the end.
        patience: Seconds that a real server's search index may take to show what it has.
    """

    connection: Connection
    project: str
    patience: float = 0.0
    transport: Transport = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.transport = Transport(self.connection)

    def call(self, action: str, **body: Any) -> Doc:
        """Makes one call."""
        return self.transport.call(action, body, timeout=20)

    def project_id(self) -> str | None:
        """The id of the test's project, if it has been made."""
        found = self.call("projects.get_all", name=f"^{self.project}$", only_fields=["id"])["projects"]
        return str(found[0]["id"]) if found else None

    def tasks(self, kind: str = "task") -> list[Doc]:
        """The group's tasks (or parents) in the test's project, in the order of their creation."""
        query = {"hyperparams.TaskGroup.kind.value": [kind], "project": [self.project_id()]}
        found = self.call("tasks.get_all", **query, page_size=500, page=0)["tasks"]
        # Of tasks of one millisecond, a server does not know which was first.
        return sorted(found, key=lambda task: (task["created"], int(task["runtime"].get(INDEX_MARKER, 0))))

    def task(self, task_id: str) -> Doc:
        """One task."""
        return dict(self.call("tasks.get_by_id", task=task_id)["task"])

    def parameters(self, task_id: str, section: str = "General") -> dict[str, str]:
        """The values of a hyperparameter section."""
        items = self.task(task_id)["hyperparams"].get(section, {})
        return {name: item["value"] for name, item in items.items()}

    def scalars(self, task_id: str, count: int) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """The points of each title and series, once there are `count` of them."""
        return self._once(lambda: self._scalars(task_id), lambda found: sum(map(len, found.values())), count)

    def _scalars(self, task_id: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
        found: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for title in self.call("events.get_scalar_metrics_and_variants", task=task_id)["metrics"]:
            query: Doc = {"metric": {"metric": title}, "key": "iter", "batch_size": MAX_POINTS}
            page = self.call("events.scalar_metrics_iter_raw", task=task_id, **query)
            assert page["returned"] < MAX_POINTS
            for series, curve in page["variants"].items():
                found[title, series] = sorted(zip(curve["iter"], curve["y"], strict=True))
        return found

    def console(self, task_id: str, count: int = 1) -> str:
        """The console's text, once it has `count` entries."""
        return "\n".join(event["msg"] for event in self._once(lambda: self._lines(task_id), len, count))

    def _lines(self, task_id: str) -> list[Doc]:
        found: list[Doc] = []
        query: Doc = {"navigate_earlier": False}
        while page := self.call("events.get_task_log", task=task_id, **query)["events"]:
            found += page
            query["from_timestamp"] = page[-1]["timestamp"]
        return found

    def plots(self, task_id: str, count: int = 1) -> list[Doc]:
        """The latest plot of each title and series, once there are `count` of them."""
        return self._once(lambda: list(self.call("events.get_task_plots", task=task_id)["plots"]), len, count)

    def _once(self, read: Callable[[], Found], size: Callable[[Found], int], count: int) -> Found:
        """Reads until something has a size, or the patience is at its end."""
        deadline = time.monotonic() + self.patience
        while size(found := read()) < count and time.monotonic() < deadline:
            threading.Event().wait(0.2)
        return found

    def clean_up(self) -> None:
        """Deletes the test's project with all that is in it."""
        project = self.project_id()
        if project is not None:
            for task in self.call("tasks.get_all", project=[project], only_fields=["id"])["tasks"]:
                self.call("tasks.delete", task=task["id"], force=True)
            with contextlib.suppress(Refused):  # an empty project that stays behind harms nobody
                self.call("projects.delete", project=project, force=True, delete_contents=True)
        self.transport.close()
