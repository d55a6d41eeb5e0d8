"""Hydra: a callback that makes a multirun one run, with a task for each job. Tried with hydra-core 1.3.

Hydra calls `on_multirun_start` in the process that launches the jobs, and pickles the callback for jobs in
other processes. Each of these joins the run for the time of its job; the launching process has the run open
from the first job to the last, so it leaves last and ends the parent.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._clearml import sdk
from .._clearml.api_errors import Unreachable
from .._clearml.login_errors import LoginDelayed
from .._log import logger
from .._model.backoff import Backoff
from .._model.identity import KEY_DIGITS, flatten, shared_run_id, task_key
from .._run.abort import leave_task
from .._run.failures import reason_of
from .._run.joining import VARIABLE
from .._run.provenance import script_of
from .._run.sharing import LEAVING
from .._storage.past_runs import find_run_log
from ..errors import ArgumentError, ParameterError, TaskAbortedError
from ..errors._base import private_kind
from . import needs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._group import TaskGroup
    from .._model.status import Status
    from .._task import GroupTask

    Callback = object
else:
    with needs("hydra", __name__):
        from hydra.experimental.callback import Callback

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

SERVER_PATIENCE_S = 300.0
"""Seconds for which a job in another process waits for a server that does not answer."""
LATEST_RUN = ".clearml-taskgroup-run"
"""The file of a sweep folder that has the text of the folder's latest run, which `resume` continues."""
_DONE = "Hydra runs its job all the same, which cannot report: let it return if GroupTask.current().done"


@private_kind
class _JobAbortedError(TaskAbortedError, Exception):
    """As its base; no task's block is around a job, and by an `Exception` Hydra ends that job alone."""


