"""Tasks on a ClearML API server: three calls for each, events of all tasks in one request."""

from __future__ import annotations

import collections
import contextlib
import json
import re
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from .._clearml import sdk
from .._clearml.api import ANSWER_SECONDS, Refused, Transport, Unreachable
from .._clearml.documents import Scalars, scalars_of_document, scalars_of_events
from .._clearml.events import SINGLE_VALUE_ITERATION, Batch, Point
from .._clearml.hyperparameters import SECTION, general, hyperparameters
from .._clearml.queries import PAGE, PATIENCE, ask, is_original
from .._model.status import CLOSED
from .._text import counted
from ..errors import DeliveryError, ServerError
from .base import Backend
from .sender import Sender
from .sender_batches import PATIENCE as TURN
from .sender_batches import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._model.name_template import Name
    from .._model.specs import Ending, RunInfo, TaskSpec
    from .outbox import Outbox

AT_ONCE = 8
"""How many tasks are created or ended at the same time; the threads live as long as that takes."""
SILENCE = 1200.0
"""Seconds after which a silent open task is pinged; the server's watchdog waits for 7,200."""
MOST_500 = 12
"""How often the end of a task is tried against answers 500: about a minute."""
PARENT_SILENCE = 120.0
"""Seconds after which a silent parent is pinged: by it, others see that the run lives."""
CURVE = 200_000
"""The most points that a server gives in one answer."""
COMPARED = 100
"""The most tasks that ClearML's comparison page shows."""
STOPPING = 5.0
"""Seconds that the courier gets to let go of a request under way."""

