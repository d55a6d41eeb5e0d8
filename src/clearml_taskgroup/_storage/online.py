"""Storage on a ClearML API server: three calls per task, events of all tasks in one request."""

from __future__ import annotations

import json
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import failed_uploads, login, pages, sdk
from .._clearml.api import Transport
from .._clearml.api_errors import Refused, Unreachable
from .._clearml.concurrent import call_concurrently
from .._clearml.curves import read_curves
from .._clearml.documents import Scalars, scalars_of_document, scalars_of_events
from .._clearml.new_task import new_task_fields
from .._clearml.queries import identity_of, pages_of, query_by_id
from .._clearml.tasks import (
    DELETED,
    add_parameters,
    create_task,
    end_task,
    find_or_create_project,
    is_gone,
    is_parent_gone,
    reopen_task,
    restart_task,
    start_task,
)
from .._model import limits
from .._model.specs import ForeignStatus
from .._text import counted, some
from ..errors import DeliveryError, ServerError
from .annotations import Annotations
from .attached_tasks import AttachingBackend
from .batch_sender import BatchSender
from .foreign_statuses import ForeignStatuses
from .kept_files import KeptFiles
from .open_tasks import OpenTasks
from .outbox import refused_path
from .sender import Sender

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from .._clearml.events import Batch, Curves
    from .._clearml.run_numbers import RunNumber
    from .._model.name_template import Name
    from .._model.specs import Ending, RunInfo, TaskSpec
    from .open_tasks import OnForeignStatus
    from .outbox import Outbox

STOP_TIMEOUT_S = 1.0
"""How long closing waits for the sender's request under way."""

_LOCKED = ForeignStatus("completed", "", "deleted or published")
"""What has happened to a task that takes no events any more, if nothing else is known of it."""


