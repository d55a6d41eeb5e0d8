"""What a ClearML API server holds, asked through its API: the same for loopback and for a real one."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import attrs

from clearml_taskgroup._clearml.api import Refused, Transport
from clearml_taskgroup._clearml.sdk import Connection

Doc = dict[str, Any]
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
        found = self.call("tasks.get_all", **query, order_by=["created"], page_size=500, page=0)["tasks"]
        return list(found)

    def task(self, task_id: str) -> Doc:
        """One task."""
        return dict(self.call("tasks.get_by_id", task=task_id)["task"])

    def parameters(self, task_id: str, section: str = "General") -> dict[str, str]:
        """The values of a hyperparameter section."""
        items = self.task(task_id)["hyperparams"].get(section, {})
        return {name: item["value"] for name, item in items.items()}

    def scalars(self, task_id: str, count: int) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """The points of each title and series, once there are `count` of them."""
        found: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for event in self.events(task_id, "training_stats_scalar", count):
            found.setdefault((event["metric"], event["variant"]), []).append((event["iter"], event["value"]))
        return {name: sorted(points) for name, points in found.items()}

    def console(self, task_id: str, count: int = 1) -> str:
        """The console's text, once it has `count` entries."""
        return "\n".join(event["msg"] for event in self.events(task_id, "log", count))

    def events(self, task_id: str, kind: str, count: int) -> list[Doc]:
        """A task's events of one kind, once there are `count` of them."""
        deadline = time.monotonic() + self.patience
        while True:
            found: list[Doc] = []
            scroll: Doc = {}
            while page := self.call(
                "events.get_task_events", task=task_id, event_type=kind, order="asc", **scroll
            ):
                if not page["events"]:
                    break
                found += page["events"]
                scroll = {"scroll_id": page["scroll_id"]}
            if len(found) >= count or time.monotonic() >= deadline:
                return found
            threading.Event().wait(0.2)

    def clean_up(self) -> None:
        """Deletes the test's project with all that is in it."""
        project = self.project_id()
        if project is not None:
            for task in self.call("tasks.get_all", project=[project], only_fields=["id"])["tasks"]:
                self.call("tasks.delete", task=task["id"], force=True)
            with contextlib.suppress(Refused):  # an empty project that stays behind harms nobody
                self.call("projects.delete", project=project, force=True, delete_contents=True)
        self.transport.close()
