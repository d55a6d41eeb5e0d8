"""Queues, the tasks that wait in them, and the workers that take them out."""

from __future__ import annotations

from . import errors, queries
from .lifecycle import change_status, leave_queues, many
from .registry import Request, endpoint
from .state import COMPANY, USER, USER_NAME, Doc, State, new_id


def make_queue(state: State, name: str, **fields: object) -> Doc:
    """Make a queue.

    Raises:
        ApiError: 400/801, when another one has the name.
    """
    _require_free(state, name)
    now = state.stamp()
    queue: Doc = {
        "id": new_id(),
        "name": name,
        "user": USER,
        "company": COMPANY,
        "created": now,
        "last_update": now,
        "tags": [],
        "system_tags": [],
        "entries": [],
        "metadata": {},
        **fields,
    }
    state.queues[queue["id"]] = queue
    return queue


def _require_free(state: State, name: str, except_for: str = "") -> None:
    if any(queue["name"] == name and queue["id"] != except_for for queue in state.queues.values()):
        raise errors.not_unique(name=name, company=COMPANY)


def _queue(state: State, queue_id: object) -> Doc:
    queue = state.queues.get(str(queue_id))
    if queue is None:
        raise errors.invalid_queue_id(id=queue_id, company=COMPANY)
    return queue


def _default(state: State) -> Doc:
    for queue in state.queues.values():
        if "default" in queue["system_tags"]:
            return queue
    raise errors.no_default_queue()


@endpoint("queues.create")
def create(state: State, request: Request) -> Doc:
    """Make a queue."""
    name = request.text("name").strip()
    if len(name) < 3:
        raise errors.too_short("name")
    known = ("tags", "system_tags", "metadata", "display_name")
    fields = {key: request.body[key] for key in known if key in request.body}
    return {"id": make_queue(state, name, **fields)["id"]}


@endpoint("queues.get_all", "queues.get_all_ex")
def get_all(state: State, request: Request) -> Doc:
    """The queues that match."""
    found, beside = queries.run(state, state.queues.values(), request.body, queries.QUEUES)
    return {"queues": found, **beside}


@endpoint("queues.get_by_id")
def get_by_id(state: State, request: Request) -> Doc:
    """One queue, with what waits in it."""
    return {"queue": _queue(state, request.body["queue"])}


@endpoint("queues.get_default")
def get_default(state: State, request: Request) -> Doc:
    """The queue for tasks that name none."""
    queue = _default(state)
    return {"id": queue["id"], "name": queue["name"]}


@endpoint("queues.update")
def update(state: State, request: Request) -> Doc:
    """Rename or tag a queue."""
    queue = _queue(state, request.body["queue"])
    names = ("name", "tags", "system_tags")
    fields = {key: request.body[key] for key in names if key in request.body}
    if "name" in fields:
        _require_free(state, fields["name"], queue["id"])
    queue.update(fields)
    return {"updated": 1, "fields": fields}


@endpoint("queues.delete")
def delete(state: State, request: Request) -> Doc:
    """Remove a queue; with force, one in which tasks wait."""
    queue = _queue(state, request.body["queue"])
    if queue["entries"] and not request.force:
        raise errors.queue_not_empty(id=queue["id"])
    for entry in queue["entries"]:
        if entry["task"] in state.tasks:
            _back(state, state.tasks[entry["task"]], request, "Queue was deleted")
    del state.queues[queue["id"]]
    return {"deleted": 1}


@endpoint("queues.add_task")
def add_task(state: State, request: Request) -> Doc:
    """Put a task into a queue without touching its status; any text is taken for a task's id."""
    queue_id, task_id = request.text("queue"), request.text("task")
    added = _add(state, queue_id, task_id)
    if task_id in state.tasks and request.body.get("update_execution_queue", True):
        state.tasks[task_id]["execution"]["queue"] = queue_id
    return {"added": added}


def _entries(queue: Doc, task_id: str) -> list[Doc]:
    return [entry for entry in queue["entries"] if entry["task"] == task_id]


def _add(state: State, queue_id: str, task_id: str) -> int:
    """Add an entry as the real server does: a read, and then an update on condition that it is not there."""
    if _entries(_queue(state, queue_id), task_id):
        raise errors.already_queued(task=task_id)
    added = state.stamp()
    with state.other_calls():
        pass
    queue = state.queues.get(queue_id)
    if queue is None:
        raise errors.vanished()
    if state.atomic_queues and _entries(queue, task_id):
        raise errors.not_in_queue(task=task_id, id=queue_id, company=COMPANY)
    queue["entries"].append({"task": task_id, "added": added})
    queue["last_update"] = state.stamp()
    return 1


@endpoint("queues.remove_task")
def remove_task(state: State, request: Request) -> Doc:
    """Take a task out of a queue; of two calls that both read the entry, the later one removes none."""
    queue_id, task_id = request.text("queue"), request.text("task")
    queue = state.queues.get(queue_id)
    read = _entries(queue, task_id) if queue else []
    if not read:
        raise errors.not_in_queue(task=task_id, id=queue_id, company=COMPANY)
    with state.other_calls():
        pass
    queue = state.queues.get(queue_id)
    if queue is None:
        raise errors.vanished()
    if state.atomic_queues and not _entries(queue, task_id):
        return {"removed": 0}
    queue["entries"] = [entry for entry in queue["entries"] if entry not in read]
    queue["last_update"] = state.stamp()
    if request.body.get("update_task_status") and task_id in state.tasks:
        _back(state, state.tasks[task_id], request, f"Task was removed from the queue {queue_id}")
    return {"removed": len(read)}


