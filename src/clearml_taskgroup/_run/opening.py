"""How a run is opened: which store, which parent, which provenance."""

from __future__ import annotations

import contextlib
import sys
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .._clearml import sdk
from .._clearml.agent_task import agent_task_of_this_process
from .._clearml.queries import last_run_number
from .._model.name_template import NameTemplate, warn_about_title
from .._model.specs import RunInfo, TaskSpec
from .._storage.memory import MemoryBackend
from .._storage.offline import OfflineBackend
from .._storage.online import OnlineBackend
from .._storage.outbox import Outbox
from .._storage.run_log import RunLog
from ..errors import AutoLoggingWarning, StoreError, StoreWarning
from . import mode as _modes
from .resume import prior_on_disk, prior_on_server
from .run import Run

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from .._model.metrics import Vocabulary
    from .._model.past import Prior
    from .._storage.base import Backend

backend_for_tests: ContextVar[MemoryBackend | None] = ContextVar("clearml_taskgroup_store", default=None)


def open_run(
    info: RunInfo,
    template: NameTemplate,
    vocabulary: Vocabulary | None,
    *,
    mode: _modes.Mode | None,
    nonfinite: Literal["skip", "raise"],
    provenance: bool,
    outer: Run | None,
    resume: Resume | None = None,
) -> Run:
    """Opens a run of a group: its store, its record, its parent, its reporter.

    Args:
        info: What the run's tasks tell of it; script and number are filled in here.
        template: The group's template.
        vocabulary: The group's vocabulary, if it has one.
        mode: What was asked; None to go along with ClearML.
        nonfinite: What happens to numbers that no server stores.
        provenance: Whether the running script is detected.
        resume: How to go on with the latest run, if that is asked for.
        outer: The run in whose block this one is opened; its parent is this one's parent.

    Raises:
        ModeError: The mode contradicts what ClearML is set to.
        StoreError: The place where the data goes cannot be written to.
        RunInUseError: The run to resume is still at work.
    """
    warn_about_title(template)
    if vocabulary is not None:
        info = attrs.evolve(info, metrics=vocabulary.stored())
    in_memory = backend_for_tests.get()
    mode = None if in_memory is not None else _modes.resolve(mode)
    kept = mode in ("online", "offline")
    main = sdk.main_task() if kept else None
    submitted = None if mode is None else agent_task_of_this_process(mode)
    if submitted is not None:
        resume = None  # the other points are other agents' business
    point = submitted if submitted is not None and submitted.is_of(info.group_id) else None
    if point is not None:
        info = point.joined(info)
    else:
        if main is not None:
            _warn_of_auto_logging(main, info.name)
        if kept and provenance:
            info = attrs.evolve(info, script=sdk.detect_script())
    backend: Backend
    with contextlib.ExitStack() as undo:
        if in_memory is not None:
            run = Run(info, in_memory, template, vocabulary, nonfinite, None)
        elif mode == "disabled":
            backend = MemoryBackend(mode="disabled", where="nowhere", keep=False)
            run = Run(info, backend, template, vocabulary, nonfinite, None)
        else:
            cache = sdk.cache_folder()
            folder = cache / "taskgroup" / info.group_id
            prior, takeover = None, resume is not None and resume.takeover
            if mode == "online":
                backend = undo.enter_context(contextlib.closing(OnlineBackend(sdk.connect())))
                backend.agent_task_id = point.id if point is not None else None
                if resume is not None:
                    alive = (main and str(main.id), sdk.agent_task_id(), outer and outer.parent)
                    ours = frozenset(parent for parent in alive if parent)
                    prior = prior_on_server(backend, info.group_id, folder, template, takeover, ours)
                run_log = _record(folder, prior, takeover, required=False)
                number = prior.number if prior else last_run_number(backend.transport, info.group_id) + 1
                if run_log is not None:
                    backend.use_outbox(Outbox.open(run_log.path.with_suffix(".outbox")))
            else:
                backend = OfflineBackend(cache / "offline")
                if resume is not None:
                    prior = prior_on_disk(folder, backend)
                run_log = _record(folder, prior, takeover, required=True)
                number = prior.number if prior else run_log.number if run_log else 1
            if run_log is not None:
                undo.callback(run_log.close)
            if point is None:
                info = attrs.evolve(info, number=number, run=prior.run if prior else info.run)
            run = Run(info, backend, template, vocabulary, nonfinite, run_log, main_task=main, prior=prior)
            run.retry = resume.retry if resume is not None else "new"
        run.point, run.elsewhere = point, submitted if point is None else None
        run.start(*_parent(run, main, outer))
        undo.pop_all()
    return run


def is_unguarded() -> bool:
    """Whether this process imports the script only to find its functions, as workers do on their way up."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            return True
        frame = frame.f_back
    return False


@attrs.frozen
class Resume:
    """How to go on with the latest run of a group."""

    retry: Literal["new", "continue"] = "new"
    takeover: bool = False


def _record(folder: Path, prior: Prior | None, takeover: bool, *, required: bool) -> RunLog | None:
    try:
        if prior is not None and prior.path is not None:
            return RunLog.reopen(prior.path, takeover)
        return RunLog.start(folder)
    except StoreError as error:
        if required:
            raise
        warnings.warn(
            f"{folder} cannot be written to ({error}), so the run has no record and no outbox: what the "
            "server has not taken when the process dies is lost, and resume works from the server alone. "
            "Choose another place with the environment variable CLEARML_CACHE_DIR",
            StoreWarning,
            stacklevel=6,
        )
        return None


def _parent(run: Run, main: Any, outer: Run | None) -> tuple[str | None, TaskSpec | None]:
    if run.point is not None:
        return run.point.parent, None
    if main is not None:
        return str(main.id), None
    agent = sdk.agent_task_id() if run.backend.mode == "online" else None
    if agent is not None:
        return agent, None
    if outer is not None and outer.backend.mode == run.backend.mode:
        return outer.parent, None
    if run.backend.mode == "disabled":
        return None, None
    if run.prior is not None and run.prior.owns_parent and run.prior.parent is not None:
        run.backend.reopen([run.prior.parent])
        run.owns_parent = True
        return run.prior.parent, None
    name = run.info.name
    return None, TaskSpec(key="", name=name, task_name=name, index=-1, attempt=1, params={}, kind="parent")


def _warn_of_auto_logging(main: Any, group: str) -> None:
    warnings.warn(
        f"Task.init was called: auto-logging (console, frameworks) goes to its task {main.name!r}, "
        f"the parent of the group {group!r}, not to the group's tasks; use task.report and task.logger there",
        AutoLoggingWarning,
        stacklevel=5,
    )
