"""Query a server for tasks, groups and runs: a group's tasks are found by their section `TaskGroup`."""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING, Any

from .._model.which_run import run_label, which_run
from .._text import storable
from .api_errors import AnswerTooLarge
from .dates import seconds_since_1970
from .hyperparameters import (
    ATTEMPT_MARKER,
    IDENTITY_FIELDS,
    INDEX_MARKER,
    KEY_MARKER,
    RUN_MARKER,
    SECTION,
    entry_field,
    own_entries,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .api import Transport

MAX_PAGE_TASKS = 500
"""How many tasks a server gives in one page at most."""
RUN_NUMBERS = 20
"""How many numbers from the next run's on are looked for: an upload may have brought an earlier run."""
MAX_RUNS_NAMED = 4
"""How many runs of one number are looked for."""
SMALLER_PAGE = {500: 100, 100: 20, 20: 4, 4: 1}
"""The next page size, which divides the one before, if an answer was too large to be read."""
FIELDS = (
    "id",
    "name",
    "status",
    "status_reason",
    "system_tags",
    "parent",
    "project",
    "hyperparams",
    f"configuration.{SECTION}",
    "runtime",
    "last_metrics",
    "created",
    "started",
    "completed",
    "last_update",
    "execution.queue",
)
"""The fields of a task that the library reads."""

Document = dict[str, Any]
"""A task as the server describes it, with the fields that were queried."""


def query_tasks(transport: Transport, query: Mapping[str, Any]) -> list[Document]:
    """Queries tasks with one call."""
    return list(transport.call("tasks.get_all", dict(query))["tasks"])


def query_all_tasks(
    transport: Transport,
    query: Mapping[str, Any],
    fields: tuple[str, ...] = FIELDS,
    since: float | None = None,
) -> list[Document]:
    """Queries tasks page by page, the latest first.

    Args:
        transport: The way to the server.
        query: The filters of `tasks.get_all`.
        fields: Which fields of each task to get.
        since: Only tasks that were created since then, in seconds since 1970; ends with the first
            page that has an older one. Needs the field `created`.
    """
    found: list[Document] = []
    size = MAX_PAGE_TASKS
    while True:
        paging = {"order_by": ["-created"], "page_size": size, "page": len(found) // size}
        try:
            page = query_tasks(transport, {**query, **paging, "only_fields": list(fields)})
        except AnswerTooLarge:  # tasks with very many metrics
            if size == 1:
                raise
            size = SMALLER_PAGE[size]
            continue
        found += page
        recent = [task for task in found if since is None or (created_at(task) or since) >= since]
        if len(page) < size or len(recent) < len(found):
            return recent


def pages_of(ids: Sequence[str]) -> Iterator[list[str]]:
    """Cuts ids into lists of as many as one call may ask for."""
    for first in range(0, len(ids), MAX_PAGE_TASKS):
        yield list(ids[first : first + MAX_PAGE_TASKS])


def query_by_id(
    transport: Transport, ids: Sequence[str], fields: Sequence[str], **times: Any
) -> list[Document]:
    """Queries tasks by their ids, with one call for each page; deleted tasks are missing.

    Args:
        transport: The way to the server.
        ids: The ids.
        fields: Which fields of each task to get.
        times: `timeout` and `answer_timeout` of `Transport.call`, for each call.
    """
    found: list[Document] = []
    size, first = MAX_PAGE_TASKS, 0
    while first < len(ids):
        page = list(ids[first : first + size])
        query = {"id": page, "only_fields": list(fields), "page_size": size, "page": 0}
        try:
            found += transport.call("tasks.get_all", query, **times)["tasks"]
        except AnswerTooLarge:
            if size == 1:
                raise
            size = SMALLER_PAGE[size]
            continue
        first += size
    return found


def last_run_number(transport: Transport, group_id: str, first: int | None = None) -> int:
    """Finds the number of a group's latest run, 0 where there is none.

    Args:
        transport: The way to the server.
        group_id: The group's id.
        first: Where to begin: the highest of the next few numbers is found; None for the latest run.
    """
    query: dict[str, Any] = {entry_field("group"): [group_id], "only_fields": [entry_field("run_number")]}
    query |= {"order_by": ["-created"], "page_size": 10, "page": 0}
    if first is not None:
        query[entry_field("run_number")] = [str(first + step) for step in range(RUN_NUMBERS)]
        query["page_size"] = MAX_PAGE_TASKS
    found = query_tasks(transport, query)
    return max((parse_count(identity_of(task).get("run_number")) for task in found), default=0)


def find_run_id(transport: Transport, group_id: str, run: int | str) -> str | None:
    """Finds the id of a group's run.

    Args:
        transport: The way to the server.
        group_id: The group's id.
        run: The run's number, its text, its id or the first digits of the id.
    """
    if isinstance(run, str):
        runs = [(known, number) for known, (number, _) in _runs(transport, group_id).items()]
        return which_run(run, group_id, runs)
    found = [(known, run) for known in _runs_numbered(transport, group_id, run)]
    return which_run(run, group_id, found)


def _runs_numbered(transport: Transport, group_id: str, number: int) -> list[str]:
    """Finds the ids of a group's runs with a number: two machines may have used the same one offline."""
    runs: list[str] = []
    query: dict[str, Any] = {entry_field("group"): [group_id], entry_field("run_number"): [str(number)]}
    query |= {"only_fields": [entry_field("run")], "order_by": ["-created"], "page_size": 1, "page": 0}
    while len(runs) < MAX_RUNS_NAMED:
        others = {entry_field("run"): [f"-{run}" for run in runs]} if runs else {}  # all but these
        found = [identity_of(task).get("run") for task in query_tasks(transport, {**query, **others})]
        if not found or not found[0] or found[0] in runs:
            break
        runs.append(found[0])
    return runs


def find_latest_run(transport: Transport, group_id: str) -> tuple[str | None, int, list[int]]:
    """Finds a group's latest run that has tasks; if none has, the latest one.

    Returns:
        The run's id, None where the group has no run; its number; the numbers of later runs without tasks.
    """
    query: dict[str, Any] = {entry_field("group"): [group_id], "order_by": ["-created"]}
    fields = map(entry_field, ("run", "run_number", "kind"))
    query |= {"only_fields": [*fields, "runtime", "system_tags"], "page_size": MAX_PAGE_TASKS // 5}
    runs: dict[int, str] = {}  # by their numbers
    with_tasks: set[int] = set()
    for number in itertools.count():
        page = query_tasks(transport, {**query, "page": number})
        for task in page:
            identity = identity_of(task)
            run_number = parse_count(identity.get("run_number"))
            if "run" in identity:
                runs.setdefault(run_number, identity["run"])
            if identity.get("kind") == "task" and is_counted(task):
                with_tasks.add(run_number)
        if with_tasks or len(page) < query["page_size"]:
            break
    latest = max(with_tasks or runs, default=0)
    return runs.get(latest), latest, sorted(number for number in runs if number > latest)


def run_labels(transport: Transport, group_id: str) -> list[str]:
    """Names a group's runs for people, the latest first."""
    runs = _runs(transport, group_id)
    return [run_label(run, number, shared) for run, (number, shared) in runs.items()]


def _runs(transport: Transport, group_id: str) -> dict[str, tuple[int, str]]:
    """Finds number and shared text of a group's runs by their ids, the latest first."""
    fields = tuple(map(entry_field, ("run", "run_number", "shared")))
    found = map(identity_of, query_all_tasks(transport, {entry_field("group"): [group_id]}, fields))
    return {
        run["run"]: (parse_count(run.get("run_number")), run.get("shared", ""))
        for run in found
        if run.get("run")
    }


def projects_named(transport: Transport, name: str) -> list[str]:
    """Finds the id of a project by its name, also of one that the web page hides, as those of pipelines."""
    query = {"name": f"^{re.escape(name)}$", "search_hidden": True, "only_fields": ["id", "name"]}
    found = transport.call("projects.get_all", query)["projects"]
    return [str(project["id"]) for project in found if project["name"] == name]


def groups_of(transport: Transport, project: str | None) -> list[tuple[str, str]]:
    """Finds the groups of a project, or of all, as project and name; the latest first.

    They are known by the first task of each run, of which the latest 500 are read.
    """
    tasks: dict[str, Any] = {}
    if project is not None:
        tasks["project"] = projects_named(transport, project)
        if not tasks["project"]:
            return []
    fields = ["project", "created", entry_field("group_name")]
    tasks |= {"order_by": ["-created"], "page_size": MAX_PAGE_TASKS, "page": 0, "only_fields": fields}
    firsts = query_tasks(transport, {**tasks, f"runtime.{INDEX_MARKER}": "0"})
    firsts += query_tasks(transport, {**tasks, entry_field("index"): ["0"]})  # of version 0.1
    firsts.sort(key=lambda task: created_at(task) or 0.0, reverse=True)
    ids = sorted({str(task["project"]) for task in firsts if task.get("project")})
    answer = transport.call("projects.get_all", {"id": ids, "only_fields": ["id", "name"]}) if ids else {}
    names = {str(each["id"]): str(each["name"]) for each in answer.get("projects", ())}
    groups = (
        (names.get(str(task.get("project")), ""), identity_of(task).get("group_name", "")) for task in firsts
    )
    return [group for group in dict.fromkeys(groups) if all(group)]


def group_tasks(transport: Transport, group_id: str) -> list[Document]:
    """Finds all tasks of a group, of all its runs, without copies and archived tasks."""
    query = {entry_field("group"): [group_id], entry_field("kind"): ["task"]}
    return [task for task in query_all_tasks(transport, query) if is_counted(task)]


def all_run_tasks(transport: Transport, run: str) -> list[Document]:
    """Finds a run's tasks, parent and copies that were made in the web page, the latest first."""
    return query_all_tasks(transport, {entry_field("run"): [run]})


def run_tasks(transport: Transport, run: str) -> dict[tuple[str, str, str], Document]:
    """Finds a run's tasks and its parent, by kind, key and attempt."""
    by_identity = {}
    for task in filter(is_original, all_run_tasks(transport, run)):
        identity = identity_of(task)
        name = (identity.get("kind", ""), identity.get("key", ""), identity.get("attempt", ""))
        by_identity[name] = task
    return by_identity


def script_of(transport: Transport, task_id: str) -> Mapping[str, Any]:
    """Reads a task's section `script`."""
    found = query_by_id(transport, [task_id], ("id", "script"))
    script: Mapping[str, Any] = next((doc.get("script") or {} for doc in found), {})
    return script


def attempts_of(transport: Transport, run: str, key: str, attempt: int) -> list[Document]:
    """Finds the originals of one attempt of a task, the earliest first: more than one only by mistake.

    Args:
        transport: The way to the server.
        run: The run's id.
        key: The task's key; empty for the parent, which has no attempts.
        attempt: The number of the attempt.
    """
    identity = {"run": run, "kind": "task", "key": storable(key), "attempt": str(attempt)}
    found = find_originals(transport, identity if key else {"run": run, "kind": "parent"})
    counted = filter(is_counted, found) if key else found
    return sorted(counted, key=lambda task: (created_at(task) or 0.0, str(task["id"])))


def find_originals(transport: Transport, identity: Mapping[str, str]) -> list[Document]:
    """Finds the tasks of a run that a group has created with this identity.

    Args:
        transport: The way to the server.
        identity: `run`, `kind` and, for tasks, `key` and `attempt`; other entries are compared, too.
    """
    fields = ("id", "created", "runtime", "system_tags", *IDENTITY_FIELDS)
    # "__$any", because a bare value that starts with '-' would mean 'not this one'.
    wanted = {name: ["__$any", value] for name, value in identity.items()}
    shared = {entry_field(name): wanted[name] for name in ("run", "kind")}
    own = [name for name in ("key", "attempt") if name in identity]
    marked = {f"runtime.{_MARKERS[name]}": identity[name] for name in own}
    found = query_all_tasks(transport, {**shared, **marked}, fields)
    if own and _has_tasks_of_version_0_1(transport, identity["run"]):
        old = {entry_field(name): wanted[name] for name in own}
        found += query_all_tasks(transport, {**shared, **old}, fields)
    return [task for task in found if is_original(task) and identity.items() <= identity_of(task).items()]


_MARKERS = {"key": KEY_MARKER, "attempt": ATTEMPT_MARKER}


@functools.lru_cache(maxsize=8)
def _has_tasks_of_version_0_1(transport: Transport, run: str) -> bool:
    """Whether a run was begun by a version that had all of the identity in the section; asked once."""
    query: dict[str, Any] = {entry_field("run"): [run], entry_field("kind"): ["task"]}
    query |= {"order_by": ["created"], "page": 0, "page_size": 1, "only_fields": [entry_field("key")]}
    first = query_tasks(transport, query)
    return any((task.get("hyperparams") or {}).get(SECTION, {}).get("key") for task in first)


def is_original(task: Mapping[str, Any]) -> bool:
    """Whether a group opened the task; False for a copy that was made in the web page."""
    marker = (task.get("runtime") or {}).get(RUN_MARKER)
    return bool(marker) and marker == identity_of(task).get("run")


def is_archived(task: Mapping[str, Any]) -> bool:
    """Whether a person has archived the task in the web page."""
    return "archived" in (task.get("system_tags") or ())


def is_counted(task: Mapping[str, Any]) -> bool:
    """Whether the task counts in results and for resume: neither a copy nor archived."""
    return is_original(task) and not is_archived(task)


def is_on_agent(task: Mapping[str, Any]) -> bool:
    """Whether an agent runs the task, or will: a draft or queued."""
    submitted = bool(identity_of(task).get("queue"))
    if task["status"] == "in_progress":
        return submitted or bool((task.get("execution") or {}).get("queue"))
    return task["status"] == "queued" or (task["status"] == "created" and submitted)


def identity_of(task: Mapping[str, Any]) -> dict[str, str]:
    """Reads the identity of a task from its document or its session; an entry of the section goes first."""
    section = (task.get("hyperparams") or {}).get(SECTION) or {}
    own = own_entries(task.get("configuration") or {})
    return own | {name: str(item.get("value", "")) for name, item in section.items()}


def run_started_at(documents: Iterable[Document]) -> float | None:
    """Finds when a run was opened, in seconds since 1970; an uploaded run has its own entry for it."""
    moments = [identity_of(document).get("run_started") or document.get("created") for document in documents]
    return min((moment for moment in map(seconds_since_1970, moments) if moment is not None), default=None)


def created_at(document: Document) -> float | None:
    """When a task was created, in seconds since 1970; None if that is not known."""
    return seconds_since_1970(document.get("created"))


def parse_count(text: str | None, default: int = 0) -> int:
    """Reads a number from 0; the default if somebody has edited it to something else in the web page."""
    return int(text) if text and text.isdecimal() and len(text) < 19 else default