@endpoint("queues.clear_queue")
def clear_queue(state: State, request: Request) -> Doc:
    """Take everything out of a queue, which the web page offers as well."""
    queue = _queue(state, request.body["queue"])
    tasks = [entry["task"] for entry in queue["entries"] if entry["task"] in state.tasks]
    for task_id in tasks:
        _back(state, state.tasks[task_id], request, f"Queue {queue['id']} was cleared")
    queue["entries"] = []
    return {"removed_tasks": tasks}


@endpoint("queues.get_num_entries")
def get_num_entries(state: State, request: Request) -> Doc:
    """How many tasks wait."""
    return {"num": len(_queue(state, request.body["queue"])["entries"])}


@endpoint("tasks.enqueue")
def enqueue(state: State, request: Request) -> Doc:
    """Put a new, stopped or failed task into a queue."""
    return _enqueue(state, request.body["task"], request)


def _target(state: State, request: Request) -> Doc:
    queue_id, name = request.body.get("queue"), request.body.get("queue_name")
    if queue_id and name:
        raise errors.validation_error("Either queue id or queue name should be provided")
    if name:
        named = [q for q in state.queues.values() if q["name"] == name]
        return named[0] if named else make_queue(state, name)
    return _queue(state, queue_id) if queue_id else _default(state)


def _enqueue(state: State, task_id: str, request: Request) -> Doc:
    queue = _target(state, request)
    task = state.task(task_id)
    before = task["status"]
    answer = change_status(
        state,
        task,
        "queued",
        reason=request.text("status_reason"),
        message=request.text("status_message"),
        force=request.force,
        same_allowed=False,
    )
    state.queued_from[task_id] = before
    _add(state, queue["id"], task_id)
    task["execution"]["queue"] = queue["id"]
    answer["fields"]["execution.queue"] = queue["id"]
    if request.body.get("verify_watched_queue"):
        answer["queue_watched"] = any(queue["id"] in worker["queues"] for worker in state.workers.values())
    return {"queued": 1, **answer}


def _back(state: State, task: Doc, request: Request, reason: str = "") -> Doc:
    before = state.queued_from.pop(task["id"], "created")
    return change_status(
        state,
        task,
        before,
        reason=reason or request.text("status_reason"),
        message=request.text("status_message"),
        force=True,
    )


@endpoint("tasks.dequeue")
def dequeue(state: State, request: Request) -> Doc:
    """Take a task out of its queue, back to the status it had before."""
    task = state.task(request.body["task"])
    if task["status"] != "queued":
        raise errors.invalid_status(status=task["status"], expected="queued")
    leave_queues(state, task)
    task["execution"].pop("queue", None)
    return {"dequeued": 1, **_back(state, task, request)}


many("tasks.enqueue_many", _enqueue)


@endpoint("workers.register")
def register(state: State, request: Request) -> Doc:
    """Note that a worker is there, and which queues it serves."""
    body = request.body
    timeout = body.get("timeout", 600)
    if timeout <= 0:
        raise errors.worker_registration_failed("invalid timeout", timeout=timeout, worker=body["worker"])
    queues = body.get("queues") or []
    for queue_id in queues:
        _queue(state, queue_id)
    now = state.stamp()
    state.workers[body["worker"]] = {
        "id": body["worker"],
        "company": {"id": COMPANY, "name": "loopback"},
        "user": {"id": USER, "name": USER_NAME},
        "ip": "127.0.0.1",
        "register_time": now,
        "last_activity_time": now,
        "last_report_time": now,
        "queues": queues,
        "tags": body.get("tags") or [],
        "system_tags": body.get("system_tags") or [],
        "task": None,
    }
    return {}


@endpoint("workers.unregister")
def unregister(state: State, request: Request) -> Doc:
    """Forget a worker."""
    if state.workers.pop(request.body["worker"], None) is None:
        raise errors.invalid_worker(worker=request.body["worker"])
    return {}


@endpoint("workers.status_report")
def status_report(state: State, request: Request) -> Doc:
    """Take a worker's report, which is a sign of life of the task that it runs."""
    body = request.body
    now = state.stamp()
    # A worker that never registered is taken in by its first report.
    if body["worker"] not in state.workers:
        known: Doc = {key: body[key] for key in ("worker", "queues", "tags") if key in body}
        register(state, Request("workers.register", request.version, known))
    worker = state.workers[body["worker"]]
    worker["last_report_time"] = worker["last_activity_time"] = now
    task = state.tasks.get(str(body.get("task")))
    worker["task"] = {"id": task["id"], "name": task["name"]} if task else None
    if task is not None:
        task["last_worker"] = body["worker"]
        task["last_worker_report"] = now
        state.touch(task)
    return {}


@endpoint("workers.get_all")
def get_workers(state: State, request: Request) -> Doc:
    """The workers that are there."""
    by_id = state.queues
    return {
        "workers": [
            {
                **worker,
                "queues": [{"id": q, "name": by_id[q]["name"]} for q in worker["queues"] if q in by_id],
            }
            for worker in state.workers.values()
        ]
    }


@endpoint("workers.get_runtime_properties", required=("worker",))
def get_runtime_properties(state: State, request: Request) -> Doc:
    """What an agent may be told to do differently: nothing."""
    return {"runtime_properties": []}


@endpoint("workers.set_runtime_properties", required=("worker",))
def set_runtime_properties(state: State, request: Request) -> Doc:
    """An agent's properties are taken and not kept."""
    return {"added": [], "removed": [], "errors": []}
