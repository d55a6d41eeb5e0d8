"""Earlier runs on this disk: reads, finds and locks their run logs."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from typing import TYPE_CHECKING, Any

from .._clearml.notes import names_from_json, skipped_from_json
from .._log import logger
from .._model.arguments import checked_path
from .._model.metric_data import MetricData, add_metric
from .._model.past import PastRun, PastTask
from .._model.which_run import MIN_ID_PREFIX
from .._text import some
from ..errors import ArgumentError, RunLogError
from .append_file import disk_errors, end_torn_line, lock, open_file
from .logged_metrics import MetricsReader
from .processes import living
from .run_log import files_in, in_use, iterate, read_first, run_number
from .run_log_schema import problem_of, problem_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .._model.past import Opener


def load(path: Path, only: str | None = None) -> PastRun | None:
    """Reads a run log, with those of the processes that share the run.

    Args:
        path: The run log.
        only: The one process whose log is read; None for all.

    Returns:
        The run; None if the log ends before its first line.

    Raises:
        RunLogError: It has a line that no group writes.
    """
    past: PastRun | None = None
    fields: dict[str, Any]
    openers: dict[str, Opener] = {}
    for line in _lines(path, only):
        event = line.get("event")
        process = line.get("process", "")
        if event == "run":
            openers[process] = (process, line.get("pid"))
            fields = {name: line.get(name) for name in _RUN_FIELDS}
            if past is None:
                past = PastRun(path=path, metrics=line.get("metrics"), started=line.get("time"), **fields)
            else:  # a resumed run is open again
                past.parent, past.owns_parent = line.get("parent"), bool(line.get("owns_parent"))
                past.status, past.delivered, past.uploaded = None, False, False
                past.opened_since_resume.clear()
        elif past is not None and event == "close":
            past.status, past.reason = line["status"], line["reason"]
            past.delivered = bool(line.get("settled", True))
        elif past is not None and event == "uploaded" and line.get("id") not in past.tasks:
            past.uploaded = True
        elif past is not None and event == "script":
            if line["script"] is not None:
                past.scripts[process, line["pid"]] = line["script"]
        elif past is not None:
            _add_task_line(past, line, openers.get(process, ("", None)))
    return past


def load_or_skip(path: Path) -> PastRun | None:
    """The same for one of many run logs: a log that cannot be used is named in a log line."""
    try:
        return load(path)
    except RunLogError as error:
        _log_skipped(str(error))
        return None


@functools.cache  # one command may read all run logs more than once
def _log_skipped(problem: str) -> None:
    logger.warning("skipped: %s", problem)


def _lines(path: Path, only: str | None) -> Iterable[dict[str, Any]]:
    """Reads the lines of a run's log, and of the logs of single processes, in the order of their time."""
    logs = process_logs(path)
    if not logs:
        return _checked(path)
    lines = [] if only is not None else list(_checked(path))
    for process, log in logs.items():
        if only in (None, process):
            lines += [{**line, "process": process} for line in _checked(log)]
    return sorted(lines, key=_time)


def _time(line: dict[str, Any]) -> float:
    time = line.get("time")
    return time if isinstance(time, (int, float)) else 0.0


def process_logs(path: Path) -> dict[str, Path]:
    """Finds the logs of the processes that share a run, by the names of the processes."""
    if not is_run_log_name(path.name):
        return {}
    start = f"{path.stem}."
    return {
        file.name.removeprefix(start).removesuffix(".jsonl"): file
        for file in files_in(path.parent)
        if file.name.startswith(start) and file.suffix == ".jsonl" and file != path
    }


def _checked(path: Path) -> Iterator[dict[str, Any]]:
    """Reads the lines of a log; metrics are read already, as `Metrics`."""
    reader = MetricsReader()
    advice = "repair it, or move the file to another directory"
    has_begun = not is_run_log_name(path.name)
    try:
        for line in iterate(path):
            if not has_begun and (event := line.get("event")) in ("run", "task", "end", "close"):
                if event != "run":
                    raise RunLogError(str(path), f"begins with a line {event!r}, not with 'run'", advice)
                has_begun = True
            if problem := problem_of(line):
                raise RunLogError(str(path), problem, advice)
            if "measures" in line and line.get("event") in ("end", "told"):
                metrics = reader.read(line["measures"])
                if metrics is None:
                    raise RunLogError(str(path), problem_with(line, "measures"), advice)
                line["measures"] = metrics
            yield line
    except OSError as error:
        raise RunLogError(str(path), f"cannot be read: {error.strerror}", advice) from error


def _add_task_line(past: PastRun, line: dict[str, Any], opener: Opener) -> None:
    event, task = line.get("event"), past.tasks.get(line.get("id", ""))
    if event == "task":
        past.opened_since_resume.add(line["id"])
    if event == "opening":
        past.opening.add((line["key"], line["attempt"]))
    elif event == "task" and task is None:
        fields = {name: line[name] for name in _TASK_FIELDS}
        session = line.get("session", 0)
        past.tasks[line["id"]] = PastTask(
            **fields, opened=line.get("time"), process=line.get("process", ""), opener=opener, session=session
        )
    elif task is None:
        return
    elif event == "task":  # a continued task is open again
        task.was_completed = task.final_status()[0] == "completed"
        task.status, task.delivered, task.uploaded = None, False, ""
        task.process = line.get("process", task.process)
    elif event == "end":
        task.status, task.reason, task.was_completed = line["status"], line["reason"], False
        task.delivered, task.metrics = bool(line.get("settled")), line.get("measures", {})
        task.params, task.duration = line.get("params", task.params), line.get("duration", task.duration)
    elif event == "told" and "status" in line:  # written by a worker process
        task.status, task.reason = line["status"], line.get("reason", "")
        for key, data in line.get("measures", {}).items():
            add_metric(task.metrics, key, data)  # a reopened task has others already
    elif event == "params":
        task.params = {**task.params, **line["params"]}
    elif event == "names":
        task.ambiguous |= names_from_json(line.get("names"))
    elif event == "skipped":
        key, data = skipped_from_json(line["series"])
        task.metrics.setdefault(key, MetricData()).take_skipped(data)
    elif event == "settled":
        task.delivered = True
        if "status" in line:  # that somebody else had set on the server
            task.status, task.reason = line["status"], line.get("reason", "")
    elif event == "uploaded":
        task.uploaded, task.status_there = line.get("to", ""), task.final_status()[0]


