"""Tasks on a ClearML API server: three calls for each, events of all tasks in one request."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import attrs

from .. import _clearml
from .._transport import Refused, Transport
from ..errors import DeliveryError, ServerError
from . import SECTION, Batch, Ending, RunInfo, Store, TaskSpec, general, hyperparameters
from .delivery import Delivery

AT_ONCE = 8
"""How many tasks are created or ended at the same time; the threads live as long as that takes."""
PATIENCE = 120.0
"""Seconds for which opening a task waits for a server that does not answer."""
SILENCE = 1200.0
"""Seconds after which a silent open task is pinged; the server's watchdog waits for 7,200."""
COMPARED = 100
"""The most tasks that ClearML's comparison page shows."""
PAGE = 500
"""The most tasks that a server gives in one page."""

FIELDS = ("id", "name", "status", "parent", "hyperparams", "runtime", "last_metrics")
"""What `find` asks of each task."""

_ACTIONS = {"completed": "tasks.completed", "failed": "tasks.failed", "stopped": "tasks.stopped"}
_INVALID_STATUS, _TAKEN = 110, 801
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@attrs.define(eq=False)
class OnlineStore(Store):
    """Tasks on the server that ClearML is configured for."""

    connection: _clearml.Connection
    transport: Transport = attrs.field(init=False)
    delivery: Delivery = attrs.field(init=False)
    mode: str = "online"
    silence: float = SILENCE
    _project: str | None = None
    _unstarted: dict[str, None] = attrs.field(factory=dict, repr=False)
    _last_sign: dict[str, float] = attrs.field(factory=dict, repr=False)
    _attached: dict[str, Any] = attrs.field(factory=dict, repr=False)
    _names: dict[str, str] = attrs.field(factory=dict, repr=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, repr=False)
    _starting: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def __attrs_post_init__(self) -> None:
        self.transport = Transport(self.connection)
        self.delivery = Delivery(self.transport)

    @property
    def where(self) -> str:
        """The server's address."""
        return self.connection.web or self.connection.host

    # --- opening -------------------------------------------------------------------------------

    def last_run_number(self, group_id: str) -> int:
        """Finds the number of the group's latest run, 0 where there is none."""
        found = self._get_all(
            {
                f"hyperparams.{SECTION}.group.value": [group_id],
                "only_fields": [f"hyperparams.{SECTION}.run_number.value"],
                "order_by": ["-created"],
                "page_size": 10,
                "page": 0,
            }
        )
        numbers = [_identity(task).get("run_number", "0") for task in found]
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def find(self, group_id: str, *, copies: bool = False) -> list[dict[str, Any]]:
        """Finds all tasks of a group, in one call for each 500.

        Args:
            group_id: The group's id.
            copies: Whether copies made in the web page are wanted too.

        Returns:
            The server's task documents: id, status, parent, hyperparams, last_metrics, …
        """
        found: list[dict[str, Any]] = []
        while True:
            page = self._get_all(
                {
                    f"hyperparams.{SECTION}.group.value": [group_id],
                    f"hyperparams.{SECTION}.kind.value": ["task"],
                    "only_fields": [
                        "id",
                        "name",
                        "status",
                        "parent",
                        "hyperparams",
                        "runtime",
                        "last_metrics",
                    ],
                    "order_by": ["-created"],
                    "page_size": PAGE,
                    "page": len(found) // PAGE,
                }
            )
            found += page
            if len(page) < PAGE:
                return [task for task in found if copies or is_original(task)]

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Creates the tasks; several at once go through a small pool."""
        with self._lock:
            if self._project is None:
                self._project = self._find_or_make_project(run.project)
        ids = _all_at_once(lambda spec: self._create(run, spec, parent), specs)
        with self._lock:
            for task_id, spec in zip(ids, specs, strict=True):
                self._unstarted[task_id] = None
                self._last_sign[task_id] = time.monotonic()
                self._names[task_id] = spec.name
        if len(ids) > 1:
            self._start_waiting()
        return ids

    def _create(self, run: RunInfo, spec: TaskSpec, parent: str | None) -> str:
        body: dict[str, Any] = {
            "name": spec.task_name,
            "type": "controller" if spec.kind == "parent" else "training",
            "project": self._project,
            "tags": [*run.tags, *spec.tags],
            "hyperparams": hyperparameters(run, spec),
            # Emptied by clone and by reset: tells an original from a copy made in the web page.
            "runtime": {"taskgroup_run": run.run},
        }
        if parent is not None:
            body["parent"] = parent
        if run.script:
            body["script"] = dict(run.script)

        def made_already() -> str | None:
            query: dict[str, Any] = {
                f"hyperparams.{SECTION}.run.value": [run.run],
                f"hyperparams.{SECTION}.kind.value": [spec.kind],
                "only_fields": ["id"],
            }
            if spec.kind == "task":
                # A bare value that starts with '-' would mean 'not this one'.
                query[f"hyperparams.{SECTION}.key.value"] = ["__$any", spec.key]
            found = self._get_all(query)
            return str(found[0]["id"]) if found else None

        return str(self.transport.call("tasks.create", body, patience=PATIENCE, on_doubt=made_already)["id"])

    def _find_or_make_project(self, name: str) -> str:
        def find() -> str | None:
            query = {"name": f"^{re.escape(name)}$", "only_fields": ["id", "name"]}
            found = self.transport.call("projects.get_all", query, patience=PATIENCE)["projects"]
            return next((str(project["id"]) for project in found if project["name"] == name), None)

        project = find()
        if project is not None:
            return project
        body = {"name": name, "description": ""}
        try:
            return str(self.transport.call("projects.create", body, patience=PATIENCE, on_doubt=find)["id"])
        except Refused as refusal:
            # Another process has made it since.
            if refusal.subcode == _TAKEN and (project := find()) is not None:
                return project
            raise

    def _get_all(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        tasks = self.transport.call("tasks.get_all", query, patience=PATIENCE)["tasks"]
        return list(tasks)

    # --- while it is open ----------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Sends the events of all tasks in one request, in order."""
        self._start_waiting()
        tasks = list(batch)
        self.delivery.send(batch)
        now = time.monotonic()
        with self._lock:
            self._last_sign.update((task_id, now) for task_id in tasks if task_id in self._last_sign)

    def keep_alive(self) -> None:
        """Starts tasks that wait for it, and pings those that are open and silent."""
        self._start_waiting()
        now = time.monotonic()
        with self._lock:
            silent = [task_id for task_id, last in self._last_sign.items() if now - last >= self.silence]
            self._last_sign.update((task_id, now) for task_id in silent)
        for task_id in silent:
            try:
                self.transport.call("tasks.ping", {"task": task_id}, patience=0)
            except ServerError:
                continue  # the next ping is early enough

    def _start_waiting(self) -> None:
        with self._starting:  # who ends a task waits for the thread that starts it just now
            with self._lock:
                waiting, self._unstarted = list(self._unstarted), {}
            _all_at_once(self._start, waiting)

    def _start(self, task_id: str) -> None:
        try:
            self.transport.call("tasks.started", {"task": task_id}, patience=PATIENCE)
        except Refused:
            return  # started by an attempt whose answer was lost, or gone: told as the task ends

    def after_fork(self) -> None:
        """Has the child start nothing: its parent does."""
        self._lock, self._starting = threading.RLock(), threading.Lock()
        self._unstarted = {}
        self._last_sign = {}

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters to the section `General`."""
        items = list(general(params).values())
        body = {"task": task_id, "hyperparams": items, "replace_hyperparams": "none", "force": True}
        self.transport.call("tasks.edit_hyper_params", body, patience=PATIENCE)

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object, once for each task."""
        self._start_waiting()
        with self._lock:
            if task_id not in self._attached:
                self._attached[task_id] = _clearml.open_task(task_id)
            return self._attached[task_id]

    # --- the end -------------------------------------------------------------------------------

    def finish(self, endings: Sequence[Ending], timeout: float) -> list[Exception]:
        """Waits for ClearML's own uploads and sets the status of each task."""
        self._start_waiting()
        deadline = time.monotonic() + timeout

        def finish_one(ending: Ending) -> list[Exception]:
            try:
                attached = self._attached.pop(ending.task_id, None)
                if attached is not None:
                    _clearml.settle(attached, max(0.0, deadline - time.monotonic()))
                self._set_status(ending, max(0.0, deadline - time.monotonic()))
            except Exception as error:  # the other tasks must still end
                return [error]
            finally:
                with self._lock:
                    self._last_sign.pop(ending.task_id, None)
            return []

        return [error for found in _all_at_once(finish_one, endings) for error in found]

    def _set_status(self, ending: Ending, patience: float) -> None:
        body = {"task": ending.task_id, "status_reason": ending.reason, "status_message": ending.reason}
        try:
            self.transport.call(_ACTIONS[ending.status], body, patience=patience)
        except Refused as refusal:
            query = {"id": [ending.task_id], "only_fields": ["status"]}
            found = self._get_all(query) if refusal.subcode == _INVALID_STATUS else []
            # Ended by an attempt whose answer was lost, or by somebody else, for good.
            if found and found[0]["status"] in (ending.status, "published", "publishing", "closed"):
                return
            name = self._names.get(ending.task_id, ending.task_id)
            raise ServerError(f"the task {name!r} could not be {ending.status}: {refusal.problem}") from None

    def refusals(self) -> list[Exception]:
        """Tells which tasks' data the server did not take, and why."""
        return [
            DeliveryError(refusal.events, [self._names.get(task_id, task_id)], self.where, refusal.reason)
            for task_id, refusal in self.delivery.refused.items()
        ]

    def url(self, task_id: str) -> str | None:
        """The task's page."""
        if self.connection.web is None:
            return None
        word = "tasks" if self.connection.new_pages else "experiments"
        return f"{self.connection.web}/projects/{self._project or '*'}/{word}/{task_id}/output/log"

    def compare_urls(self, ids: Sequence[str]) -> list[str]:
        """The pages that compare tasks, 100 on each."""
        if self.connection.web is None:
            return []
        # Newer web pages forget the ids on the way from the old address to the new one.
        word = "tasks" if self.connection.new_pages else "experiments"
        start = f"{self.connection.web}/projects/{self._project or '*'}/compare-{word};ids="
        return [
            f"{start}{','.join(ids[first : first + COMPARED])}/scalars/graph"
            for first in range(0, len(ids), COMPARED)
        ]

    def close(self) -> None:
        """Lets go of the connections."""
        self.transport.close()


def is_original(task: Mapping[str, Any]) -> bool:
    """Tells a task that a group opened from a copy that was made of it in the web page."""
    marker = (task.get("runtime") or {}).get("taskgroup_run")
    return bool(marker) and marker == _identity(task).get("run")


def _identity(task: Mapping[str, Any]) -> dict[str, str]:
    section = (task.get("hyperparams") or {}).get(SECTION) or {}
    return {name: str(item.get("value", "")) for name, item in section.items()}


def _all_at_once(call: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """Makes calls from a few threads, which end with them; the results are in order."""
    listed = list(items)
    if len(listed) < 2:
        return [call(item) for item in listed]
    with ThreadPoolExecutor(min(AT_ONCE, len(listed)), "clearml-taskgroup") as pool:
        try:
            futures = [pool.submit(call, item) for item in listed]
        except RuntimeError:  # the interpreter is ending and starts no thread any more
            return [call(item) for item in listed]
        return [future.result() for future in futures]