@attrs.define(eq=False)
class OnlineBackend(AttachingBackend):
    """Tasks on the server that ClearML is configured for.

    Attributes:
        connection: The server's addresses, and the token.
        transport: Calls the server.
        batch_sender: Sends events to it.
        sender: The thread that delivers the outbox; None without an outbox, then `write` sends.
        agent_task_id: The task that an agent runs this script as; the agent ends it, not this backend.
        foreign: Final statuses that a person or another client has set.
        run_number: The number that is reserved until a task is stored with it, or this is closed.
        open_tasks: The tasks that this process has open.
        kept_files: Files that ClearML's own objects of tasks could not upload.
    """

    connection: login.Connection
    transport: Transport = attrs.field(init=False)
    batch_sender: BatchSender = attrs.field(init=False)
    sender: Sender | None = None
    mode: str = "online"
    agent_task_id: str | None = None
    run_number: RunNumber | None = None
    foreign: ForeignStatuses = attrs.field(init=False)
    kept_files: KeptFiles = attrs.field(factory=lambda: KeptFiles(None))
    _project_id: str | None = None
    open_tasks: OpenTasks = attrs.field(init=False, repr=False)
    _unstarted: dict[str, None] = attrs.field(factory=dict, repr=False)
    _names: dict[str, str] = attrs.field(factory=dict, repr=False)
    _annotations: Annotations = attrs.field(init=False, repr=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, repr=False)
    _starting: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    _in_child: bool = False

    def __attrs_post_init__(self) -> None:
        self.transport = Transport(self.connection)
        self.batch_sender = BatchSender(self.transport)
        self.open_tasks = OpenTasks(self.transport)
        self._annotations = Annotations(self.transport)
        self.foreign = ForeignStatuses(self.transport, self._describe)

    @property
    def where(self) -> str:
        return self.connection.web or self.connection.host

    def use_outbox(self, outbox: Outbox) -> None:
        """Writes events to an outbox from now on, and starts the thread that delivers it."""
        self.batch_sender.refused_path = refused_path(outbox.path)
        self.sender = Sender(outbox, self.batch_sender, self._start_tasks, self.keep_alive)
        self.sender.start()
        self.kept_files = KeptFiles(outbox.path.with_suffix(".files"))

    # --- creating ------------------------------------------------------------------------------

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Creates the tasks, several at a time, and starts them; with no tasks, only the project."""
        self.find_project(run.project)
        self.open_tasks.parent = parent or self.open_tasks.parent
        ids = call_concurrently(lambda spec: self._create(run, spec, parent), specs)
        self.open_tasks.add(ids)
        with self._lock:
            for task_id, spec in zip(ids, specs, strict=True):
                self._unstarted[task_id] = None
                self._names[task_id] = spec.name
        if len(ids) > 1 or self.sender is None:
            self._start_tasks()
        else:
            self.sender.notify()
        return ids

    def draft(
        self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None, like: Mapping[str, Any]
    ) -> list[str]:
        """Creates the tasks without starting them: an agent will."""
        self.open_tasks.parent = parent or self.open_tasks.parent
        ids = call_concurrently(lambda spec: self._create(run, spec, parent, like), specs)
        for task_id, spec in zip(ids, specs, strict=True):
            self.remember_name(task_id, spec.name)
        return ids

    def _create(
        self, run: RunInfo, spec: TaskSpec, parent: str | None, like: Mapping[str, Any] | None = None
    ) -> str:
        body = new_task_fields(run, spec)
        if parent is not None and self.adopted.get(parent) is not DELETED:
            body["parent"] = parent
        if run.script:
            body["script"] = dict(run.script)
        identity = identity_of(body)
        for field, value in (like or {}).items():
            body[field] = {**value, **body.get(field, {})}
        try:
            return self.create_task(body, run.project, identity)
        except Refused as refusal:
            if parent is None or not is_parent_gone(refusal):
                raise
        self.foreign.adopt({parent: DELETED}, "the run goes on without a parent")
        return self._create(run, spec, None, like)

    def create_task(self, body: Mapping[str, Any], project: str, identity: Mapping[str, str]) -> str:
        """Creates one task in a project, which is created if necessary; returns the task's id."""
        task_id = create_task(self.transport, body, self.find_project(project), identity)
        if self.run_number is not None:
            self.run_number.release()
        return task_id

    def find_project(self, name: str) -> str:
        """Gives the id of the tasks' project, which is created if necessary."""
        with self._lock:
            if self._project_id is None:
                self._project_id = find_or_create_project(self.transport, name)
            return self._project_id

    # --- while tasks are open ------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Writes the events of all tasks to the outbox; without one, sends them in one request."""
        tasks = list(batch)
        if self.sender is not None and not self.sender.outbox.is_gone:
            self.sender.outbox.append(batch)
            batch.clear()
            self.sender.notify()
        else:
            self._start_tasks()
            self.batch_sender.send(batch)
        self.open_tasks.reported(tasks)

    def flush(self, timeout: float) -> bool:
        """Waits until the server has counted what is in the outbox, and has what was noted of tasks."""
        if self._in_child:  # the parent process delivers the outbox
            return True
        return (self.sender is None or self.sender.flush(timeout)) and self._annotations.store()

    def undelivered(self) -> dict[str, int]:
        return {} if self.sender is None else self.sender.waiting()

    def delivery_remedy(self) -> tuple[str, str]:
        """The outbox, and the command that delivers what is in it."""
        if self.sender is None or not self.sender.outbox.path.exists():  # somebody has deleted it
            return "", ""
        path = self.sender.outbox.path
        return str(path), _upload_command(path)

    def delivery_problem(self) -> Exception | None:
        return self.sender.error if self.sender is not None else None

    def heartbeat(self) -> None:
        """Does nothing while the sender is alive: it calls `keep_alive` itself.

        In the reporter thread, a server that does not answer would delay writing events to disk.
        """
        if self.sender is None or not self.sender.is_alive:
            self.keep_alive()

    def keep_alive(self) -> None:
        """Starts tasks that wait for it, looks after those that are open; raises nothing."""
        super().keep_alive()
        self._start_tasks()
        self._annotations.store()
        stopped = self.open_tasks.beat()
        with self._lock:  # not one that is just ending: `finish` has removed it from the open ones
            self._unstarted.update((task_id, None) for task_id in stopped if task_id in self.open_tasks)

    def watch(self, ids: Collection[str], on_foreign_status: OnForeignStatus) -> None:
        """Looks in each heartbeat for final statuses that somebody else gives open tasks, and `ids`."""
        self.open_tasks.watched, self.open_tasks.on_foreign_status = ids, on_foreign_status

    def _start_tasks(self, timeout: float | None = None) -> None:
        """Starts the tasks that were created and not started yet; those that fail are tried again later."""
        timeout = limits.SENDER_TIMEOUT_S if timeout is None else timeout
        deadline = time.monotonic() + timeout
        # A thread that ends a task must wait for the thread that is just starting it.
        if not self._starting.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            return
        try:
            with self._lock:
                waiting, self._unstarted = list(self._unstarted), {}
            call_concurrently(lambda task_id: self._start(task_id, deadline), waiting)
        finally:
            self._starting.release()

    def _start(self, task_id: str, deadline: float) -> None:
        left = deadline - time.monotonic()
        try:
            if left > 0:
                start_task(self.transport, task_id, left)
                return
        except Refused as refusal:
            # Started by an attempt whose answer was lost, or deleted: then its end is the error.
            if refusal.status < 500:
                return
        except ServerError:
            pass
        with self._lock:
            if task_id in self.open_tasks:  # the end of a task starts it itself
                self._unstarted[task_id] = None

    def reopen(self, ids: Sequence[str]) -> None:
        """Starts tasks of an earlier attempt again."""
        call_concurrently(lambda task_id: restart_task(self.transport, task_id), ids)
        self._forget_ends(ids)

    def reopen_completed(self, task_id: str) -> str:
        """Starts a completed task again, unless somebody has published, archived or changed it."""
        problem = "" if task_id == self.agent_task_id else reopen_task(self.transport, task_id)
        if not problem:
            self._forget_ends([task_id])
        return problem

    def _forget_ends(self, ids: Sequence[str]) -> None:
        self.foreign.forget(ids)
        self.open_tasks.add(ids)

    def remember_name(self, task_id: str, name: str) -> None:
        self._names[task_id] = name

    def after_fork(self) -> None:
        """In a forked child: new locks, and the parent process starts and pings the tasks."""
        self._lock, self._starting, self._in_child = threading.RLock(), threading.Lock(), True
        if self.sender is not None:
            self.sender.after_fork()
            self.sender.outbox.after_fork()
        self._unstarted, self._attached = {}, {}  # the threads of the parent's objects do not run here
        self.open_tasks.after_fork()

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters to the section `General`; a task that somebody has deleted takes none."""
        try:
            add_parameters(self.transport, task_id, params)
        except Refused as refusal:
            if not is_gone(refusal):
                raise
            self.foreign.adopt({task_id: DELETED})

    def annotate(self, task_id: str, section: Mapping[str, str], runtime: Mapping[str, str]) -> None:
        """Notes what `keep_alive` stores with the task soon, and `finish` before its end."""
        self._annotations.add(task_id, section, runtime)

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Reads whole curves, every data point."""
        return read_curves(self.transport, wanted)

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object of a task, once."""
        main = sdk.main_task()
        if main is not None and str(main.id) == task_id:  # on an agent
            return main
        self._start_tasks()
        with self._lock:
            if task_id not in self._attached:
                task = self._attached[task_id] = sdk.open_task(task_id)
                self.kept_files.watch(task_id, self._names.get(task_id) or str(task.name), self.write)
            return self._attached[task_id]

    def share_outbox(self) -> str | None:
        """Lets worker processes of this machine write to the outbox, too."""
        if self.sender is None:
            return None
        self.sender.outbox.share()
        return str(self.sender.outbox.path)

    # --- ending --------------------------------------------------------------------------------

    def finish(self, endings: Sequence[Ending], timeout: float) -> dict[str, Exception]:
        """Waits for ClearML's own uploads and sets the status of each task, unless somebody else has."""
        deadline = time.monotonic() + timeout
        self.open_tasks.remove(ending.task_id for ending in endings)
        self._start_tasks(timeout)
        unreachable: list[Unreachable] = []

        def left() -> float:
            return max(0.0, deadline - time.monotonic())

        # A server takes them before the end only.
        self._annotations.store([ending.task_id for ending in endings], left())
        own = [ending for ending in endings if ending.task_id != self.agent_task_id]
        refused: dict[str, ForeignStatus] = {}
        try:
            self.foreign.look_up(own, left())
        except Unreachable as error:
            unreachable.append(error)
        except ServerError:  # each end meets the same error
            pass

        def finish_one(ending: Ending) -> Exception | None:
            late: TimeoutError | None = None
            try:
                try:
                    self.wait_for_uploads(ending.task_id, left())
                except TimeoutError as error:  # they go on, and the task's end does not wait for them
                    late = error
                if ending.task_id == self.agent_task_id or ending.task_id in self.adopted:
                    return late
                if unreachable and not left():
                    raise unreachable[0]  # no further attempt for each task while the server is away
                other = end_task(self.transport, ending, self._name(ending.task_id), left())
                if other is not None:
                    refused[ending.task_id] = other
            except Exception as error:  # the other tasks must still end
                if isinstance(error, Unreachable):
                    unreachable.append(error)
                return error
            return late

        ended = zip(endings, call_concurrently(finish_one, endings), strict=True)
        self.foreign.adopt(refused)
        errors = {ending.task_id: error for ending, error in ended if error is not None}
        away = [task_id for task_id, error in errors.items() if isinstance(error, Unreachable)]
        if away:
            ends = f"the ends of {counted(len(away), 'task')} ({some([self._name(one) for one in away])})"
            problem = f"{ends} could not be set: {unreachable[0].problem}"
            _, command = self.delivery_remedy()
            problem += f". Set them with: {command}" if command else ""
            errors |= dict.fromkeys(away, Unreachable(problem))
        return errors

    def look_up(self, endings: Sequence[Ending], timeout: float) -> None:
        self.foreign.look_up(endings, timeout, ended=True)

    @property
    def adopted(self) -> Mapping[str, ForeignStatus]:
        """The final statuses that a person or another client has set, by task id."""
        return self.foreign.adopted

    def adopt(self, found: Mapping[str, ForeignStatus], consequence: str = "") -> None:
        """Keeps final statuses that somebody else has set, and logs them."""
        self.foreign.adopt(found, consequence)

    @property
    def archived(self) -> Collection[str]:
        """The ids of tasks that were archived when they were last looked up."""
        return self.foreign.archived

    def _describe(self, task_id: str, status: ForeignStatus) -> str:
        refusal = self.batch_sender.refused.get(task_id) if task_id != self.open_tasks.parent else None
        lost = f", {counted(refusal.events, 'point')} after that lost" if refusal is not None else ""
        return f"{self._name(task_id)!r} ({status}{lost})"

    def _name(self, task_id: str) -> str:
        return self._names.get(task_id, task_id)

    def delivery_errors(self) -> list[Exception]:
        """The errors about events that the server has refused, and files that ClearML could not upload.

        A task that somebody has deleted or published takes no events: that is logged instead.
        """
        locked = self.batch_sender.refused_tasks
        self.foreign.adopt(dict.fromkeys(locked - self.adopted.keys(), _LOCKED))
        kept = self.batch_sender.refused_path
        remedy = ""
        if kept is not None and kept.exists():
            remedy = f"Refused events are in {kept}; try again: {_upload_command(kept)}"
        errors: list[Exception] = [
            DeliveryError(refusal.events, [self._name(task_id)], self.where, refusal.reason, remedy)
            for task_id, refusal in self.batch_sender.refused.items()
            if task_id not in locked
        ]
        folder = self.kept_files.folder
        command = "" if folder is None else _upload_command(folder)
        return errors + self.kept_files.errors(self.connection.files, command)

    def use_project(self, project_id: str) -> None:
        """Sets the id of the tasks' project, for URLs."""
        self._project_id = project_id or self._project_id

    def url(self, task_id: str) -> str | None:
        return pages.task_url(self.connection, self._project_id, task_id)

    def compare_urls(self, ids: Sequence[str]) -> list[str]:
        return pages.compare_urls(self.connection, self._project_id, ids)

    def table_url(self, run: str, parent: str | None, is_own: bool) -> str | None:
        return pages.run_table_url(self.connection, self._project_id, run, parent, is_own)

    def close(self) -> None:
        """Closes the connections and the outbox; what was not delivered stays in the outbox."""
        for task_id, task in self._attached.items():  # ClearML's own uploads were not done in time
            failed_uploads.give_up(task_id, task)
        if self.run_number is not None:
            self.run_number.release()
        self.transport.closing.set()
        if self.sender is not None:
            self.sender.stop(STOP_TIMEOUT_S)
            self.sender.outbox.close()
        self.transport.close()
        self.connection.disconnect()

    def read_scalars(self, ids: Sequence[str], timeout: float) -> dict[str, Scalars]:
        """Reads the last values from the server; if it cannot be asked, what is in the outbox."""
        deadline = time.monotonic() + timeout
        found: dict[str, Scalars] = {}
        for page in pages_of(ids):
            left = deadline - time.monotonic()
            if left <= 0 or self.delivery_problem() is not None:
                return self._scalars_in_outbox(ids)
            times = {"timeout": left, "answer_timeout": max(1.0, left)}
            try:
                documents = query_by_id(self.transport, page, ("id", "last_metrics"), **times)
            except ServerError:
                return self._scalars_in_outbox(ids)
            found.update((str(doc["id"]), scalars_of_document(doc)) for doc in documents)
        for scalars in found.values():
            for _, stats in scalars:  # the server's follow the order of arrival
                stats.exact = stats.ordered = stats.single
        return found

    def _scalars_in_outbox(self, ids: Sequence[str]) -> dict[str, Scalars]:
        events: dict[str, list[Any]] = {task_id: [] for task_id in ids}
        for batch in self.sender.outbox.batches() if self.sender is not None else ():
            for task_id in events.keys() & batch.keys():
                events[task_id] += map(json.loads, batch[task_id])
        return {task_id: scalars_of_events(listed) for task_id, listed in events.items()}


def _upload_command(beside: Path) -> str:
    """The command that delivers what is left of a run, given a file beside its run log."""
    return f"clearml-taskgroup upload {shlex.quote(str(beside.with_suffix('.jsonl')))}"
