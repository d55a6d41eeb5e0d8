"""How a run is opened: which store, which parent, which provenance."""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import attrs

from . import _clearml, _modes
from ._record import Record
from ._run import Run
from ._stores import RunInfo, Store, TaskSpec
from ._stores.memory import MemoryStore
from ._stores.offline import OfflineStore
from ._stores.online import OnlineStore
from ._template import NameTemplate, warn_of_titles
from ._vocabulary import Vocabulary
from .errors import AutoLoggingWarning, StoreError, TemplateError

store_for_tests: ContextVar[MemoryStore | None] = ContextVar("clearml_taskgroup_store", default=None)


def open_run(
    info: RunInfo,
    template: NameTemplate,
    vocabulary: Vocabulary | None,
    *,
    mode: _modes.Mode | None,
    nonfinite: Literal["skip", "raise"],
    provenance: bool,
    outer: Run | None,
) -> Run:
    """Opens a run of a group: its store, its record, its parent, its reporter.

    Args:
        info: What the run's tasks tell of it; script and number are filled in here.
        template: The group's template.
        vocabulary: The group's vocabulary, if it has one.
        mode: What was asked; None to go along with ClearML.
        nonfinite: What happens to numbers that no server stores.
        provenance: Whether the running script is detected.
        outer: The run in whose block this one is opened; its parent is this one's parent.

    Raises:
        ModeError: The mode contradicts what ClearML is set to.
        StoreError: The place where the data goes cannot be written to.
        TemplateError: The template asks for ids that are temporary.
    """
    warn_of_titles(template)
    in_memory = store_for_tests.get()
    mode = None if in_memory is not None else _modes.resolve(mode)
    kept = mode in ("online", "offline")
    if "task_id" in template.fields and mode == "offline":
        raise TemplateError(
            template.text, "has the field {task_id}, but offline the ids are temporary", "use {key} or {task}"
        )
    main = _clearml.main_task() if kept else None
    if main is not None:
        _warn_of_auto_logging(main, info.name)
    if kept and provenance:
        info = attrs.evolve(info, script=_clearml.detect_script())
    store, record = (in_memory, None) if in_memory is not None else _store(mode, info)
    if isinstance(store, OnlineStore):
        info = attrs.evolve(info, number=store.last_run_number(info.group_id) + 1)
    elif record is not None:
        info = attrs.evolve(info, number=record.number)
    run = Run(info, store, template, vocabulary, nonfinite, record, main_task=main)
    run.start(*_parent(run, main, outer))
    return run


def _store(mode: _modes.Mode | None, info: RunInfo) -> tuple[Store, Record | None]:
    if mode == "disabled":
        return MemoryStore(mode="disabled", where="nowhere", keep=False), None
    cache = _clearml.cache_folder()
    records = cache / "taskgroup" / info.group_id
    if mode == "online":
        return OnlineStore(_clearml.connect()), _record_if_possible(records)
    return OfflineStore(cache / "offline"), Record.start(records)


def _record_if_possible(folder: Path) -> Record | None:
    try:
        return Record.start(folder)
    except StoreError:  # online, a disk that cannot be written to costs the record alone
        return None


def _parent(run: Run, main: Any, outer: Run | None) -> tuple[str | None, TaskSpec | None]:
    if main is not None:
        return str(main.id), None
    agent = _clearml.agent_task_id() if run.store.mode == "online" else None
    if agent is not None:
        return agent, None
    if outer is not None and outer.store.mode == run.store.mode:
        return outer.parent, None
    if run.store.mode == "disabled":
        return None, None
    name = run.info.name
    return None, TaskSpec(key="", name=name, task_name=name, index=-1, attempt=1, params={}, kind="parent")


def _warn_of_auto_logging(main: Any, group: str) -> None:
    warnings.warn(
        f"Task.init was called: auto-logging (console, frameworks) goes to its task {main.name!r}, "
        f"the parent of the group {group!r}, not to the group's tasks; use task.report and task.logger there",
        AutoLoggingWarning,
        stacklevel=5,
    )