_RUN_FIELDS = (
    "group",
    "project",
    "name",
    "run",
    "number",
    "template",
    "mode",
    "parent",
    "owns_parent",
    "shared",
)
_TASK_FIELDS = ("id", "key", "name", "index", "attempt", "params")


def run_logs(folder: Path) -> list[Path]:
    """Returns the run logs of one group, the latest last."""
    return sorted((path for path in files_in(folder) if is_run_log_name(path.name)), key=run_number)


_NAME = re.compile(r"run-[0-9]+\.jsonl")


def is_run_log_name(name: str) -> bool:
    """Whether a file may be a run log, by its name."""
    return _NAME.fullmatch(name) is not None


def find_run_logs(folder: Path, run: str) -> list[Path]:
    """Finds the run logs of a run, the latest last; an online run has one for each process that opened it."""
    return [path for path in run_logs(folder) if read_first(path).get("run") == run]


def find_run_log(folder: Path, run: str) -> Path | None:
    """Finds the latest run log of a run."""
    return next(reversed(find_run_logs(folder, run)), None)


def latest_run(folder: Path, mode: str | None = None) -> PastRun | None:
    """Reads the latest run of a group that has tasks, or the latest such one in one mode.

    If no run has tasks, it is the latest one. The others are logged.
    """
    empty: list[PastRun] = []
    for path in reversed(run_logs(folder)):
        past = load(path)
        if past is None or mode not in (None, past.mode):
            continue
        if past.tasks:
            log_empty_runs(past.number, [one.number for one in empty], f"{past.project}/{past.name}")
            return past
        empty.append(past)
    return empty[0] if empty else None


def log_empty_runs(run: int, empty: Iterable[int], group: str) -> None:
    """Logs which later runs of a group have no tasks, so that an earlier one counts as its latest."""
    numbers = sorted(empty)
    if numbers:
        runs = f"run {numbers[0]}" if len(numbers) == 1 else f"each of the runs {some([*map(str, numbers)])}"
        logger.info("%s of %s has no tasks; the latest run with tasks is run %d", runs, group, run)


def all_runs(root: Path) -> list[PastRun]:
    """Reads all runs of all groups, in the order of their run logs."""
    found = (load_or_skip(path) for folder in files_in(root) for path in run_logs(folder))
    return [past for past in found if past is not None]


def groups_on_disk(root: Path) -> list[tuple[str, str]]:
    """Returns all groups, as project and name, from the first lines of their run logs."""
    firsts = (read_first(path) for folder in files_in(root) for path in run_logs(folder)[-1:])
    return sorted(
        {(str(line["project"]), str(line["name"])) for line in firsts if {"project", "name"} <= line.keys()}
    )


def find_run(root: Path, wanted: str | Path) -> PastRun:
    """Finds a run by the path of its run log, by its id, or a group's latest run by the group's id.

    Raises:
        ArgumentError: There is none.
    """
    path = checked_path("run", wanted)
    with contextlib.suppress(OSError):  # a name that is too long
        if path.is_file() and (past := load(path)) is not None:
            return past
    text = str(wanted)
    # The run log of a single task that an agent ran here comes after that of the whole run.
    latest_first = all_runs(root)[::-1]
    for past in sorted(latest_first, key=lambda past: past.mode == "agent"):
        is_prefix = len(text) >= MIN_ID_PREFIX and past.run.startswith(text)
        if is_prefix or text in (past.run, past.parent, past.group, past.shared):
            return past
    raise ArgumentError("run", text, f"the path of a run log, or the id of a run or group below {root}")


def is_in_use(path: Path) -> bool:
    """Whether a living process has the run open."""
    if living(path):
        return True
    try:
        file = open_file(path)
    except OSError:
        return False
    try:
        return not lock(file)
    finally:
        os.close(file)


def abandoned_tasks(past: PastRun) -> frozenset[str]:
    """Returns the ids of the tasks of a run whose process on this machine died before it ended them."""
    is_dead = past.status is None and past.mode != "agent" and past.is_pending and not is_in_use(past.path)
    tasks = [task for task in past.tasks.values() if task.status is None and not task.submitted]
    return frozenset(task.id for task in tasks if is_dead or is_left(past, task))


def is_left(past: PastRun, task: PastTask) -> bool:
    """Whether a task of a shared run is still open although its process has died."""
    return bool(task.process) and task.status is None and task.process not in living(past.path)


@contextlib.contextmanager
def locked(path: Path, *, resume: bool = False) -> Iterator[None]:
    """Locks a run log, so that no other process resumes or uploads the run.

    Args:
        path: The run log.
        resume: Whether the run is to be resumed, which `takeover=True` can force.

    Raises:
        RunInUseError: A living process has it open.
    """
    with disk_errors(path):
        file = open_file(path)
    try:
        if living(path) or not lock(file):
            raise in_use(path, resume=resume)
        with disk_errors(path):
            end_torn_line(file)
        yield
    finally:
        os.close(file)