class TaskGroupCallback(Callback):
    """Makes a multirun one run of a group, and each of its jobs a task.

    It is named in the config, and in the job `GroupTask.current()` is the job's task::

        hydra:
          callbacks:
            taskgroup:
              _target_: clearml_taskgroup.integrations.hydra.TaskGroupCallback
              project: digits

    The overrides of a job are its task's parameters, as Hydra parses them: `lr=0.1 model=resnet opt.beta=0.9`
    is `{"lr": 0.1, "model": "resnet", "opt/beta": 0.9}`. An exception that leaves the job fails its task. One
    that `catch` includes, or the `TaskAbortedError` of this task, does not reach Hydra, for which the job has
    returned None. A script that is started without a multirun is a group of one task.

    Args:
        project: The ClearML project.
        name: The group's name; None for Hydra's job name, which is that of the script.
        options: The other arguments of `TaskGroup`. `catch` takes names as well: `torch.OutOfMemoryError`.
            The default of `run` is the path of the sweep folder, with the time if it has been used before.
            With `run`, or `CLEARML_TASKGROUP_RUN`, each configuration belongs to the run once: the task of a
            job whose configuration the run has already is `done`.

    Raises:
        TaskGroupError: Any error of `TaskGroup`, for an invalid argument.
    """

    def __init__(self, project: str, name: str | None = None, **options: Any) -> None:
        self._project = project
        self._name = name
        self._options = {argument: _plain(value) for argument, value in options.items()}
        self._options["catch"] = _exceptions(self._options.get("catch"))
        self._is_named = bool(self._options.get("run") or os.environ.get(VARIABLE, "").strip())
        self._group: TaskGroup | None = None
        self._task: GroupTask | None = None
        self._script: Mapping[str, Any] | None = None
        self._is_for_one_job = False
        self._job_block = contextlib.ExitStack()
        self._make_group("the name of the job")  # an invalid argument ends the script before any job runs

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_group": None, "_task": None, "_job_block": contextlib.ExitStack()}

    # --- the run -------------------------------------------------------------------------------

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Opens the group of a single job."""
        with _ending_the_script():
            self._open(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Opens the group."""
        with _ending_the_script():
            self._share(config)
            self._open(config)
            if not self._is_named:
                folder = _sweep_folder(config)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / LATEST_RUN).write_text(self._options["run"], encoding="utf-8")

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Ends the group."""
        exc = _exception_of(kwargs.get("job_return"))
        if exc is None:
            self._close("completed", "")
        else:
            self._close("failed", f"group aborted by {reason_of(exc)}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Ends the group. After a failed job Hydra does not call this, and the group ends with the script."""
        self._close("completed", "")

    def _share(self, config: DictConfig) -> None:
        """Names group and run for all processes: another one may see another time in the folder's name."""
        self._name = self._name or str(config.hydra.job.name)
        if self._is_named:
            self._options["run"] = self._options.get("run") or os.environ[VARIABLE]
        else:
            group, folder = self._make_group(self._name), _sweep_folder(config)
            self._options["run"] = _run_of(folder, group.id, bool(self._options.get("resume")))

    def _make_group(self, name: str) -> TaskGroup:
        from .._group import TaskGroup

        return TaskGroup(self._project, self._name or name, **self._options)

    def _open(self, config: DictConfig) -> TaskGroup:
        _close_all()  # an interrupt has ended an earlier run in this process
        group = self._make_group(str(config.hydra.job.name))
        group._script = self._script
        with contextlib.chdir(str(config.hydra.runtime.cwd)):  # a job may be in its output folder already
            group.open()
        self._group, self._script = group, script_of(group._opened())
        _open.append(self)
        atexit.unregister(_close_all)
        atexit.register(_close_all)  # the latest is called first: before the group ends as never closed
        return group

    def _open_patiently(self, config: DictConfig) -> TaskGroup:
        """Opens the group for one job: a server that is away for a moment should not end all of them."""
        pauses, deadline = Backoff(1.0, 30.0), time.monotonic() + SERVER_PATIENCE_S
        while True:
            try:
                return self._open(config)
            except (LoginDelayed, Unreachable) as error:
                if time.monotonic() >= deadline:
                    raise
                logger.warning("the job waits for the server: %s", reason_of(error))
                time.sleep(pauses.next_pause())

    def _close(self, status: Status, reason: str) -> None:
        group, self._group, self._task = self._group, None, None
        if group is None:
            return
        _open.remove(self)
        self._job_block.close()
        group._close(status, reason, None, None)

    def _early_ending(self) -> tuple[Status, str]:
        """Finds out why Hydra has ended without a call of `on_multirun_end`, or of `on_job_end`."""
        assert self._group is not None
        interrupt = getattr(sys, "last_value", None)
        if interrupt is not None and not isinstance(interrupt, Exception):
            return "stopped", reason_of(interrupt)
        if self._task is None:
            run = self._group._opened()
            run.look()
            for state in run.all_states():
                if state.status == "failed":
                    return "failed", f"group aborted by {state.reason}"
        return "stopped", "Hydra ended before its jobs did"

    # --- a job ---------------------------------------------------------------------------------

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Opens the job's task; in a process that did not launch the jobs, the group as well."""
        with _ending_the_script():
            group = self._group
            self._is_for_one_job = group is None or group._opened().in_child
            if group is None or self._is_for_one_job:
                group = self._open_patiently(config)
                group._opened().warned.add(LEAVING)
            resume = bool(self._options.get("resume"))
            self._task = _open_task(group, config, resume, resume or self._is_named)
            self._task._state.abort_error = _JobAbortedError
            self._job_block.enter_context(self._task.activate())

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Ends the job's task, and the group if it was opened for this job."""
        task, self._task = self._task, None
        if task is None:
            return
        self._job_block.close()
        exc, is_swallowed = _exception_of(job_return), False
        if exc is None:
            task._run.end(task._state, "completed")
        elif isinstance(exc, _JobAbortedError):
            is_swallowed = leave_task(task._run, task._state, [exc])
        elif not task.done:
            is_swallowed = task._end_by(exc)
        if is_swallowed:
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None
        if self._is_for_one_job:
            self._close("completed", "")


_open: list[TaskGroupCallback] = []
"""The callbacks of this process whose group is open: at most one, unless Hydra was left by an interrupt."""


