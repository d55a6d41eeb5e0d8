"""Opening a run: its backend, run log, parent and provenance."""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .._clearml import sdk
from .._clearml.agent_task import agent_task_of_this_process
from .._model import limits
from .._model.name_template import NameTemplate, warn_about_title
from .._storage.memory import MemoryBackend
from .._storage.offline import OfflineBackend
from .._storage.online import OnlineBackend
from .._storage.outbox import Outbox
from .._storage.run_log import RunLog
from ..errors import AutoLoggingWarning, StoreError, StoreWarning
from . import sharing
from .abort import follow
from .joining import (
    Joined,
    join_offline,
    join_online,
    latest_text_on_disk,
    latest_text_on_server,
    parent_spec,
    reserve_number,
    shared_info,
)
from .mode import Mode, resolve
from .resume import prior_on_disk, prior_on_server
from .run import Run, RunOptions

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from .._clearml.agent_task import AgentTask
    from .._model.past import Prior
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
    warn_about_title(template)
    if vocabulary is not None:
        info = attrs.evolve(info, metrics=vocabulary.stored())
    memory = backend_for_tests.get()
    if memory is not None:
        run = Run(info, memory, template, vocabulary, options, None)
        run.start(*_parent(run, outer))
        return run
    mode = resolve(mode)
    main_task = sdk.main_task() if mode in ("online", "offline") else None
    submitted = agent_task_of_this_process(mode)
    agent_task = submitted if submitted is not None and submitted.is_of(info.group_id) else None
    if submitted is not None:
        resume = None  # other agents run the other configurations
    if agent_task is not None:
        info = agent_task.joined(info)
        options = attrs.evolve(options, capture_console=False)  # the agent captures it
    else:
        if main_task is not None:
            _warn_of_auto_logging(main_task, info.name)
        if options.provenance and info.script is None and mode != "disabled":
            info = attrs.evolve(info, script=sdk.detect_script())
    with contextlib.ExitStack() as undo:
        if mode == "disabled":
            storage = _Storage(MemoryBackend(mode="disabled", where="nowhere", keep=False))
        elif mode == "offline":
            storage = _open_offline(info, resume, shared, undo)
        else:
            alive = (main_task and str(main_task.id), sdk.agent_task_id(), outer and outer.parent)
            own_parents = frozenset(parent for parent in alive if parent)
            storage = _open_online(info, template, agent_task, resume, own_parents, shared, undo)
        prior, joined = storage.prior, storage.joined
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
        if joined is not None:
            run.owns_parent = True
            joined.sharing.shared.on_withdrawn = functools.partial(sharing.withdraw, run)
            run.start(joined.parent, None)
            sharing.take_over(run)
            sharing.look(run)
        else:
            run.start(*_parent(run, outer))
        undo.pop_all()
    return run


@attrs.frozen
class _Storage:
    """Where a run's data goes, and the run that it resumes."""

    backend: Backend
    run_log: RunLog | None = None
    prior: Prior | None = None
    run_number: int = 1
    joined: Joined | None = None


def _open_offline(info: RunInfo, resume: Resume | None, shared: str, undo: contextlib.ExitStack) -> _Storage:
    cache = sdk.cache_folder()
    folder = cache / "taskgroup" / info.group_id
    backend = OfflineBackend(cache / "offline")
    if resume is not None and not shared:
        shared = latest_text_on_disk(folder)
    if shared:
        joined, run_log = join_offline(shared_info(info, shared), folder, backend, resume is not None, undo)
        return _Storage(backend, run_log, joined=joined)
    prior = prior_on_disk(folder, backend) if resume is not None else None
    run_log = _open_run_log(folder, prior, resume)
    undo.callback(run_log.close)
    return _Storage(backend, run_log, prior, prior.number if prior is not None else run_log.number)


def _open_online(
    info: RunInfo,
    template: NameTemplate,
    agent_task: AgentTask | None,
    resume: Resume | None,
    own_parents: frozenset[str],
    shared: str,
    undo: contextlib.ExitStack,
) -> _Storage:
    """Connects to the server.

    Args:
        info: What identifies the run.
        template: The group's template.
        agent_task: The task that an agent runs this process as.
        resume: How to continue the latest run, if that was asked for.
        own_parents: Parents that are alive because this process is.
        shared: The text by which several processes share the run; empty if they do not.
        undo: Closes what is opened here, if a later step fails.
    """
    folder = sdk.cache_folder() / "taskgroup" / info.group_id
    login_timeout = limits.SHARED_LOGIN_TIMEOUT_S if shared else None
    backend = undo.enter_context(contextlib.closing(OnlineBackend(sdk.connect(login_timeout))))
    backend.agent_task_id = agent_task.id if agent_task is not None else None
    prior: Prior | None = None
    joined: Joined | None = None
    if resume is not None and not shared:
        shared = latest_text_on_server(backend, info.group_id)
    if shared and agent_task is None:
        info = shared_info(info, shared)
        joined = join_online(info, folder, backend, template, resume is not None, undo)
    elif resume is not None:
        prior = prior_on_server(backend, info.group_id, folder, template, resume.takeover, own_parents)
    try:
        run_log = _open_run_log(folder, prior, resume)
    except StoreError as error:
        run_log = None
        _warn_of_no_run_log(folder, error)
    if run_log is not None:
        run_log.is_optional = True
        undo.callback(run_log.close)
    if run_log is not None:
        backend.use_outbox(Outbox.open(run_log.path.with_suffix(".outbox")))
    if joined is not None:
        return _Storage(backend, run_log, joined=joined)
    number = prior.number if prior is not None else 1
    if prior is None and agent_task is None:
        number = reserve_number(backend, info.group_id, folder)
    return _Storage(backend, run_log, prior, number)


def is_unguarded() -> bool:
    """Whether this process only imports the script for its functions, as a starting worker process does."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            return True
        frame = frame.f_back
    return False


@attrs.frozen
class Resume:
    """How to continue the latest run of a group."""

    retry: Literal["new", "continue"] = "new"
    takeover: bool = False


def _open_run_log(folder: Path, prior: Prior | None, resume: Resume | None) -> RunLog:
    if prior is not None and prior.path is not None:
        return RunLog.reopen(prior.path, resume is not None and resume.takeover)
    return RunLog.start(folder)


def _warn_of_no_run_log(folder: Path, error: StoreError) -> None:
    warnings.warn(
        f"{folder} cannot be written to ({error}), so the run has no run log and no outbox: data that the "
        "server has not received is lost if the process dies, and resume works from the server alone. "
        "Choose another place with the environment variable CLEARML_CACHE_DIR",
        StoreWarning,
        stacklevel=6,
    )


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
    warnings.warn(
        f"Task.init was called: auto-logging (console, frameworks) goes to its task {main_task.name!r}, "
        f"not to the tasks of the group {group!r}; use task.report and task.logger there",
        AutoLoggingWarning,
        stacklevel=5,
    )