_ACTIONS = {"completed": "tasks.completed", "failed": "tasks.failed", "stopped": "tasks.stopped"}
_INVALID_STATUS, _TAKEN = 110, 801
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@attrs.define(eq=False)
class OnlineBackend(Backend):
    """Tasks on the server that ClearML is configured for.

    Attributes:
        at_agent: The task that an agent runs this script as; its end is the agent's business.
    """

    connection: sdk.Connection
    transport: Transport = attrs.field(init=False)
    delivery: Delivery = attrs.field(init=False)
    sender: Sender | None = None
    mode: str = "online"
    silence: float = SILENCE
    at_agent: str | None = None
    _project: str | None = None
    _parent: str | None = None
    _unstarted: dict[str, None] = attrs.field(factory=dict, repr=False)
    _last_sign: dict[str, float] = attrs.field(factory=dict, repr=False)
    _attached: dict[str, Any] = attrs.field(factory=dict, repr=False)
    _names: dict[str, str] = attrs.field(factory=dict, repr=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, repr=False)
    _starting: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _in_child: bool = False

    def __attrs_post_init__(self) -> None:
        self.transport = Transport(self.connection)
        self.delivery = Delivery(self.transport)

    @property
    def where(self) -> str:
        """The server's address."""
        return self.connection.web or self.connection.host

    def use_outbox(self, outbox: Outbox) -> None:
        """Has events wait on disk, and a thread of their own take them to the server."""
        self.sender = Sender(outbox, self.delivery, self._start_waiting, self.keep_alive)
        self.sender.start()

    # --- opening -------------------------------------------------------------------------------

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Creates the tasks; several at once go through a small pool."""
        with self._lock:
            if self._project is None:
                self._project = self._find_or_make_project(run.project)
        self._parent = parent or self._parent
        ids = _all_at_once(lambda spec: self._create(run, spec, parent), specs)
        with self._lock:
            for task_id, spec in zip(ids, specs, strict=True):
                self._unstarted[task_id] = None
                self._last_sign[task_id] = time.monotonic()
                self._names[task_id] = spec.name
        if len(ids) > 1:
            self._start_waiting()
        return ids

    def draft(
        self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None, like: Mapping[str, Any]
    ) -> list[str]:
        """Creates the tasks, which nobody starts here."""
        self._parent = parent or self._parent
        ids = _all_at_once(lambda spec: self._create(run, spec, parent, like), specs)
        for task_id, spec in zip(ids, specs, strict=True):
            self.remember(task_id, spec.name)
        return ids

    def _create(
        self, run: RunInfo, spec: TaskSpec, parent: str | None, like: Mapping[str, Any] | None = None
    ) -> str:
        hyperparams = hyperparameters(run, spec)
        body: dict[str, Any] = {
            "name": spec.task_name,
            "type": "controller" if spec.kind == "parent" else "training",
            "tags": [*run.tags, *spec.tags],
            "hyperparams": hyperparams,
        }
        if parent is not None:
            body["parent"] = parent
        if run.script:
            body["script"] = dict(run.script)
        identity = {name: item["value"] for name, item in hyperparams[SECTION].items()}
        for field, value in (like or {}).items():
            body[field] = {**value, **body.get(field, {})}
        return self.make(body, run.project, identity)

    def make(self, body: dict[str, Any], project: str, identity: Mapping[str, str]) -> str:
        """Makes one task, once, also where the answer to an attempt was lost.

        Args:
            body: What `tasks.create` takes.
            project: The project's path.
            identity: The values of the section `TaskGroup`.
        """
        with self._lock:
            if self._project is None:
                self._project = self._find_or_make_project(project)
        # Emptied by clone and by reset: tells an original from a copy made in the web page.
        body = {**body, "project": self._project, "runtime": {"taskgroup_run": identity["run"]}}

        def made_already() -> str | None:
            # A bare value that starts with '-' would mean 'not this one'.
            query: dict[str, Any] = {
                f"hyperparams.{SECTION}.{name}.value": ["__$any", identity[name]]
                for name in ("run", "kind", "key", "attempt")
                if name in identity
            }
            found = ask(self.transport, {**query, "only_fields": ["id", "runtime", "hyperparams"]})
            return next((str(task["id"]) for task in found if is_original(task)), None)

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

    # --- while it is open ----------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Puts the events of all tasks into the outbox; without one, sends them in one request."""
        tasks = list(batch)
        if self.sender is not None and not self.sender.outbox.is_gone:
            self.sender.outbox.append(batch)
            batch.clear()
            self.sender.tell()
        else:
            self._start_waiting()
            self.delivery.send(batch)
        now = time.monotonic()
        with self._lock:
            self._last_sign.update((task_id, now) for task_id in tasks if task_id in self._last_sign)

    def flush(self, timeout: float) -> bool:
        """Waits until the server has counted what is in the outbox."""
        # In a forked child, what lies on the disk is its parent's to deliver.
        return self.sender is None or self._in_child or self.sender.flush(timeout)

    def undelivered(self) -> dict[str, int]:
        """Counts the events in the outbox, for each task."""
        return {} if self.sender is None else self.sender.outbox.waiting()

    def remedy(self) -> str:
        """The command that delivers what is in the outbox."""
        if self.sender is None:
            return ""
        return f"They wait in {self.sender.outbox.path}; deliver them with: {self._command}"

    def trouble(self) -> Exception | None:
        """What keeps the outbox from being delivered."""
        return self.sender.error if self.sender is not None else None

    @property
    def _command(self) -> str:
        assert self.sender is not None
        record = self.sender.outbox.path.with_suffix(".jsonl")
        return f"clearml-taskgroup upload {shlex.quote(str(record))}"

    def heartbeat(self) -> None:
        """Has the courier keep tasks alive: a server that hangs must not keep points from the disk."""
        if self.sender is None or not self.sender.is_alive:
            self.keep_alive()

    def keep_alive(self) -> None:
        """Starts tasks that wait for it, and pings those that are open and silent; raises nothing."""
        self._start_waiting()
        now = time.monotonic()
        with self._lock:
            silent = [
                task_id
                for task_id, last in self._last_sign.items()
                if now - last
                >= (min(PARENT_SILENCE, self.silence) if task_id == self._parent else self.silence)
            ]
            self._last_sign.update((task_id, now) for task_id in silent)
        _all_at_once(self._ping, silent)

    def _ping(self, task_id: str) -> None:
        with contextlib.suppress(ServerError):  # the next ping is early enough
            self.transport.call("tasks.ping", {"task": task_id}, patience=0)

    def _start_waiting(self, patience: float = TURN) -> None:
        deadline = time.monotonic() + patience
        # Who ends a task waits for the thread that starts it just now.
        if not self._starting.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
            return
        try:
            with self._lock:
                waiting, self._unstarted = list(self._unstarted), {}
            _all_at_once(lambda task_id: self._start(task_id, deadline), waiting)
        finally:
            self._starting.release()

    def _start(self, task_id: str, deadline: float) -> None:
        left = deadline - time.monotonic()
        try:
            if left > 0:
                self.transport.call("tasks.started", {"task": task_id}, patience=left, wait=_wait(left))
                return
        except Refused as refusal:
            if refusal.status < 500:
                return  # started by an attempt whose answer was lost, or gone: told as the task ends
        except ServerError:
            pass
        with self._lock:
            self._unstarted[task_id] = None  # the next turn tries again

    def reopen(self, ids: Sequence[str]) -> None:
        """Starts tasks of an earlier attempt again."""
        _all_at_once(self.restart, ids)
        with self._lock:
            self._last_sign.update((task_id, time.monotonic()) for task_id in ids)

    def restart(self, task_id: str) -> None:
        """Starts a task, whatever its status."""
        body = {"task": task_id, "force": True}
        with contextlib.suppress(Refused):  # one that is gone is told as its events are refused
            self.transport.call("tasks.started", body, patience=PATIENCE)

    def remember(self, task_id: str, name: str) -> None:
        """Notes a task's name, for errors."""
        self._names[task_id] = name

    def add_artifacts(self, task_id: str, artifacts: Sequence[Mapping[str, Any]]) -> None:
        """Notes artifacts, whose files are in their places, with a task."""
        body = {"task": task_id, "artifacts": list(artifacts), "force": True}
        self.transport.call("tasks.add_or_update_artifacts", body, patience=PATIENCE)

    def after_fork(self) -> None:
        """Has the child start nothing: its parent does."""
        self._lock, self._starting, self._in_child = threading.RLock(), threading.Lock(), True
        if self.sender is not None:
            self.sender.after_fork()
            self.sender.outbox.after_fork()
        self._unstarted = {}
        self._last_sign = {}

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters to the section `General`."""
        items = list(general(params).values())
        body = {"task": task_id, "hyperparams": items, "replace_hyperparams": "none", "force": True}
        self.transport.call("tasks.edit_hyper_params", body, patience=PATIENCE)

    def history(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, list[Point]]:
        """Reads whole curves, every point, one call for each task and title (and 200,000 points)."""
        asked = [(task_id, name) for task_id, names in wanted.items() for name in names]
        found: dict[str, list[Point]] = {task_id: [] for task_id in wanted}
        for (task_id, _), points in zip(asked, _all_at_once(self._curve, asked), strict=True):
            found[task_id] += points
        return found

    def _curve(self, asked: tuple[str, Name]) -> list[Point]:
        task_id, name = asked
        metric = {"metric": name.title, "variants": [name.series]}
        body: dict[str, Any] = {"task": task_id, "metric": metric, "key": "iter", "batch_size": CURVE}
        points: list[Point] = []
        while True:
            answer = self.transport.call("events.scalar_metrics_iter_raw", body, patience=PATIENCE)
            curve = answer["variants"].get(name.series) or {"iter": [], "y": []}
            at = (None if iteration == SINGLE_VALUE_ITERATION else iteration for iteration in curve["iter"])
            points += zip(at, curve["y"], strict=True)
            if not answer.get("scroll_id") or answer["returned"] < CURVE:
                return points
            body["scroll_id"] = answer["scroll_id"]

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object, once for each task."""
        main = sdk.main_task()
        if main is not None and str(main.id) == task_id:  # on an agent
            return main
        self._start_waiting()
        with self._lock:
            if task_id not in self._attached:
                self._attached[task_id] = sdk.open_task(task_id)
            return self._attached[task_id]

    def share(self) -> str | None:
        """Has worker processes of this machine write to the outbox as well."""
        if self.sender is None:
            return None
        self.sender.outbox.share()
        return str(self.sender.outbox.path)

    # --- the end -------------------------------------------------------------------------------

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        """Waits for what ClearML's own object of a task uploads."""
        attached = self._attached.get(task_id)
        if attached is not None:
            sdk.wait_for_uploads(attached, timeout)
            del self._attached[task_id]

    def finish(self, endings: Sequence[Ending], timeout: float) -> list[Exception]:
        """Waits for ClearML's own uploads and sets the status of each task."""
        deadline = time.monotonic() + timeout
        self._start_waiting(timeout)
        gone: list[Unreachable] = []

        def left() -> float:
            return max(0.0, deadline - time.monotonic())

        def finish_one(ending: Ending) -> list[Exception]:
            try:
                self.wait_for_uploads(ending.task_id, left())
                if gone and not left():
                    raise gone[0]  # nobody waits for a server that is away, once for each task
                if ending.task_id != self.at_agent:
                    self._set_status(ending, left())
            except Unreachable as error:
                gone.append(error)
                return [error]
            except Exception as error:  # the other tasks must still end
                return [error]
            finally:
                with self._lock:
                    self._last_sign.pop(ending.task_id, None)
            return []

        errors = [error for found in _all_at_once(finish_one, endings) for error in found]
        away = [error for error in errors if isinstance(error, Unreachable)]
        if away:  # one sentence for all that an absent server was not told
            names = ", ".join(self._names.get(ending.task_id, ending.task_id) for ending in endings[:6])
            names += " …" * (len(endings) > 6)
            ends = f"the ends of {counted(len(away), 'task')} ({names})"
            problem = f"{ends} could not be told: {away[0].problem}"
            if self.sender is not None:
                problem += f". Tell them with: {self._command}"
            errors = [error for error in errors if error not in away]
            errors.append(Unreachable(problem))
        return errors

    def _set_status(self, ending: Ending, patience: float) -> None:
        body = {"task": ending.task_id, "status_reason": ending.reason, "status_message": ending.reason}
        limits: dict[str, Any] = {"patience": patience, "wait": _wait(patience)}
        try:
            self.transport.call(_ACTIONS[ending.status], body, **limits, most_500=MOST_500)
        except Refused as refusal:
            if refusal.status >= 500:  # not refused, but not done: to be told again later
                raise Unreachable(refusal.problem) from None
            found = []
            if refusal.subcode == _INVALID_STATUS:
                query = {"id": [ending.task_id], "only_fields": ["status"]}
                found = self.transport.call("tasks.get_all", query, **limits)["tasks"]
            # Ended by an attempt whose answer was lost, or by somebody else, for good.
            if found and found[0]["status"] in (ending.status, *CLOSED):
                return
            if found and found[0]["status"] == "created":  # the server went away before it was started
                with contextlib.suppress(Refused):  # by an attempt whose answer was lost
                    self.transport.call("tasks.started", {"task": ending.task_id}, **limits)
                self.transport.call(_ACTIONS[ending.status], body, **limits, most_500=MOST_500)
                return
            name = self._names.get(ending.task_id, ending.task_id)
            raise ServerError(f"the task {name!r} could not be {ending.status}: {refusal.problem}") from None

    def refusals(self) -> list[Exception]:
        """Tells which tasks' data the server did not take, and why."""
        return [
            DeliveryError(refusal.events, [self._names.get(task_id, task_id)], self.where, refusal.reason)
            for task_id, refusal in self.delivery.refused.items()
        ]

    def use_project(self, project: str) -> None:
        """Notes the id of the project that the tasks lie in, for addresses."""
        self._project = project or self._project

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
        """Lets go of the connections, and of the outbox, which stays if something is in it."""
        self.transport.closing.set()
        if self.sender is not None:
            self.sender.stop(STOPPING)
            self.sender.outbox.close()
        self.transport.close()
        self.connection.disconnect()

    def read_scalars(self, ids: Sequence[str], timeout: float) -> dict[str, Scalars]:
        """Reads the last values from the server; if it cannot be asked, what is in the outbox."""
        deadline = time.monotonic() + timeout
        found: dict[str, Scalars] = {}
        for first in range(0, len(ids), PAGE):
            left = deadline - time.monotonic()
            if left <= 0 or self.trouble() is not None:
                return self._scalars_in_outbox(ids)
            query = {"id": list(ids[first : first + PAGE]), "only_fields": ["id", "last_metrics"]}
            try:
                answer = self.transport.call("tasks.get_all", query, patience=left, wait=max(1.0, left))
            except ServerError:
                return self._scalars_in_outbox(ids)
            found.update((str(doc["id"]), scalars_of_document(doc)) for doc in answer["tasks"])
        return found

    def _scalars_in_outbox(self, ids: Sequence[str]) -> dict[str, Scalars]:
        events: dict[str, list[Any]] = {task_id: [] for task_id in ids}
        for batch in self.sender.outbox.batches() if self.sender is not None else ():
            for task_id in events.keys() & batch.keys():
                events[task_id] += map(json.loads, batch[task_id])
        return {task_id: scalars_of_events(listed) for task_id, listed in events.items()}


def _wait(left: float) -> float:
    """The time for one answer where a block's end waits for it: a server that hangs gets a second."""
    return min(ANSWER_SECONDS, max(1.0, left))


def _all_at_once(call: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """Makes calls from a few threads, this one among them; the results are in order.

    At the interpreter's end, where no thread can start any more, this one makes them all.

    Raises:
        BaseException: What the first call that failed raised, after the others are through.
    """
    listed = list(items)
    results: dict[int, _Out] = {}
    errors: dict[int, BaseException] = {}
    todo = iter(range(len(listed)))  # one step of it is atomic

    def work() -> None:
        for at in todo:
            try:
                results[at] = call(listed[at])
            except BaseException as error:  # raised in the thread that asked
                errors[at] = error
                if not isinstance(error, Exception):
                    collections.deque(todo, maxlen=0)  # Ctrl-C: begin nothing more
                    return

    threads: list[threading.Thread] = []
    for _ in range(min(AT_ONCE, len(listed)) - 1):
        thread = threading.Thread(target=work, name="clearml-taskgroup-calls", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        threads.append(thread)
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return [results[at] for at in range(len(listed))]