def _close_all() -> None:
    """Ends what Hydra has not: it does not tell callbacks that a multirun has failed or was interrupted."""
    while _open:
        _open[-1]._close(*_open[-1]._early_ending())


@contextlib.contextmanager
def _ending_the_script() -> Iterator[None]:
    """Ends the script if a task cannot be opened; of an `Exception`, Hydra would make a warning."""
    try:
        yield
    except Exception as error:
        raise SystemExit(f"the job has no task: {reason_of(error)}") from error


def _sweep_folder(config: DictConfig) -> Path:
    return Path(os.path.abspath(Path(str(config.hydra.runtime.cwd), str(config.hydra.sweep.dir))))


def _run_of(folder: Path, group_id: str, resume: bool) -> str:
    """Gives the text that names a sweep folder's run: the latest one to `resume`, else one of its own."""
    text = str(folder)
    if resume:
        with contextlib.suppress(FileNotFoundError):
            return (folder / LATEST_RUN).read_text(encoding="utf-8")
        return text
    logs, run = sdk.cache_folder() / "taskgroup" / group_id, shared_run_id(group_id, text)
    is_used = (folder / "multirun.yaml").exists() or find_run_log(logs, run) is not None  # and deleted since
    return f"{text} {datetime.now():%Y-%m-%d %H:%M:%S.%f}" if is_used else text


def _open_task(group: TaskGroup, config: DictConfig, resume: bool, may_be_done: bool) -> GroupTask:
    """Opens the task of a job.

    Args:
        group: The open group.
        config: The job's config.
        resume: Whether tasks that failed or were stopped are run again.
        may_be_done: Whether the run may have the configuration already. Else, as Hydra runs the job in any
            case, a task that another job has is not enough.
    """
    run, params = group._opened(), _parameters(config)
    number = OmegaConf.select(config, "hydra.job.num")
    name = None if params else str(config.hydra.job.name)
    try:
        key = task_key(params) if params else str(name)
    except ParameterError:  # for example nan
        key = task_key({"overrides": _overrides(config)})
    known = run.sharing.attempts.keys() if run.sharing is not None else ()
    second, third = task_key({"task": key, "job": number}), uuid.uuid4().hex[:KEY_DIGITS]
    for other, following in ((key, second), (second, third), (third, "")):
        if other in run.states:  # of a job with the same overrides
            continue
        (task,) = group._open_tasks([run.specs.make(params, index=number, name=name, key=other)])
        if not task.done:
            break
        if may_be_done and following not in known:
            is_left = not resume and task.status in ("failed", "stopped")
            again = ", and resume=true runs it again" if is_left else ""
            logger.warning("%s is done already (%s)%s; %s", task, task.status, again, _DONE)
            break
    return task


def _overrides(config: DictConfig) -> list[str]:
    overrides: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    return list(overrides)


def _parameters(config: DictConfig) -> dict[str, Any]:
    """Gives a job's overrides as parameters."""
    params: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(_overrides(config)):
        name, value = override.get_key_element().lstrip("+").replace(".", "/"), override.value()
        if isinstance(value, str) and "${" in value:  # what the job has there
            value = _plain(OmegaConf.select(config, override.key_or_group))
        params.update(flatten({name: value}))
    return params


def _exception_of(job_return: JobReturn | None) -> BaseException | None:
    """Gives the exception of a failed job; the documented `return_value` would raise it, and print."""
    if job_return is None or job_return.status is not JobStatus.FAILED:
        return None
    exc: BaseException = job_return._return_value
    return exc


def _plain(value: Any) -> Any:
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def _exceptions(catch: Any) -> tuple[Any, ...]:
    """Gives exceptions for `catch=`; a config can only have their names."""
    listed = [catch] if isinstance(catch, (str, type)) else list(catch or ())
    return tuple(_exception_named(one) if isinstance(one, str) else one for one in listed)


def _exception_named(name: str) -> Any:
    try:
        return get_class(name if "." in name else f"builtins.{name}")
    except Exception as error:
        expected = "names of exceptions, such as MemoryError or torch.OutOfMemoryError"
        raise ArgumentError("catch", name, expected) from error
