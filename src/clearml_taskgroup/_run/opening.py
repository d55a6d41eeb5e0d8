"""Opening a run: its backend, run log, parent and provenance."""

from __future__ import annotations

import contextlib
import functools
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import sdk
from .._log import logger, warn
from .._model.name_template import NameTemplate, title_problem
from ..errors import AutoLoggingWarning, NameWarning
from .abort import follow
from .joining import parent_spec, shared_info
from .mode import Mode, resolve
from .provenance import detect, give_up, with_script
from .run import Run, RunOptions
from .run_storage import Resume, RunStorage, open_run_log

if TYPE_CHECKING:
    from types import FrameType

    from .._clearml.agent_task import AgentTask
    from .._model.specs import RunInfo, TaskSpec
    from .._model.vocabulary import Vocabulary
    from .._storage.base import Backend

backend_for_tests: ContextVar[Backend | None] = ContextVar("clearml_taskgroup_backend", default=None)


def open_run(
    info: RunInfo,
    template: NameTemplate,
    vocabulary: Vocabulary | None,
    options: RunOptions,
    *,
    mode: Mode | None,
    outer: Run | None,
    resume: Resume | None = None,
    shared: str = "",
) -> Run:
    """Opens a run of a group: its backend, run log, parent and reporter.

    Args:
        info: What identifies the run; script and number are filled in here.
        template: The group's template.
        vocabulary: The group's vocabulary, if it has one.
        options: The group's options.
        mode: The mode that was asked for; None follows ClearML's own setting.
        outer: The run in whose block this one is opened; its parent is this one's parent.
        resume: How to continue the latest run, if that was asked for.
        shared: The text by which several processes share one run; empty for a run of this process alone.

    Raises:
        ModeError: The mode contradicts ClearML's own setting.
        StoreError: The data cannot be written to its place on disk.
        RunInUseError: A living process has the run open that is to be resumed.
    """
    problem = title_problem(template)
    if problem:
        warn(problem, NameWarning)
    if vocabulary is not None:
        info = attrs.evolve(info, metrics=vocabulary.stored())
    memory = backend_for_tests.get()
    if memory is not None:
        run = Run(info, memory, template, vocabulary, options, None)
        run.start(*_parent(run, outer))
        return run
    mode = resolve(mode)
    main_task = sdk.main_task() if mode in ("online", "offline") else None
    submitted = _agent_task(mode)
    agent_task = submitted if submitted is not None and submitted.is_of(info.group_id) else None
    if submitted is not None:
        resume = None  # other agents run the other configurations
    if agent_task is not None:
        info = agent_task.joined(info)
        options = options._replace(capture_console=False)  # the agent captures it
    elif main_task is not None and options.auto_connect_frameworks is None:
        _warn_of_auto_logging(main_task, info.name)
    detects = options.provenance and info.script is None and agent_task is None
    if detects and mode == "online":  # its tasks are created with all that is known of them
        from .._storage.script_detection import detect_here

        info = with_script(info, detect_here())
    with contextlib.ExitStack() as undo:
        if mode == "disabled":
            from .._storage.memory import MemoryBackend

            storage = RunStorage(MemoryBackend(mode="disabled", where="nowhere", keep=False))
        elif mode == "offline":
            storage = _open_offline(info, resume, shared, undo)
        else:
            alive = (main_task and str(main_task.id), sdk.agent_task_id(), outer and outer.parent)
            own_parents = frozenset(parent for parent in alive if parent)
            from .opening_online import open_online

            storage = open_online(info, template, agent_task, resume, own_parents, shared, undo)
        prior, joined = storage.prior, storage.joined
        if prior is not None and prior.template not in ("", template.text):
            logger.warning(
                "the earlier tasks of this run have names by the template %r, new ones by %r: their curves "
                "are in different plots",
                prior.template,
                template.text,
            )
        if joined is not None:
            info, main_task = joined.info, None  # the parent of a shared run is one that no process owns
        elif agent_task is None:
            run_id = prior.run if prior is not None else info.run
            info = attrs.evolve(info, number=storage.run_number, run=run_id)
        run = Run(
            info,
            storage.backend,
            template,
            vocabulary,
            options,
            storage.run_log,
            main_task=main_task,
            prior=prior,
            retry=resume.retry if resume is not None else "new",
            agent_task=agent_task,
            foreign_agent_task=submitted if agent_task is None else None,
            sharing=joined.sharing if joined is not None else None,
        )
        if detects and mode == "offline":
            detect(run)
            undo.callback(give_up, run)
        if joined is not None:
            from . import sharing

            run.owns_parent = True
            joined.sharing.shared.on_withdrawn = functools.partial(sharing.withdraw, run)
            run.start(joined.parent, None)
            sharing.log_joined(run)
            sharing.take_over(run)
            sharing.look(run)
        else:
            run.start(*_parent(run, outer))
        undo.pop_all()
    return run


def _open_offline(
    info: RunInfo, resume: Resume | None, shared: str, undo: contextlib.ExitStack
) -> RunStorage:
    from .._storage.offline import OfflineBackend

    cache = sdk.cache_folder()
    folder = cache / "taskgroup" / info.group_id
    backend = OfflineBackend(cache / "offline")
    past, by_resume = None, resume is not None and not shared
    if by_resume:
        from .._storage.past_runs import latest_run

        past = latest_run(folder, "offline")
        shared = (past.shared or "") if past is not None else ""
    if shared:
        from .joining_on_disk import join_offline

        shared_by = shared_info(info, shared)
        joined, run_log = join_offline(
            shared_by, folder, backend, resume is not None, undo, by_resume=by_resume
        )
        return RunStorage(backend, run_log, joined=joined)
    prior = None
    if past is not None:
        from .resume import prior_on_disk

        prior = prior_on_disk(past, backend)
    run_log = open_run_log(folder, prior, resume)
    undo.callback(run_log.close)
    return RunStorage(backend, run_log, prior, prior.number if prior is not None else run_log.number)


def _agent_task(mode: str) -> AgentTask | None:
    if sdk.agent_task_id() is None:
        return None
    from .._clearml.agent_task import agent_task_of_this_process

    return agent_task_of_this_process(mode)


def is_unguarded() -> bool:
    """Whether this process only imports the script for its functions, as a starting worker process does."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            return True
        frame = frame.f_back
    return False


def _parent(run: Run, outer: Run | None) -> tuple[str | None, TaskSpec | None]:
    """Gives the parent's id, or the spec of a parent that is to be created."""
    if run.agent_task is not None:
        return run.agent_task.parent, None
    if run.main_task is not None:
        return str(run.main_task.id), None
    agent_task_id = sdk.agent_task_id() if run.backend.mode == "online" else None
    if agent_task_id is not None:
        return agent_task_id, None
    if outer is not None and outer.backend.mode == run.backend.mode:
        follow(run, outer)
        return outer.parent, None
    if run.backend.mode == "disabled":
        return None, None
    if run.prior is not None and run.prior.owns_parent and run.prior.parent is not None:
        run.backend.reopen([run.prior.parent])
        run.owns_parent = True
        return run.prior.parent, None
    return None, parent_spec(run.info)


def _warn_of_auto_logging(main_task: Any, group: str) -> None:
    warn(
        f"Task.init was called: auto-logging (console, frameworks) goes to its task {main_task.name!r}, "
        f"not to the tasks of the group {group!r}. TaskGroup(…, auto_connect_frameworks=True) sends that of "
        "frameworks to the task whose block it is in, capture='console' the console",
        AutoLoggingWarning,
    )
